"""Faults of webhooks: what becomes of a delivery."""

from simulator.faults.fault import Fault, Seconds

__all__ = [
    "WebhookBadSignature",
    "WebhookDrop",
    "WebhookDuplicate",
    "WebhookOldTimestamp",
    "WebhookOutOfOrder",
    "WebhookRotateSecret",
    "WebhookSlowAck",
]


class WebhookDrop(Fault, frozen=True, kw_only=True):
    """Leave out a delivery as if it had been acknowledged; it is never tried again."""

    name = "webhook_drop"
    where = "delivery"


class WebhookDuplicate(Fault, frozen=True, kw_only=True):
    """Deliver once more what was acknowledged.

    Args:
        seconds: from the acknowledgement to the second delivery.
    """

    name = "webhook_duplicate"
    where = "delivery"

    seconds: Seconds = 0.0


class WebhookOutOfOrder(Fault, frozen=True, kw_only=True):
    """Hold a delivery back, so that later ones overtake it.

    Args:
        seconds: of which it waits a random part.
    """

    name = "webhook_out_of_order"
    where = "delivery"

    seconds: Seconds = 5.0


class WebhookBadSignature(Fault, frozen=True, kw_only=True):
    """Sign a delivery with a secret that nobody has, as a forger would."""

    name = "webhook_bad_signature"
    where = "delivery"


class WebhookOldTimestamp(Fault, frozen=True, kw_only=True):
    """Deliver with a timestamp of long ago, as one who replays it would.

    Args:
        seconds: by which it is too old.
    """

    name = "webhook_old_timestamp"
    where = "delivery"

    seconds: Seconds = 600.0


class WebhookRotateSecret(Fault, frozen=True, kw_only=True):
    """Replace the secret before a delivery, and tell nobody; the old one does not come back."""

    name = "webhook_rotate_secret"
    where = "delivery"


class WebhookSlowAck(Fault, frozen=True, kw_only=True):
    """Let an acknowledgement travel so long that the delivery counts as failed, and is repeated.

    Args:
        seconds: on its way; up to 10 it comes in time.
    """

    name = "webhook_slow_ack"
    where = "delivery"

    seconds: Seconds = 15.0

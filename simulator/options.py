"""How a server is set up."""

from typing import NamedTuple

from simulator.channel import ChannelOptions
from simulator.heygen import HeyGenOptions
from simulator.orders import Orders

__all__ = ["ServerOptions", "base_url"]


def base_url(host: str, port: int) -> str:
    """Return the base URL of a server that listens there, without a slash at the end.

    Of one that listens on every address of this machine it is the loopback's: nobody can dial a
    wildcard everywhere, and clients send no key to one in clear text.
    """
    host = _LOOPBACKS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


_LOOPBACKS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound


class ServerOptions(NamedTuple):
    """How a server is set up."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one, which is kept over restarts."""
    orders: Orders = Orders()
    channel: ChannelOptions = ChannelOptions()
    key_digests: tuple[str, ...] = ()
    """Of the keys of which a caller must show one; none are asked for if it is empty."""
    has_control: bool = True
    """Whether `/_control/` answers."""
    control_digest: str | None = None
    """Of the key that controls the server; None lets programs on this machine do so."""
    heygen: HeyGenOptions = HeyGenOptions()

"""What every command of `vtrans` that talks to a server can be told, and the client it makes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import click

from vtrans_hybrid.client import AsyncClient, TransportChoice
from vtrans_hybrid.errors import AuthError
from vtrans_hybrid.heygen import HeyGenVersion
from vtrans_hybrid.terminal import Form
from vtrans_hybrid.transport import NetworkOptions

__all__ = ["ServerOptions", "server_options"]

_T = TypeVar("_T")
_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What every command that talks to a server can be told."""

    base_url: str | None
    api_key: str | None = field(repr=False)
    allow_insecure: bool
    heygen: bool
    api_version: HeyGenVersion
    timeout: float | None
    transport: TransportChoice
    output: Form | None
    verbose: int

    @property
    def is_heygen(self) -> bool:
        """Whether HeyGen's API is meant: it is said, or nothing else is."""
        address = self.base_url or os.environ.get("VTRANS_BASE_URL")
        return self.heygen or (not address and bool(os.environ.get("HEYGEN_API_KEY")))

    def check(self) -> None:
        """Refuse what makes no sense together.

        Raises:
            click.UsageError: It does not.
        """
        if not (self.is_heygen or self.base_url or os.environ.get("VTRANS_BASE_URL")):
            raise click.UsageError("Give --base-url, or set VTRANS_BASE_URL; or HEYGEN_API_KEY.")
        if self.is_heygen and self.transport == "push":
            raise click.UsageError("HeyGen has no push channel: leave --transport out.")

    def make_client(self) -> AsyncClient:
        """Return the client that was asked for.

        Raises:
            AuthError: HeyGen is to be asked without a key.
            ValueError: The address or the key makes no sense.
        """
        network = NetworkOptions(allow_insecure=self.allow_insecure)
        if not self.is_heygen:
            return AsyncClient(
                self.base_url,
                api_key=self.api_key,
                transport=self.transport,
                timeout=self.timeout,
                options=network,
            )
        if not (self.api_key or os.environ.get("HEYGEN_API_KEY")):
            raise AuthError("the API key is missing")
        return AsyncClient.heygen(
            self.api_key,
            base_url=self.base_url,
            api_version=self.api_version,
            timeout=self.timeout,
            options=network,
        )


def _check_key(context: click.Context, parameter: click.Parameter, key: str | None) -> str | None:
    """Refuse an empty key: whoever gives one means a key, and not that of the environment."""
    if key is not None and not key.strip():
        raise click.BadParameter(
            "it is empty. Left out, the key is VTRANS_API_KEY or, for HeyGen, HEYGEN_API_KEY.",
            context,
            parameter,
        )
    return key


_OPTIONS = (
    click.option("--base-url", metavar="URL", help="Address of the server, else VTRANS_BASE_URL."),
    click.option(
        "--api-key",
        metavar="KEY",
        callback=_check_key,
        help="Key for the server, else VTRANS_API_KEY, which is seen by fewer eyes.",
    ),
    click.option(
        "--allow-insecure",
        is_flag=True,
        help="Send the key over plain http to another machine, on a network that you know.",
    ),
    click.option(
        "--heygen",
        is_flag=True,
        help="Speak HeyGen's API: the key is --api-key, else HEYGEN_API_KEY, and the address "
        "--base-url, else HEYGEN_API_BASE, else HeyGen's own. Assumed where HEYGEN_API_KEY is set "
        "and no address is given.",
    ),
    click.option(
        "--api-version",
        type=click.Choice(["v3", "v2"]),
        default="v3",
        show_default=True,
        help="Version of HeyGen's API.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Give up after this time; for ever if not given.",
    ),
    click.option(
        "--transport",
        type=click.Choice(["auto", "push", "poll"]),
        default="auto",
        show_default=True,
        help="How to follow jobs; auto is push, and polls when it drops.",
    ),
    click.option(
        "--output",
        type=click.Choice(["text", "jsonl"]),
        help="Lines for people, or JSON Lines; text on a terminal, jsonl otherwise.",
    ),
    click.option("-v", "--verbose", count=True, help="Log to stderr; twice for every message."),
)


def server_options(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Give a command the options that `ServerOptions` is made of."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function

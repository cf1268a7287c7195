"""A video-translation backend to develop and test against.

    async with Simulator(delay=2) as sim:
        ...  # use sim.url

REST, the job-event channel and the control API answer on one port; faults come on demand.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from random import Random, SystemRandom
from types import TracebackType
from typing import Literal, Self, TypeVar

from aiohttp import web

from simulator.channel import ChannelOptions, ChannelStats, Connection
from simulator.clock import Clock
from simulator.control import Drop
from simulator.deliverer import Deliverer, DelivererStats, WebhookOptions
from simulator.destinations import Destinations
from simulator.faults import Drain, Restart
from simulator.gate import Call
from simulator.heygen import HeyGenOptions
from simulator.jobs import Pace, parse_delay
from simulator.keys import key_digest
from simulator.messages import CreateRequest, ProblemError, Status
from simulator.misfits import fitted
from simulator.options import ServerOptions, base_url
from simulator.orders import Dice, Orders
from simulator.plan import FaultPlan
from simulator.replica import Replica, ReplicaStats
from simulator.rules import Match, Rule
from simulator.server import Server, ServerStats
from simulator.signatures import Secret

__all__ = [
    "Call",
    "ChannelOptions",
    "ChannelStats",
    "DelivererStats",
    "FaultPlan",
    "HeyGenOptions",
    "Match",
    "Pace",
    "ReplicaStats",
    "Rule",
    "ServerStats",
    "Simulator",
    "Status",
]


T = TypeVar("T")


class Simulator:
    """A backend in this process and this loop: `async with Simulator() as sim`.

    Before it has started, `seed` and `faults` are there; whatever else is asked is a RuntimeError.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one, which is kept over restarts.
        delay: how long a job takes where its order does not say: seconds, a range ("3:10"), or a
            distribution ("lognormal:300,0.5", "exponential:5").
        error_probability: how likely a job ends in `error`, from 0 to 1, where its order does not
            say.
        seed: of durations, failures and faults; None draws one. Job ids are never the same twice.
        speed: how many times faster a job runs than `delay` says.
        ping: seconds of silence on a channel after which it is pinged.
        grace: seconds that the answer to a ping may take.
        api_keys: the keys of which a caller must show one; none are asked for if it is empty.
        pace: how often a running job tells of its progress; None for `Pace()`, about 20 times.
        channel: the other terms of the channel; None for `ChannelOptions()`.
        has_control: whether `/_control/` answers, by which faults are asked for from outside.
        control_key: the key that everybody must show to `/_control/`; None lets in programs on
            this machine, and nobody else.
        webhook_secret: signs what is posted to the `callback_url` of an order: `whsec_` and base64;
            None draws one (`webhook_secret`), and leaves those of HeyGen's dialect unsigned.
        allow_private_webhooks: whether they may go to private networks (RFC 1918, RFC 4193) and to
            this machine, and not only to public addresses and, if `host` is on loopback, to this
            machine; they never go elsewhere.
        heygen: what HeyGen's API is like here; None for `HeyGenOptions()`.

    Raises:
        ValueError: an argument is out of its range; the text says which one.
        TypeError: `api_keys` is a single key; or `pace`, `channel` or `heygen` is something else,
            such as the client's options of the same name.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        delay: float | str = "5",
        error_probability: float = 0.0,
        seed: int | str | None = None,
        speed: float = 1.0,
        ping: float = 5.0,
        grace: float = 5.0,
        api_keys: Iterable[str] = (),
        pace: Pace | None = None,
        channel: ChannelOptions | None = None,
        has_control: bool = True,
        control_key: str | None = None,
        webhook_secret: str | None = None,
        allow_private_webhooks: bool = False,
        heygen: HeyGenOptions | None = None,
    ) -> None:
        _check_jobs(delay, error_probability, speed)
        if not (ping > 0 and grace > 0):
            raise ValueError(f"ping and grace are above 0, not {ping} and {grace}.")
        if not 0 <= port <= 65_535:
            raise ValueError(f"port is from 0 to 65535, not {port}.")
        pace = _of_kind("pace", Pace() if pace is None else pace, Pace)
        terms = ChannelOptions() if channel is None else channel
        _of_kind("channel", terms, ChannelOptions).check()
        face = HeyGenOptions() if heygen is None else heygen
        _of_kind("heygen", face, HeyGenOptions).check()
        self.seed = SystemRandom().getrandbits(32) if seed is None else seed
        """What the randomness of this simulator grew from; give it again to see the same again."""
        self.faults = FaultPlan(self.seed)
        """The faults that it shows; empty at first."""
        orders = Orders(str(delay), error_probability, speed, pace)
        self._options = ServerOptions(
            host=host,
            port=port,
            orders=orders,
            channel=terms._replace(ping=ping, grace=grace),
            key_digests=tuple(map(key_digest, _several(api_keys))),
            has_control=has_control,
            control_digest=None if control_key is None else key_digest(control_key),
            heygen=face,
        )
        self._webhooks = WebhookOptions(
            None if webhook_secret is None else Secret(webhook_secret),
            Destinations.of(host, allows_private=allow_private_webhooks),
        )
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # -- properties ---------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._running().port

    @property
    def url(self) -> str:
        """The base URL of REST, without a slash at the end."""
        return base_url(self._options.host, self.port)

    @property
    def channel_url(self) -> str:
        """The URL of the channel."""
        return f"ws{self.url.removeprefix('http')}/events"

    @property
    def epoch(self) -> str:
        """The identity of the present history; a restart that loses state changes it."""
        return self._running().log.epoch

    @property
    def jobs(self) -> dict[str, Status]:
        """The newest status of every job, oldest job first."""
        return self._running().log.statuses()

    @property
    def calls(self) -> deque[Call]:
        """The last 10,000 requests, the oldest first; those for the channel once it has closed."""
        return self._running().calls

    @property
    def routes(self) -> list[web.AbstractRoute]:
        """What the server serves now; nothing while it is down."""
        return self._running().routes

    @property
    def webhook_secret(self) -> str:
        """What signs deliveries to the `callback_url` of native orders now."""
        return self._running().deliverer.secret.text

    @property
    def connections(self) -> list[Connection]:
        """The channels that are open, the oldest first."""
        channel = self._running().channel
        return [] if channel is None else channel.connections

    @property
    def replica(self) -> Replica:
        """Who runs the jobs.

        Raises:
            RuntimeError: the simulator is down.
        """
        replica = self._running().replica
        if replica is None:
            raise RuntimeError("The simulator is down; wait until its restart is over.")
        return replica

    def stats(self) -> ServerStats:
        """Return the present numbers."""
        return self._running().stats()

    # -- public methods -----------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; `async with` does this.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it was started before.
        """
        if self._server is not None:
            raise RuntimeError("This simulator was started already.")
        now = asyncio.get_running_loop().time
        clock = Clock(now, time.time() - now())
        self._server = Server(
            self._options,
            plan=self.faults,
            clock=clock,
            # Ids come from the system, so that a process with the same seed gives other ones.
            dice=Dice(Random(SystemRandom().getrandbits(128)), Random(f"{self.seed}:lives")),
            deliverer=self._deliverer(clock),
            random=Random(f"{self.seed}:server"),
        )
        await self._server.start()

    async def aclose(self, *, deadline: float = 0.0) -> None:
        """Leave; `async with` does this.

        Args:
            deadline: seconds that the clients get to move; 0 closes the channels at once.
        """
        if self._server is not None:
            await self._server.close(deadline=deadline)

    async def create(self, **order: object) -> list[Status]:
        """Order translations as `POST /jobs` does, and return the first status of each job.

        Args:
            order: the fields of an order (docs/protocol.md section 4.2): `video_url`, `language` or
                `languages`, `delay` in seconds, `error_probability` ... All may be left out.

        Raises:
            TypeError: an order has no such field.
            ValueError: a field does not fit; the text says which one.
        """
        unknown = sorted(order.keys() - set(CreateRequest.__struct_fields__))
        if unknown:
            known = ", ".join(CreateRequest.__struct_fields__)
            raise TypeError(f"An order has no field {unknown[0]!r}; it has {known}.")
        default = {"video_url": "https://videos.example/talk.mp4"}
        if "languages" not in order:
            default["language"] = "Spanish"
        request = fitted(CreateRequest, "order", **{**default, **order})
        try:
            return [entry.status for entry in await self.replica.create(request)]
        except ProblemError as error:
            raise ValueError(f"This is no order: {error}") from error

    async def history(self, job_id: str) -> list[Status]:
        """Return every version of a job that is still kept, ascending.

        Args:
            job_id: which job.
        """
        return [entry.status for entry in await self._running().log.history(job_id)]

    async def restart(
        self, *, lose_state: Literal["none", "all"] | float = "none", down_for: float = 0.0
    ) -> None:
        """Reset all connections, stay away for a while, and come back on the same port.

        Args:
            lose_state: `all` comes back with a new epoch and no job, `none` with everything; a
                number from 0 to 1 is the part of the jobs that is lost, the rest gets a new epoch.
            down_for: seconds in which connections are refused.

        Raises:
            ValueError: an argument does not fit; the text says which one. Nothing has happened.
        """
        fault = fitted(Restart, "restart", lose_state=lose_state, down_for=down_for)
        await self._running().restart(lose_state=fault.lose_state, down_for=fault.down_for)

    async def drain(
        self, *, deadline: float = 10.0, spread: float | None = None, reason: str = "drain"
    ) -> None:
        """Behave as a server that is about to leave, until the deadline; then go on as a new one.

        Args:
            deadline: seconds until the channels that are left are closed with 1012.
            spread: seconds over which the clients should move; None for as many as their number
                asks for.
            reason: for people; at most 100 characters.

        Raises:
            ValueError: an argument does not fit; the text says which one. Nothing has happened.
        """
        fault = fitted(Drain, "drain", deadline=deadline, spread=spread, reason=reason)
        await self._running().drain(
            deadline=fault.deadline, spread=fault.spread, reason=fault.reason
        )

    async def drop(
        self, *, how: Literal["close", "reset"] = "reset", code: int = 1012, reason: str = ""
    ) -> int:
        """End all channels now, and return how many there were once they are gone.

        Args:
            how: `close` says a close code, `reset` aborts the sockets without a word.
            code: the close code, with `close`; from 1000 to 4999.
            reason: the close reason, with `close`; for people, at most 100 characters.

        Raises:
            ValueError: an argument does not fit; the text says which one. Nothing has happened.
        """
        drop = fitted(Drop, "drop", how=how, code=code, reason=reason)
        present = self.connections
        dropped = self._running().end_channels(drop)
        for connection in present:
            await connection.is_over.wait()
        return dropped

    def _deliverer(self, clock: Clock) -> Deliverer:
        return Deliverer(
            self._webhooks,
            plan=self.faults,
            clock=clock,
            random=Random(f"{self.seed}:webhooks"),
            secrets=SystemRandom(),
        )

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("Start the simulator first: `async with Simulator() as sim`.")
        return self._server


def _check_jobs(delay: float | str, error_probability: float, speed: float) -> None:
    """Refuse what no job can be like."""
    try:
        parse_delay(str(delay))
    except ValueError as error:
        raise ValueError(f"delay: {error}") from error
    if not 0 <= error_probability <= 1:
        raise ValueError(f"error_probability is from 0 to 1, not {error_probability}.")
    if not 0 < speed <= 1e6:
        raise ValueError(f"speed is above 0 and at most 1,000,000, not {speed}.")


def _of_kind(name: str, options: T, kind: type[T]) -> T:
    """Return options, unless they are others: a client may have some of the same name."""
    if not isinstance(options, kind):
        raise TypeError(f"{name} is a simulator.{kind.__name__}, not a {type(options).__name__}.")
    return options


def _several(api_keys: Iterable[str]) -> Iterable[str]:
    """Return keys, unless they are one: its letters would let in whoever guesses one of them."""
    if isinstance(api_keys, str | bytes):
        raise TypeError("api_keys is a list of keys: write api_keys=[key] for a single one.")
    return api_keys

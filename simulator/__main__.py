"""Run a simulator until it is told to stop: `python -m simulator`."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from simulator import ChannelOptions, HeyGenOptions, Simulator
from simulator.heygen import LegacyV2
from simulator.jobs import parse_delay
from simulator.rulebook import Rulebook
from simulator.rules import Rule, parse_rule
from simulator.signatures import Secret
from simulator.terms import check_origin_text

__all__ = ["main"]

_TAKEN = 2  # the exit code of a wrong argument, and of an address that cannot be had


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a simulator and return the exit code.

    Args:
        arguments: those of the command line; None takes them from there.

    Returns:
        0 after SIGINT or SIGTERM, 2 if the address cannot be had.
    """
    options = _parser().parse_args(arguments)
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(options.verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    return asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    book = options.faults or Rulebook(())
    sim = _simulator(options, book.seed)
    for rule in (*book.rules, *options.fault):
        sim.faults.add(rule)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await sim.start()
    except OSError as error:
        place = f"{options.host}:{options.port}"
        sys.stderr.write(f"Cannot listen on {place}: {error.strerror}. Try another --port.\n")
        await sim.aclose()
        return _TAKEN
    sys.stdout.write(_banner(sim, options))
    sys.stdout.flush()  # whoever started this process waits for the first line
    await stop.wait()
    await sim.aclose(deadline=options.drain)
    return 0


def _simulator(options: argparse.Namespace, seed: int | str | None) -> Simulator:
    """Return the simulator that is asked for; a seed of the command line counts more than this."""
    return Simulator(
        options.host,
        options.port,
        delay=options.delay,
        error_probability=options.error_probability,
        seed=seed if options.seed is None else options.seed,
        speed=options.speed,
        ping=options.ping,
        grace=options.grace,
        api_keys=options.api_key + options.api_key_file,
        channel=ChannelOptions(origins=frozenset(options.origin)),
        has_control=options.control,
        control_key=options.control_key_file,
        webhook_secret=options.webhook_secret or options.webhook_secret_file,
        allow_private_webhooks=options.allow_private_webhooks,
        heygen=HeyGenOptions(
            concurrency=options.concurrency,
            quota=options.quota,
            url_lifetime=options.url_lifetime,
            legacy_v2=options.legacy_v2,
            strict=options.strict,
        ),
    )


def _banner(sim: Simulator, options: argparse.Namespace) -> str:
    lines = [
        ("simulator", sim.url),
        ("channel", sim.channel_url),
        ("docs", f"{sim.url}/openapi.json  {sim.url}/asyncapi.json"),
        ("metrics", f"{sim.url}/metrics"),
    ]
    if options.control:
        lines.append(("control", f"{sim.url}/_control/faults"))
    if options.webhook_secret is None and options.webhook_secret_file is None:
        lines.append(("webhooks", f"signed with {sim.webhook_secret}"))  # nobody else knows it
    lines.append(("seed", str(sim.seed)))
    told = "".join(f"{name:<10} {value}\n" for name, value in lines)
    return told + _for_heygen(sim.url, has_keys=bool(options.api_key or options.api_key_file))


def _for_heygen(url: str, *, has_keys: bool) -> str:
    """Return three lines for a shell, by which code that was written for HeyGen finds its way."""
    key = "..." if has_keys else "any-key"
    order = '{"video":{"type":"url","url":"https://example.com/v.mp4"},"output_languages":["es"]}'
    return (
        f"export HEYGEN_API_BASE={url} HEYGEN_ALLOW_HTTP=1\n"
        f"export HEYGEN_API_KEY={key}{'  # one of yours' if has_keys else ''}\n"
        f'curl "$HEYGEN_API_BASE/v3/video-translations" -H "X-Api-Key: $HEYGEN_API_KEY" '
        f"-d '{order}'\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="A video-translation backend to develop against."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=_port, default=8080, help="port; 0 takes a free one (%(default)s)")
    add(
        "--api-key",
        action="append",
        default=[],
        type=_key,
        metavar="KEY",
        help="ask callers for this key; may be repeated",
    )
    add(
        "--api-key-file",
        default=[],
        type=_keys,
        metavar="FILE",
        help="the same for each line of a file, where no list of processes shows it",
    )
    add(
        "--origin",
        action="append",
        default=[],
        type=_origin,
        metavar="ORIGIN",
        help="let pages of this origin ask, such as https://app.example; may be repeated",
    )
    add("--no-control", dest="control", action="store_false", help="leave out /_control/")
    add(
        "--control-key-file",
        type=_first_key,
        metavar="FILE",
        help="ask callers of /_control/ for the key in this file, and let in other machines",
    )
    add("-v", "--verbose", action="count", default=0, help="log more; twice for every message")
    _add_job_options(parser)
    _add_channel_options(parser)
    _add_webhook_options(parser)
    _add_heygen_options(parser)
    _add_fault_options(parser)
    return parser


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("jobs").add_argument
    add(
        "--delay",
        type=_delay,
        default="5",
        metavar="SECONDS|LOW:HIGH|DISTRIBUTION",
        help="how long a job takes: 5, 3:10, lognormal:300,0.5, exponential:5 (%(default)s)",
    )
    add(
        "--error-probability",
        type=_probability,
        default=0.0,
        metavar="P",
        help="how likely a job ends in error, 0 to 1 (%(default)s)",
    )
    add("--seed", help="repeat the durations, failures and faults of another run")
    add(
        "--speed",
        type=_positive,
        default=1.0,
        metavar="X",
        help="run jobs X times faster than they say (%(default)s)",
    )


def _add_channel_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("channel").add_argument
    add(
        "--ping",
        type=_positive,
        default=5.0,
        metavar="SECONDS",
        help="silence on a channel after which it is pinged (%(default)s)",
    )
    add(
        "--grace",
        type=_positive,
        default=5.0,
        metavar="SECONDS",
        help="how long the answer to a ping may take (%(default)s)",
    )
    add(
        "--drain",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how long clients get to move when the server is stopped (%(default)s)",
    )


def _add_webhook_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("webhooks (docs/protocol.md section 7)")
    secrets = group.add_mutually_exclusive_group()
    secrets.add_argument(
        "--webhook-secret",
        type=_secret,
        metavar="whsec_...",
        help="sign what is posted to a callback_url with this; otherwise one is drawn and printed",
    )
    secrets.add_argument(
        "--webhook-secret-file",
        type=_first_secret,
        metavar="FILE",
        help="the same from a file, where no list of processes shows it",
    )
    group.add_argument(
        "--allow-private-webhooks",
        action="store_true",
        help="deliver to private networks (RFC 1918, RFC 4193) and this machine, too, not only to "
        "public addresses and, from a server on loopback, to this machine",
    )


def _add_heygen_options(parser: argparse.ArgumentParser) -> None:
    usual = HeyGenOptions()
    add = parser.add_argument_group("HeyGen's face (docs/heygen.md)").add_argument
    add(
        "--concurrency",
        type=_count,
        default=usual.concurrency,
        metavar="N",
        help="refuse orders of a key while so many of its translations are open; 0 lifts that "
        "(%(default)s)",
    )
    add(
        "--quota",
        type=_count,
        metavar="N",
        help="let a key order so many translations at all; without it, any number",
    )
    add(
        "--url-lifetime",
        type=_lifetime,
        default=usual.url_lifetime,
        metavar="SECONDS",
        help="how long the address of a result is good (%(default).0f)",
    )
    add(
        "--legacy-v2",
        choices=get_args(LegacyV2),
        default=usual.legacy_v2,
        help="what has become of HeyGen's v2: deprecated adds a header Sunset, retired answers 410 "
        "(%(default)s)",
    )
    add(
        "--heygen-extras",
        dest="strict",
        action="store_false",
        help="tell of progress and remaining time, too, which HeyGen does not",
    )


def _add_fault_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("faults (docs/faults.md)").add_argument
    add(
        "--fault",
        action="append",
        default=[],
        type=_rule,
        metavar="NAME:KEY=VALUE,...",
        help="show a fault, such as status:status=503,probability=0.1,path=/status*; may be "
        "repeated",
    )
    add(
        "--faults",
        type=_rulebook,
        metavar="FILE",
        help="show the faults of a plan, YAML or (.json) JSON",
    )


def _rule(text: str) -> Rule:
    try:
        return parse_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _rulebook(text: str) -> Rulebook:
    path = Path(text)
    try:
        return Rulebook.parse(
            path.read_text(encoding="utf-8"), syntax="json" if path.suffix == ".json" else "yaml"
        )
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"a port is from 0 to 65535, not {port}")
    return port


def _origin(text: str) -> str:
    try:
        check_origin_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _delay(text: str) -> str:
    try:
        parse_delay(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _probability(text: str) -> float:
    return _number(text, 0.0, 1.0)


def _seconds(text: str) -> float:
    return _number(text, 0.0, 3600.0)


def _count(text: str) -> int:
    count = int(text)
    _number(text, 0, 1e9)
    return count


def _positive(text: str) -> float:
    return _number(text, 1e-3, 1e6)


def _lifetime(text: str) -> float:
    return _number(text, 1, 1e9)


def _number(text: str, low: float, high: float) -> float:
    number = float(text)
    if not low <= number <= high:  # false for NaN as well
        raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:g}")
    return number


def _key(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a key must not be empty")
    return text


def _keys(path: str) -> list[str]:
    """Return the keys in a file: one a line, but for empty lines and those that begin with #."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise argparse.ArgumentTypeError(f"{path} holds no key, and would let everybody in")
    return keys


def _first_key(path: str) -> str:
    return _keys(path)[0]


def _secret(text: str) -> str:
    try:
        Secret(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _first_secret(path: str) -> str:
    return _secret(_first_key(path))


if __name__ == "__main__":
    sys.exit(main())

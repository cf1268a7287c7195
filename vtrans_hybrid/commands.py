"""The commands of `vtrans`: options in, calls of the client, lines and an exit code out."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, ParamSpec, TypeVar

import click
import msgspec

from vtrans_hybrid.arguments import near_names
from vtrans_hybrid.client import AsyncClient, Mode
from vtrans_hybrid.demo import show_demo
from vtrans_hybrid.errors import InvalidRequest, JobNotFound, VtransError
from vtrans_hybrid.models import Job, JobStatus, State
from vtrans_hybrid.server_options import ServerOptions, server_options
from vtrans_hybrid.simulation import serve
from vtrans_hybrid.terminal import EXIT_CODES, Printer, complain, exit_code
from vtrans_hybrid.watch import Watch

__all__ = ["run"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

_HINT_TIMEOUT = 5.0
"""Seconds to find out what may have been meant by something that is refused."""

_LISTED = "`vtrans languages` lists those there are"
_NAMED_TWICE = re.compile(r"\b(?:twice|duplicate)", re.IGNORECASE)

_ENDED_BADLY = 5
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_NOBODY_READS = 128 + 13  # SIGPIPE, which Windows has no name for


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return the exit code; see `cli.main`."""
    try:
        code: int | None = _vtrans.main(list(arguments), "vtrans", standalone_mode=False)
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        help_at = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            help_at = f" See `{error.ctx.command_path} --help`."
        complain(error.format_message() + help_at)
        return error.exit_code
    return code or 0


class _Session(NamedTuple):
    """What a command works with."""

    client: AsyncClient
    printer: Printer
    timeout: float | None
    """Seconds for the whole command; None for as long as it takes."""


def _chosen_jobs(function: Callable[_P, _T]) -> Callable[_P, _T]:
    function = click.option(
        "--default", "is_default", is_flag=True, help="The one job of a plain server without ids."
    )(function)
    return click.argument("jobs", metavar="JOB...", nargs=-1)(function)


@click.group(invoke_without_command=True, epilog=EXIT_CODES)
@click.version_option(package_name="vtrans-hybrid", message="%(prog)s %(version)s")
@server_options
@click.pass_context
def _vtrans(context: click.Context, /, **options: Any) -> None:
    """Order video translations, and know the moment they are done.

    `vtrans demo` shows it at work. Options may stand before or after the command.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    context.default_map = dict.fromkeys(_vtrans.commands, given)


@_vtrans.command()
@click.argument("video", metavar="VIDEO_URL")
@click.option(
    "-l", "--language", "languages", multiple=True, required=True, help="Target; may be repeated."
)
@click.option("--title", help="Name of the order.")
@click.option(
    "-o",
    "--option",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="Further field of the order, in the backend's words; may be repeated.",
)
@click.option("--watch", "is_watched", is_flag=True, help="Show every update to the jobs' end.")
@click.option("--wait", "is_waited_for", is_flag=True, help="Show how each job ends.")
@server_options
def submit(
    video: str,
    languages: tuple[str, ...],
    title: str | None,
    fields: tuple[str, ...],
    is_watched: bool,
    is_waited_for: bool,
    **options: Any,
) -> int:
    """Order translations of a video, one job for each language."""
    order = dict(map(_field_of, fields))
    if title is not None:
        order["title"] = title
    if taken := {"video", "video_url", "language", "languages", "timeout"} & order.keys():
        raise click.UsageError(f"{min(taken)} is no --option of an order: it has its own place.")

    async def work(session: _Session) -> int:
        try:
            jobs = await _in_time(
                session, session.client.submit_all(video, languages=languages, **order)
            )
        except InvalidRequest as error:
            await _note_near_languages(session, languages, error)
            raise
        if is_watched:
            return await _follow(session, session.client.watch_all(jobs))
        if is_waited_for:
            return await _wait(session, jobs)
        return _show(session, map(_status_of, jobs))

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@_chosen_jobs
@click.option(
    "--mode",
    type=click.Choice(["latest", "all"]),
    default="latest",
    show_default=True,
    help="The newest of what came meanwhile, or every version that the server keeps.",
)
@server_options
def watch(jobs: tuple[str, ...], is_default: bool, mode: Mode, **options: Any) -> int:
    """Show every update of jobs until the last of them has ended."""
    _check_chosen(jobs, is_default)

    async def work(session: _Session) -> int:
        if is_default:
            return await _follow(session, session.client.watch(mode=mode))
        return await _follow(session, session.client.watch_all(jobs, mode=mode))

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@_chosen_jobs
@server_options
def wait(jobs: tuple[str, ...], is_default: bool, **options: Any) -> int:
    """Show the final status of each job as it comes."""
    _check_chosen(jobs, is_default)

    async def work(session: _Session) -> int:
        if not is_default:
            return await _wait(session, jobs)
        with session.printer.bars():
            session.client.on_update(session.printer.move)
            return _show(session, [await session.client.wait()])

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@_chosen_jobs
@server_options
def status(jobs: tuple[str, ...], is_default: bool, **options: Any) -> int:
    """Show the status of jobs as it is now."""
    _check_chosen(jobs, is_default)

    async def work(session: _Session) -> int:
        if is_default:
            return _show(session, [await _in_time(session, session.client.status())])
        try:
            found = await _in_time(session, session.client.statuses(jobs))
        except JobNotFound as error:
            _show(session, error.statuses.values())
            raise
        return _show(session, found.values())

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@server_options
def cancel(jobs: tuple[str, ...], **options: Any) -> int:
    """Cancel jobs; one that has ended stays as it is."""

    async def work(session: _Session) -> int:
        failure: VtransError | None = None
        for job in jobs:
            try:
                _show(session, [await _in_time(session, session.client.cancel(job))])
            except JobNotFound as error:  # which says nothing of the others
                failure = failure or error
        if failure is not None:
            raise failure
        return 0

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@server_options
def delete(jobs: tuple[str, ...], **options: Any) -> int:
    """Delete jobs and their results for good."""

    async def work(session: _Session) -> int:
        for job in jobs:
            await _in_time(session, session.client.delete(job))
        return 0

    return _talk(ServerOptions(**options), work)


@_vtrans.command("list")
@server_options
def list_jobs(**options: Any) -> int:
    """Show all jobs of the key as they are now."""

    async def work(session: _Session) -> int:
        async def show_all() -> None:
            async for status in session.client.list_jobs():
                session.printer.show(status)

        await _in_time(session, show_all())
        return 0

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@server_options
def languages(**options: Any) -> int:
    """Show the languages that videos can be translated into."""

    async def work(session: _Session) -> int:
        for name in await _in_time(session, session.client.languages()):
            session.printer.show_language(name)
        return 0

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
@click.argument("job", metavar="JOB")
@server_options
def url(job: str, **options: Any) -> int:
    """Show an address of the result of a job that was signed just now."""

    async def work(session: _Session) -> int:
        click.echo(await _in_time(session, session.client.refresh_url(job)))
        return 0

    return _talk(ServerOptions(**options), work)


@_vtrans.command()
def demo() -> int:
    """Show push, a cut, polls, and push again, in ten seconds."""
    return _run(show_demo())


@_vtrans.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> int:
    """Run a backend to develop against; --help tells its options."""
    return _run(serve(arguments))


def _talk(options: ServerOptions, work: Callable[[_Session], Awaitable[int]]) -> int:
    """Do the work of a command with a client of its own, and return the exit code."""
    options.check()
    if options.verbose:
        logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
        level = logging.INFO if options.verbose == 1 else logging.DEBUG
        logging.getLogger("vtrans_hybrid").setLevel(level)
    else:
        logging.basicConfig(format="vtrans: %(message)s")  # of warnings, as of complaints
    form = options.output or ("text" if sys.stdout.isatty() else "jsonl")
    printer = Printer(form, has_bars=not options.verbose)

    async def talk() -> int:
        async with options.make_client() as client:
            return await work(_Session(client, printer, options.timeout))

    return _run(talk())


def _run(work: Coroutine[object, object, int]) -> int:
    """Run to the end, an error or a signal, and return the exit code."""
    try:
        return asyncio.run(_until_terminated(work))
    except KeyboardInterrupt:
        complain("interrupted")
        return _INTERRUPTED
    except asyncio.CancelledError:
        return _TERMINATED
    except BrokenPipeError:
        # Whoever read our output has left. The interpreter must not try to write there at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    except (VtransError, TimeoutError, ValueError) as error:
        complain(error)
        return exit_code(error)


async def _until_terminated(work: Coroutine[object, object, int]) -> int:
    """Let SIGTERM end the work as Ctrl-C does, so that nothing is left behind."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    with suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


async def _in_time(session: _Session, work: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(session.timeout):
            return await work
    except TimeoutError as error:
        if isinstance(error, VtransError):
            raise
        sentence = f"no answer within {session.timeout:g} s: try a longer --timeout"
        raise TimeoutError(sentence) from error


async def _note_near_languages(
    session: _Session, wanted: Iterable[str], refusal: InvalidRequest
) -> None:
    """Note which languages may have been meant, where a server refuses some and lists its own."""
    said = str(refusal)
    if "language" not in said.lower() or _NAMED_TWICE.search(said):
        return
    patience = min(_HINT_TIMEOUT, session.timeout or _HINT_TIMEOUT)
    try:
        known = await session.client.languages(timeout=patience)
    except VtransError:
        return  # the refusal is what counts
    for name, near in near_names(wanted, known).items():
        meant = " or ".join(map(repr, near))
        other = "" if repr(name) in said else f", not {name!r}"  # a refusal names one at most
        refusal.add_note(f"did you mean {meant}{other}?" if near else _LISTED)


async def _follow(session: _Session, watch: Watch) -> int:
    """Show what a watch brings until it ends; return the exit code."""
    code = 0
    with session.printer.bars():
        async for update in watch:
            session.printer.move(update)
            code = max(code, _show(session, [update]))
    return code


async def _wait(session: _Session, jobs: Iterable[Job | str]) -> int:
    """Show the final status of each job as it comes; return the exit code."""
    client = session.client
    with session.printer.bars():
        client.on_update(session.printer.move)
        return max([_show(session, [status]) async for status in client.as_completed(jobs)])


def _show(session: _Session, statuses: Iterable[JobStatus]) -> int:
    """Write statuses; return the exit code that they ask for."""
    code = 0
    for each in statuses:
        session.printer.show(each)
        if each.is_final and not each.ok:
            code = _ENDED_BADLY
    return code


def _status_of(job: Job) -> JobStatus:
    first = JobStatus(job_id=job.job_id, state=State.PENDING, language=job.language)
    return job.status or first


def _check_chosen(jobs: tuple[str, ...], is_default: bool) -> None:
    if is_default == bool(jobs):
        raise click.UsageError("Name the jobs, or ask for the --default job of a plain server.")


def _field_of(text: str) -> tuple[str, Any]:
    """Return name and value of a field; a value that is no JSON is a text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--option")
    try:
        return name, msgspec.json.decode(value.encode())
    except msgspec.DecodeError:
        return name, value

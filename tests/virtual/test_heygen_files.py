"""The files behind the signed addresses of results."""

import asyncio
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from simulator import HeyGenOptions, Simulator
from simulator.heygen.video import DURATION, video
from tests.conformance.heygen_caller import PATH, Caller

pytestmark = pytest.mark.virtual_simulator(delay=1)
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl")


@pytest.fixture
def caller(virtual_simulator: Simulator) -> Caller:
    """Return who asks."""
    return Caller(virtual_simulator)


async def fetch(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    """Return the status, the type and the body of a file, asked for without any key."""
    async with aiohttp.ClientSession() as http, http.request(method, url) as answer:
        return answer.status, answer.content_type, await answer.read()


async def done(caller: Caller) -> dict[str, str]:
    """Return what is said of a translation that has completed, captions and all."""
    [job_id] = await caller.new(enable_caption=True)
    await asyncio.sleep(2)
    return await caller.one(job_id)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over all boxes of an MP4 file, those inside others too; they must fill it exactly."""
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        assert 8 <= size <= len(data), kind
        content, data = data[8:size], data[size:]
        yield kind, content
        if kind in CONTAINERS:
            yield from boxes(content)
        if kind in (b"stsd", b"dref"):
            yield from boxes(content[8:])
        if kind == b"avc1":
            yield from boxes(content[78:])


async def test_results_are_small_real_files(caller: Caller) -> None:
    """Each address leads to a file of its kind, of less than 4 KB, and HEAD works as well."""
    told = await done(caller)
    files = [
        await fetch(told[name]) for name in ("video_url", "srt_caption_url", "vtt_caption_url")
    ]

    assert [(status, kind) for status, kind, _ in files] == [
        (200, "video/mp4"),
        (200, "application/x-subrip"),
        (200, "text/vtt"),
    ]
    assert files[0][2] == video()
    assert len(video()) < 4096
    assert files[1][2].startswith(b"1\n00:00:00,000 --> 00:00:02,000\n")
    assert files[2][2].startswith(b"WEBVTT\n\n00:00:00.000 --> ")
    assert await fetch(told["video_url"], "HEAD") == (200, "video/mp4", b"")


def test_video_is_a_film() -> None:
    """Its boxes nest as they must, and the table of samples leads to each picture of the stream."""
    found = dict(boxes(video()))

    assert list(found)[:3] == [b"ftyp", b"moov", b"mvhd"]
    timescale, duration = struct.unpack(">2I", found[b"mvhd"][12:20])
    assert duration / timescale == DURATION
    _, count, *sizes = struct.unpack(">4I", found[b"stsz"][4:20])
    assert struct.unpack(">3I", found[b"stts"][4:16]) == (1, count, duration // count)
    [at] = struct.unpack(">I", found[b"stco"][8:12])
    for size in sizes:
        length, header = struct.unpack(">IB", video()[at : at + 5])
        assert (length + 4, header & 0x1F) == (size, 5), "a picture that needs no other"
        at += size
    assert at == len(video())
    assert found[b"avcC"][0] == 1
    sequence = found[b"avcC"][8 : 8 + found[b"avcC"][7]]
    assert sequence[0] & 0x1F == 7
    assert b"\0\0\0" not in video()[-sum(sizes) :].replace(struct.pack(">I", sizes[0] - 4), b"")


async def test_addresses_are_signed_anew(caller: Caller) -> None:
    """Each read brings another address, and all of them work."""
    told = await done(caller)
    await asyncio.sleep(1)
    again = await caller.one(told["id"])

    assert told["video_url"] != again["video_url"]
    for one in (told, again):
        assert (await fetch(one["video_url"]))[0] == 200


@pytest.mark.virtual_simulator(delay=1, heygen=HeyGenOptions(url_lifetime=600))
async def test_addresses_expire(caller: Caller) -> None:
    """After its lifetime an address is refused, whatever time is written into it."""
    url = (await done(caller))["video_url"]
    await asyncio.sleep(598)
    assert (await fetch(url))[0] == 200
    await asyncio.sleep(2)
    assert (await fetch(url))[0] == 403
    later = urlsplit(url).query.split("&")[0].removeprefix("Expires=")
    assert (await fetch(url.replace(later, str(int(later) + 600))))[0] == 403


async def test_addresses_open_one_file(caller: Caller) -> None:
    """Whatever is changed of an address, it opens nothing; nor does one without a signature."""
    told = await done(caller)
    [other] = await caller.new()
    await asyncio.sleep(2)
    url = told["video_url"]
    last = url[-1]
    changed = [
        url[:-1] + ("0" if last != "0" else "1"),
        url[:-1],
        url.replace(told["id"], other),
        url.replace("video.mp4", "captions.srt"),
        url.partition("?")[0],
        url.partition("&")[0],
        url.replace("Expires=", "Expires=9"),
        url.replace("Expires=", "Expires=%FF"),
        url.replace("Signature=", "Signature=%E2%82%AC"),
    ]
    assert [(await fetch(one))[0] for one in changed] == [403] * len(changed)


async def test_signatures_are_not_kept(caller: Caller, virtual_simulator: Simulator) -> None:
    """The list of calls names the file, and not what opens it."""
    await fetch((await done(caller))["video_url"])
    [path] = [call.path for call in virtual_simulator.calls if call.path.startswith("/files/")]
    assert path.endswith("&Signature=***")


async def test_files_go_with_their_translation(caller: Caller) -> None:
    """What was deleted cannot be fetched any more."""
    told = await done(caller)
    await caller.ask("DELETE", f"{PATH}/{told['id']}", "deleted")
    assert (await fetch(told["video_url"]))[0] == 404

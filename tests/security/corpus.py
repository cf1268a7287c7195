"""Answers and frames that no honest server sends, generated from a seed.

Most begin as a message of `tests/golden`, so that they get past the first check and do their harm
behind it.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.security.raw_peer import bomb
from tests.security.raw_peer import frame as client_frame

__all__ = [
    "JOB",
    "answer",
    "body",
    "frame",
    "frames",
    "headers",
    "refused_upgrade",
    "status_line",
    "warm_up",
]

GOLDEN: Final = Path(__file__).parents[1] / "golden"
JOB: Final = "job-1"
"""The job that the client asks about."""


@cache
def golden(prefix: str = "") -> list[Any]:
    """Return the messages of protocol.md whose names begin so."""
    return [json.loads(path.read_text()) for path in sorted(GOLDEN.glob(f"{prefix}*.json"))]


@cache
def nested(depth: int, opening: str = "[") -> str:
    """Return JSON of that depth which is never closed again."""
    return opening * depth


# What stands where something else was expected, as JSON; some of it is none.
_NUMBERS: Final = [
    *("0", "-1", "1", "2", "0.5", "1.5", "-0.0", "1e308", "-1e308", "1e-320", "1" + "0" * 300),
    *("9007199254740993", "18446744073709551616", "-9223372036854775809", "9" * 5000),
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999"),
]
_TEXTS: Final = [
    *('""', '"\\ud800"', '"\\u0000"', '"\\u202e"', '"../../etc/passwd"', '"a\\r\\nX: y"'),
    *('"NaN"', '"1e999"', '"running"', '"completed"', '"error"', '"canceled"', '"RUNNING "'),
    *('"gone"', '"not_found"', '"job-1"', '"job-2"', '"zzzz"', '"!"', '"javascript:alert(1)"'),
    *('"2026-01-01T00:00:00Z"', '"9999-99-99T99:99:99Z"', '"0000-00-00T00:00:00Z"'),
    *('"01JD0000000000000000000000"', f'"{"x" * 5000}"'),
]
_VALUES: Final = [
    *("null", "true", "false", "[]", "{}", "[[]]", '{"a":{}}', '{"code":1,"message":[]}'),
    *('{"not_found":"job-1"}', '{"job-1":"gone"}', '{"job-1":"not_found"}', '{"job-1":7}'),
    *('{"\\ud800":""}', nested(500) + "]" * 500, nested(20_000), nested(5_000, '{"a":')),
    *_NUMBERS,
    *_TEXTS,
]


def warm_up() -> None:
    """Make what is made once, so that no measurement of memory counts it."""
    _answers()
    _channel_messages()
    _bomb()


def message(random: Random, base: list[Any]) -> bytes:
    """Return one of the messages, spoiled here and there."""
    return _spoiled(random, random.choice(base))


def body(random: Random, base: list[Any] | None = None) -> bytes:
    """Return the body of an answer; it begins as one of `base`, by default as one about a job."""
    base = base or _answers()
    kind = random.random()
    if kind < 0.3:
        return message(random, base)
    if kind < 0.9:
        return _with_values(random, random.choice(base), count=random.randrange(4))
    return _no_message(random)


@cache
def _answers() -> list[Any]:
    prefixes = ("status", "plain", "bulk-answer", "create-answer", "problem", "list-answer")
    return [document for prefix in prefixes for document in golden(prefix)]


@cache
def _channel_messages() -> list[Any]:
    return golden("channel")


def frame(random: Random) -> bytes:
    """Return the content of one frame of the channel."""
    kind = random.random()
    if kind < 0.2:
        return message(random, _channel_messages())
    if kind < 0.9:
        return _with_values(random, random.choice(_channel_messages()), count=random.randrange(4))
    return _no_message(random)


def _spoiled(random: Random, document: Any) -> bytes:
    """Return a document with one to four bytes or pieces changed."""
    text = bytearray(_with_values(random, document, count=random.randrange(3)))
    for _ in range(random.randrange(4)):
        at = random.randrange(len(text) + 1)
        match random.randrange(5):
            case 0:
                del text[at:]
            case 1:
                text[at:at] = random.choice([b"\xff", b"\x00", b"\xed\xa0\x80", b'"', b"}", b","])
            case 2:
                text[at : at + 1] = bytes([random.randrange(256)])
            case 3:
                del text[at : at + random.randrange(1, 9)]
            case 4:
                text += text[at:]
    return bytes(text)


def _with_values(random: Random, document: Any, count: int) -> bytes:
    """Return the JSON of a document in which some values are others, or are gone, or come twice."""
    marked = json.loads(json.dumps(document))
    values = {}
    for number in range(count):
        places = list(_places(marked))
        if not places:
            break
        container, key = random.choice(places)
        mark = f"@{number}@"
        match random.randrange(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[random.choice(["", "type", "version", "epoch", "a" * 200])] = mark
            case _:
                values[mark] = _another(random, container[key])
                container[key] = mark
        values.setdefault(mark, random.choice(_VALUES))
    text = json.dumps(marked)
    for mark, value in values.items():
        text = text.replace(f'"{mark}"', value)
    return text.encode("utf-8", "surrogatepass")


def _another(random: Random, value: Any) -> str:
    """Return JSON to stand for a value, mostly of its own type."""
    if random.random() < 0.8 and isinstance(value, int | float):
        return random.choice(_NUMBERS)
    if random.random() < 0.8 and isinstance(value, str):
        return random.choice(_TEXTS)
    return random.choice(_VALUES)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _no_message(random: Random) -> bytes:
    """Return bytes that are no message at all."""
    makers: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: random.randbytes(random.randrange(1, 400)),
        lambda: random.choice(_VALUES).encode(),
        lambda: b"\xef\xbb\xbf{}",
        lambda: '{"job_id":"job-1","state":"running"}'.encode("utf-16"),
        lambda: b'{"job_id":"job-1","state":"running"}' * 2,
        lambda: b"<!doctype html><title>Sign in</title>",
        lambda: b'{"jobs":[' + b"{}," * random.randrange(2000) + b"{}]}",
        lambda: b'{"type":"' + b"x" * random.randrange(20_000) + b'"}',
        lambda: b'{"type":"events","events":[' + b"0," * random.randrange(2000) + b"0]}",
    ]
    return random.choice(makers)()


# -- HTTP -----------------------------------------------------------------------------------------

_STATUSES: Final = [200] * 80 + [
    *(100, 101, 102, 103, 199, 201, 202, 204, 206, 299, 300, 301, 302, 303, 304, 307, 308, 399),
    *(
        400,
        401,
        402,
        403,
        404,
        405,
        407,
        408,
        409,
        410,
        413,
        418,
        421,
        425,
        426,
        429,
        431,
        451,
        499,
    ),
    *(500, 501, 502, 503, 504, 505, 511, 599, 600, 999),
]

_HEADERS: Final = [
    *("Retry-After: NaN", "Retry-After: -5", "Retry-After: 1e999", "Retry-After: " + "9" * 400),
    *("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "Retry-After: soon", "Retry-After-Ms: inf"),
    *(
        "Date: never",
        "Date: Mon, 01 Jan 0001 00:00:00 +9999",
        "Content-Type: ",
        "Content-Type: \x7f",
    ),
    *("Content-Type: application/json; charset=utf-99", "Content-Type: " + "a/" * 500),
    *(
        "Location: http://127.0.0.1:1/",
        "Location: \x01",
        "Location: //[",
        "Set-Cookie: a=b; Domain=.",
    ),
    *("Content-Encoding: gzip", "Content-Encoding: br, gzip", "Content-Encoding: zstd"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Connection: keep-alive"),
    *(
        "Content-Length: -1",
        "Content-Length: 1_0",
        "Content-Length: \u0661",
        "Content-Length: 1" * 9,
    ),
    *(
        "X-Request-Id: " + "\xff" * 50,
        "No colon",
        ": no name",
        "A : b",
        " folded",
        "\x00: y",
        "X:" + "z" * 9000,
    ),
    *("Upgrade: h2c", "X: " + "y" * 200_000, "WWW-Authenticate: Basic realm=\x80"),
]


def status_line(random: Random) -> str:
    """Return the first line of an answer, mostly a proper one."""
    if random.random() < 0.95:
        return f"HTTP/1.1 {random.choice(_STATUSES)} X"
    return random.choice(
        [
            *("HTTP/1.1 2 OK", "HTTP/1.1", "HTTP/9.9 200 OK", "HTTP/1.1 \u0662\u0660\u0660 OK"),
            *("HTTP/1.0 200 OK", "ICY 200 OK", "", "HTTP/1.1 0200 OK"),
            "HTTP/1.1 200 " + "x" * 9000,
        ]
    )


def headers(random: Random) -> dict[str, str]:
    """Return the headers of an answer, by their names in lower case."""
    chosen = [line.partition(":") for line in random.sample(_HEADERS, random.randrange(3))]
    return {name.strip().lower(): value.strip() for name, _, value in chosen}


def answer(random: Random, base: list[Any] | None = None) -> bytes:
    """Return the bytes of an HTTP answer, whose body is made as `body` has it."""
    if random.random() < 0.06:
        return _no_answer(random)
    is_packed = random.random() < 0.15
    content = body(random, base)
    payload, headers = _packed(random, content) if is_packed else (content, [])
    lines = [status_line(random), *headers, *_length(random, payload)]
    lines += random.sample(_HEADERS, random.choice([0, 0, 0, 1, 2]))
    if random.random() < 0.01:
        lines += [f"X-{number}: y" for number in range(20_000)]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass")
    if random.random() < 0.05:
        head = head[: random.randrange(len(head))]
    if random.random() < 0.05:
        payload += b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"  # nobody asked for this one
    return head + payload


def _length(random: Random, payload: bytes) -> list[str]:
    kind = random.random()
    if kind < 0.8:
        return [f"Content-Length: {len(payload)}"]
    if kind < 0.9:
        return [f"Content-Length: {len(payload) + random.choice([-1, 1, 1000, 10**12])}"]
    return []


def _packed(random: Random, content: bytes) -> tuple[bytes, list[str]]:
    """Return a body as it arrives, and the headers that say how it was packed."""
    match random.randrange(6):
        case 0:
            return _bomb(), ["Content-Encoding: gzip"]
        case 1:
            return gzip.compress(content), ["Content-Encoding: gzip"]
        case 2:
            return gzip.compress(content)[: random.randrange(9, 18)], ["Content-Encoding: gzip"]
        case 3:
            return zlib.compress(bytes(2**16)), ["Content-Encoding: deflate"]
        case 4:
            sizes = [b"%x" % len(content), b"-1", b"ffffffffffffffff", b"g", b"1;x\n", b"00" * 9000]
            chunk = random.choice(sizes) + b"\r\n" + content + b"\r\n0\r\n\r\n"
            return chunk, ["Transfer-Encoding: chunked"]
        case _:
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content[:500])
            return chunks + b"0\r\n\r\n", ["Transfer-Encoding: chunked"]


@cache
def _bomb() -> bytes:
    return bomb(64 * 2**20)


def _no_answer(random: Random) -> bytes:
    return random.choice(
        [
            b"",
            b"\r\n" * 500,
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
            b"HTTP/1.1 200 OK\r\n" + b"x" * 200_000,
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
            b"{}",
            random.randbytes(random.randrange(1, 2000)),
        ]
    )


# -- WebSocket ------------------------------------------------------------------------------------


def refused_upgrade(random: Random) -> bytes:
    """Return what comes instead of an open channel."""
    if random.random() < 0.5:
        return answer(random)
    return "\r\n".join(
        [
            random.choice(["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 200 OK"]),
            random.choice(["Upgrade: websocket", "Upgrade: h2c", "X: y"]),
            random.choice(["Connection: Upgrade", "Connection: close", "X: y"]),
            random.choice(["Sec-WebSocket-Accept: AAAA", "Sec-WebSocket-Accept: ", "X: y"]),
            random.choice(
                [
                    "Sec-WebSocket-Extensions: permessage-deflate",
                    "Sec-WebSocket-Protocol: x",
                    "X: y",
                ]
            ),
            *("", ""),
        ]
    ).encode()


def frames(random: Random) -> bytes:
    """Return what comes on an open channel, after a welcome or before it."""
    parts = [packed(b'{"type":"welcome","epoch":"E","ping":1,"grace":1}')]
    if random.random() < 0.2:
        parts.clear()
    parts += [_some_frame(random) for _ in range(random.randrange(1, 8))]
    return b"".join(parts)


def _some_frame(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.6:
        return packed(frame(random))
    match random.randrange(8):
        case 0:
            code = random.choice([0, 999, 1000, 1001, 1004, 1005, 1006, 1009, 1012, 1015, 2999])
            code = random.choice([code, random.randrange(3000, 5000), random.randrange(65_536)])
            reason = random.choice([b"", b"\xff\xfe", b"x" * 123, b"x" * 124, "…".encode()])
            return packed(struct.pack("!H", code) + reason, first=0x88)
        case 1:
            return packed(random.choice([b"", b"\x03", b"x" * 200]), first=0x88)
        case 2:
            return packed(bytes(random.choice([0, 125, 126])), first=0x89) * random.choice([1, 500])
        case 3:
            return packed(frame(random), first=random.randrange(256))
        case 4:
            return packed(b"x", claims=random.choice([2**20 + 1, 2**32, 2**63 - 1, 2**63, 5]))
        case 5:
            return packed(frame(random), mask=True)
        case 6:
            return packed(b"{", first=0x01) + packed(b"", first=0x00) * 2000
        case _:
            return random.randbytes(random.randrange(1, 200))


def packed(payload: bytes, *, first: int = 0x81, mask: bool = False, claims: int = -1) -> bytes:
    """Return a frame as a server sends it: without a mask."""
    return client_frame(payload, first=first, mask=mask, claims=claims)

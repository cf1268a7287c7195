"""The film that stands in for every result: two seconds of grey, a real MP4 file made by hand.

Boxes are those of ISO/IEC 14496-12, the stream is H.264 (ITU-T H.264, 7.3): two pictures of which
each macroblock says "as the average of my neighbours", and the first has none.
"""

import struct
from functools import cache
from typing import Final

__all__ = ["DURATION", "captions", "video"]

DURATION: Final = 2.0
"""Seconds."""

_WIDTH, _HEIGHT = 320, 176  # whole macroblocks of 16 by 16
_TIMESCALE: Final = 1000
_FRAMES: Final = 2
_IDENTITY: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@cache
def video() -> bytes:
    """Return the file."""
    frames = [_picture(number) for number in range(_FRAMES)]
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    # The sizes of the boxes do not depend on the offset that stands in one of them.
    at = len(kind) + len(_movie(frames, 0)) + 8
    return kind + _movie(frames, at) + _box(b"mdat", *frames)


def captions(kind: str, language: str) -> str:
    """Return the captions of the film.

    Args:
        kind: `srt` or `vtt`.
        language: in which they would be.
    """
    text = f"This stands in for a translation ({language})."
    if kind == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{text}\n"
    return f"1\n00:00:00,000 --> 00:00:02,000\n{text}\n"


# -- boxes ----------------------------------------------------------------------------------------


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def _full(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    """Return a box that begins with a version, which is 0, and flags."""
    return _box(kind, struct.pack(">I", flags), *content)


def _movie(frames: list[bytes], at: int) -> bytes:
    """Return the `moov` of a file whose first frame begins at this offset."""
    duration = int(DURATION * _TIMESCALE)
    header = _full(
        b"mvhd",
        struct.pack(">4I", 0, 0, _TIMESCALE, duration),
        struct.pack(">IH10x", 0x10000, 0x100),  # rate and volume: as it is
        _IDENTITY,
        bytes(24),
        struct.pack(">I", 2),  # the number of the next track
    )
    track_header = _full(
        b"tkhd",
        struct.pack(">5I", 0, 0, 1, 0, duration),
        bytes(16),
        _IDENTITY,
        struct.pack(">2I", _WIDTH << 16, _HEIGHT << 16),
        flags=3,  # it counts, and is shown
    )
    media = _box(
        b"mdia",
        # 0x55C4 is "und", a language that nobody determined.
        _full(b"mdhd", struct.pack(">4I2H", 0, 0, _TIMESCALE, duration, 0x55C4, 0)),
        _full(b"hdlr", bytes(4), b"vide", bytes(12), b"VideoHandler\0"),
        _box(
            b"minf",
            _full(b"vmhd", bytes(8), flags=1),
            # flags=1: the data are in this file.
            _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1))),
            _samples(frames, at),
        ),
    )
    return _box(b"moov", header, _box(b"trak", track_header, media))


def _samples(frames: list[bytes], at: int) -> bytes:
    """Return the table of the frames, which lie one behind the other in one chunk."""
    count = len(frames)
    each = int(DURATION * _TIMESCALE) // count
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _coded()),
        _full(b"stts", struct.pack(">3I", 1, count, each)),
        _full(b"stsc", struct.pack(">4I", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(f">2I{count}I", 0, count, *map(len, frames))),
        _full(b"stco", struct.pack(">2I", 1, at)),
    )


def _coded() -> bytes:
    """Return how the frames are coded: `avc1` (ISO/IEC 14496-15)."""
    sequence, picture = _sequence_parameters(), _picture_parameters()
    return _box(
        b"avc1",
        struct.pack(">6xH16x2H", 1, _WIDTH, _HEIGHT),
        struct.pack(">2I4xH", 0x480000, 0x480000, 1),  # 72 dots an inch, one frame a sample
        bytes(32),
        struct.pack(">Hh", 24, -1),
        _box(
            b"avcC",
            bytes([1, *sequence[1:4], 0xFF, 0xE1]),  # lengths of four bytes, one set follows
            struct.pack(">H", len(sequence)),
            sequence,
            b"\1",
            struct.pack(">H", len(picture)),
            picture,
        ),
    )


# -- the stream -----------------------------------------------------------------------------------


def _unsigned(number: int) -> str:
    """Return the bits of ue(v), Exp-Golomb code (9.1)."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _unit(kind: int, bits: str) -> bytes:
    """Return a NAL unit (7.3.1): its header, the bits, a 1 that ends them, and zeros."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return bytes([kind]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _sequence_parameters() -> bytes:
    profile = f"{66:08b}{0xC0:08b}{12:08b}"  # Constrained Baseline, level 1.2
    counts = _unsigned(0) + _unsigned(0) + _unsigned(2)  # id, frame numbers, pictures in order
    frame = _unsigned(0) + "0" + _unsigned(_WIDTH // 16 - 1) + _unsigned(_HEIGHT // 16 - 1)
    return _unit(0x67, profile + counts + frame + "1" + "1" + "0" + "0")


def _picture_parameters() -> bytes:
    # id, sequence, CAVLC, no bottom field, one slice group, references, no weights, quality.
    return _unit(0x68, "11" + "0" + "0" + "1" + "11" + "0" + "00" + "1" + "1" + "1" + "000")


def _picture(number: int) -> bytes:
    """Return one picture that needs no other (IDR), behind its length."""
    # From macroblock 0, slice of type I, parameters 0, frame 0.
    header = _unsigned(0) + _unsigned(7) + _unsigned(0) + "0000"
    header += _unsigned(number % 2) + "0" + "0" + "1"  # neighbours differ; no marks, same quality
    # Intra16x16 predicted from the average, chroma likewise, same quality, and nothing to add.
    macroblock = _unsigned(3) + _unsigned(0) + "1" + "1"
    unit = _unit(0x65, header + macroblock * (_WIDTH // 16 * _HEIGHT // 16))
    return struct.pack(">I", len(unit)) + unit

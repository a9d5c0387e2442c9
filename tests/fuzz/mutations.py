"""Damage done to a file, each kind drawn from a seed so that it can be done again."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
DIGITS = (b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"65535", b"4294967296", b"")
HEAD = 400  # bytes, in which most forms say what they are
Damage = Callable[[random.Random, bytes], bytes]


def cut(rng: random.Random, data: bytes) -> bytes:
    """End early."""
    return data[: rng.randrange(len(data))]


def flip(rng: random.Random, data: bytes) -> bytes:
    """Change single bits anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def head(rng: random.Random, data: bytes) -> bytes:
    """Change bytes of the header."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 6))):
        changed[rng.randrange(min(HEAD, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def number(rng: random.Random, data: bytes) -> bytes:
    """Put a number that is an edge of its kind where one may stand, more often in the header or at the end."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2))):
        size = rng.choice((1, 2, 4))
        near = rng.randrange(min(HEAD, len(data)))
        place = rng.choice((near, len(data) - 1 - near, rng.randrange(len(data))))
        value = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
        changed[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return bytes(changed)


def text(rng: random.Random, data: bytes) -> bytes:
    """Replace a run of digits by a number that can't be meant."""
    places = [place for place in range(len(data)) if data[place : place + 1].isdigit()]
    if not places:
        return head(rng, data)
    start = end = rng.choice(places[:2000])
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:start] + rng.choice(DIGITS) + data[end:]


def zero(rng: random.Random, data: bytes) -> bytes:
    """Make a part zeros."""
    start = rng.randrange(len(data))
    length = rng.randrange(1, max(2, len(data) // 4))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def shuffle(rng: random.Random, data: bytes) -> bytes:
    """Take a part out, or put it in again elsewhere."""
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, max(2, len(data) // 8))]
    if rng.random() < 0.5:
        return data[:start] + data[start + len(part) :]
    place = rng.randrange(len(data))
    return data[:place] + part + data[place:]


KINDS: tuple[Damage, ...] = (cut, flip, head, number, text, zero, shuffle)


def damaged(data: bytes, seed: int) -> tuple[str, bytes]:
    """(kind, content) of a file after the damage that ``seed`` draws; of gzip every second one lies inside."""
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.5:
        inside = zlib.decompress(data, 31)
        return f"{kind.__name__} inside", gzip.compress(kind(rng, inside) or b"\0", 1, mtime=0)
    return kind.__name__, kind(rng, data)

"""What may be read of a file nobody vouches for: how large, and whether a header may name another file.

Set for a process by its environment, so that processes which it starts have it too; ``warpzoo`` has an option for each.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_components.common import booleans
from custom_components.common.errors import InputError

VARIABLES = {"max_pixels": "WARPZOO_MAX_PIXELS", "detached": "WARPZOO_DETACHED", "fill_damaged": "WARPZOO_FILL_DAMAGED"}
COPIES = 3  # of an image that are in memory at a time while it is read and prepared
WHOLE = 1 << 25  # pixels up to which an image is read as a whole whatever its form
FLAT = 64 << 20  # bytes of pixels that any file may have, however small it is
RATIO = 10_000  # of pixels' bytes to a file's, where an image is more than blank
DEFLATED = 1040  # the most that deflate, which gzip and PNG have, makes of a byte
UNPACKED = 200  # of unpacked to packed bytes; text and tables have less, what fills the memory more
COLOURS = 4  # channels that count as one pixel
UNKNOWN = 8 << 30  # bytes, where the system does not say what is free


@dataclass(frozen=True)
class Limits:
    """Of all files that a process reads.

    Attributes:
        max_pixels: of an image that is read whole; None takes what the free memory holds.
        detached: a header may name the file with its pixels, beside it.
        fill_damaged: a damaged tile of a slide is filled, and said; else the slide is refused.
    """

    max_pixels: int | None = None
    detached: bool = False
    fill_damaged: bool = False


def current() -> Limits:
    """As the environment has them.

    Raises:
        InputError: a value that can't be meant.
    """
    said = {name: os.environ.get(variable, "") for name, variable in VARIABLES.items()}
    pixels = said["max_pixels"].strip()
    return Limits(
        _count(pixels) if pixels else None,
        *(booleans.parse_bool(said[name] or "false", name) for name in ("detached", "fill_damaged")),
    )


def _count(text: str) -> int:
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        number = math.nan
    if not 1 <= number < math.inf:
        raise InputError(f"max_pixels is a number of pixels such as 1e9, got '{text}'")
    return int(number)


@contextmanager
def applied(**given: Any) -> Iterator[None]:
    """Set limits for this process and those that it starts while it lasts; None leaves one as it is.

    Args:
        given: by the names of ``Limits``.

    Raises:
        InputError: a value that can't be meant.
    """
    values = {VARIABLES[name]: str(value) for name, value in given.items() if value is not None}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        current()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_size(
    file: Path, shape: Sequence[int], itemsize: float, channels: int = 1, stored: int | None = None,
    ratio: float = RATIO, by_regions: bool = False,
) -> None:  # fmt: skip
    """Refuse an image by what its header states, before any memory is taken for it.

    Args:
        file: of the image.
        shape: pixels along each axis, rows before columns.
        itemsize: bytes of a channel of a pixel.
        channels: of a pixel.
        stored: bytes that the file has for all this; None where that is not known.
        ratio: of the bytes of pixels to those, beyond which there is a lie.
        by_regions: it is never in memory as a whole.

    Raises:
        InputError: with what it states and the way out.
    """
    pixels = math.prod(int(side) for side in shape)
    size = pixels * channels * itemsize
    sides = " x ".join(str(side) for side in reversed(shape))
    states = f"image {file} states {sides} pixels{f' of {channels} channels' if channels > 1 else ''}"
    counted, limit = pixels * -(-channels // COLOURS), current().max_pixels
    if pixels <= 0 or channels <= 0:
        raise InputError(f"{states}; it is damaged")
    way = f"if it is right, --max_pixels {counted} reads it"
    if limit is not None:
        if counted > limit and not by_regions:
            raise InputError(f"{states}, more than --max_pixels {limit}; {way}")
        return
    if stored is not None and size > max(FLAT, ratio * stored):
        raise InputError(
            f"{states}, {_bytes(size)}, and has {_bytes(stored)} for them: it is damaged, cut off, or made to fill the "
            f"memory; {way}"
        )
    free = free_memory()
    if size * COPIES > free and not by_regions:
        raise InputError(
            f"{states}, which takes {_bytes(size * COPIES)} of memory, of which {_bytes(free)} are free; store it as a "
            f"tiled OME-TIFF, which is read by regions, or shrink it; {way}"
        )


def unpacked_limit(file: Path) -> int:
    """Bytes that a packed table or annotation file unpacks to at most."""
    return max(FLAT, UNPACKED * file.stat().st_size)


def check_unpacked(file: Path, size: int, what: str) -> None:
    """Raise ``InputError`` for a packed file whose content is larger than that of such files, or than the memory."""
    if size > unpacked_limit(file):
        limit = f"{unpacked_limit(file) >> 20} MiB"
        raise InputError(f"{what} {file} unpacks to over {limit}, which no such file does; unpack it by hand")
    if size * COPIES > free_memory():
        raise InputError(f"{what} {file} unpacks to {_bytes(size)}, and {_bytes(free_memory())} of memory are free")


def free_memory() -> int:
    """Bytes that this process may still take: what the system, its container and its own limits leave."""
    left = [_system(), *_container()]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            left.append(limit - _taken(kind))
    return max(0, min(left))


def _system() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return UNKNOWN


def _container() -> list[int]:
    """Of a control group, version 2 or 1, where it has a limit."""
    for folder, limit, used in (("", "max", "current"), ("memory/", "limit_in_bytes", "usage_in_bytes")):
        with suppress(OSError, ValueError, StopIteration):
            root = f"/sys/fs/cgroup/{folder}memory"
            most, taken = (int(Path(f"{root}.{name}").read_text()) for name in (limit, used))
            lines = Path(f"{root}.stat").read_text().splitlines()
            files = next(line for line in lines if line.startswith(("inactive_file ", "total_inactive_file ")))
            return [most - taken + int(files.split()[1])]  # copies of files are given up when memory is asked for
    return []


def _taken(kind: int) -> int:
    """Bytes of address space or of data that this process has."""
    field = "VmSize:" if kind == resource.RLIMIT_AS else "VmData:"
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) << 10
    return 0


def _bytes(size: float) -> str:
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:.3g} {unit}"
    return f"{size:.0f} bytes"

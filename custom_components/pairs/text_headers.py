"""Headers of MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr), looked at before ITK reads the file.

Both may name another file that holds the pixels, by any path, and state any size, for which ITK takes memory at once.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from custom_components.common import limits
from custom_components.common.errors import InputError

LONGEST = 1 << 20  # bytes of a header
LINE = re.compile(rb"[ \t]*([A-Za-z][\w ]*?)[ \t]*[=:][ \t]*(.*?)[ \t]*")
META_SIZES = {
    "CHAR": 1, "UCHAR": 1, "ASCII_CHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 8, "ULONG": 8,
    "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
NRRD_SIZES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t", "ushort", "unsigned short",
         "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t",
         "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"), 8),
}  # fmt: skip
WAY = "--detached true reads it where it lies beside the header"


@dataclass(frozen=True)
class Stated:
    """What a header says.

    Attributes:
        shape: pixels along each axis, slowest first.
        itemsize: bytes of a channel.
        channels: of a pixel.
        encoding: "raw", "gzip" or another.
        pixels: the file that holds them.
        start: of the pixels in it, bytes.
    """

    shape: tuple[int, ...]
    itemsize: int
    channels: int
    encoding: str
    pixels: Path
    start: int


def check_header(file: Path) -> None:
    """Refuse what the header of a MetaImage or NRRD states and can't be, or what is not read of an unknown file.

    Raises:
        InputError: the pixels lie in another file and that was not asked for, or not beside the header; a size that
            the file can't hold, or that is too large for the memory; no such header.
    """
    with file.open("rb") as stream:
        head = stream.read(LONGEST)
    stated = _nrrd(file, head) if file.suffix.lower() in (".nrrd", ".nhdr") else _meta(file, head)
    stored = stated.pixels.stat().st_size - stated.start
    packed = stated.encoding != "raw"
    ratio = limits.DEFLATED if packed else 1
    limits.check_size(file, stated.shape, stated.itemsize, stated.channels, stored, ratio)
    if stated.encoding in ("raw", "gzip", "zlib"):
        wanted = math.prod(stated.shape) * stated.channels * stated.itemsize
        found = min(stored, wanted) if not packed else _unpacked(stated, wanted)
        if found < wanted:
            missing = f"{wanted - found} of {wanted} bytes are missing"
            raise InputError(f"image {file} can't be read, it may be damaged or cut off: {missing}")


def _unpacked(stated: Stated, wanted: int) -> int:
    """Bytes that the compressed pixels give, as far as they are wanted."""
    with stated.pixels.open("rb") as stream:
        stream.seek(stated.start)
        if stated.encoding == "gzip":
            return _length(gzip.GzipFile(fileobj=stream), wanted)
        unpacking, found = zlib.decompressobj(), 0
        while found < wanted and not unpacking.eof and (block := stream.read(1 << 20)):
            while block and found < wanted:
                found += len(unpacking.decompress(block, 1 << 24))
                block = unpacking.unconsumed_tail
        return found


def _length(stream: gzip.GzipFile, wanted: int) -> int:
    found = 0
    while found < wanted and (block := stream.read(1 << 24)):
        found += len(block)
    return found


def _fields(file: Path, lines: list[bytes], comment: bytes | None = None) -> dict[str, str]:
    """Names and values of a header's lines; a name that stands twice, or a line that is none, is refused."""
    found: dict[str, str] = {}
    for line in lines:
        if not line.strip() or (comment and line.startswith(comment)):
            continue
        if comment and b":=" in line.split(b": ")[0]:  # of NRRD, a remark of the user's
            continue
        entry = LINE.fullmatch(line)
        if entry is None or re.search(rb"[\x00-\x08\x0b-\x1f]", line):
            raise InputError(f"image {file} has a header with a line that is none: {line[:40]!r}")
        name, value = entry[1].decode("latin-1"), entry[2].decode("latin-1")
        if name in found:
            raise InputError(f"image {file} has a header that states '{name}' twice")
        found[name] = value
    return found


def _meta(file: Path, head: bytes) -> Stated:
    lines, start = [], 0
    for line in head.split(b"\n"):
        start += len(line) + 1
        lines.append(line.removesuffix(b"\r"))
        if re.match(rb"\s*ElementDataFile\b", line):
            break
    else:
        raise InputError(f"image {file} can't be read, it may be damaged or cut off: no ElementDataFile in its header")
    found = _fields(file, lines)
    dimensions = _whole(file, "NDims", found.get("NDims", ""), 1, 4)
    shape = _shape(file, "DimSize", found.get("DimSize", ""), dimensions)
    kind = found.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in META_SIZES:
        raise InputError(f"image {file} has pixels of type '{found.get('ElementType', '')[:40]}', which is none")
    channels = _whole(file, "ElementNumberOfChannels", found.get("ElementNumberOfChannels", "1"), 1, 4096)
    named = found["ElementDataFile"]
    local = named in ("LOCAL", "local", "Local")
    pixels = file if local else _beside(file, named)
    packed = found.get("CompressedData", "False").strip().lower() in ("true", "1", "t")
    skipped = found.get("HeaderSize", "0").strip()
    offset = 0 if skipped == "-1" else _whole(file, "HeaderSize", skipped, 0, 1 << 40)
    ascii_pixels = found.get("BinaryData", "True").strip().lower() in ("false", "0", "f")
    encoding = "ascii" if ascii_pixels else "zlib" if packed else "raw"
    return Stated(shape, META_SIZES[kind], channels, encoding, pixels, start if local else offset)


def _nrrd(file: Path, head: bytes) -> Stated:
    if not head.startswith(b"NRRD"):
        raise InputError(f"image {file} can't be read, it may be damaged or cut off: it does not begin as NRRD does")
    lines, start = [], 0
    for line in head.split(b"\n"):
        start += len(line) + 1
        if not line.removesuffix(b"\r"):
            break
        lines.append(line.removesuffix(b"\r"))
    else:
        start = len(head)
    found = {name.lower(): value for name, value in _fields(file, lines[1:], b"#").items()}
    dimensions = _whole(file, "dimension", found.get("dimension", ""), 1, 4)
    sizes = _shape(file, "sizes", found.get("sizes", ""), dimensions)
    if found.get("type", "").lower() not in NRRD_SIZES:
        raise InputError(f"image {file} has pixels of type '{found.get('type', '')[:40]}', which is none")
    names = [name for name in found if name.replace(" ", "") == "datafile"]
    pixels, encoding = file, found.get("encoding", "").lower()
    if names:
        pixels, start = _beside(file, found[names[0]]), 0
    elif start > len(head) - 1 and file.stat().st_size <= LONGEST:
        raise InputError(f"image {file} can't be read, it may be damaged or cut off: its header has no pixels after it")
    encoding = {"gz": "gzip", "txt": "ascii", "text": "ascii"}.get(encoding, encoding)
    skips = [found.get(name, "0").strip() for name in ("line skip", "lineskip", "byte skip", "byteskip")]
    if any(skip != "0" for skip in skips):
        encoding = f"{encoding} with a skip"
    return Stated(sizes, NRRD_SIZES[found["type"].lower()], 1, encoding, pixels, start)


def _beside(file: Path, named: str) -> Path:
    """The file of the pixels, if it may be read."""
    what = f"image {file} is a header that names '{named[:80]}' for its pixels"
    if not limits.current().detached:
        raise InputError(f"{what}, and other files are not read unless that is asked for; {WAY}, or convert it to .mha")
    pixels = file.parent / named
    if not named or named in (".", "..") or re.search(r"[/\\%]|^LIST\b", named) or not pixels.is_file():
        raise InputError(f"{what}; read is one file that lies beside the header, by its name alone")
    if pixels.resolve().parent != file.resolve().parent:
        raise InputError(f"{what}, which is a link out of the header's folder; put the file itself there")
    return pixels


def _whole(file: Path, name: str, text: str, least: int, most: int) -> int:
    number = int(text) if re.fullmatch(r"\d{1,15}", text.strip()) else -1
    if not least <= number <= most:
        raise InputError(f"image {file} has a header with {name} '{text[:40]}'; {least} to {most} can be")
    return number


def _shape(file: Path, name: str, text: str, dimensions: int) -> tuple[int, ...]:
    """Sizes, slowest first, of as many axes as there are."""
    parts = text.split()
    if len(parts) != dimensions:
        raise InputError(f"image {file} has a header with {name} '{text[:40]}' for {dimensions} dimensions")
    return tuple(_whole(file, name, part, 1, 1 << 40) for part in reversed(parts))

"""What kind of object a DICOM file holds, by its first bytes: whole slides are no volumes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from custom_components.pairs.formats import is_image

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
HEAD = 2048  # bytes, in which the file's meta information begins
LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UC", b"UN", b"UR", b"UT")  # whose length has four bytes
MEDIA_CLASS = (0x0002, 0x0002)


def sop_class(file: Path) -> str | None:
    """The SOP class UID in a file's meta information, "" where it states none; None of a file that is no DICOM."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return None
    if head[128:132] != b"DICM":
        return None
    place = 132
    while place + 8 <= len(head):  # always of explicit types, little-endian
        tag = struct.unpack_from("<HH", head, place)
        long = head[place + 4 : place + 6] in LONG
        length = struct.unpack_from("<I" if long else "<H", head, place + (8 if long else 6))[0]
        value = place + (12 if long else 8)
        if tag == MEDIA_CLASS:
            return head[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        if tag[0] != MEDIA_CLASS[0]:
            break
        place = value + length
    return ""


def slide_files(path: Path) -> Iterator[Path]:
    """The files of a path that hold whole slides: of a folder those in it, else the file itself."""
    # an OME-Zarr is a folder too
    found = (path,) if path.is_file() else () if is_image(path) or not path.is_dir() else sorted(path.iterdir())
    return (file for file in found if sop_class(file) == WHOLE_SLIDE)


def is_dicom_slide(path: Path) -> bool:
    """Whether a file is a whole slide in DICOM, or a folder holds one."""
    return next(slide_files(path), None) is not None

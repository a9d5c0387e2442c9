"""What a file says of its pixels beside their values, so that images are read and written in kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How an image is stored.

    Attributes:
        kind: "rgb" where three channels are red, green and blue, "channels" for any others, "grey" for a single one.
        names: of the channels; empty where the file names none.
        colours: of the channels as (red, green, blue), 0..255; empty where the file states none.
        compression: of the pixels: "jpeg", "jpeg2000", "lzw", "zlib", "zstd", "none"; "" where it doesn't matter.
        tile: rows and columns of a tile; None where the file has strips.
        levels: of a pyramid; 1 without.
        icc: colour profile, or None.
    """

    kind: str = "grey"
    names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    compression: str = ""
    tile: tuple[int, int] | None = None
    levels: int = 1
    icc: bytes | None = None

"""How one side of a pair is to be read, where its file leaves that open or is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize

SMALLEST, LARGEST = 1e-3, 1e3  # micrometres of a pixel that can be


@dataclass(frozen=True)
class Reading:
    """What a user says of an image; None leaves it to the file.

    Attributes:
        channel: name or number, from 0, of the channel that is matched on.
        pixel_size: micrometres of a pixel at full resolution, whatever the file states.
        series: name or number, from 0, of the image in a file that holds several.
        plane: of a Z stack or film, its number from 0, or "max" for the maximum over all.
    """

    channel: str | int | None = None
    pixel_size: float | None = None
    series: str | int | None = None
    plane: str | int | None = None

    @classmethod
    def of(cls, **given: Any) -> Reading:
        """From values of a command line or table, where numbers may be text.

        Raises:
            InputError: a pixel size that is not a number or can't be, or an unknown plane.
        """
        values = {name: _number(value) for name, value in given.items() if value is not None and value != ""}
        size, plane = values.get("pixel_size"), values.get("plane")
        if size is not None and (isinstance(size, str) or not SMALLEST <= float(size) <= LARGEST):
            raise InputError(f"pixel_size is micrometres of a pixel, {SMALLEST:g} to {LARGEST:g}, got '{size}'")
        if plane is not None and plane != "max" and (isinstance(plane, str) or plane != int(plane) or plane < 0):
            raise InputError(f"plane is the number of a plane, from 0, or max, got '{plane}'")
        return cls(**values)

    def planes(self, file: Path, stack: str, count: int) -> Sequence[int]:
        """The planes of a stack or film that are read, to be put together by the maximum.

        Args:
            file: what a message calls the image.
            stack: what it is, in words.
            count: of its planes.

        Raises:
            InputError: no plane is named, or one that is not there.
        """
        if self.plane is None:
            raise InputError(
                f"image {file} is a stack of {stack}, not one section; give --moving_plane or --fixed_plane (of "
                "apply --plane): max for the maximum over them, or the number of one, from 0"
            )
        if self.plane == "max":
            return range(count)
        if int(self.plane) >= count:
            raise InputError(f"image {file} has planes 0 to {count - 1}, asked for {self.plane}")
        return (int(self.plane),)

    def stack(self, file: Path, lengths: Mapping[str, int]) -> list[dict[str, int]]:
        """The index of each plane that is read, along the one axis of several planes; one empty index without.

        Args:
            file: what a message calls the image.
            lengths: by the names of the axes that are neither channels nor rows nor columns.

        Raises:
            InputError: see ``planes``; there are two such axes.
        """
        long = {axis: length for axis, length in lengths.items() if length > 1}
        if not long:
            return [{}]
        stack = ", ".join(f"{length} {axis}" for axis, length in long.items())
        if len(long) > 1:
            raise InputError(f"image {file} has a stack and a film ({stack}); a section has one at most")
        axis, count = next(iter(long.items()))
        return [{axis: number} for number in self.planes(file, stack, count)]

    def size(self, stated: PixelSize | None) -> PixelSize | None:
        """(row, col) micrometres of a pixel: what the user says, else what the file states where that can be."""
        if self.pixel_size:
            return (self.pixel_size, self.pixel_size)
        return stated if stated and SMALLEST <= min(stated) and max(stated) <= LARGEST else None


def series_number(names: Sequence[str], wanted: str | int) -> int | None:
    """Which of several images is meant, names before numbers; None where there is none such.

    Args:
        names: of the images.
        wanted: a name, which a command line may have read as a number ("001" as 1), or a number from 0.
    """
    if str(wanted) in names:
        return list(names).index(str(wanted))
    if not isinstance(wanted, int):
        return None
    alike = [number for number, name in enumerate(names) if name.strip().isdecimal() and int(name) == wanted]
    return alike[0] if len(alike) == 1 else wanted if 0 <= wanted < len(names) else None


AS_STORED = Reading()
NAMES = tuple(entry.name for entry in fields(Reading))
COLUMNS = tuple(f"{side}_{name}" for side in ("moving", "fixed") for name in NAMES)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number == int(number) else number

"""What the numbers of a file mean: unit and origin.

Inside, points are (row, col) pixels of the full resolution with pixel centres at integers. QuPath's numbers, and those
of ImageJ's areas, begin at the outer corner of the first pixel, whose centre is (0.5, 0.5) there. Under a pure shift
the half pixel falls out; where an image is turned or its pixels are of another size it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError

UNITS = ("pixel", "micrometre")


@dataclass(frozen=True)
class Coordinates:
    """A file's x, y on an image.

    Attributes:
        pixel: (rows, columns) size of a pixel in the file's unit; (1, 1) for pixels.
        corner: (0, 0) is the outer corner of the first pixel, else its centre.
    """

    pixel: tuple[float, float] = (1.0, 1.0)
    corner: bool = False

    def to_pixels(self, points: Points) -> Points:
        """(N, 2) x, y of the file -> (N, 2) row, col, pixel centres at integers."""
        return np.asarray(points[:, ::-1] / np.array(self.pixel) - 0.5 * self.corner)

    def from_pixels(self, points: Points) -> Points:
        """(N, 2) row, col, pixel centres at integers -> (N, 2) x, y of the file."""
        return np.asarray(((points + 0.5 * self.corner) * np.array(self.pixel))[:, ::-1])


def coordinates(unit: str, pixel_size: Sequence[float] | None, side: str, corner: bool) -> Coordinates:
    """Coordinates in a unit on one image of a pair.

    Args:
        unit: "pixel", of the full resolution, or "micrometre".
        pixel_size: (row, col) micrometres, or None where the image's file states none.
        side: "moving" or "fixed", for messages.
        corner: (0, 0) is the outer corner of the first pixel, as in QuPath.

    Raises:
        InputError: an unknown unit, or micrometres on an image without pixel size.
    """
    if unit not in UNITS:
        raise InputError(f"--unit is {' or '.join(UNITS)}, got '{unit}'")
    if unit == "pixel":
        return Coordinates(corner=corner)
    if pixel_size is None:
        raise InputError(
            f"the file of the {side} image states no pixel size, so micrometres on it are unknown: give "
            "full-resolution pixels (--unit pixel), or register files that state it"
        )
    rows, columns = pixel_size
    return Coordinates((float(rows), float(columns)), corner)

"""Nikon's ND2 as a slide: a position of several, its channels by name, one plane of a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.frame_slide import FrameSlide, chosen_series
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import AS_STORED, Reading

FRAME = ("C", "Y", "X", "S")  # axes of a frame; those of the frames are T, Z, P (positions) and U


class Nd2Slide(FrameSlide):
    """A position of an ND2, by the package nd2; see ``Slide``. Colour is stored as blue, green, red.

    Args:
        path: of the file.
        reading: what the user says of it; ``series`` is the name or number of a position, default the first.

    Raises:
        InputError: the package nd2 is missing, there is no such position or plane, no plane is named of a stack, or
            several channels are of colour.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        try:
            import nd2
        except ImportError as error:
            raise InputError(f"{path}: ND2 needs the package nd2 (pip install warpzoo[nd2])") from error
        self.path = path
        self._file: Any = nd2.ND2File(path)
        try:
            self._open(reading)
        except BaseException:
            self._file.close()
            raise

    def _open(self, reading: Reading) -> None:
        sizes = dict(self._file.sizes)
        self.levels = [(int(sizes["Y"]), int(sizes["X"]))]
        self._samples, self._counted = int(sizes.get("S", 1)), int(sizes.get("C", 1))
        if self._samples > 1 and self._counted > 1:
            raise InputError(f"image {self.path} has {self._counted} channels of colour each; export one to OME-TIFF")
        self.channels, self.dtype = max(self._samples, self._counted), np.dtype(self._file.dtype)
        names = self._positions(int(sizes.get("P", 1)))
        position, note = chosen_series(self.path, names, [1] * len(names), reading.series)
        self.notes = (note,) if note else ()
        planes = reading.stack(self.path, {axis: int(n) for axis, n in sizes.items() if axis not in (*FRAME, "P")})
        self._planes = [{**plane, "P": position} for plane in planes]
        places = list(self._file.loop_indices)
        # of an axis with one plane the loops may have an index or none
        self._numbers = {
            tuple(plane.items()): next(
                number for number, place in enumerate(places) if all(place.get(a, 0) == i for a, i in plane.items())
            )
            for plane in self._planes
        }
        described = self._described()
        stated = [entry.channel for entry in described]
        self.pixel_size = reading.size(_pixel_size(described))
        if self._samples == 3:
            self.layout = Layout("rgb")
            return
        named = len(stated) == self.channels and any(entry.name for entry in stated)
        self.layout = Layout(
            "channels" if self.channels > 1 else "grey", tuple(entry.name for entry in stated) if named else (),
            tuple((entry.color.r, entry.color.g, entry.color.b) for entry in stated) if named else (),
        )  # fmt: skip

    def _positions(self, count: int) -> list[str]:
        for loop in self._file.experiment:
            if loop.type == "XYPosLoop" and len(loop.parameters.points) == count:
                return [point.name or f"position {number}" for number, point in enumerate(loop.parameters.points)]
        return [f"position {number}" for number in range(count)]

    def _described(self) -> list[Any]:
        """What the file says of its channels."""
        try:
            return list(self._file.metadata.channels or ())
        except UnboundLocalError:  # of nd2 0.12, where a channel names no probe
            lost = "names of channels and the pixel size can't be read of this file; give --moving_pixel_size"
            self.notes += (f"{self.path.name}: {lost} or --fixed_pixel_size",)
            return []

    def _part(self, plane: Mapping[str, int], place: tuple[slice, slice]) -> Array:
        frame = np.asarray(self._file.read_frame(self._numbers[tuple(plane.items())]))
        whole = frame.reshape(self._counted, *self.levels[0], self._samples)
        part = whole[:, place[0], place[1]]
        # the library's frames are views into the file, which may be closed
        return np.array(part[0, ..., ::-1] if self._samples == 3 else np.moveaxis(part[..., 0], 0, -1))

    def close(self) -> None:
        """See ``Slide``."""
        self._file.close()


def _pixel_size(channels: Sequence[Any]) -> PixelSize | None:
    if not channels or not all(channels[0].volume.axesCalibrated[:2]):
        return None
    columns, rows = channels[0].volume.axesCalibration[:2]
    return float(rows), float(columns)

"""OME-Zarr (0.4 and 0.5) as a slide: a folder with a pyramid of chunked arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.closing import Closing
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.pixel_sizes import TO_MICROMETRE
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.unreadable import naming_file

UNITS = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, **TO_MICROMETRE}
RGB_NAMES = ("red", "green", "blue")


class ZarrSlide(Closing):
    """The first multiscale image of an OME-Zarr; see ``Slide``. Any number of threads may read at once.

    Args:
        path: of the folder.
        reading: what the user says of it; ``series`` is the name of a group inside.

    Raises:
        InputError: the package zarr is missing, there is no multiscale image, or it is a stack and no plane is named.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        try:
            import zarr
        except ImportError as error:
            raise InputError(f"{path}: OME-Zarr needs the package zarr (pip install warpzoo[zarr])") from error
        self.path = path
        group = zarr.open_group(str(path), mode="r", path=None if reading.series is None else str(reading.series))
        own: Mapping[str, Any] = dict(group.attrs)
        own = own.get("ome", own)
        scales = own.get("multiscales")
        if not scales:
            inside = ", ".join(sorted(str(name) for name, _ in group.groups())) or "nothing"
            raise InputError(
                f"image {path} has no multiscale image; inside are {inside}: "
                "give one as --moving_series or --fixed_series (of apply --series)"
            )
        self._axes = [axis["name"] if isinstance(axis, dict) else axis for axis in scales[0].get("axes", "tczyx")]
        self._levels: list[Any] = [group[entry["path"]] for entry in scales[0]["datasets"]]
        first = self._levels[0]
        if first.ndim != len(self._axes) or self._axes[-2:] != ["y", "x"]:
            raise InputError(f"image {path} has axes {self._axes} of {first.shape}; rows and columns come last")
        lengths = dict(zip(self._axes, first.shape, strict=True))
        self._planes = reading.stack(path, {axis: lengths[axis] for axis in self._axes[:-2] if axis != "c"})
        self.channels = lengths.get("c", 1)
        self.dtype = np.dtype(first.dtype)
        self.levels = [(int(level.shape[-2]), int(level.shape[-1])) for level in self._levels]
        self.pixel_size = reading.size(self._pixel_size(scales[0]))
        names = [str(channel.get("label", "")) for channel in own.get("omero", {}).get("channels", [])]
        rgb = self.channels == 3 and tuple(name.lower() for name in names) == RGB_NAMES and self.dtype == np.uint8
        colours = [_colour(channel) for channel in own.get("omero", {}).get("channels", [])]
        named = len(names) == self.channels and any(names) and not rgb
        kind = "rgb" if rgb else "channels" if self.channels > 1 else "grey"
        stated = tuple(colour for colour in colours if colour is not None)
        self.layout = Layout(
            kind, tuple(names) if named else (), stated if named and len(stated) == self.channels else (), "zstd",
            (int(first.chunks[-2]), int(first.chunks[-1])), len(self.levels),
        )  # fmt: skip
        self.notes: tuple[str, ...] = ()

    def _pixel_size(self, scale: Mapping[str, Any]) -> PixelSize | None:
        units = [axis.get("unit") for axis in scale.get("axes", []) if isinstance(axis, dict)][-2:]
        steps = [
            transform["scale"] for transform in scale["datasets"][0].get("coordinateTransformations", [])
            if transform.get("type") == "scale"
        ]  # fmt: skip
        if len(units) < 2 or not steps or any(unit not in UNITS for unit in units):
            return None
        rows, columns = (float(step) * UNITS[str(unit)] for step, unit in zip(steps[0][-2:], units, strict=True))
        return rows, columns

    @naming_file
    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        parts = []
        for plane in self._planes:
            index = tuple(slice(None) if axis == "c" else plane.get(axis, 0) for axis in self._axes[:-2])
            part = np.asarray(self._levels[level][(*index, slice(row, row + height), slice(column, column + width))])
            parts.append(part[..., None] if part.ndim == 2 else np.moveaxis(part, 0, -1))
        return parts[0] if len(parts) == 1 else np.asarray(np.max(parts, axis=0))

    def close(self) -> None:
        """See ``Slide``."""


def _colour(channel: Mapping[str, Any]) -> tuple[int, int, int] | None:
    text = str(channel.get("color", "")).lstrip("#")
    try:
        return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)
    except ValueError:
        return None

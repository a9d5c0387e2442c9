"""Zeiss' CZI as a slide, by Zeiss' own library: mosaics, scenes and pyramids."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.closing import Closing
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.unreadable import naming_file

DTYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32, "Bgr24": np.uint8, "Bgr48": np.uint16}
LEAST_SIDE = 512  # pixels of the coarsest level


class CziSlide(Closing):
    """A scene of a CZI; see ``Slide``. What was not scanned is white in colour and black in fluorescence.

    Args:
        path: of the file.
        reading: what the user says of it; ``series`` is the number of a scene, default the largest.

    Raises:
        InputError: the package pylibCZIrw is missing, there is no such scene or plane, or no plane is named of a stack.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        try:
            from pylibCZIrw import czi
        except ImportError as error:
            raise InputError(f"{path}: CZI needs the package pylibCZIrw (pip install warpzoo[czi])") from error
        self.path = path
        self._lock = Lock()
        self._file: Any = czi.CziReader(str(path))
        try:
            self._open(reading)
        except BaseException:
            self._file.close()
            raise

    def _open(self, reading: Reading) -> None:
        box, self._scene, note = self._chosen(reading.series)
        self._corner = (box.x, box.y)
        bounds = self._file.total_bounding_box
        counts = {axis: bounds[axis][1] - bounds[axis][0] for axis in "CZT" if axis in bounds}
        self._planes = reading.stack(self.path, {axis: counts.get(axis, 1) for axis in "ZT"})
        kind = str(self._file.get_channel_pixel_type(0))
        if kind not in DTYPES:
            raise InputError(f"image {self.path} holds {kind} pixels; convert it to 8 or 16 bit")
        self._colour = kind.startswith("Bgr")
        self.dtype = np.dtype(DTYPES[kind])
        self._fluorescent = range(counts.get("C", 1))
        self.channels = 3 if self._colour else len(self._fluorescent)
        # the library reads at any zoom from its pyramid: halves, as others store them
        self.levels = [(int(box.h), int(box.w))]
        while max(self.levels[-1]) > 2 * LEAST_SIDE:
            self.levels.append(tuple(max(1, side // 2) for side in self.levels[-1]))  # type: ignore[arg-type]
        self.pixel_size = reading.size(self._pixel_size())
        names = () if self._colour else self._names()
        layout = "rgb" if self._colour else "channels" if self.channels > 1 else "grey"
        self.layout = Layout(layout, names, (), "zstd", (1024, 1024), len(self.levels))
        self.notes: tuple[str, ...] = (note,) if note else ()

    def _chosen(self, wanted: str | int | None) -> tuple[Any, int | None, str]:
        """Box, number and a note of the scene to read."""
        scenes = dict(self._file.scenes_bounding_rectangle)
        if not scenes:
            if wanted not in (None, 0):
                raise InputError(f"image {self.path} has no scenes, asked for '{wanted}'")
            return self._file.total_bounding_rectangle, None, ""
        if wanted is not None and wanted not in scenes:
            raise InputError(f"image {self.path} has scenes {', '.join(map(str, scenes))}, asked for '{wanted}'")
        number = max(scenes, key=lambda scene: scenes[scene].w * scenes[scene].h) if wanted is None else int(wanted)
        note = f"scene {number} of {len(scenes)} is read, the largest" if wanted is None and len(scenes) > 1 else ""
        return scenes[number], number, note

    def _pixel_size(self) -> PixelSize | None:
        try:
            entries = self._file.metadata["ImageDocument"]["Metadata"]["Scaling"]["Items"]["Distance"]
            metres = {entry["@Id"]: float(entry["Value"]) for entry in entries}
            return metres["Y"] * 1e6, metres["X"] * 1e6
        except (KeyError, TypeError, ValueError):
            return None

    def _names(self) -> tuple[str, ...]:
        try:
            image = self._file.metadata["ImageDocument"]["Metadata"]["Information"]["Image"]
            entries = image["Dimensions"]["Channels"]["Channel"]
        except (KeyError, TypeError):
            return ()
        entries = entries if isinstance(entries, list) else [entries]
        names = tuple(str(entry.get("@Name", "")) for entry in entries)
        return names if len(names) == self.channels and any(names) else ()

    @naming_file
    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        step = 2**level
        roi = (self._corner[0] + column * step, self._corner[1] + row * step, width * step, height * step)
        parts = [self._plane(plane, roi, step) for plane in self._planes]
        part = parts[0] if len(parts) == 1 else np.max(parts, axis=0)
        return np.asarray(part[:height, :width])

    def _plane(self, plane: dict[str, int], roi: tuple[int, int, int, int], step: int) -> Array:
        background = (1.0, 1.0, 1.0) if self._colour else (0.0, 0.0, 0.0)
        with self._lock:
            found = [
                self._file.read(
                    roi=roi, plane={**plane, "C": channel}, zoom=1 / step, scene=self._scene,
                    background_pixel=background,
                )
                for channel in ([0] if self._colour else self._fluorescent)
            ]  # fmt: skip
        return np.asarray(found[0][..., ::-1] if self._colour else np.concatenate(found, axis=2))

    def close(self) -> None:
        """See ``Slide``."""
        self._file.close()

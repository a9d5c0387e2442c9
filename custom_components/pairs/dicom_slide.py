"""Whole slides in DICOM (VL Whole Slide Microscopy): the levels of a pyramid, each in files of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.closing import Closing
from custom_components.pairs.dicom_class import slide_files, sop_class
from custom_components.pairs.formats import PixelSize, first_line
from custom_components.pairs.frame_slide import chosen_series
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.unreadable import naming_file

# of what is read of each file to tell slides in one folder apart
TAGS = [
    "ImageType", "SeriesInstanceUID", "SeriesDescription", "TotalPixelMatrixRows", "TotalPixelMatrixColumns",
    "OpticalPathSequence",
]  # fmt: skip
VOLUMES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.1", "4", "4.1", "20", "128", "130")
)  # CT, MR, NM, PET
JPEG, JPEG2000 = "1.2.840.10008.1.2.4.50", ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")


@dataclass
class _Series:
    """Files of one slide.

    Attributes:
        name: its description.
        files: of its levels, labels and overviews.
        pixels: of the largest level; 0 where there is none.
        optical: its optical paths by their identifiers, in the order of the files.
    """

    name: str = "without a name"
    files: list[Path] = field(default_factory=list)
    pixels: int = 0
    optical: dict[str, Any] = field(default_factory=dict)


class DicomSlide(Closing):
    """A whole slide in DICOM, by the package wsidicom; see ``Slide``. Any number of threads may read at once.

    Of several optical paths each is a channel.

    Args:
        path: of the folder with the slide's files, or of one file, of which that level alone is read.
        reading: what the user says of it; ``series`` is the description or number of one of several in the folder,
            default the largest.

    Raises:
        InputError: the package wsidicom is missing, there is no such series, the folder holds volumes too, the file has
            no level of a pyramid, or several focal planes and none is named.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        try:
            import wsidicom
        except ImportError as error:
            needed = "whole slides in DICOM need the package wsidicom (pip install warpzoo[dicom])"
            raise InputError(f"{path}: {needed}") from error
        self.path = path
        with self._told():
            series, self.notes = self._series(reading.series)
        with self._told():
            self._file: Any = wsidicom.WsiDicom.open(series.files)
        try:
            with self._told():
                self._open(reading, series.optical)
        except BaseException:
            self._file.close()
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the library raises, whose errors have no common base, as errors of values."""
        try:
            yield
        except Exception as error:
            if type(error).__module__.startswith(("wsidicom", "pydicom")):
                raise ValueError(f"as a whole slide in DICOM: {first_line(error)}") from error
            raise

    def _series(self, wanted: str | int | None) -> tuple[_Series, tuple[str, ...]]:
        """What to read, and notes."""
        from pydicom import dcmread

        if self.path.is_dir():
            volumes = sorted(file.name for file in self.path.iterdir() if sop_class(file) in VOLUMES)
            if volumes:
                raise InputError(
                    f"image {self.path} holds a whole slide and other DICOM images ({volumes[0]}); put the files of "
                    "the one you mean into a folder of its own"
                )
        found: dict[str, _Series] = {}
        for file in slide_files(self.path):
            header = dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
            series = found.setdefault(str(header.get("SeriesInstanceUID", "")), _Series())
            series.files.append(file)
            series.name = str(header.get("SeriesDescription", "") or series.name)
            size = int(header.get("TotalPixelMatrixRows", 0)) * int(header.get("TotalPixelMatrixColumns", 0))
            if "VOLUME" in header.get("ImageType", ""):
                series.pixels = max(series.pixels, size)
                for entry in header.get("OpticalPathSequence", []):  # each path may have files of its own
                    series.optical.setdefault(str(entry.get("OpticalPathIdentifier", "")), entry)
        # labels and overviews may have series of their own
        slides = [series for series in found.values() if series.pixels]
        if not slides:
            raise InputError(
                f"image {self.path} is a label or overview of a slide in DICOM, not a level of its pyramid"
            )
        names, pixels = [series.name for series in slides], [series.pixels for series in slides]
        number, note = chosen_series(self.path, names, pixels, wanted)
        notes: tuple[str, ...] = (note,) if note else ()
        if self.path.is_file() and sum(1 for _ in slide_files(self.path.parent)) > 1:
            notes += (f"{self.path.name} is one file of a slide in DICOM; give its folder to read all its levels",)
        return slides[number], notes

    def _open(self, reading: Reading, optical: dict[str, Any]) -> None:
        pyramid = max(self._file.pyramids, key=lambda found: found.size.width * found.size.height)
        if len(self._file.pyramids) > 1:
            self.notes += (f"the largest of {len(self._file.pyramids)} pyramids is read",)
        self._pyramid = list(self._file.pyramids).index(pyramid)
        self._levels = [level.level for level in pyramid.levels]
        self.levels = [(int(level.size.height), int(level.size.width)) for level in pyramid.levels]
        base = pyramid.base_level
        # the library gives the paths as a set, in any order
        paths = [path for path in optical if path in base.optical_paths] or sorted(base.optical_paths)
        data, entries = base.default_instance.image_data, [optical[path] for path in paths if path in optical]
        self._colour = data.samples_per_pixel == 3
        if self._colour and len(paths) > 1:
            raise InputError(
                f"image {self.path} has {len(paths)} optical paths of colour; export one to a file of its own"
            )
        depths = list(base.focal_planes)
        planes = reading.stack(self.path, {"focal planes": len(depths)})
        self._depths: list[float | None] = [depths[plane["focal planes"]] if plane else None for plane in planes]
        self._paths: Sequence[str | None] = [None] if self._colour else paths
        self.channels, self.dtype = (3 if self._colour else len(paths)), np.dtype(data.dtype)
        self.pixel_size = reading.size(_pixel_size(base))
        self.layout = _layout(base, entries, self.channels, self._colour, len(self.levels))

    @naming_file
    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        result: Array | None = None
        for depth in self._depths:
            with self._told():
                parts = [
                    self._file.read_region(
                        (column, row), self._levels[level], (width, height), depth, path, self._pyramid, as_array=True
                    )
                    for path in self._paths
                ]
            part = np.concatenate([np.atleast_3d(found) for found in parts], axis=2)
            result = part if result is None else np.maximum(result, part)
        return np.asarray(result)

    def close(self) -> None:
        """See ``Slide``."""
        self._file.close()


def _pixel_size(level: Any) -> PixelSize | None:
    spacing = level.default_instance.pixel_spacing  # millimetres
    return None if spacing is None else (float(spacing.height) * 1e3, float(spacing.width) * 1e3)


def _layout(level: Any, entries: list[Any], channels: int, colour: bool, levels: int) -> Layout:
    names = [str(entry.get("OpticalPathDescription", "")) for entry in entries]
    named = not colour and len(names) == channels and any(names)
    syntax = str(level.default_instance.image_data.transfer_syntax)
    icc = entries[0].get("ICCProfile") if colour and entries else None
    return Layout(
        "rgb" if colour else "channels" if channels > 1 else "grey", tuple(names) if named else (), (),
        "jpeg" if syntax == JPEG else "jpeg2000" if syntax in JPEG2000 else "",
        (int(level.tile_size.height), int(level.tile_size.width)), levels, bytes(icc) if icc else None,
    )  # fmt: skip

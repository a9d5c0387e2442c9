"""Anything else carried over with the fields of a pair's result.

Inside, points and arrays are in array-axis order, row, col (slice, row, col of volumes), in pixels of the full
resolution with pixel centres at whole numbers. A direction names the way of what is carried: images are pulled, so they
use the field that starts where they end; points are pushed, so they use the one that starts where they lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from custom_components.annotations import (
    Convention,
    PointMap,
    warp_geojson,
    warp_geojson_file,
    warp_points_file,
    warp_volume_points_file,
)
from custom_components.common.arrays import Array, Points
from custom_components.common.errors import InputError
from custom_components.fields import Grid, resample
from custom_components.pairs import full_stem, is_large, read_image, write_image
from custom_components.pairs.channels import single_channel
from custom_components.pairs.overwriting import check_output_file, same_file
from custom_components.pairs.reading import Reading
from custom_components.pairs.volume_points import check_space, from_voxels, to_voxels
from custom_components.pairs.zarr_form import kept_version
from custom_components.results.folder import ResultFolder
from custom_components.slides.native import native_array, native_layout, output_suffix, rim_median
from custom_components.slides.warp_file import carried_slide, warp_slide_file

DIRECTIONS = ("moving_to_fixed", "fixed_to_moving")


def open_result(path: str | Path) -> StoredRegistration:
    """A registration that is there and whole, from the pair's folder or any file in it.

    Args:
        path: such as out/IHC_to_HE or out/IHC_to_HE/displacement.mha.

    Raises:
        InputError: it is no result, or the folder of a whole run, whose pairs are named then; the pair failed, with the
            reason; metrics.json is damaged; a field is missing.
    """
    stored = StoredRegistration(path)
    stored.check_registered()
    for side in ("fixed", "moving"):
        stored.check_field(side)
    return stored


def source_and_target(direction: str) -> tuple[str, str]:
    """(source, target) of a direction, each "moving" or "fixed".

    Raises:
        InputError: it is none.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"--direction is {' or '.join(DIRECTIONS)}, got '{direction}'")
    source, _, target = direction.partition("_to_")
    return source, target


class StoredRegistration(ResultFolder):
    """A registration opened again, which carries images, points, annotations and labels over; see ``ResultFolder``."""

    def way(self, direction: str = "moving_to_fixed", errors: bool = False) -> PointMap:
        """The map of points from one image to the other.

        Args:
            direction: of the points.
            errors: let it know how far it may be off, where that was estimated.

        Raises:
            InputError: another direction, the pair failed, or the field that starts from the source is missing; the
                error estimate is damaged.
        """
        source, target = source_and_target(direction)
        self.check_field(source)
        image = self.field() if source == "fixed" else self.inverse()
        return PointMap(image, self.grid(source), self.grid(target), source, target, self.error if errors else None)

    def points(self, points: npt.ArrayLike, direction: str = "moving_to_fixed", space: str | None = None) -> Points:
        """Points of one image in the other.

        Args:
            points: (N, D) full-resolution pixels of the source image, array-axis order: row, col, of volumes slice,
                row, col. With ``space`` (N, 3) x, y, z.
            direction: of the points.
            space: of points of volumes, "lps" or "ras" (millimetres) or "voxel" (column, row, slice).

        Returns:
            (N, D) of the target image, in the same form.

        Raises:
            InputError: see ``way``; points of another number of coordinates; a space of sections, or one that the
                volumes do not have.
        """
        places = self._places(points)
        way, named = self.way(direction), self._space(space)
        if named is None:
            return way(places)
        voxels = to_voxels(places, named, way.source_grid, f"the {way.source} image")
        return from_voxels(way(voxels), named, way.target_grid, f"the {way.target} image")

    def point_errors(
        self, points: npt.ArrayLike, direction: str = "moving_to_fixed", space: str | None = None
    ) -> Points | None:
        """How far ``points`` may put points off; None where the result has no error estimate.

        Args:
            points: see ``points``.
            direction: of the points.
            space: see ``points``.

        Returns:
            (N, 2) the expected error and the bound that 95 % of places stay below: of sections in full-resolution
            pixels of the target image, of volumes in millimetres (in voxels where they state none).

        Raises:
            InputError: see ``points``; the estimate is damaged.
        """
        way, places = self.way(direction, errors=True), self._places(points)
        if way.error_map is None:
            return None
        named = self._space(space)
        if named is not None:
            places = to_voxels(places, named, way.source_grid, f"the {way.source} image")
        return way.errors(places, way(places))

    def geojson(
        self, data: Any, direction: str = "moving_to_fixed", unit: str | None = None, origin: str | None = None
    ) -> Any:
        """A copy of GeoJSON in the other image; ids, properties and holes are kept, bends are followed.

        Args:
            data: parsed, of the source image.
            direction: of the annotations.
            unit: of its numbers, "pixel" (of the full resolution, the default) or "micrometre".
            origin: (0, 0) is the outer "corner" of the first pixel, as in QuPath (the default), or its "centre".

        Raises:
            InputError: see ``way``; no GeoJSON, micrometres that are not known, or volumes.
        """
        self._check_sections()
        way = self.way(direction, errors=True)
        return warp_geojson(data, way, *self._convention(way, unit, origin).sides(way, "pixel", corner=True))[0]

    def warp(self, image: Any, direction: str = "moving_to_fixed", order: int = 1) -> Array:
        """An image on the grid of the other one.

        Args:
            image: (C, *spatial) array or tensor on the pixels of the registered image; of ``read_image`` also one that
                lies in the same space by its own header, such as another sequence of the subject.
            direction: of the image.
            order: 0 nearest, 1 linear, 3 cubic.

        Returns:
            (C, *spatial) at the target's full resolution, in the dtype of ``image`` (of its file where it was read).
            Where the image does not reach there is the median of its rim, for order 0 there is 0.

        Raises:
            InputError: another direction, order or size, the pair failed, or the field is missing.
        """
        source, target = source_and_target(direction)
        self.check_field(target)
        start, end = self.grid(source), self.grid(target)
        meta = image.meta if hasattr(image, "meta") else {}
        own: Grid | None = Grid.of(image) if "file_grid" in meta else None
        array: Array = native_array(image) if "dtype" in meta else np.asarray(_on_cpu(image))
        shape = array.shape[1:]
        if own is not None and own.known and start.known and len(shape) == len(start.shape) and own.overlap(start) > 0:
            start = own
        elif shape != start.shape:
            raise InputError(
                f"image {meta.get('filename', 'given')} is {_size(shape)} pixels, but the registered {source} image "
                f"has {_size(start.shape)}; give an image on the same pixels"
            )
        fill: float | list[float] = 0.0 if order == 0 else rim_median(array)
        field = self.field() if target == "fixed" else self.inverse()
        return resample(array, start.matrix, field, end.shape, end.matrix, order, fill)

    def labels(self, labels: Any, direction: str = "moving_to_fixed") -> Array:
        """A label map on the grid of the other image, by the nearest pixel; otherwise as ``warp``."""
        return self.warp(labels, direction, order=0)

    def warp_file(
        self,
        image: str | Path,
        output: str | Path | None = None,
        direction: str = "moving_to_fixed",
        order: int = 1,
        level: int = 0,
        compression: str | None = None,
        quality: int = 90,
        threads: int | None = None,
        overwrite: bool = False,
        zarr_version: str | None = None,
        channel: str | int | None = None,
        series: str | int | None = None,
        plane: str | int | None = None,
    ) -> Path:
        """Write an image file as it lies on the other image; slides are warped by blocks. Returns the file written.

        Args:
            image: of any channels and dtype, see ``warp``.
            output: None writes ``warped_<name>`` into the folder; ``.ome.zarr`` writes an OME-Zarr.
            direction: of the image.
            order: see ``warp``; slides are not interpolated by 3.
            level: of slides, 0 writes the target's full resolution, each further one half of it.
            compression: of slides, see ``PyramidWriter``; None keeps the kind that the image has.
            quality: of JPEG.
            threads: that warp a slide; None takes one a core.
            overwrite: replace a file that is there already.
            zarr_version: of OME-Zarr, "0.4" or "0.5"; None takes the source's, 0.4 if that is no OME-Zarr.
            channel: name or number of the one that is warped alone; None warps all.
            series: of a file that holds several images, the name or number of one; None takes the registered one of the
                registered file, else as ``read_image`` does.
            plane: of a Z stack or film, its number or "max"; None as with ``series``.

        Raises:
            InputError: see ``warp``; the file is wrong or missing, has no such channel, series or plane, or the result
                is there already or can't be written.
        """
        given, (source, target) = Path(image), source_and_target(direction)
        self.check_field(target)
        size, end, version = self.pixel_size(target), self.grid(target), zarr_version or kept_version(given)
        reading = self._reading(given, source, channel, series, plane)
        if is_large(given, reading) or level > 0:
            path = self._output(output, carried_slide(self.folder, given), given, overwrite)
            field = self.field() if target == "fixed" else self.inverse()
            start = self.grid(source)
            warp_slide_file(
                given, path, field, start, end, size, order, level, compression, quality, threads, version, reading
            )  # fmt: skip
            return path
        name = f"warped_{full_stem(given)}{output_suffix(given, None, self.dimensions)}"
        path = self._output(output, self.folder / name, given, overwrite)
        moving = read_image(given, reading=reading)
        if reading.channel is not None:
            number = int(moving.meta["channel"])
            moving = moving[number : number + 1]
            moving.meta["layout"] = single_channel(moving.meta["layout"], number)
        write_image(
            path, self.warp(moving, direction, order), end.matrix, size, layout=native_layout(moving),
            nearest=order == 0, zarr_version=version,
        )  # fmt: skip
        return path

    def points_file(
        self,
        points: str | Path,
        output: str | Path | None = None,
        direction: str = "moving_to_fixed",
        unit: str | None = None,
        origin: str | None = None,
        overwrite: bool = False,
    ) -> tuple[Path, list[str]]:
        """Write a table of points as they lie in the other image; other columns are kept.

        Args:
            points: a table in any form that ``pairs.read_point_table`` reads; of volumes with columns X, Y, Z, or
                fiducials of 3D Slicer (.fcsv, .mrk.json).
            output: None writes ``warped_<name>`` into the folder.
            direction: of the points.
            unit: "pixel" of the full resolution or "micrometre"; None takes what the columns say, else pixels. Of
                volumes "lps", "ras" or "voxel", which a table needs.
            origin: (0, 0) is the outer "corner" of the first pixel, or its "centre"; None: "corner" for centroids.
            overwrite: replace a file that is there already.

        Returns:
            The file written, and what the user should know, a sentence each.

        Raises:
            InputError: see ``way``; a file or convention is wrong, or the result is there already or can't be written.
        """
        self.check_field(source_and_target(direction)[0])
        carry = warp_points_file if self.dimensions == 2 else warp_volume_points_file
        return self._carry_file(carry, points, output, direction, unit, origin, overwrite)

    def geojson_file(
        self,
        geojson: str | Path,
        output: str | Path | None = None,
        direction: str = "moving_to_fixed",
        unit: str | None = None,
        origin: str | None = None,
        overwrite: bool = False,
    ) -> tuple[Path, list[str]]:
        """Write annotations in any form of ``pairs.read_annotations`` as they lie on the other image.

        See ``geojson`` and ``points_file``.
        """
        self.check_field(source_and_target(direction)[0])
        self._check_sections()
        return self._carry_file(warp_geojson_file, geojson, output, direction, unit, origin, overwrite)

    def _reading(
        self, given: Path, source: str, channel: str | int | None, series: str | int | None, plane: str | int | None
    ) -> Reading:
        """What is said of an image file; what is left open of the registered one is as it was registered."""
        if same_file(given, self._image(source)):
            said = (self.metrics.get("run") or {}).get("reading") or {}
            series = said.get(f"{source}_series") if series is None else series
            plane = said.get(f"{source}_plane") if plane is None else plane
        return Reading.of(channel=channel, series=series, plane=plane)

    def _carry_file(
        self, carry: Any, given: str | Path, output: str | Path | None, direction: str, unit: str | None,
        origin: str | None, overwrite: bool,
    ) -> tuple[Path, list[str]]:  # fmt: skip
        file = Path(given)
        path = self._output(output, self.folder / f"warped_{file.name}", file, overwrite)
        way = self.way(direction, errors=True)
        return path, carry(file, path, way, self._convention(way, unit, origin))

    def _places(self, points: npt.ArrayLike) -> Points:
        places = np.asarray(points, dtype=np.float64)
        if places.ndim != 2 or places.shape[1] != self.dimensions:
            raise InputError(f"points of {self.folder} are (N, {self.dimensions}), got {places.shape}")
        return places

    def _space(self, space: str | None) -> str | None:
        named = check_space(space)
        if named is not None and self.dimensions != 3:
            raise InputError(f"{self.folder} is a registration of sections; points on them have no space '{space}'")
        return named

    def _convention(self, way: PointMap, unit: str | None, origin: str | None) -> Convention:
        return Convention(unit, origin, self.pixel_size(way.source), self.pixel_size(way.target))

    def _output(self, output: str | Path | None, default: Path, given: Path, overwrite: bool) -> Path:
        """Where to write, which is no file that is read, nor another one unless it may be replaced."""
        path = Path(output) if output else default
        check_output_file(path, (given, self.field_file, self.inverse_file, self.error_file, self.info), overwrite)
        return path

    def _check_sections(self) -> None:
        if self.dimensions != 2:
            raise InputError(f"{self.folder} is a registration of volumes; GeoJSON is of sections, give points")


def _on_cpu(image: Any) -> Any:
    return image.detach().cpu() if isinstance(image, torch.Tensor) else image


def _size(spatial: tuple[int, ...]) -> str:
    """Sides of an array as users say them: width x height."""
    return " x ".join(str(side) for side in reversed(spatial))

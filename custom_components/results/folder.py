"""A pair's folder opened again: its record, the geometry of its images, and its fields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import ErrorMap, Grid, image_to_ddf, read_displacement, read_error_map
from custom_components.pairs.formats import MEDICAL, PixelSize, full_suffix
from custom_components.pairs.overwriting import same_file
from custom_components.results.record import ERROR_FILE, METRICS, find_metrics, read_metrics

NO_FIELDS = ("warped", "error_estimate")  # how the other images of a result begin


class ResultFolder:
    """What a registration left of one pair; read when it is asked for, and once.

    Opening it touches no file, so that the result of a failed pair opens as well: its ``status``, ``reason`` and images
    are known, all else raises the reason. ``open_result`` looks at once whether everything is there.

    Args:
        path: the pair's folder, or any file in it. A field under another name than ``displacement.*`` is taken with
            the inverse beside it, ``inverse_<name>``.

    Attributes:
        folder: the pair's.
    """

    def __init__(self, path: str | Path) -> None:
        given = Path(path)
        self._field: Path | None = None
        self._grids: dict[str, Grid] = {}
        is_field = full_suffix(given) in MEDICAL and not given.name.startswith(NO_FIELDS)
        if given.is_dir() or not (is_field or given.is_file() or given.name == METRICS):
            self.folder = given
            return
        self.folder = given.parent
        if is_field:
            self._field = given.with_name(given.name.removeprefix("inverse_"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # the record

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """What metrics.json says.

        Raises:
            InputError: see ``read_metrics``.
        """
        return read_metrics(self.folder)

    @property
    def info(self) -> Path:
        """metrics.json, which knows the geometry of the images."""
        return self.folder / METRICS

    @property
    def id(self) -> str:
        """Of the pair."""
        return str(self.metrics.get("id") or self.folder.resolve().name)

    @property
    def status(self) -> str:
        """One of "ok", "poor" and "failed"."""
        return str(self.metrics.get("status", ""))

    @property
    def reason(self) -> str:
        """Why it is poor or failed."""
        return str(self.metrics.get("reason") or "")

    @property
    def unit(self) -> str:
        """Of the stored fields: "pixel" (of the full resolution), "micrometre" or "millimetre"; "" of a failed pair."""
        return str(self.metrics.get("unit", ""))

    @property
    def dimensions(self) -> int:
        """2 of sections, 3 of volumes."""
        return len(self.grid("fixed").shape)

    @property
    def moving(self) -> Path:
        """The file of the moving image, whether it is still there or not."""
        return self._image("moving")

    @property
    def fixed(self) -> Path:
        """The file of the fixed image."""
        return self._image("fixed")

    def _image(self, side: str) -> Path:
        """As it was given, unless that meant another file in the folder that was current then."""
        stated = Path(str(self.metrics.get(side, "")))
        recorded = ((self.metrics.get("run") or {}).get("inputs") or {}).get(side) or {}
        found = Path(str(recorded.get("path", stated)))  # absolute; older results have none
        return stated if same_file(stated, found) else found

    def grid(self, side: str) -> Grid:
        """The geometry of the file of the "moving" or "fixed" image at full resolution, in ``unit``.

        Raises:
            InputError: the pair failed, or metrics.json says nothing of it.
        """
        if side not in self._grids:
            self.check_registered()
            try:
                self._grids[side] = Grid.from_json(self.metrics[f"{side}_grid"], self.metrics["unit"])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{self.info} holds no size of the {side} image; register the pair again") from error
        return self._grids[side]

    def pixel_size(self, side: str) -> PixelSize | None:
        """(row, col) micrometres of a full-resolution pixel of that image; None where its file does not say."""
        size = self.metrics.get(f"{side}_pixel_size")
        return None if size is None else (float(size[0]), float(size[1]))

    def check_registered(self) -> None:
        """Raise ``InputError`` with the reason if the pair failed."""
        if self.status == "failed":
            reason = self.reason or "no reason given"
            raise InputError(f"{self.info}: the pair was not registered ({reason}); register it again")

    # the fields

    @property
    def field_file(self) -> Path:
        """The field fixed -> moving: displacement.mha, of volumes displacement.nii.gz."""
        if self._field is not None:
            return self._field
        return self.folder / f"displacement{'.mha' if self.dimensions == 2 else '.nii.gz'}"

    @property
    def inverse_file(self) -> Path:
        """The field moving -> fixed."""
        return self.field_file.with_name(f"inverse_{self.field_file.name}")

    @property
    def error_file(self) -> Path:
        """How far the field may be off, where that was estimated."""
        return self.folder / ERROR_FILE

    @cached_property
    def error(self) -> ErrorMap | None:
        """How far the field may be off, by place, in ``unit``; None where it was not estimated.

        Nor is it known of a field under another name than ``displacement.*``.

        Raises:
            InputError: the file is damaged.
        """
        own = self._field is None or self._field.name.startswith("displacement.")
        return read_error_map(self.error_file) if own and self.error_file.is_file() else None

    def check_field(self, side: str) -> None:
        """Raise ``InputError`` unless the field that starts from that image is there, and the geometry of both."""
        file = self.field_file if side == "fixed" else self.inverse_file
        if not file.is_file():  # before its neighbours are missed: mostly the folder is mistyped
            if find_metrics(self.folder):
                self.check_registered()
            raise InputError(f"displacement field {file} does not exist")
        self.grid("moving")
        self.grid("fixed")

    @overload
    def field(self) -> Any: ...
    @overload
    def field(self, fixed: Grid, moving: Grid | None = None) -> Tensor: ...
    def field(self, fixed: Grid | None = None, moving: Grid | None = None) -> Any:
        """The field fixed -> moving.

        Args:
            fixed: the grid that it is wanted on, such as that of a working image; beyond its border the stored field
                keeps its border value. None gives the field as it is stored.
            moving: the grid whose voxels it leads to; None takes that of the moving image's file.

        Returns:
            ITK's vector image, x, y[, z] in ``unit``; with a grid the ddf, (1, D, *spatial) float32, voxels, fixed ->
            moving.

        Raises:
            InputError: no such field, the pair failed, or a grid counts in another unit.
        """
        return self._forward if fixed is None else self._ddf(self._forward, fixed, moving or self.grid("moving"))

    @overload
    def inverse(self) -> Any: ...
    @overload
    def inverse(self, moving: Grid, fixed: Grid | None = None) -> Tensor: ...
    def inverse(self, moving: Grid | None = None, fixed: Grid | None = None) -> Any:
        """The field moving -> fixed; otherwise as ``field``.

        Args:
            moving: the grid that it is wanted on.
            fixed: the grid whose voxels it leads to.
        """
        return self._backward if moving is None else self._ddf(self._backward, moving, fixed or self.grid("fixed"))

    @cached_property
    def _forward(self) -> Any:
        return read_displacement(self.field_file)

    @cached_property
    def _backward(self) -> Any:
        return read_displacement(self.inverse_file)

    def _ddf(self, image: Any, start: Grid, end: Grid) -> Tensor:
        self.check_registered()
        for grid in (start, end):
            if grid.unit != self.unit:
                raise InputError(f"{self.info} counts in {self.unit}s, but the grid in {grid.unit}s")
        return image_to_ddf(image, start.matrix, end.matrix, start.shape)

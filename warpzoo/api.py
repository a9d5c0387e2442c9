"""``register`` and ``open``: two images in, a registration out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.bundles import open_bundle
from custom_components.bundles.places import DEFAULT
from custom_components.common.console import Quiet, listening
from custom_components.common.errors import InputError, RegistrationError, told_cause
from custom_components.common.limits import VARIABLES, applied
from custom_components.results.stored import StoredRegistration, open_result
from warpzoo.given import Spacing, as_file

PAIR = "pair"


def register(
    moving: Any,
    fixed: Any,
    method: str = DEFAULT,
    *,
    output_dir: str | Path | None = None,
    moving_spacing: Spacing = None,
    fixed_spacing: Spacing = None,
    progress: bool | None = None,
    **options: Any,
) -> Registration:
    """Register ``moving`` onto ``fixed``.

    Args:
        moving: the image that is warped: a path, an array (rows, columns[, channels]), a ``MetaTensor``
            (C, *spatial), or an image of ITK or SimpleITK.
        fixed: the image that stays, in any of these forms.
        method: a bundle, by name or path; ``warpzoo bundles`` lists them.
        output_dir: where ``<id>/`` is written, as by the command line; left out, a folder that goes with the result
            unless it is saved.
        moving_spacing: of an array: micrometres a pixel; three numbers, in millimetres, make it a volume.
        fixed_spacing: likewise.
        progress: show the stage and the seconds while it works; left out, in notebooks alone.
        options: keys of the method, as ``working_size=2048``, and ``max_pixels``, ``detached``, ``fill_damaged``;
            ``warpzoo register --help`` lists them.

    Returns:
        The registration, whose ``status`` is "ok" or "poor".

    Raises:
        InputError: a file, array or option is wrong; the message says which and what helps.
        RegistrationError: the images can't be registered, with what was measured.
    """
    made = Path(tempfile.mkdtemp(prefix="warpzoo_"))
    try:
        files = {
            side: as_file(image, spacing, made, side)
            for side, image, spacing in (("moving", moving, moving_spacing), ("fixed", fixed, fixed_spacing))
        }
        named = all(isinstance(image, str | Path) for image in (moving, fixed))
        root = made / "results" if output_dir is None else Path(output_dir)
        name = options.pop("id", None) or (None if named else PAIR)
        limits = {key: options.pop(key, None) for key in VARIABLES}
        keys: dict[str, Any] = {"report": output_dir is not None, **options, **files}
        with listening(shown := _progress(progress)), applied(**limits):
            try:
                folder = run_pair(method, root, name, keys)
            except (InputError, RegistrationError) as error:
                raise _named(error, files, made) from error
            finally:
                shown.stop()
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Registration(folder, temporary=made)


def _named(error: Exception, files: Mapping[str, Any], made: Path) -> Exception:
    """The error with the sides in place of files that only this process knows, of images that were given in memory."""
    text = str(error)
    for side, file in files.items():
        if made in Path(file).parents:
            text = text.replace(f"image {file}", str(file)).replace(str(file), f"the {side} image")
    return type(error)(text)


def _progress(wanted: bool | None) -> Any:
    from warpzoo.notebook import NotebookProgress, in_notebook

    if in_notebook() and wanted is not False:
        return NotebookProgress()
    if wanted:
        from rich.console import Console

        from warpzoo.progress import Shown

        return Shown(Console(stderr=True, highlight=False))
    return Quiet()


def run_pair(method: str, output_dir: Path, name: str | None, options: Mapping[str, Any]) -> Path:
    """Register one pair by a bundle; returns the folder of the result.

    Raises:
        InputError: a file or option is wrong.
        RegistrationError: the pair failed.
    """
    from custom_components.engines import PairEvaluator

    texts: dict[str, Any] = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    parser = open_bundle(method, output_dir=str(output_dir), id=name, resume=False, **texts).parser()
    try:
        if "initialize" in parser:
            parser.get_parsed_content("initialize")
        evaluator: PairEvaluator = parser.get_parsed_content("evaluator")
        evaluator.run()
    except SystemExit as stop:
        _raise(stop, locals().get("evaluator"))
    except RuntimeError as error:  # by which MONAI wraps what its components raise
        told = told_cause(error)
        if told is None or told is error:
            raise
        raise type(told)(str(told)) from error
    (pair,) = evaluator.dataset.pairs
    return output_dir / pair.id


def _raise(stop: SystemExit, evaluator: Any) -> None:
    """The exception behind an exit of the command line."""
    if isinstance(stop.code, int):  # Ctrl-C
        raise stop
    text = str(stop.code).removeprefix("error: ")
    last = getattr(getattr(evaluator, "state", None), "output", None)
    error: BaseException | None = getattr(last, "error", None)
    link = told_cause(error)
    if link is not None:
        raise type(link)(text) from error
    raise (InputError if error is None else RegistrationError)(text) from error


def open(folder: str | Path) -> Registration:
    """The registration that an earlier run has left in ``folder``.

    Raises:
        InputError: it holds none, or the pair failed.
    """
    return Registration(Path(folder))


class Registration:
    """A moving image registered onto a fixed one.

    Points are x (column), y (row)[, z (slice)] in pixels of the full resolution, the first pixel's centre at 0.

    Args:
        folder: of the result.
        temporary: removed together with this object, until it is saved.
    """

    def __init__(self, folder: Path, temporary: Path | None = None) -> None:
        import weakref

        self.stored = open_result(folder)
        self._temporary = temporary
        if temporary is not None:
            self._clear = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Where the files lie, as docs/outputs.md tells."""
        return Path(self.stored.folder)

    @property
    def status(self) -> str:
        """``ok`` or ``poor``."""
        return str(self.stored.status)

    @property
    def reason(self) -> str:
        """What speaks against the result, "" where nothing does."""
        return str(self.stored.reason)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What metrics.json holds."""
        return dict(self.stored.metrics)

    @property
    def warped(self) -> npt.NDArray[Any]:
        """The moving image in the fixed frame, as written: (rows, columns[, channels]) or (slices, rows, columns)."""
        from custom_components.pairs import read_image

        file = next(file for file in sorted(self.folder.glob("warped.*")))
        return _channels_last(np.asarray(read_image(file)))

    def warp(self, image: Any, direction: str = "moving_to_fixed", order: int = 1) -> npt.NDArray[Any]:
        """Another image on the pixels of the moving image (or, the other way, of the fixed one), carried over.

        Args:
            image: a path or an array (rows, columns[, channels]), of a volume (slices, rows, columns).
            direction: "moving_to_fixed" or "fixed_to_moving".
            order: 0 for labels, 1 linear, 3 cubic.

        Returns:
            An array in the frame that it is carried to.
        """
        if isinstance(image, str | Path):
            from custom_components.pairs import read_image

            channels: Any = np.asarray(read_image(image))
        else:
            array = np.asarray(image)
            flat = array.ndim == self.stored.dimensions
            channels = array[None] if flat else np.moveaxis(array, -1, 0)
        return _channels_last(np.asarray(self.stored.warp(channels, direction=direction, order=order)))

    def points(
        self, xy: npt.ArrayLike, direction: str = "moving_to_fixed", space: str | None = None
    ) -> npt.NDArray[np.float64]:
        """(N, D) points x, y[, z] carried over.

        Args:
            xy: pixels (column, row), of volumes voxels (column, row, slice), of the image that they lie in.
            direction: "moving_to_fixed" or "fixed_to_moving".
            space: of volumes, "lps" or "ras" for millimetres in and out, "voxel" (the default) for voxels.
        """
        points = self._given(xy)
        if space is not None:
            return np.asarray(self.stored.points(points, direction=direction, space=space), dtype=np.float64)
        return np.asarray(self.stored.points(points[:, ::-1], direction=direction), dtype=np.float64)[:, ::-1]

    @property
    def expected_error(self) -> Mapping[str, Any] | None:
        """How far the result may be off as a whole, as metrics.json has it; None where it was not estimated.

        ``median`` of the typical errors and ``p95``, that 95 % of places stay below, in ``unit``, and of sections whose
        pixel size is known ``median_micrometre`` and ``p95_micrometre``.
        """
        found = self.metrics.get("expected_error")
        return dict(found) if found else None

    def point_errors(
        self, xy: npt.ArrayLike, direction: str = "moving_to_fixed", space: str | None = None
    ) -> npt.NDArray[np.float64] | None:
        """How far ``points`` may put each point off; None where that was not estimated.

        Args:
            xy: see ``points``.
            direction: see ``points``.
            space: see ``points``.

        Returns:
            (N, 2) the typical error and the bound that 95 % of places stay below, in pixels of the image that the
            points are carried to, of volumes in millimetres (voxels where they state none).
        """
        points = self._given(xy)
        order = slice(None) if space is not None else slice(None, None, -1)
        return self.stored.point_errors(points[:, order], direction=direction, space=space)

    def _given(self, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        points = np.atleast_2d(np.asarray(xy, dtype=np.float64))
        if points.ndim != 2 or points.shape[1] != self.stored.dimensions:
            raise InputError(f"points are (N, {self.stored.dimensions}) x, y[, z], got {points.shape}")
        return points

    def geojson(self, data: Any, direction: str = "moving_to_fixed") -> dict[str, Any]:
        """GeoJSON carried over, in pixels from the outer corner of the first one, as QuPath writes it.

        Args:
            data: GeoJSON's content, any file of annotations, or an object that says itself as GeoJSON
                (``__geo_interface__``), such as a GeoDataFrame, whose ``from_features`` takes the result, or a geometry
                of shapely.
            direction: "moving_to_fixed" or "fixed_to_moving".
        """
        if hasattr(data, "__geo_interface__"):
            # as plain lists, which shapely gives as tuples
            data = json.loads(json.dumps(data.__geo_interface__, default=str))
        if isinstance(data, str | Path):
            from custom_components.pairs import read_annotations

            data = read_annotations(data).data
        return dict(self.stored.geojson(data, direction=direction))

    def save(self, folder: str | Path) -> Path:
        """Copy the result to ``folder``, which must not exist; returns its path."""
        target = Path(folder)
        if target.exists():
            raise InputError(f"{target} exists already; choose another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.folder, target)
        self.stored = StoredRegistration(target)
        self._temporary = None
        return target

    def report(self) -> Path:
        """Path of the page with pictures and figures, written if it is not there."""
        file = self.folder / "report.html"
        if not file.is_file():
            from custom_components.outputs.report_again import write_report_again

            write_report_again(self.folder, dict(self.stored.metrics), self.stored.field(), self.stored.error)
        return file

    def __repr__(self) -> str:
        shown = f", {self.reason}" if self.reason else ""
        return f"<Registration {self.stored.id}: {self.status}{shown}; {self.folder}>"

    def _repr_html_(self) -> str:
        """A picture for notebooks: the thumbnail, if there is one, and the status."""
        import base64
        import html

        picture, file = "", self.folder / "thumbnail.jpg"
        if file.is_file():
            picture = f'<img src="data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"/>'
        return f"<div><b>{html.escape(self.status)}</b> {html.escape(self.reason)}</div>{picture}"


def _channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(C, *spatial) as (*spatial, C), and without the axis of a single channel."""
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)

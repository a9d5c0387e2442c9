"""Writes everything a registration leaves behind; the contract is in docs/outputs.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from scipy.ndimage import affine_transform
from torch import Tensor

from custom_components.annotations import PointMap
from custom_components.common.arrays import Matrix
from custom_components.common.version import VERSION
from custom_components.fields import (
    ErrorMap,
    Grid,
    apply_matrix,
    compose,
    displacement_image,
    resample,
    sample_at,
    warp,
    write_displacement,
    write_error_map,
    write_transform,
)  # fmt: skip
from custom_components.fields.regridding import upright
from custom_components.inferers.displaced import LEAST_SUPPORT
from custom_components.inferers.result import Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.metrics import dice_per_label
from custom_components.outputs.attached import carry_annotations, carry_landmarks
from custom_components.outputs.expected_error import error_figures, share_beyond_bound, typical_error
from custom_components.outputs.folding import folding_figures
from custom_components.outputs.identity import RunSettings, recorded, run_record
from custom_components.outputs.itk_space import in_itk_space, itk_matrix
from custom_components.outputs.pair_folder import publish, publish_failure, written_in
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.report import ReportData, write_report, write_thumbnail
from custom_components.pairs import (
    Pair,
    atomic_path,
    file_pixel_size,
    read_labels,
    write_image,
)  # fmt: skip
from custom_components.pairs.zarr_form import kept_version
from custom_components.results.record import ERROR_FILE
from custom_components.slides.native import native_array, native_layout, output_suffix, rim_median

POOR_FOLDING = 0.005
POOR_INVERSE = 1.0
POOR_SIMILARITY = 0.1
POOR_MATCHES = 10
POOR_ERROR = {2: 0.015, 3: 0.03}  # expected, as a share of the tissue's diagonal, of sections and of volumes
POOR_UNKNOWN = 0.5  # share of the fixed tissue without a counterpart


def versions() -> dict[str, str]:
    """Of what computed the result."""
    found = {"warpzoo": VERSION}
    for name in ("torch", "monai", "SimpleITK", "kornia", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _write_json(path: Path, data: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(data, indent=1))


def _run_record(pair: Pair) -> dict[str, Any]:
    """What identifies the result; of a pair that no run has taken, its files."""
    return dict(recorded(pair).run) if pair.run else run_record(pair, RunSettings(), versions())


def write_failure(pair: Pair, reason: str, output_dir: Path, seconds: float) -> dict[str, Any]:
    """Record that a pair failed and why; returns its metrics.

    An earlier good result stays, with the record beside it; the metrics then have ``kept``.
    """
    metrics: dict[str, Any] = {
        "id": pair.id, "status": "failed", "reason": reason, "note": "", "unit": "", "moving": str(pair.moving),
        "fixed": str(pair.fixed), "stages": {}, "seconds": {"total": seconds}, "versions": versions(),
        "run": _run_record(pair),
    }  # fmt: skip

    def fill(folder: Path) -> None:
        write_report(folder / "report.html", metrics, None)
        metrics["run"]["files"] = written_in(folder)
        _write_json(folder / "metrics.json", metrics)

    kept = publish_failure(output_dir, pair.id, metrics, fill)
    return metrics | ({"kept": True} if kept else {})


def assess(
    metrics: Mapping[str, Any], least_similarity: float = POOR_SIMILARITY, warnings: Sequence[str] = ()
) -> tuple[str, str]:
    """(status, reason) of a finished registration.

    Args:
        metrics: as they go into metrics.json.
        least_similarity: local similarity below which the result is poor.
        warnings: what else speaks against it.
    """
    reasons = list(warnings)
    if metrics["folding_share"] > POOR_FOLDING:
        reasons.append(f"{metrics['folding_share']:.1%} of the tissue is folded over")
    if metrics["inverse_error"]["median"] > POOR_INVERSE:
        reasons.append(f"the inverse field errs by {metrics['inverse_error']['median']:.1f} working pixels")
    if metrics["dropped"] + metrics["matches"] > 0 and metrics["matches"] < POOR_MATCHES:
        reasons.append(f"only {metrics['matches']} consistent matches")
    if metrics["similarity"] is not None and metrics["similarity"] < least_similarity:
        reasons.append(f"the local similarity after registration is only {metrics['similarity']:.2f}")
    piece, lone = metrics.get("piece_similarity"), metrics.get("lone_pieces") or (0, 0)
    if piece is not None and piece < least_similarity / 2:  # of one piece it is less certain than of all
        reasons.append(f"a piece of the tissue lies on other tissue: its local similarity is only {piece:.2f}")
    expected = metrics.get("expected_error")
    if expected and expected["share"] > POOR_ERROR[2 if expected["unit"] == "pixel" else 3]:
        reasons.append(f"{typical_error(expected)}, {expected['share']:.1%} of the tissue's size")
    if expected and expected.get("unknown_share", 0.0) > POOR_UNKNOWN:
        reasons.append(f"{expected['unknown_share']:.0%} of the fixed tissue has no counterpart")
    if metrics.get("support") is not None and metrics["support"] < LEAST_SUPPORT:
        reasons.append(
            f"only {max(metrics['support'], 0):.0%} of the tissue looks more like its counterpart than like what lies "
            "around it: do these images show the same?"
        )
    if min(lone) > 0:
        reasons.append("a piece of each image has no counterpart: pieces of the tissue moved by themselves")
    return ("poor", "; ".join(reasons)) if reasons else ("ok", "")


def write_registration(
    result: Registration,
    prepared: PreparedPair,
    output: Output,
    seconds: float = 0.0,
    least_similarity: float = POOR_SIMILARITY,
    warnings: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write all files of one pair, whole or not at all; returns its metrics.

    Args:
        result: fields and matches on the working grids.
        prepared: the pair.
        output: where to and in which form.
        seconds: spent so far on the pair.
        least_similarity: see ``judge``.
        warnings: see ``judge``.
        details: further entries of metrics.json.

    Raises:
        InputError: an attached file (landmarks, annotations, labels) is wrong, or the folder can't be written.
    """
    pair, moving, fixed = prepared.pair, prepared.moving, prepared.fixed
    mask_moving, mask_fixed = prepared.mask_moving, prepared.mask_fixed
    grid_moving, grid_fixed = Grid.of(prepared.working_moving), Grid.of(prepared.working_fixed)
    # annotations and landmarks count the pixels of the files, of which large slides were read shrunk
    file_moving, file_fixed = (image.meta["file_grid"] for image in (moving, fixed))
    # what is written lies on the image as it was read, whatever a config's transforms have made of it since
    frame_moving, frame = (image.meta["read_grid"] for image in (moving, fixed))
    forward = _displacement(result.ddf, grid_fixed, grid_moving, frame)
    folded, deviation = folding_figures(result.ddf, mask_fixed[None])
    backward = _displacement(result.inverse, grid_moving, grid_fixed, frame_moving)
    metrics: dict[str, Any] = {
        "id": pair.id, "status": "ok", "reason": "", "note": output.note,
        "notes": [*prepared.notes, *_found_notes(result)], "unit": prepared.unit,
        "moving": str(pair.moving), "fixed": str(pair.fixed),
        "moving_pixel_size": file_pixel_size(moving), "fixed_pixel_size": file_pixel_size(fixed),
        "moving_grid": file_moving.as_json(), "fixed_grid": file_fixed.as_json(), "warped_grid": frame.as_json(),
        "warped_pixel_size": fixed.meta["pixel_size"],
        "stages": {s.name: {"seconds": s.seconds, **s.details} for s in result.stages},
        "matches": len(result.matches), "dropped": len(result.dropped),
        "residual_median": _residual(result.matches, result.ddf, np.eye(3)),
        "residual_median_physical": _residual(result.matches, result.ddf, grid_moving.matrix),
        "inverse_error": _inverse_error(result, mask_moving),
        "folding_share": folded, "log_jacobian_deviation": deviation,
        "similarity": _last_detail(result, "similarity"), "support": _last_detail(result, "support"),
        "piece_similarity": _last_detail(result, "least_piece_similarity"),
        "lone_pieces": [int(_last_detail(result, f"lone_{side}pieces") or 0) for side in ("", "moving_")],
        "versions": versions(), "run": _run_record(pair), **(details or {}),
    }  # fmt: skip
    errors = None
    if result.error is not None:
        expected = error_figures(result.error, mask_fixed, grid_fixed, file_fixed, file_pixel_size(fixed))
        if expected is not None:
            errors, metrics["expected_error"] = ErrorMap.of_voxels(result.error, grid_fixed, frame), expected
    metrics["status"], metrics["reason"] = assess(metrics, least_similarity, warnings)
    array = native_array(moving)
    background = rim_median(array)
    shown = Grid.of(moving)

    def fill(folder: Path) -> None:
        warped = resample(array, shown.matrix, forward, frame.shape, frame.matrix, 1, background)
        size, slice_of = fixed.meta["pixel_size"], fixed.meta.get("slice_of")
        write_image(
            folder / f"warped{output_suffix(pair.moving, output.extension, len(frame.shape))}", warped, frame.matrix,
            size, slice_of, native_layout(moving), zarr_version=kept_version(pair.moving),
        )  # fmt: skip
        suffix = ".mha" if len(frame.shape) == 2 else ".nii.gz"
        write_displacement(folder / f"displacement{suffix}", forward)
        write_displacement(folder / f"inverse_displacement{suffix}", backward)
        if errors is not None:
            write_error_map(folder / ERROR_FILE, errors)
        spaces = (
            (grid, itk_matrix(path, grid, file_pixel_size(image)))
            for path, grid, image in ((pair.fixed, file_fixed, fixed), (pair.moving, file_moving, moving))
        )
        write_transform(folder / "transform.h5", in_itk_space(forward, *spaces))
        way = PointMap(backward, file_moving, file_fixed, error_map=errors)
        landmarks = carry_landmarks(pair, way, folder, metrics)
        if landmarks is not None and errors is not None:
            beyond = share_beyond_bound(way, landmarks)
            metrics["expected_error"] |= {} if beyond is None else {"beyond_bound": beyond}
        if pair.moving_annotations is not None:
            carry_annotations(pair.moving_annotations, way, folder, metrics, "annotations")
        if pair.fixed_annotations is not None:
            back = PointMap(forward, file_fixed, file_moving, "fixed", "moving", errors)
            carry_annotations(pair.fixed_annotations, back, folder, metrics, "fixed_annotations")
        if pair.moving_labels is not None:
            _carry_labels(pair, forward, moving, fixed, folder, metrics)
        metrics["seconds"] = {"total": seconds}
        if output.report:
            kept, dropped = (
                (
                    grid_moving.physical(p.moving.double().numpy()),
                    grid_fixed.physical(p.fixed.double().numpy()),
                )
                for p in (result.matches, result.dropped)
            )
            data = ReportData(
                native_array(fixed),
                array,
                Grid.of(fixed),
                shown,
                forward,
                background,
                kept,
                dropped,
                file_fixed,
                landmarks,
                errors,
            )
            write_report(folder / "report.html", metrics, data)
            write_thumbnail(folder / "thumbnail.jpg", _in_frame(fixed), warped)
        metrics["run"]["files"] = written_in(folder)
        _write_json(folder / "metrics.json", metrics)

    publish(output.folder, pair.id, fill)
    return metrics


def _displacement(ddf: Tensor, start: Grid, end: Grid, frame: Grid) -> Any:
    """The displacement image of a field from one working grid to another, parallel to the image ``frame`` it is of."""
    field, grid = upright(ddf, start, end, frame)
    return displacement_image(field, grid.matrix, end.matrix)


def _in_frame(image: MetaTensor) -> npt.NDArray[Any]:
    """(C, *spatial) on the grid that it was read on, where a config's transforms have moved it."""
    array, own, frame = native_array(image), Grid.of(image), image.meta["read_grid"]
    if own.same_space(frame):
        return array
    still = displacement_image(torch.zeros(1, len(frame.shape), *(2,) * len(frame.shape)), frame.matrix, frame.matrix)
    return resample(array, own.matrix, still, frame.shape, frame.matrix, 1, rim_median(array))


def _found_notes(result: Registration) -> list[str]:
    """What the search found that a user should know: another scale than the files state, pieces on their own."""
    notes, scale, lone = [], _last_detail(result, "scale"), _last_detail(result, "lone_pieces")
    if scale is not None and scale != 1:
        how = f"{scale:g} times as fine" if scale > 1 else f"{1 / scale:g} times as coarse"
        notes.append(f"the moving image is about {how} as the fixed one, which the files' pixel sizes do not say")
    moved = _last_detail(result, "moved_pieces")
    if moved:
        notes.append(f"{moved:g} of the pieces of the tissue moved by themselves")
    if lone:
        notes.append(f"{lone:g} of {_last_detail(result, 'pieces'):g} pieces of the fixed tissue have no counterpart")
    return notes


def _last_detail(result: Registration, name: str) -> float | None:
    """The figure ``name`` of the last stage that gives it."""
    found = [float(stage.details[name]) for stage in result.stages if name in stage.details]
    return found[-1] if found else None


def _residual(matches: PointPairs, ddf: Tensor, matrix: Matrix) -> float:
    """Median distance between the kept moving points and where the field looks for them.

    Voxels for an identity ``matrix``, physical units for the moving grid's index_to_physical.
    """
    if len(matches) == 0:
        return 0.0
    found = matches.fixed + sample_at(ddf, matches.fixed).to(matches.fixed)
    ends = (apply_matrix(matrix, points.cpu().double().numpy()) for points in (found, matches.moving))
    return float(np.median(np.linalg.norm(np.subtract(*ends), axis=1)))


def _inverse_error(result: Registration, mask_moving: Tensor) -> dict[str, float]:
    """|x - back(forth(x))| over moving tissue whose counterpart lies on the fixed grid, voxels."""
    error = compose(result.ddf, result.inverse).norm(dim=1)
    inside = warp(mask_moving.new_ones(1, 1, *result.ddf.shape[2:]), result.inverse)[:, 0] > 0.99
    values = error[(mask_moving > 0.5) & inside]
    return (
        {"median": float(values.median()), "max": float(values.max())} if len(values) else {"median": 0.0, "max": 0.0}
    )


def _carry_labels(
    pair: Pair, forward: Any, moving: MetaTensor, fixed: MetaTensor, folder: Path, metrics: dict[str, Any]
) -> None:
    assert pair.moving_labels is not None
    frame, finest = fixed.meta["read_grid"], 2 * max(*moving.shape[1:], *fixed.shape[1:])
    labels, grid = read_labels(pair.moving_labels, moving.meta["file_grid"], finest)
    warped = resample(labels, grid.matrix, forward, frame.shape, frame.matrix, 0, 0.0)
    write_image(
        folder / f"warped_labels{output_suffix(pair.moving_labels, None, len(frame.shape))}", warped, frame.matrix,
        fixed.meta["pixel_size"], fixed.meta.get("slice_of"), nearest=True,
    )  # fmt: skip
    if pair.fixed_labels is not None:
        truth, own = read_labels(pair.fixed_labels, fixed.meta["file_grid"], finest)
        if not own.same_space(frame):
            truth = affine_transform(truth[0], frame.to(own), output_shape=frame.shape, order=0)[None]
        metrics["dice"] = dice_per_label(warped[0], truth[0])
        metrics["label_accuracy"] = float((warped == truth).mean())

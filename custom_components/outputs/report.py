"""The report of one pair: a single HTML page that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jinja2 import Environment, PackageLoader, select_autoescape

from custom_components.fields import (
    affine_residual,
    apply_matrix,
    best_affine,
    image_to_ddf,
    jacobian_determinant,
    resample,
)
from custom_components.outputs import pictures as draw
from custom_components.pairs import atomic_path
from custom_components.transforms.grey import stain_independent_grey
from custom_components.transforms.working import shrink

Metrics = Mapping[str, Any]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ReportData:
    """What the pictures are made of.

    Attributes:
        fixed, moving: (C, H, W) as read, with their index_to_physical ``fixed_matrix``, ``moving_matrix``.
        displacement: displacement image, fixed -> moving.
        background: of the moving image, one value a channel.
        kept, dropped: (moving, fixed) physical points (N, 2) x, y.
        landmarks: (moving as annotated, warped, fixed) pixels (N, 2) row, col of the fixed image, or None.
    """

    fixed: Array
    moving: Array
    fixed_matrix: npt.NDArray[np.float64]
    moving_matrix: npt.NDArray[np.float64]
    displacement: Any
    background: npt.NDArray[np.float64]
    kept: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    dropped: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    landmarks: tuple[npt.NDArray[np.float64], ...] | None


def environment() -> Environment:
    """Jinja with the package's templates, everything escaped."""
    jinja = Environment(
        loader=PackageLoader("custom_components.outputs", "templates"),
        autoescape=select_autoescape(default=True),
    )
    jinja.filters["file_name"] = lambda path: PurePath(path).name
    return jinja


def verdict(m: Metrics) -> str:
    """One sentence for the reader who reads only one."""
    if m["status"] == "failed":
        return str(m["reason"])
    text = f"{m['matches']} consistent matches, {m['residual_median']:.1f} working pixels apart (median) after registration. "
    text += (
        "No folding. "
        if m["folding_share"] == 0
        else f"{100 * m['folding_share']:.2f} % of the tissue is folded over. "
    )
    if m.get("landmarks"):
        marks = m["landmarks"]
        text += (
            f"Landmark error (rTRE, share of the diagonal) fell from {marks['initial_mean']:.4f} to {marks['mean']:.4f}; "
            f"{marks['robustness']:.0%} of {marks['count']} landmarks moved closer."
        )
    return text.strip() + (f" Look closely: {m['reason']}." if m["status"] == "poor" else "")


def make_pictures(data: ReportData, longest: int = 900) -> dict[str, str]:
    """All pictures of the page as data URIs, drawn on the fixed image shrunk to ``longest``."""

    def small(image: Array, matrix: npt.NDArray[np.float64]) -> tuple[Array, npt.NDArray[np.float64]]:
        scale = min(1.0, longest / max(image.shape[1:]))
        shrunk, grid = shrink(torch.from_numpy(image.astype(np.float32)), matrix, scale)
        values = shrunk.numpy()
        if np.issubdtype(image.dtype, np.integer):
            values = values.round().astype(image.dtype)
        return values, grid

    fixed, fixed_matrix = small(data.fixed, data.fixed_matrix)
    moving, moving_matrix = small(data.moving, data.moving_matrix)
    shape = (fixed.shape[1], fixed.shape[2])
    warped = resample(moving, moving_matrix, data.displacement, shape, fixed_matrix, 1, data.background)
    # before: pixel on pixel, no field
    nothing = np.empty((len(moving), *shape), dtype=moving.dtype)
    nothing[:] = np.asarray(data.background)[:, None, None]
    rows, columns = min(shape[0], moving.shape[1]), min(shape[1], moving.shape[2])
    nothing[:, :rows, :columns] = moving[:, :rows, :columns]
    rgb_fixed, rgb_warped, rgb_before = (draw.to_rgb(image) for image in (fixed, warped, nothing))
    grey_fixed, grey_warped, grey_before = (
        stain_independent_grey(image) for image in (fixed, warped, nothing)
    )

    ddf = image_to_ddf(data.displacement, fixed_matrix, moving_matrix, shape)
    bend = affine_residual(best_affine(ddf), ddf)
    to_fixed, to_moving = (np.linalg.inv(matrix) for matrix in (fixed_matrix, moving_matrix))
    points = [(apply_matrix(to_moving, m), apply_matrix(to_fixed, f)) for m, f in (data.kept, data.dropped)]
    images = {
        "fixed": rgb_fixed,
        "warped": rgb_warped,
        "moving": draw.to_rgb(moving),
        "unaligned": rgb_before,
        "colour_before": draw.two_colour(grey_fixed, grey_before),
        "colour_after": draw.two_colour(grey_fixed, grey_warped),
        "checker_before": draw.checkerboard(rgb_fixed, rgb_before),
        "checker_after": draw.checkerboard(rgb_fixed, rgb_warped),
        "grid": draw.deformation_grid(rgb_fixed, bend[0].double().numpy()),
        "jacobian": draw.jacobian_picture(rgb_fixed, jacobian_determinant(bend)[0].double().numpy()),
        "matches": draw.matches_picture(draw.to_rgb(moving), rgb_fixed, *points),
    }
    if data.landmarks is not None:
        scale = np.array(shape) / np.array(data.fixed.shape[1:])
        images["landmarks"] = draw.landmark_picture(
            rgb_fixed, *[(p + 0.5) * scale - 0.5 for p in data.landmarks]
        )
    return {
        name: draw.data_uri(draw.fit(image, 1400 if name == "matches" else longest))
        for name, image in images.items()
    }


def landmark_rows(landmarks: tuple[npt.NDArray[np.float64], ...] | None) -> list[tuple[int, float, float]]:
    """(number from 1, error before, error after), pixels of the fixed image; the worst after registration first."""
    if landmarks is None:
        return []
    count = min(len(points) for points in landmarks)
    start, warped, truth = (points[:count] for points in landmarks)
    before, after = (np.linalg.norm(points - truth, axis=1) for points in (start, warped))
    return [(int(i) + 1, float(before[i]), float(after[i])) for i in np.argsort(-after)]


def write_thumbnail(path: Path, fixed: Array, warped: Array) -> None:
    """A small two-colour overlay for the index page; both (C, H, W) of one size."""
    height, width = fixed.shape[1:]
    scale = min(1.0, 240 / max(height, width))
    matrix = np.eye(3)
    greys = [
        stain_independent_grey(shrink(torch.from_numpy(image.astype(np.float32)), matrix, scale)[0].numpy())
        for image in (fixed, warped)
    ]
    with atomic_path(path) as partial:
        partial.write_bytes(draw.jpeg(draw.two_colour(greys[0], greys[1])))


def write_report(path: Path, metrics: Metrics, data: ReportData | None) -> None:
    """Write the page; without ``data`` (a failed pair) it has the verdict and no pictures."""
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            m=metrics,
            verdict=verdict(metrics),
            pictures=make_pictures(data) if data is not None else None,
            landmark_rows=landmark_rows(data.landmarks) if data is not None else [],
        )
    )
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")

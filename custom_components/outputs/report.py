"""The report of one pair: a single HTML page that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import fmean
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, select_autoescape

from custom_components.common.arrays import Array, Points
from custom_components.fields import (
    ErrorMap,
    Grid,
    apply_matrix,
    best_affine,
    displacement_image,
    image_to_ddf,
    nonrigid_part,
    resample,
)
from custom_components.metrics import tre
from custom_components.outputs import pictures as draw
from custom_components.outputs.attached import CarriedLandmarks
from custom_components.outputs.error_pictures import draw_errors
from custom_components.outputs.expected_error import told_error, typical_error
from custom_components.outputs.folding import relative_area
from custom_components.outputs.sections import drawn, in_plane, sections
from custom_components.outputs.units import UNITS
from custom_components.pairs import atomic_path
from custom_components.transforms.grey import stain_independent_grey, stretch, to_luminance
from custom_components.transforms.working import shrink

Metrics = Mapping[str, Any]
VIEWER_LINK = '<p class="lead"><a href="viewer.html">Zoom into both images together</a></p>'


@dataclass(frozen=True)
class ReportData:
    """What the pictures are made of.

    Attributes:
        fixed: (C, *spatial) as read.
        moving: (C, *spatial) as read.
        fixed_grid: of ``fixed``.
        moving_grid: of ``moving``.
        displacement: displacement image, fixed -> moving.
        background: of the moving image, one value a channel.
        kept: (moving, fixed) physical points (N, 2) x, y of the matches.
        dropped: the same of the rejected ones.
        fixed_file: grid of the fixed image's file, whose pixels the landmarks count.
        landmarks: in voxels of ``fixed_file``, or None.
        errors: how far the field may be off, or None.
    """

    fixed: Array
    moving: Array
    fixed_grid: Grid
    moving_grid: Grid
    displacement: Any
    background: Sequence[float]
    kept: tuple[Points, Points]
    dropped: tuple[Points, Points]
    fixed_file: Grid
    landmarks: CarriedLandmarks | None = None
    errors: ErrorMap | None = None

    def landmark_errors(self) -> tuple[Points, Points, float, str]:
        """(N,) before and after, the fixed image's diagonal, and the unit of all: pixels, of volumes their own."""
        assert self.landmarks is not None
        shape, volume = np.array(self.fixed_file.shape), len(self.fixed_file.shape) == 3
        start, warped, truth = map(self.fixed_file.physical, self.landmarks.points) if volume else self.landmarks.points
        diagonal = float(np.linalg.norm(shape * self.fixed_file.spacing if volume else shape))
        return tre(start, truth), tre(warped, truth), diagonal, UNITS[self.fixed_file.unit] if volume else "px"


def environment() -> Environment:
    """Jinja with the package's templates, everything escaped."""
    jinja = Environment(
        loader=PackageLoader("custom_components.outputs", "templates"),
        autoescape=select_autoescape(default=True),
    )
    jinja.filters["file_name"] = lambda path: PurePath(path).name
    jinja.filters["percent"] = percent
    jinja.filters["landmark_error"] = landmark_error
    jinja.filters["typical_error"] = lambda expected: typical_error(expected).removeprefix("typical error ")
    jinja.filters["told_error"] = told_error
    return jinja


def verdict(m: Metrics) -> str:
    """What a reader needs to know who reads only one line; empty for a failed pair, whose reason says it."""
    if m["status"] == "failed":
        return ""
    parts = []
    if m["matches"]:
        residual = f"{m['residual_median_physical']:.1f} {UNITS[m['unit']]}"
        parts.append(f"{m['matches']} consistent matches, median residual {residual}")
    folded = m["folding_share"]
    parts.append("no folding" if folded == 0 else f"{percent(folded)} of the tissue is folded over")
    text = ", ".join(parts) + "."
    if m.get("landmarks"):
        marks, unit = m["landmarks"], "px"
        factor = float(np.linalg.norm(m["fixed_grid"]["shape"]))
        if "unit" in marks:
            factor, unit = 1.0, UNITS[marks["unit"]]
        change = "fell" if marks["mean"] < marks["initial_mean"] else "rose"
        text += (
            f" The mean error of {marks['count']} landmarks {change} from {marks['initial_mean'] * factor:.1f} to "
            f"{marks['mean'] * factor:.1f} {unit}; {marks['robustness']:.0%} of them moved closer."
        )
    if m.get("expected_error"):
        text += f" Estimated: {told_error(m['expected_error'])}."
    return text[0].upper() + text[1:]


def landmark_error(value: float, marks: Mapping[str, Any], digits: int = 5) -> str:
    """An error of ``metrics["landmarks"]`` in words: of sections the rTRE, of volumes a length."""
    return f"{value:.2f} {UNITS[marks['unit']]}" if "unit" in marks else f"{value:.{digits}f}"


def percent(fraction: float) -> str:
    """A share in percent that never rounds to a false zero."""
    return "0 %" if fraction == 0 else f"{100 * fraction:.2f} %" if fraction >= 1e-4 else "< 0.01 %"


def fact_sheet(m: Metrics) -> list[tuple[str, str]]:
    """(value, name) of the figures that stand in boxes under the verdict; none for a failed pair."""
    if m["status"] == "failed":
        return []
    inverse = m["inverse_error"]["median"]
    facts = [
        (str(m["matches"]), "matches kept"),
        (f"{m['residual_median_physical']:.1f} {UNITS[m['unit']]}", "median residual"),
        (percent(m["folding_share"]), "folded tissue"),
        (f"{inverse:.3f} px" if inverse >= 5e-4 else "< 0.001 px", "inverse error"),
    ]
    if m.get("dice"):
        facts.append((f"{fmean(m['dice'].values()):.3f}", "mean Dice of the labels"))
    if m.get("landmarks"):
        marks = m["landmarks"]
        digits, unit = (2, f" {UNITS[marks['unit']]}") if "unit" in marks else (4, "")
        change = f"{marks['initial_mean']:.{digits}f} \N{RIGHTWARDS ARROW} {marks['mean']:.{digits}f}{unit}"
        facts += [
            (change, "mean TRE" if unit else "mean rTRE"),
            (f"{marks['robustness']:.0%}", "landmarks closer"),
        ]
    return facts if m["matches"] else facts[2:]


def stage_rows(m: Metrics) -> list[tuple[str, float, str]]:
    """(name, seconds, figures in words) of every stage."""

    def word(key: str, value: Any) -> str:
        name = key.replace("_", " ")
        if isinstance(value, bool):
            return f"{name}: {'yes' if value else 'no'}"
        if isinstance(value, float) and ("share" in key or key.startswith("kept_")):
            return f"{name} {percent(value)}"
        return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"

    return [
        (name, stage["seconds"], "; ".join(word(k, v) for k, v in stage.items() if k != "seconds"))
        for name, stage in m["stages"].items()
    ]


def landmark_tables(data: ReportData, worst: int = 4) -> dict[str, Any] | None:
    """Errors of the landmarks before and after: their unit, how they are spread, and the largest of them."""
    if data.landmarks is None:
        return None
    before, after, diagonal, unit = data.landmark_errors()
    kinds: dict[str, Callable[[Points], Any]] = {
        "mean": np.mean,
        "median": np.median,
        "90th percentile": lambda e: np.percentile(e, 90),
        "largest": np.max,
    }
    rows = [
        {"name": n, "before": float(f(before)), "after": float(f(after)), "relative": 100 * float(f(after)) / diagonal}
        for n, f in kinds.items()
    ]
    largest = [
        {"name": data.landmarks.names[i], "before": before[i], "after": after[i]} for i in np.argsort(-after)[:worst]
    ]
    return {"rows": rows, "worst": largest, "unit": unit, "digits": "%.2f" if unit == "mm" else "%.1f"}


def shrunk(image: Array, longest: int) -> Array:
    """(C, *spatial) with its longest side at most ``longest``, dtype kept, as ``Grid.shrunk`` does."""
    small = shrink(torch.from_numpy(image.astype(np.float32)), scale_to(image, longest)).numpy()
    return np.asarray((small.round() if np.issubdtype(image.dtype, np.integer) else small).astype(image.dtype))


def scale_to(image: Array, longest: int) -> float:
    """By which (C, *spatial) is shrunk to have its longest side at most ``longest``."""
    return min(1.0, longest / max(int(side) for side in image.shape[1:]))


def make_pictures(data: ReportData, longest: int = 900) -> dict[str, draw.RGB]:
    """All pictures of the page, drawn on the fixed image shrunk to ``longest``; of a volume three sections."""
    if data.fixed.ndim == 4:
        return _volume_pictures(data, longest // 3)
    (fixed, fixed_matrix), (moving, moving_matrix) = (
        (shrunk(image, longest), grid.shrunk(scale_to(image, longest)).matrix)
        for image, grid in ((data.fixed, data.fixed_grid), (data.moving, data.moving_grid))
    )
    shape = (fixed.shape[1], fixed.shape[2])
    # before: what a viewer shows that lays the two files over each other
    identity = displacement_image(torch.zeros(1, 2, *shape), fixed_matrix, fixed_matrix)
    warped, unaligned = (
        resample(moving, moving_matrix, field, shape, fixed_matrix, 1, data.background)
        for field in (data.displacement, identity)
    )
    rgb_fixed, rgb_warped, rgb_before = (draw.to_rgb(image) for image in (fixed, warped, unaligned))
    grey_fixed, grey_warped, grey_before = (stain_independent_grey(image) for image in (fixed, warped, unaligned))

    ddf = image_to_ddf(data.displacement, fixed_matrix, moving_matrix, shape)
    bend = nonrigid_part(best_affine(ddf), ddf)
    to_fixed, to_moving = (np.asarray(np.linalg.inv(m), dtype=np.float64) for m in (fixed_matrix, moving_matrix))
    kept, dropped = (
        (apply_matrix(to_moving, moving_points), apply_matrix(to_fixed, fixed_points))
        for moving_points, fixed_points in (data.kept, data.dropped)
    )
    images = {
        "fixed": rgb_fixed,
        "warped": rgb_warped,
        "unaligned": rgb_before,
        "colour_before": draw.two_colour(grey_fixed, grey_before),
        "colour_after": draw.two_colour(grey_fixed, grey_warped),
        "checker_before": draw.checkerboard(rgb_fixed, rgb_before),
        "checker_after": draw.checkerboard(rgb_fixed, rgb_warped),
        "grid": draw.deformation_grid(rgb_fixed, bend[0].double().numpy()),
        "area": draw.area_picture(rgb_fixed, relative_area(ddf).double().numpy()),
        "matches": draw.matches_picture(draw.to_rgb(moving), rgb_fixed, kept, dropped),
    }
    if data.landmarks is not None:
        to_shown = to_fixed @ data.fixed_file.matrix
        places = (apply_matrix(to_shown, points) for points in data.landmarks.points)
        images["landmarks"] = draw.landmark_picture(rgb_fixed, *places)
        images["errors"] = draw.error_chart(*data.landmark_errors()[:2], "pixels of the fixed image")
    if data.errors is not None:
        shown = data.fixed_grid.shrunk(scale_to(data.fixed, longest))
        images |= draw_errors([rgb_fixed], data.errors, shown, data.fixed_file)
    return images


def _volume_pictures(data: ReportData, longest: int) -> dict[str, draw.RGB]:
    """The pictures that a volume has: matches and landmarks are not drawn, but the landmarks' errors are."""
    (fixed, fixed_matrix), (moving, moving_matrix) = (
        (shrunk(image, longest), grid.shrunk(scale_to(image, longest)).matrix)
        for image, grid in ((data.fixed, data.fixed_grid), (data.moving, data.moving_grid))
    )
    shape = fixed.shape[1:]
    identity = displacement_image(torch.zeros(1, 3, *shape), fixed_matrix, fixed_matrix)
    volumes = [fixed]
    for field in (data.displacement, identity):
        volumes.append(resample(moving, moving_matrix, field, shape, fixed_matrix, 1, data.background))
    # one stretch for the whole volume, so that the sections can be compared
    greys = [stretch(to_luminance(volume)) for volume in volumes]
    rgb_fixed, rgb_warped, rgb_before = (
        [draw.to_rgb(s) for s in sections((255 * grey[None]).astype(np.uint8).repeat(3, axis=0))] for grey in greys
    )
    grey_fixed, grey_warped, grey_before = ([s[0] for s in sections(grey[None])] for grey in greys)
    ddf = image_to_ddf(data.displacement, fixed_matrix, moving_matrix, shape)
    bend = nonrigid_part(best_affine(ddf), ddf)
    determinant = [s[0] for s in sections(relative_area(ddf)[None].double().numpy())]
    images = {
        "fixed": drawn(_same, rgb_fixed),
        "warped": drawn(_same, rgb_warped),
        "unaligned": drawn(_same, rgb_before),
        "colour_before": drawn(draw.two_colour, grey_fixed, grey_before),
        "colour_after": drawn(draw.two_colour, grey_fixed, grey_warped),
        "checker_before": drawn(draw.checkerboard, rgb_fixed, rgb_before),
        "checker_after": drawn(draw.checkerboard, rgb_fixed, rgb_warped),
        "grid": drawn(draw.deformation_grid, rgb_fixed, in_plane(bend[0].double().numpy())),
        "area": drawn(draw.area_picture, rgb_fixed, determinant),
    }
    if data.landmarks is not None:
        before, after, _, unit = data.landmark_errors()
        images["errors"] = draw.error_chart(before, after, unit)
    if data.errors is not None:
        shown = data.fixed_grid.shrunk(scale_to(data.fixed, longest))
        images |= draw_errors(rgb_fixed, data.errors, shown, data.fixed_file)
    return images


def _same(picture: draw.RGB) -> draw.RGB:
    return picture


def write_thumbnail(path: Path, fixed: Array, warped: Array) -> None:
    """A small two-colour overlay for the index page; both (C, *spatial) of one size, of volumes the middle section."""
    if fixed.ndim == 4:
        fixed, warped = (sections(volume)[0] for volume in (fixed, warped))
    greys = [stain_independent_grey(shrunk(image, 240)) for image in (fixed, warped)]
    with atomic_path(path) as partial:
        partial.write_bytes(draw.jpeg(draw.two_colour(greys[0], greys[1])))


def write_report(path: Path, metrics: Metrics, data: ReportData | None) -> None:
    """Write the page; without ``data`` (a failed pair) it has the verdict and no pictures."""
    pictures = make_pictures(data) if data is not None else {}
    page = environment().get_template("report.html.j2").render(
        m=metrics, viewer_link=VIEWER_LINK, verdict=verdict(metrics), facts=fact_sheet(metrics),
        stages=stage_rows(metrics), marks=landmark_tables(data) if data is not None else None,
        pictures={n: draw.data_uri(draw.shrink_to(i, 1600 if n == "matches" else 900)) for n, i in pictures.items()},
    )  # fmt: skip
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")

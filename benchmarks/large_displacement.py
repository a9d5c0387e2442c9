"""How far apart may the images be? Landmark errors after an extra known warp of the moving image, small to large.

    python -m benchmarks.large_displacement --pairs split.csv --status validation --limit 20 --to out/displacement \
        --methods "dis patch=bundles/patch_nonrigid/configs/inference.yaml,align=false,margin=0"

A method is a baseline's name or ``name=CONFIG_FILE[,key=value...]``, a bundle's inference.yaml with keys overridden.
Writes large_displacement.md, .csv and .png. The warp is one random smooth field a pair, without folds, made larger and
larger; the moving landmarks go with it. Landmarks that it pushes out of the image count for no method. A pair that a
method refuses counts as unregistered.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import cv2
import fire
import numpy as np
import pandas as pd
import torch
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.baselines import NAMES, Baseline, TransformReport, baseline
from benchmarks.xfeat_baseline import Floats
from custom_components.annotations import warp_points
from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError, RegistrationError
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.fields import (
    Grid,
    displacement_image,
    folding_share,
    index_to_physical,
    invert,
    jacobian_determinant,
    resample,
    sample_at,
    smooth,
)
from custom_components.metrics import aggregate, pair_metrics
from custom_components.metrics.tre import PairTRE
from custom_components.pairs import Pair, atomic_path, read_image, read_points, select_pairs, write_image
from custom_components.slides.native import native_array, rim_median

AMPLITUDES = "0 1 2 4 6 8 10"
SMOOTHNESS = 0.12  # standard deviation of the field's Gaussian, share of the longer side
MINIMUM_JACOBIAN = 0.2  # of the largest warp: tissue is squeezed to a fifth at most
ATTEMPTS = 20
EXACT = 0.05  # pixels that the carried landmarks may miss

Image = NDArray[np.generic]


@dataclass(frozen=True)
class Row:
    """One method on one pair at one amplitude; errors are rTRE.

    Attributes:
        amplitude: largest displacement of the extra warp, per cent of the moving image's longer side.
        method: its name.
        pair: id.
        mean: of the landmarks.
        median: likewise.
        max: likewise.
        initial_mean: before registration, the extra warp included.
        initial_median: likewise.
        robustness: share of the landmarks that came closer.
        count: landmarks.
        folding: share of pixels where the found field folds.
        refused: the method found the images not to belong together.
    """

    amplitude: float
    method: str
    pair: str
    mean: float
    median: float
    max: float
    initial_mean: float
    initial_median: float
    robustness: float
    count: int
    folding: float
    refused: bool


# the warp


def unit_field(shape: tuple[int, int], largest: float, seed: Sequence[int]) -> Tensor:
    """Random smooth field whose largest displacement is one voxel, drawn until its ``largest``-fold does not fold.

    Args:
        shape: (H, W).
        largest: voxels; the factor at which the Jacobian determinant must be above ``MINIMUM_JACOBIAN`` everywhere.
        seed: non-negative numbers.

    Returns:
        (1, 2, H, W) float64, voxels.

    Raises:
        InputError: too large a warp for its smoothness.
    """
    for attempt in range(ATTEMPTS):
        noise = torch.from_numpy(np.random.default_rng([*seed, attempt]).standard_normal((1, 2, *shape)))
        field = smooth(noise, SMOOTHNESS * max(shape))
        field /= field.norm(dim=1).max()
        if float(jacobian_determinant(largest * field).min()) > MINIMUM_JACOBIAN:
            return field
    raise InputError(
        f"warps of {largest:.0f} px fold an image of {shape[1]} x {shape[0]} pixels: give smaller amplitudes"
    )


def warp_moving(image: Image, points: Floats, ddf: Tensor) -> tuple[Image, Floats]:
    """A moving image bent by a field, and its landmarks with it.

    Args:
        image: (C, H, W).
        points: (N, 2) row, col.
        ddf: (1, 2, H, W) voxels, grid of the result -> ``image``: the result at x is the image at x + ddf(x).

    Returns:
        The bent image, same size and dtype, and (N, 2) row, col where the points lie in it; NaN outside of it.

    Raises:
        InputError: the field can't be inverted at a landmark.
    """
    if not ddf.any():
        return image, points
    shape, pixels = (image.shape[1], image.shape[2]), index_to_physical([1.0, 1.0])
    bent = resample(image, pixels, displacement_image(ddf, pixels, pixels), shape, pixels, 1, rim_median(image))
    inverse, _ = invert(ddf, iterations=300, tolerance=1e-6)
    place = torch.from_numpy(points)
    carried = place + sample_at(inverse, place)
    missed = (carried + sample_at(ddf, carried) - place).norm(dim=1)
    inside = ((carried >= 0) & (carried <= torch.tensor(shape) - 1)).all(dim=1)
    if inside.any() and float(missed[inside].max()) > EXACT:
        raise InputError(f"the warp misses a landmark by {float(missed[inside].max()):.2f} px: give smaller amplitudes")
    carried[~inside] = torch.nan
    return bent, carried.numpy()


# the methods


def carry_nowhere(moving: Image, fixed: Image, points: Floats) -> TransformReport:
    """No registration."""
    return TransformReport(points, 0.0, 0.0)


def carry_bundle(moving: Image, fixed: Image, points: Floats, *, parser: ConfigParser) -> TransformReport:
    """A bundle's preparation and inferer; the pixel size of the files is not known to them.

    Raises:
        RegistrationError: the images are refused.
    """
    with TemporaryDirectory() as folder:  # a preparation begins with reading, and with the choice of a channel
        files = [Path(folder) / f"{side}.tif" for side in ("moving", "fixed")]
        for file, image in zip(files, (moving, fixed), strict=True):
            write_image(file, image)
        data = parser.get_parsed_content("preprocessing")({"pair": Pair("pair", *files)})
    inferer = parser.get_parsed_content("inferer")
    images = to_pair_images(data, torch.device(parser.get_parsed_content("device")))
    start = perf_counter()
    found = inferer(images)
    seconds = perf_counter() - start
    working = [data[f"working_{name}"] for name in ("moving", "fixed")]
    backward = displacement_image(found.inverse, *(Grid.of(image).matrix for image in working))
    carried = warp_points(points, backward, *(image.meta["file_grid"] for image in working))
    return TransformReport(carried, folding_share(found.ddf), seconds)


def parse_method(text: str) -> tuple[str, Baseline]:
    """Name and function of a method as the command line gives it.

    Args:
        text: a baseline's name, or ``name=CONFIG_FILE[,key=value...]``; values are YAML, lists in brackets.

    Raises:
        InputError: neither of both.
    """
    name, _, rest = text.partition("=")
    if not rest:
        if name not in NAMES:
            raise InputError(f"method '{name}' is none of {', '.join(NAMES)}; a bundle is given as name=CONFIG_FILE")
        return name, baseline(name)
    config, *pairs = re.split(r",(?=[\w:#]+=)", rest)  # commas within a list divide no keys
    overrides = dict(pair.split("=", 1) for pair in pairs)
    parser = open_bundle(config, **{key: yaml.safe_load(value) for key, value in overrides.items()}).parser()
    return name, partial(carry_bundle, parser=parser)


# measuring


def measure(pair: Pair, methods: Mapping[str, Baseline], amplitudes: Sequence[float], seed: Sequence[int]) -> list[Row]:
    """All methods on one pair at all amplitudes.

    Args:
        pair: with both landmark files.
        methods: by name.
        amplitudes: per cent of the moving image's longer side.
        seed: of the pair's field.

    Raises:
        InputError: a file is wrong or missing, or the warp too large.
    """
    if pair.moving_landmarks is None or pair.fixed_landmarks is None:
        raise InputError(f"pair {pair.id}: both landmark files are needed; choose pairs with --status")
    moving, fixed = (native_array(read_image(file)) for file in (pair.moving, pair.fixed))
    marks, truth = (read_points(file) for file in (pair.moving_landmarks, pair.fixed_landmarks))
    count = min(len(marks), len(truth))
    shape = (moving.shape[1], moving.shape[2])
    voxels = max(shape) / 100
    field = unit_field(shape, max(amplitudes) * voxels, seed)
    rows = []
    for amplitude in amplitudes:
        bent, carried = warp_moving(moving, marks[:count], amplitude * voxels * field)
        known = np.isfinite(carried).all(axis=1)
        start, goal, diagonal = carried[known], truth[:count][known], float(np.hypot(*fixed.shape[1:]))
        for name, method in methods.items():
            try:
                found, refused = method(bent, fixed, start), False
            except RegistrationError:
                found, refused = carry_nowhere(bent, fixed, start), True
            errors = asdict(pair_metrics(start, found.points, goal, diagonal))
            rows.append(Row(amplitude, name, pair.id, **errors, folding=found.folding, refused=refused))
    return rows


def _evenly(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """At most ``limit`` pairs from all over the table, which is mostly sorted by tissue."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    return [pairs[round(place)] for place in np.linspace(0, len(pairs) - 1, limit)]


# showing


def mean_errors(rows: Sequence[Row]) -> pd.DataFrame:
    """Mean over pairs of the mean rTRE, a row an amplitude, a column a method, both in the order of ``rows``."""
    names = PairTRE.__dataclass_fields__
    cells: dict[str, dict[float, float]] = {}
    for method in dict.fromkeys(row.method for row in rows):
        for amplitude in dict.fromkeys(row.amplitude for row in rows):
            chosen = [row for row in rows if (row.method, row.amplitude) == (method, amplitude)]
            errors = [PairTRE(**{name: getattr(row, name) for name in names}) for row in chosen]
            cells.setdefault(method, {})[amplitude] = aggregate(errors).AArTRE
    return pd.DataFrame(cells)


def markdown(rows: Sequence[Row]) -> str:
    """The table of ``mean_errors``, and how many pairs each method refused."""
    errors = mean_errors(rows)
    lines = [
        f"Mean rTRE of {len({row.pair for row in rows})} pairs. Amplitude: largest displacement of the extra warp, "
        "% of the longer side; its rTRE, with what the pair brings, is that of `none`.", "",
        "| amplitude, % | " + " | ".join(errors.columns) + " |",
        "| --- |" + " --- |" * len(errors.columns),
        *(
            f"| {amplitude:g} | " + " | ".join(f"{value:.5f}" for value in values) + " |"
            for amplitude, values in zip(errors.index, errors.to_numpy(), strict=True)
        ),
    ]  # fmt: skip
    refused = {name: sum(row.refused for row in rows if row.method == name) for name in errors.columns}
    tried = len(rows) // len(errors.columns)
    told = [f"`{name}` refused {number} of {tried}" for name, number in refused.items() if number]
    return "\n".join([*lines, *(["", "; ".join(told) + ", counted as unregistered."] if told else [])])


def plot(errors: pd.DataFrame, path: Path) -> None:
    """A curve for each method of ``mean_errors``, the error on a logarithmic axis."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in errors.columns:
        style: dict[str, Any] = {"color": "grey", "linestyle": "--"} if name == "none" else {"marker": "o"}
        axes.plot(errors.index, errors[name], label=name, **style)
    axes.set(
        xlabel="largest displacement of the extra warp, % of the longer side", ylabel="mean rTRE", yscale="log",
        title="Landmark error after registration",
    )  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def large_displacement(
    pairs: str,
    to: str,
    methods: str = "dis",
    status: str | None = None,
    limit: int | None = None,
    amplitudes: str = AMPLITUDES,
    seed: int = 0,
    threads: int = 1,
) -> str:
    """Table of mean rTRE against the size of the extra warp; no registration, ``none``, is always in it.

    Args:
        pairs: pair table with landmarks of both images.
        to: folder for table, rows and plot; made if absent.
        methods: divided by spaces; see ``parse_method``.
        status: keep the pairs with this value in column ``status``.
        limit: at most so many pairs, evenly over the table.
        amplitudes: per cent of the moving image's longer side, divided by spaces.
        seed: of the fields; pair i of the chosen ones has its own.
        threads: of every library.

    Returns:
        Markdown.

    Raises:
        InputError: no pair is left, a method is unknown, an amplitude is negative or a file does not fit.
    """
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    sizes = _numbers(amplitudes)
    functions: dict[str, Callable[..., TransformReport]] = {"none": carry_nowhere}
    functions |= dict(parse_method(text) for text in methods.split() if text != "none")
    chosen = _evenly(select_pairs(pairs, status=status), limit)
    rows: list[Row] = []
    for number, pair in enumerate(chosen):
        rows += measure(pair, functions, sizes, (seed, number))
        print(f"[{number + 1}/{len(chosen)}] {pair.id}", file=sys.stderr, flush=True)
    folder, text = Path(to), markdown(rows)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "large_displacement.csv") as partial:
        pd.DataFrame([asdict(row) for row in rows]).to_csv(partial, index=False)
    with atomic_path(folder / "large_displacement.md") as partial:
        partial.write_text(text + "\n")
    plot(mean_errors(rows), folder / "large_displacement.png")
    return text


def _numbers(amplitudes: str | float) -> list[float]:
    """The command line's amplitudes: a single one comes as a number."""
    try:
        sizes = [float(word) for word in str(amplitudes).split()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 0:
        raise InputError(f"amplitudes are numbers from 0 on, divided by spaces, got '{amplitudes}'")
    return sizes


if __name__ == "__main__":
    try:
        fire.Fire(large_displacement)
    except InputError as error:
        sys.exit(f"error: {error}")

"""Fit and check the error model of methods that have none of their own, on fields of known error.

    python -m benchmarks.general_error sections --pairs split.csv --status training --to sections.csv
    python -m benchmarks.general_error sections --pairs split.csv --status validation --to other_sections.csv
    python -m benchmarks.general_error volumes --images "a.nii.gz b.nii.gz" --to volumes.csv
    python -m benchmarks.general_error fit --sections sections.csv --volumes volumes.csv --to general_error.json
    python -m benchmarks.general_error check --evidence other_sections.csv --model general_error.json

Sections are pairs with landmarks, the fields on them those of no method in particular: none, dense optical flow, and
both with smooth errors added. Volumes are warped by known fields and changed in contrast; the fields on them are the
true one with smooth errors of many sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.compare import pair_landmarks
from benchmarks.error_model import calibration, quantile_functions, stated
from custom_components.bundles import open_bundle
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.fields import invert, sample_at, smooth, warp
from custom_components.inferers import PairImages
from custom_components.inferers.displaced import RELATED_EVIDENCE, Comparison, compare
from custom_components.inferers.error_model import ErrorModel, LogLinear
from custom_components.inferers.flow_refinement import consistent_flow, flow_to_ddf, to_bytes

PLACES = 60  # at most, of a field
NOISES = (0.0, 0.004, 0.02)  # root mean square of the errors added to sections' fields, share of the diagonal
SIZES = (0.003, 0.01, 0.03)  # of those added to true fields of volumes
WARP = 0.02  # root mean square of the known warps
LONGEST = 96  # voxels of a volume's side; the estimate works on less
# by the number of dimensions: at the place, and medians over the tissue; volumes are too few for more
EVIDENCE = {
    2: (("offset", "ambiguity", "far_offset", "likeness", "bend"), ("offset", "likeness", "bend")),
    3: (("offset", "far_offset"), ("offset",)),
}
FITTED = 40  # places of a field that are fitted to, at most


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], size: float, wave: float) -> Tensor:
    """(1, D, *shape) random, of root mean square length ``size``, smoothed by a Gaussian of ``wave`` voxels."""
    noise = torch.from_numpy(rng.standard_normal((1, len(shape), *shape)).astype(np.float32))
    field = smooth(noise, wave)
    length = field.square().sum(1).mean().sqrt().clamp(min=1e-9)
    return field * (size / length)


def _rows(found: Comparison, places: NDArray[Any], errors: NDArray[Any], name: str, case: str) -> pd.DataFrame:
    """The evidence at (N, D) voxels of the fixed grid beside the errors there, at places on tissue."""
    low = np.array([part.start for part in found.box])
    sides = np.array([part.stop - part.start for part in found.box])
    shape = np.array(found.tissue.shape)
    index = np.clip(((places - low + 0.5) / sides * shape).astype(int), 0, shape - 1)
    at = tuple(index.T)
    table = pd.DataFrame({key: values[at] for key, values in found.maps.items()})
    medians = {f"pair_{key}": float(np.median(found.maps[key][found.tissue])) for key in found.maps}
    table = table.assign(id=name, case=case, error=errors, support=found.support, **medians)
    return table[found.tissue[at]]


def sections(pairs: str, to: str, status: str | None = None, limit: int | None = None, seed: int = 0) -> str:
    """Rows of pairs of sections with landmarks, affinely aligned.

    Args:
        pairs: pair table with ``tissue`` and ``block``, and both landmark files of each pair.
        to: CSV; errors and lengths are shares of the fixed tissue's diagonal.
        status: of the rows taken.
        limit: only the first pairs.
        seed: of the errors added.

    Returns:
        How many fields and places there are.
    """
    rng, tables = np.random.default_rng(seed), []
    config = open_bundle("hybrid_matching", pairs=pairs, status=status, resume=False).parser()
    dataset, prepare = (config.get_parsed_content(key) for key in ("dataset", "preprocessing"))
    named = pd.read_csv(pairs, dtype=str).fillna("").set_index("id")
    for item in dataset.data[:limit]:
        pair = item["pair"]
        images = to_pair_images(prepare(item), torch.device("cpu"))
        assert images.origin is not None
        marks = pair_landmarks(pair, images.origin.fixed.shape[1:])
        moving = images.origin.moving_grid.index(marks.moving[marks.match.moving][:, ::-1])
        fixed = images.origin.fixed_grid.index(marks.fixed[marks.match.fixed][:, ::-1])
        flow, _ = consistent_flow(to_bytes(images.fixed), to_bytes(images.moving), None, 2.0)
        fields = {"none": torch.zeros(1, 2, *images.shape), "flow": flow_to_ddf(flow)}
        case = f"{named.loc[pair.id, 'tissue']} {named.loc[pair.id, 'block']}"
        start, chosen = torch.from_numpy(fixed).float(), rng.permutation(len(fixed))[:PLACES]
        for (name, field), size in ((item, size) for item in fields.items() for size in NOISES):
            wave = float(rng.uniform(0.03, 0.1)) * images.diagonal
            ddf = field + smooth_field(rng, images.shape, size * images.diagonal, wave)
            errors = np.linalg.norm((start + sample_at(ddf, start)).numpy() - moving, axis=1) / images.diagonal
            found = compare(images, ddf)
            tables.append(_rows(found, fixed[chosen], errors[chosen], f"{pair.id} {name} {size}", case))
        pd.concat(tables).to_csv(to, index=False)  # a stopped run keeps what it has
    return f"{len(tables)} fields, {sum(map(len, tables))} places in {to}"


def _volume(file: Path) -> tuple[Tensor, Tensor]:
    """Image in 0..1 and tissue mask, (1, 1, *spatial) each, its sides at most ``LONGEST``."""
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(np.float32)
    low, high = np.percentile(values, [1, 99])
    image = torch.from_numpy(np.clip((values - low) / max(high - low, 1e-6), 0, 1))[None, None]
    sides = tuple(max(8, round(side * min(1.0, LONGEST / max(image.shape[2:])))) for side in image.shape[2:])
    image = F.interpolate(image, sides, mode="area")
    return image, (smooth(image, 2.0) > 0.08).float()


def _known(file: Path, rng: np.random.Generator) -> Iterator[tuple[float, PairImages, Tensor, Tensor]]:
    """Size of the error, pair, field and (1, 1, *spatial) its true error in voxels."""
    image, mask = _volume(file)
    diagonal = PairImages(image, image, mask, mask).diagonal
    shape = tuple(image.shape[2:])
    for size in SIZES:
        way = smooth_field(rng, shape, WARP * diagonal, float(rng.uniform(0.06, 0.15)) * diagonal)
        truth, _ = invert(way)
        other = warp(image, way).clamp(0, 1) ** float(rng.uniform(0.6, 1.6))
        if rng.random() < 0.3:
            other = (1 - other) * warp(mask, way)
        other = other + 0.02 * torch.from_numpy(rng.standard_normal(image.shape).astype(np.float32))
        wrong = smooth_field(rng, shape, size * diagonal, float(rng.uniform(0.04, 0.12)) * diagonal)
        yield size, PairImages(other.clamp(0, 1), image, warp(mask, way), mask), truth + wrong, wrong.norm(dim=1)[None]


def volumes(images: str, to: str, seed: int = 0) -> str:
    """Rows of volumes under known warps.

    Args:
        images: files, separated by spaces.
        to: CSV, as of ``sections``.
        seed: of the warps and errors.

    Returns:
        How many fields and places there are.
    """
    rng, tables = np.random.default_rng(seed), []
    for file in map(Path, images.split()):
        for size, pair, ddf, error in _known(file, rng):
            places = (pair.fixed_mask[0, 0] > 0.5).nonzero().numpy()
            chosen = places[rng.choice(len(places), min(len(places), 4 * PLACES), replace=False)]
            errors = error[0, 0].numpy()[tuple(chosen.T)] / pair.diagonal
            tables.append(_rows(compare(pair, ddf), chosen, errors, f"{file.name} {size}", file.name))
        pd.concat(tables).to_csv(to, index=False)
    return f"{len(tables)} fields, {sum(map(len, tables))} places in {to}"


def fit(sections: str, volumes: str, to: str) -> str:
    """Fit the functions of sections and of volumes and write them as JSON.

    Args:
        sections: CSV of ``sections``.
        volumes: CSV of ``volumes``.
        to: JSON, a model by the number of dimensions.

    Returns:
        The factors by which the bounds were widened.
    """
    parts, said = {}, []
    for count, file in ((2, sections), (3, volumes)):
        table = pd.read_csv(file).sample(frac=1, random_state=0).groupby("id").head(FITTED).reset_index(drop=True)
        parts[str(count)], widening = quantile_functions(table, *EVIDENCE[count])
        said.append(f"{count} dimensions: bound widened by {widening:.3f}")
    Path(to).write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    return f"{to}: {'; '.join(said)}"


def check(evidence: str, model: str) -> str:
    """Markdown: how well stated errors of a table of ``sections`` or ``volumes`` are the true ones."""
    table = pd.read_csv(evidence).reset_index(drop=True)
    count = "3" if table["id"].str.contains(r"\.nii|\.mha").any() else "2"
    content = json.loads(Path(model).read_text(encoding="utf-8"))[count]
    functions = ErrorModel(*(LogLinear.of(**content[key], known=RELATED_EVIDENCE) for key in ("expected", "bound")))
    return calibration(stated(table, functions), "fields", "places")


if __name__ == "__main__":
    fire.Fire({"sections": sections, "volumes": volumes, "fit": fit, "check": check})

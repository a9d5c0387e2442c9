"""Begin where an earlier registration ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from custom_components.errors import InputError
from custom_components.fields import best_affine, image_to_ddf, read_displacement
from custom_components.inferers.result import Estimate, PairImages, PairOrigin, Stage


class StoredField:
    """Takes a pair's field from the folder of an earlier run, of any bundle and working size.

    Args:
        results: the run's output folder; the pair's own folder in it has the pair's id.
        name: of the stage in the report.
    """

    def __init__(self, results: str | Path | None, name: str = "stored field") -> None:
        self.results = None if results is None else Path(results)
        self.name = name

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; what was estimated before is replaced.

        Raises:
            InputError: there is no such result, or it is one of images of another size or physical unit.
        """
        start = perf_counter()
        if self.results is None:
            raise InputError("give --results FOLDER, the output folder of the run that registered the pairs before")
        if images.origin is None:
            raise InputError("a stored field belongs to images that were read from files")
        origin = images.origin
        folder = self.results / origin.pair.id
        check_result(folder / "metrics.json", origin)
        image = read_displacement(folder / "displacement.mha")
        ddf = image_to_ddf(image, origin.fixed_grid.matrix, origin.moving_grid.matrix, images.shape).to(images.fixed)
        affine = np.eye(len(images.shape) + 1)
        affine[:-1] = best_affine(ddf).cpu().numpy()
        stage = Stage(self.name, perf_counter() - start, {"folder": str(folder)})
        return replace(estimate, ddf=ddf, affine=affine, stages=(*estimate.stages, stage))


def check_result(info: Path, origin: PairOrigin) -> None:
    """Raise ``InputError`` unless a result's metrics.json is of these images, in these units."""
    if not info.is_file():
        raise InputError(
            f"{info} does not exist; register the pair first, and give that run's output folder as --results and, of "
            "a single pair, its --id"
        )
    metrics = json.loads(info.read_text())
    if "fixed_grid" not in metrics:
        raise InputError(f"{info}: the pair was not registered ({metrics.get('reason', 'no reason given')})")
    if metrics["unit"] != origin.unit:
        raise InputError(f"{info} counts in {metrics['unit']}s, but the images now in {origin.unit}s")
    for side, image in (("moving", origin.moving), ("fixed", origin.fixed)):
        before, now = (tuple(shape) for shape in (metrics[f"{side}_grid"]["shape"], image.meta["file_grid"].shape))
        if before != now:
            raise InputError(
                f"{info} is of a {side} image of {before[1]} x {before[0]} pixels; "
                f"{getattr(origin.pair, side)} has {now[1]} x {now[0]}"
            )

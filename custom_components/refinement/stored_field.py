"""Begin where an earlier registration ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from custom_components.common.errors import InputError
from custom_components.fields import best_affine
from custom_components.inferers.result import Estimate, PairImages, PairOrigin, Stage
from custom_components.results.folder import ResultFolder


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
        stored = ResultFolder(self.results / origin.pair.id)
        check_result(stored, origin)
        ddf = stored.field(origin.fixed_grid, origin.moving_grid).to(images.fixed)
        affine = np.eye(len(images.shape) + 1)
        affine[:-1] = best_affine(ddf).cpu().numpy()
        stage = Stage(self.name, perf_counter() - start, {"folder": str(stored.folder)})
        return replace(estimate, ddf=ddf, affine=affine, stages=(*estimate.stages, stage))


def check_result(stored: ResultFolder, origin: PairOrigin) -> None:
    """Raise ``InputError`` unless a result is one of these images, in these units."""
    info = stored.info
    if not info.is_file():
        raise InputError(
            f"{info} does not exist; register the pair first, and give that run's output folder as --results and, of "
            "a single pair, its --id"
        )
    stored.check_field("fixed")
    if stored.unit != origin.unit:
        raise InputError(f"{info} counts in {stored.unit}s, but the images now in {origin.unit}s")
    for side, image in (("moving", origin.moving), ("fixed", origin.fixed)):
        before, now = stored.grid(side).shape, image.meta["file_grid"].shape
        if before != now:
            sizes = [" x ".join(str(length) for length in reversed(shape)) for shape in (before, now)]
            raise InputError(
                f"{info} is of a {side} image of {sizes[0]} pixels; {getattr(origin.pair, side)} has {sizes[1]}"
            )

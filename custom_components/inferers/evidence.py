"""How alike the images are after a registration, for methods that do not measure that themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from custom_components.inferers.flow_refinement import local_similarity
from custom_components.inferers.result import PairImages, Registration, Stage


def scored(inferer: Callable[[PairImages], Registration]) -> Callable[[PairImages], Registration]:
    """The inferer, its result with a stage for the local similarity where it does not measure that itself.

    A network gives a field for any two images; without this, noise on tissue would be as good a result as any.
    """

    def register(images: PairImages) -> Registration:
        result = inferer(images)
        if any("similarity" in stage.details for stage in result.stages):
            return result
        start = perf_counter()
        figures = {"similarity": local_similarity(images, result.ddf)}
        return replace(result, stages=(*result.stages, Stage("similarity", perf_counter() - start, figures)))

    return register

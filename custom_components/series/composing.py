"""A section onto the reference by a chain of registrations, written like any other result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import torch

from custom_components.common.arrays import Matrix
from custom_components.engines.pair_evaluator import Data, to_pair_images
from custom_components.fields import Grid, Link, chain_ddf, invert
from custom_components.inferers.flow_refinement import local_similarity
from custom_components.inferers.result import Registration, Stage
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.writer import POOR_SIMILARITY, write_registration
from custom_components.pairs import Pair

# A chained field was fitted to other images than the two that it is judged on: of good ones the local similarity
# is half that of a field fitted to them.
CHAINED_SIMILARITY = POOR_SIMILARITY / 2


def grid_to_pixels(data: Data, side: str) -> Matrix:
    """(3, 3) matrix from voxels of the working grid of the ``side`` image to its full-resolution pixels."""
    working = data[f"working_{side}"]
    return Grid.of(working).to(working.meta["file_grid"])


def compose_registration(data: Data, links: Sequence[Link], steps: Sequence[Stage] = ()) -> Registration:
    """The registration that a chain of links makes of a prepared pair.

    Args:
        data: the prepared pair of reference (fixed) and section (moving).
        links: from the reference to the section; none for the reference itself.
        steps: what is said of the links in the record.
    """
    start = perf_counter()
    fixed_grid, moving_grid = (grid_to_pixels(data, side) for side in ("fixed", "moving"))
    ddf = chain_ddf(links, fixed_grid, moving_grid, tuple(data["working_fixed"].shape[1:]))
    inverse, residual = invert(ddf)
    tissue = residual[torch.as_tensor(data["mask_moving"])[None].as_subclass(torch.Tensor) > 0.5]
    details = {
        "links": len(links),
        "similarity": local_similarity(to_pair_images(data, torch.device("cpu")), ddf),
        "median_residual_voxels": float(tissue.median()) if len(tissue) else 0.0,
    }
    stage = Stage("composition", perf_counter() - start, details)
    return Registration(ddf, inverse, PointPairs.empty(), PointPairs.empty(), (*steps, stage))


def write_section(
    pair: Pair,
    data: Data,
    links: Sequence[Link],
    output: Output,
    *,
    steps: Sequence[Stage] = (),
    warnings: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """Compose and write one section's folder; returns its metrics.

    Args:
        pair: reference (fixed) and section (moving).
        data: the same, prepared.
        links: see ``compose_registration``.
        output: where to and in which form.
        steps: see ``compose_registration``.
        warnings: what speaks against the links.
        details: further entries of metrics.json.
        seconds: spent so far on the section.

    Raises:
        InputError: an attached file is wrong, or the folder can't be written.
    """
    start = perf_counter()
    result = compose_registration(data, links, steps)
    return write_registration(
        result, PreparedPair.of(data, pair), output, seconds + perf_counter() - start,
        least_similarity=POOR_SIMILARITY if len(links) < 2 else CHAINED_SIMILARITY, warnings=warnings, details=details,
    )  # fmt: skip

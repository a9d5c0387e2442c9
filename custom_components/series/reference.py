"""The section that all others are brought onto, when the user names none.

The rule: the section from which the routes to all others have the smallest expected errors, by the costs of
``link_costs`` with matches counted between thumbnails. So a stain that the others match well is preferred, and in a
long series, of which only the thumbnails of near sections are matched, a section near the middle, as costs add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from custom_components.common.errors import InputError, RegistrationError
from custom_components.inferers import AffineAlignment, Estimate, PairImages
from custom_components.matching import XFeatMatcher
from custom_components.pairs import read_image
from custom_components.pairs.channels import as_matched
from custom_components.pairs.reading import Reading
from custom_components.series.routes import Outcome, best_routes
from custom_components.series.sections import Section
from custom_components.transforms.grey import stain_independent_grey, tissue_mask
from custom_components.transforms.working import as_float, common_shape, pad_to, shrink

SIZE = 512  # pixels of a thumbnail's longest side
FEW = 8  # sections of which all pairs are matched
REACH = 2  # places apart that are matched among more


def thumbnail_pairs(count: int) -> list[tuple[int, int]]:
    """(fixed, moving) numbers of the sections whose thumbnails are matched."""
    reach = count - 1 if count <= FEW else REACH
    return [(i, j) for i in range(count) for j in range(i + 1, min(i + reach, count - 1) + 1)]


def thumbnails(sections: Sequence[Section], channel: int | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Grey and tissue (1, 1, H, W) of the sections on one grid at one scale, by number.

    An image that can't be read or shows no tissue is left out; why is said when its section is registered.
    """
    small: dict[int, tuple[Tensor, float]] = {}
    for number, section in enumerate(sections):
        try:
            image = read_image(section.image, longest=SIZE, reading=Reading(channel))
        except InputError:
            continue
        if image.ndim == 3:
            scale = min(1.0, SIZE / max(image.shape[1:]))
            # of large slides no more than a coarse level was read, which is a part of the scale
            read = image.shape[1] / image.meta["file_grid"].shape[0]
            matched = as_matched(image.numpy(), image.meta["layout"], image.meta["channel"])
            small[number] = shrink(as_float(torch.from_numpy(matched)), scale), scale * read
    common = min((scale for _, scale in small.values()), default=1.0)
    parts: dict[int, tuple[Tensor, Tensor]] = {}
    for number, (values, scale) in small.items():
        array = shrink(values, common / scale).numpy()
        try:
            parts[number] = (_tensor(stain_independent_grey(array)), _tensor(tissue_mask(array)))
        except InputError:
            continue
    if not parts:
        return {}
    shape = common_shape([tuple(grey.shape[1:]) for grey, _ in parts.values()])
    return {n: tuple(pad_to(part, shape)[None] for part in two) for n, two in parts.items()}  # type: ignore[misc]


def _tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array[None], dtype=np.float32))


def match_thumbnails(sections: Sequence[Section], channel: int | None = None) -> list[Outcome]:
    """How many consistent matches the thumbnails have, as outcomes of registrations; refused pairs are left out."""
    found = thumbnails(sections, channel)
    align, outcomes = AffineAlignment(XFeatMatcher(), search_size=SIZE), []
    for fixed, moving in thumbnail_pairs(len(sections)):
        if fixed not in found or moving not in found:
            continue
        images = PairImages(found[moving][0], found[fixed][0], found[moving][1], found[fixed][1])
        try:
            with torch.no_grad():
                matches = len(align(images, Estimate.identity(images.shape)).matches)
        except RegistrationError:
            continue
        outcomes.append(Outcome(fixed, moving, "ok", matches=matches))
    return outcomes


def central(count: int, outcomes: Sequence[Outcome]) -> int:
    """The section with the smallest mean expected error over the routes to the sections that it reaches.

    Only sections that reach as many others as any does come into question; with no outcomes it is the middle one.

    Args:
        count: of sections.
        outcomes: of matching their thumbnails, good in both directions.
    """

    def worth(number: int) -> tuple[int, float, float]:
        routes = best_routes(number, outcomes, both_ways=True)
        return -len(routes), sum(sqrt(route.cost) for route in routes.values()), abs(number - middle(count))

    return min(range(count), key=worth)


def middle(count: int) -> int:
    """Number of the section in the middle of the order."""
    return count // 2


def choose_reference(
    sections: Sequence[Section], wanted: str | None = None, channel: int | None = None
) -> tuple[int, str]:
    """Number of the reference and in words why it is that one.

    Args:
        sections: in order.
        wanted: id of a section, "middle", or None for the rule above.
        channel: of multi-channel images, match on this one.

    Raises:
        InputError: no section has that id.
    """
    ids = [section.id for section in sections]
    if wanted in ids:
        return ids.index(wanted), "as asked for"
    if wanted == "middle":
        return middle(len(ids)), "the middle of the order"
    if wanted is not None:
        raise InputError(f"--reference is the id of a section or middle, got '{wanted}'; the ids are {', '.join(ids)}")
    outcomes = match_thumbnails(sections, channel)
    number = central(len(ids), outcomes)
    if not outcomes:
        return number, "the middle of the order, as no two thumbnails match"
    return number, "the thumbnails of the others match it best"

"""How an alignment compares with displaced ones of the same two images, whatever method found it.

Two images that show the same thing look more alike where they lie on each other than a few per cent of their size away.
Images that have nothing to do with each other look equally alike everywhere, however well a flexible field has made
their outlines and grey values fit: at each displaced position the neighbourhood is searched as well, so that the rivals
are fitted too. The likeness is that of self-similarity descriptors (``losses.mind``), which don't know of contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.arrays import Array
from custom_components.fields import warp
from custom_components.inferers.result import PairImages
from custom_components.losses.mind import mind_ssc

FLAT = 1e-4  # squared grey values; see ``mind_ssc``
SHARPNESS = 30.0  # of the choice between displacements, by the difference of descriptors over its mean
FINEST = 0.25  # voxels of the compared grid below which its search can't tell
LEAST_COVER = 0.3  # share of a window that must show both tissues for it to be compared
STRIDE = 2  # voxels between the places that are compared
MARGIN = 0.05  # share of the tissue's diagonal that is looked at around its bounding box
LEAST_SUPPORT = 0.25  # below it nothing says that the images show the same: unrelated ones reach .22
LEAST_SIDE = 8  # voxels, of thin volumes
RELATED_EVIDENCE = ("offset", "ambiguity", "far_offset", "far_ambiguity", "likeness", "bend")


@dataclass(frozen=True)
class Level:
    """A size at which an alignment is compared with displaced ones.

    Attributes:
        diagonal: of the tissue, voxels, to which the images are shrunk at most.
        reach: largest displacement along an axis, voxels.
        window: half the width of the windows that are compared, voxels.
        dilation: of the descriptors.
    """

    diagonal: float
    reach: int
    window: int
    dilation: int


# about a tenth of the diagonal about each place; and the nearest neighbourhood, on a finer grid
WIDE = {2: Level(120, 12, 3, 2), 3: Level(48, 4, 2, 1)}
NEAR = {2: Level(360, 3, 4, 2), 3: Level(72, 2, 1, 1)}
AROUND = {2: 3, 3: 1}  # voxels of ``WIDE`` within which a position is searched


@dataclass(frozen=True)
class Costs:
    """Unlikeness of windows of two images, by displacement of the second.

    Attributes:
        values: (K, *places), mean squared difference of descriptors; infinite where too little of both tissues is seen.
        offsets: (K, D) voxels of the compared grid.
        scale: (D,) voxels of the images in one of the compared grid.
        tissue: (*places), the places on fixed tissue.
        box: slices of the fixed grid that the places are spread over.
    """

    values: Tensor
    offsets: Array
    scale: Array
    tissue: Tensor
    box: tuple[slice, ...]

    def near(self, centre: Array, radius: int) -> Tensor:
        """(*places) the least cost of the displacements at most ``radius`` from ``centre`` on each axis."""
        chosen = (np.abs(self.offsets - centre) <= radius).all(axis=1)
        return self.values[torch.from_numpy(chosen)].amin(0)

    @cached_property
    def offset(self) -> tuple[Tensor, Tensor]:
        """(*places) how far off the likeliest place is, and how far about it the likely ones are, voxels of the images.

        Displacements are weighed by their likeness. Both are at least what the grid can tell, and that where nothing
        can be compared.
        """
        known = torch.isfinite(self.values)
        values = torch.where(known, self.values, torch.zeros(()))
        mean = values.sum(0) / known.sum(0).clamp(min=1)
        least = torch.where(known, self.values, torch.inf).amin(0)
        excess = (self.values - least) / mean.clamp(min=1e-6)
        weight = torch.where(known, torch.exp(-SHARPNESS * excess), torch.zeros(()))
        weight = weight / weight.sum(0).clamp(min=1e-6)
        steps = torch.from_numpy(self.offsets * self.scale).to(weight)
        middle = torch.einsum("k...,kd->d...", weight, steps)
        squared = torch.einsum("k...,k->...", weight, steps.square().sum(1)) - middle.square().sum(0)
        finest = float(FINEST * self.scale.max()) ** 2
        return (middle.square().sum(0) + finest).sqrt(), (squared.clamp(min=0) + finest).sqrt()


@dataclass(frozen=True)
class Comparison:
    """An alignment beside displaced ones.

    Attributes:
        support: share of the places on tissue where no displaced alignment looks as much alike, chance taken out: 1
            where all places speak for the alignment, about 0 of images that have nothing to do with each other.
        maps: (*places) of ``RELATED_EVIDENCE``; lengths are shares of the tissue's diagonal. ``offset`` and
            ``far_offset``: how far a search about the place would move it, within a per cent and a tenth of the
            diagonal; ``ambiguity`` and ``far_ambiguity``: how little it can tell the places about that apart;
            ``likeness``: cost as aligned over that of displaced alignments; ``bend``: unevenness of the field.
        tissue: (*places), bool.
        box: slices of the fixed grid that the places are spread over.
    """

    support: float
    maps: Mapping[str, Array]
    tissue: Array
    box: tuple[slice, ...]


def compare(images: PairImages, ddf: Tensor, maps: bool = True) -> Comparison:
    """The alignment that a field gives beside the same alignment displaced.

    Args:
        images: the pair, of two or three dimensions.
        ddf: (1, D, *spatial), voxels, fixed -> moving.
        maps: also make the maps, which takes a finer search.
    """
    count = len(images.shape)
    box = tissue_box(images)
    cut = (slice(None), slice(None), *box)
    tensors = [images.fixed, warp(images.moving, ddf), images.fixed_mask, warp(images.moving_mask, ddf)]
    pair = [tensor[cut].float().cpu() for tensor in tensors]
    wide = costs(pair, images.diagonal, WIDE[count], box)
    here, rivals = _here_and_displaced(wide, WIDE[count].reach, AROUND[count])
    support = _support(here, rivals, wide.tissue)
    if not maps:
        return Comparison(support, {}, wide.tissue.numpy(), box)
    fine = costs(pair, images.diagonal, NEAR[count], box)
    shape = tuple(fine.tissue.shape)
    size, typical = images.diagonal, _typical(rivals)
    # where nothing can be compared nothing speaks for the alignment
    comparable = torch.isfinite(here) & (typical > 0)
    likeness = torch.where(comparable, here / typical.clamp(min=1e-6), torch.ones(()))
    found = {
        "offset": fine.offset[0] / size,
        "ambiguity": fine.offset[1] / size,
        "far_offset": _resized(wide.offset[0] / size, shape),
        "far_ambiguity": _resized(wide.offset[1] / size, shape),
        "likeness": _resized(likeness, shape),
        "bend": _resized(_bend(ddf[cut].float().cpu()), shape),
    }
    return Comparison(support, {name: values.numpy() for name, values in found.items()}, fine.tissue.numpy(), box)


def tissue_box(images: PairImages) -> tuple[slice, ...]:
    """The fixed tissue's bounding box with a margin; all of the grid where there is no tissue."""
    index = (images.fixed_mask[0, 0] > 0.5).nonzero()
    if len(index) == 0:
        return tuple(slice(0, side) for side in images.shape)
    margin = round(MARGIN * images.diagonal)
    low, high = index.amin(0).tolist(), index.amax(0).tolist()
    return tuple(
        slice(max(a - margin, 0), min(b + margin + 1, side)) for a, b, side in zip(low, high, images.shape, strict=True)
    )


def costs(pair: list[Tensor], diagonal: float, level: Level, box: tuple[slice, ...]) -> Costs:
    """Unlikeness by displacement.

    Args:
        pair: fixed image, warped moving image and their masks, (1, 1, *spatial) each, cut to ``box``.
        diagonal: of the tissue, in the voxels of these.
        level: of the search.
        box: where they were cut from.
    """
    spatial = tuple(pair[0].shape[2:])
    factor = min(1.0, level.diagonal / diagonal)
    small = tuple(max(min(side, LEAST_SIDE), round(side * factor)) for side in spatial)
    first, second, own, other = (
        tensor if small == spatial else F.interpolate(tensor, small, mode="area") for tensor in pair
    )
    first, second = (mind_ssc(image, 1, level.dilation, FLAT) for image in (first, second))
    pool = F.avg_pool2d if len(small) == 2 else F.avg_pool3d
    # of thin volumes not farther than there is anything
    reaches = [min(level.reach, side - 1) for side in small]
    padding = [side for reach in reversed(reaches) for side in (reach, reach)]
    second, other = F.pad(second, padding), F.pad(other, padding)
    width = 2 * level.window + 1
    full = pool(own, width, STRIDE, level.window)[0, 0]
    values = []
    for offset in product(*(range(2 * reach + 1) for reach in reaches[:-1])):
        # all displacements along the last axis at once
        cut = (slice(None), slice(None), *(slice(o, o + s) for o, s in zip(offset, small[:-1], strict=True)))
        there, shown = (tensor[cut].unfold(-1, small[-1], 1).movedim(-2, 0) for tensor in (second, other))
        seen = own * shown[:, 0]
        unlike = (first - there[:, 0]).square().mean(1, keepdim=True) * seen
        total, cover = (pool(part, width, STRIDE, level.window)[:, 0] for part in (unlike, seen))
        enough = cover > LEAST_COVER * full.clamp(min=LEAST_COVER)
        values.append(torch.where(enough, total / cover.clamp(min=1e-6), torch.inf))
    tissue = F.interpolate(own, tuple(full.shape), mode="area")[0, 0] > 0.5
    scale = np.array(spatial) / np.array(small)
    offsets = np.array(list(product(*(range(-reach, reach + 1) for reach in reaches))), dtype=np.float64)
    return Costs(torch.cat(values), offsets, scale, tissue, box)


def _here_and_displaced(wide: Costs, reach: int, radius: int) -> tuple[Tensor, Tensor]:
    """(*places) the least cost about the alignment, and (R, *places) that about each displaced one."""
    count, step = len(wide.scale), reach - radius
    centres = [step * np.array(to) for to in product((-1, 0, 1), repeat=count) if any(to)]
    return wide.near(np.zeros(count), radius), torch.stack([wide.near(centre, radius) for centre in centres])


def _support(here: Tensor, rivals: Tensor, tissue: Tensor) -> float:
    """See ``Comparison``; 0 where nothing can be compared.

    Tissue without a counterpart can't be compared and says nothing here; nor do places as empty as all around them, so
    that places count by how much the displaced alignments differ from the fixed image.
    """
    known = torch.isfinite(rivals)
    compared = tissue & torch.isfinite(here) & known.any(0)
    if not bool(compared.any()):
        return 0.0
    weight = _typical(rivals)[compared]
    weight = weight / weight.sum().clamp(min=1e-9)
    won = (weight * (here < rivals.amin(0))[compared]).sum()
    chance = (weight / (1 + known.sum(0)[compared])).sum()
    return float((won - chance) / (1 - chance))


def _typical(rivals: Tensor) -> Tensor:
    """(*places) the mean cost of the displaced alignments, of those that can be compared."""
    known = torch.isfinite(rivals)
    return torch.where(known, rivals, torch.zeros(())).sum(0) / known.sum(0).clamp(min=1)


def _resized(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(*places) on a grid of other places in the same box."""
    if tuple(values.shape) == shape:
        return values
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return F.interpolate(values[None, None], shape, mode=mode)[0, 0]


def _bend(ddf: Tensor) -> Tensor:
    """(*spatial) norm of the field's gradient less that of its mean, which an affine has too."""
    axes = tuple(range(2, ddf.ndim))
    parts = [gradient - gradient.mean(axes, keepdim=True) for gradient in torch.gradient(ddf, dim=axes)]
    total: Tensor = sum(part.square().sum(1)[0] for part in parts)  # type: ignore[assignment]
    return total.sqrt()

"""Overlapping patches that cover an image of any size, of which only the centres are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError


@dataclass(frozen=True)
class Patch:
    """One patch: where it is read and which part of it is kept.

    Attributes:
        start: (D,) first voxel, in the image; the patch ends inside the image unless the image is smaller than it.
        keep: (D,) slices of the image that this patch answers for; those of all patches tile the image.
    """

    start: tuple[int, ...]
    keep: tuple[slice, ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """The kept part in the patch's own voxels."""
        return tuple(
            slice(keep.start - start, keep.stop - start) for start, keep in zip(self.start, self.keep, strict=True)
        )


def patch_spans(length: int, patch_size: int, stride: int) -> list[tuple[int, slice]]:
    """First voxel and kept span of each patch along one axis.

    Neighbouring patches are ``stride`` apart, the last one is moved back so that it ends with the image, and each
    overlap is cut in its middle: with ``stride`` half of ``patch_size`` the central half is kept, as in the paper, and
    up to the rim at the image's own border, where there is nothing beyond to be missed.
    """
    last = max(length - patch_size, 0)
    starts = [*range(0, last, stride), last]
    cuts = [(left + patch_size + right) // 2 for left, right in pairwise(starts)]
    return [(start, slice(low, high)) for start, low, high in zip(starts, [0, *cuts], [*cuts, length], strict=True)]


def plan_patches(spatial: Sequence[int], patch_size: int, stride: int) -> list[Patch]:
    """The patches of an image of size ``spatial`` (D,), row-major; their kept parts tile it without overlap.

    Raises:
        InputError: the stride leaves gaps, or a size is not positive.
    """
    if not 0 < stride <= patch_size:
        raise InputError(f"the stride of patches lies between 1 and their size ({patch_size}), got {stride}")
    if min(spatial, default=0) < 1:
        raise InputError(f"can't cut patches out of an image of size {tuple(spatial)}")
    axes = [patch_spans(side, patch_size, stride) for side in spatial]
    return [Patch(tuple(start for start, _ in spans), tuple(keep for _, keep in spans)) for spans in product(*axes)]


def batches(patches: Sequence[Patch], size: int) -> Iterator[Sequence[Patch]]:
    """At most ``size`` patches at a time, in order."""
    for first in range(0, len(patches), size):
        yield patches[first : first + size]


def unfold(image: Tensor, patches: Sequence[Patch], patch_size: int) -> Tensor:
    """(1, C, *spatial) -> (N, C, patch_size, ...); beyond the image the patches are zero."""
    cut = []
    for patch in patches:
        area = tuple(slice(start, start + patch_size) for start in patch.start)
        part = image[0][(slice(None), *area)]
        short = [(0, patch_size - side) for side in part.shape[1:]]
        cut.append(F.pad(part, [margin for pair in reversed(short) for margin in pair]))
    return torch.stack(cut)


def fold(values: Tensor, patches: Sequence[Patch], into: Tensor) -> None:
    """Write the kept parts of (N, C, patch_size, ...) to their places in ``into`` (1, C, *spatial)."""
    for value, patch in zip(values, patches, strict=True):
        into[0][(slice(None), *patch.keep)] = value[(slice(None), *patch.inner)].to(into)

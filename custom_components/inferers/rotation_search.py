"""Initial turn and shift of two sections by brute force: all rotations about the tissue's centre, one correlation each.

Source: the initial alignment of DeepHistReg (Wodzinski and Mueller, Computer Methods and Programs in Biomedicine 198,
2021). It needs no matches and so no texture: the outline of the tissue is enough. It is blind to scale and shear.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import torch
import torch.nn.functional as F
from monai.networks.layers import GaussianFilter
from torch import Tensor

from custom_components.common import booleans
from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import affine_to_ddf, grid_change, identity_grid, sample
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.losses.patch_ncc import correlation

DARK = 1e-5  # a pixel above this counts as tissue


@dataclass(frozen=True)
class RigidFit:
    """What a search found.

    Attributes:
        matrix: (3, 3) row/col, voxels of the images given, fixed -> moving.
        cost: negative global correlation under it; -1 is perfect.
        degrees: angle of its rotation.
        mirrored: whether the columns are mirrored before the rotation.
        accepted: "identity", "shift" (centres of mass alone) or "search".
    """

    matrix: Matrix
    cost: float
    degrees: float
    mirrored: bool
    accepted: str


def shortest_side_to(image: Tensor, size: int) -> Tensor:
    """(B, C, H, W) resampled so that the shortest side has ``size`` voxels; smaller images stay as they are."""
    shape = image.shape[2:]
    factor = min(1.0, size / min(shape))
    return F.interpolate(image, [max(1, round(side * factor)) for side in shape], mode="area") if factor < 1 else image


def centre_of_mass(image: Tensor) -> Tensor:
    """(2,) row, col, voxels, float64, on the CPU; every pixel brighter than ``DARK`` weighs the same.

    Raises:
        RegistrationError: the image (1, 1, H, W) is empty.
    """
    index = (image[0, 0] > DARK).nonzero()
    if len(index) == 0:
        raise RegistrationError("no tissue to align: an image is empty, so that it has no centre of mass")
    return index.cpu().double().mean(dim=0)


def turns(degrees: Tensor, mirrored: bool, fixed_centre: Tensor, moving_centre: Tensor) -> Tensor:
    """(N, 3, 3) float64 row/col matrices fixed -> moving that turn about the fixed centre and carry it to the moving.

    Args:
        degrees: (N,).
        mirrored: mirror the columns first.
        fixed_centre: (2,) voxels.
        moving_centre: (2,) voxels.
    """
    angle = torch.deg2rad(degrees.double())
    flip = -1.0 if mirrored else 1.0
    rows = [angle.cos(), -angle.sin() * flip, angle.sin(), angle.cos() * flip]
    matrices = torch.eye(3, dtype=torch.float64, device=degrees.device).repeat(len(degrees), 1, 1)
    matrices[:, :2, :2] = torch.stack(rows, dim=1).view(-1, 2, 2)
    matrices[:, :2, 2] = moving_centre - matrices[:, :2, :2] @ fixed_centre
    return matrices


def costs(moving: Tensor, fixed: Tensor, matrices: Tensor, batch: int = 32) -> Tensor:
    """(N,) negative correlations of ``fixed`` and ``moving`` under each matrix.

    Args:
        moving: (1, 1, H, W).
        fixed: (1, 1, H, W).
        matrices: (N, 3, 3) row/col, voxels, fixed -> moving.
        batch: matrices tried at a time.
    """
    grid = identity_grid(fixed.shape[2:], fixed.device, fixed.dtype).flatten(1)
    found = []
    for part in matrices.to(fixed).split(batch):
        positions = part[:, :2, :2] @ grid + part[:, :2, 2:]
        turned = sample(
            moving.expand(len(part), -1, -1, -1), positions.view(-1, 2, *fixed.shape[2:]), padding_mode="zeros"
        )
        found.append(-correlation(turned, fixed.expand_as(turned))[0])
    return torch.cat(found)


def rotation_search(
    moving: Tensor,
    fixed: Tensor,
    *,
    size: int = 256,
    rotation_step: float = 1.0,
    good: float = 0.85,
    mirrored: bool = False,
    batch: int = 32,
) -> RigidFit:
    """The rigid map of lowest cost among identity, the shift of the centres of mass, and that shift with each angle.

    Args:
        moving: (1, 1, H, W) in [0, 1], tissue bright on black.
        fixed: the same size.
        size: shortest side at which the correlation is taken, voxels.
        rotation_step: degrees between angles.
        good: the identity, then the shift, is taken at once when it correlates better than this.
        mirrored: try mirrored sections too.
        batch: angles tried at a time.

    Raises:
        InputError: ``rotation_step`` is not in 0..180 or ``size`` below 8.
        RegistrationError: one of the images is empty.
    """
    if not 0 < rotation_step <= 180 or size < 8:
        raise InputError(f"rotation_step must be in (0, 180] and size at least 8, got {rotation_step} and {size}")
    centres = [centre_of_mass(image) for image in (fixed, moving)]
    blur = GaussianFilter(2, 1.0).to(fixed.device)
    small_moving, small_fixed = (shortest_side_to(blur(image), size) for image in (moving, fixed))
    # matrices are few numbers in double precision, so they stay on the CPU until they are applied
    change = torch.from_numpy(grid_change(fixed.shape[2:], small_fixed.shape[2:]))
    back = torch.linalg.inv(change)

    def best(candidates: Tensor) -> tuple[int, float]:
        cost = costs(small_moving, small_fixed, change @ candidates @ back, batch)
        where = int(cost.argmin())
        return where, float(cost[where])

    def fit(matrix: Tensor, cost: float, accepted: str, degrees: float = 0.0, flipped: bool = False) -> RigidFit:
        return RigidFit(matrix.numpy(), cost, degrees, flipped, accepted)

    simple = torch.stack([torch.eye(3, dtype=torch.float64), *turns(torch.zeros(1), False, *centres)])
    chosen = fit(simple[0], best(simple[:1])[1], "identity")
    if chosen.cost < -good:
        return chosen
    shifted = fit(simple[1], best(simple[1:])[1], "shift")
    if shifted.cost < min(-good, chosen.cost):
        return shifted
    chosen = min(chosen, shifted, key=lambda candidate: candidate.cost)
    degrees = torch.arange(0, 360, rotation_step, dtype=torch.float64)
    for flipped in (False, True) if mirrored else (False,):
        candidates = turns(degrees, flipped, *centres)
        where, cost = best(candidates)
        if cost < chosen.cost:
            chosen = fit(candidates[where], cost, "search", float(degrees[where]), flipped)
    return chosen


class RotationSearch:
    """``rotation_search`` as a step; the estimate so far is replaced.

    An image without tissue has no alignment and raises ``RegistrationError``, so that no later step works on nothing.

    Args:
        size: see ``rotation_search``.
        rotation_step: see ``rotation_search``.
        good: see ``rotation_search``.
        mirrored: see ``rotation_search``.
        batch: see ``rotation_search``.
    """

    def __init__(
        self, size: int = 256, rotation_step: float = 1.0, good: float = 0.85, mirrored: bool = False, batch: int = 32
    ) -> None:
        self.size = size
        self.rotation_step = rotation_step
        self.good = good
        self.mirrored = booleans.parse_bool(mirrored, "mirrored")
        self.batch = batch

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``.

        Raises:
            RegistrationError: one of the images is empty.
        """
        start = perf_counter()
        fit = rotation_search(
            images.moving, images.fixed, size=self.size, rotation_step=self.rotation_step, good=self.good,
            mirrored=self.mirrored, batch=self.batch,
        )  # fmt: skip
        details: dict[str, float | str | bool] = {
            "degrees": fit.degrees, "mirrored": fit.mirrored, "correlation": -fit.cost, "accepted": fit.accepted
        }  # fmt: skip
        return replace(
            estimate,
            ddf=affine_to_ddf(fit.matrix, images.shape).to(images.fixed),
            affine=fit.matrix,
            stages=(*estimate.stages, Stage("rotation search", perf_counter() - start, details)),
        )

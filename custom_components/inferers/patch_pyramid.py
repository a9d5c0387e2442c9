"""Multi-level, multi-iteration, patch-based registration by networks, for images of any size.

Source: Wodzinski & Mueller, "Unsupervised Learning-based Nonrigid Registration of High Resolution Histology Images",
MLMI 2020. Differences: a patch is read from the level's image through the composed field, so that the image is
interpolated once whatever the level and iteration; patches without contrast are left out one by one; patches end with
the image instead of reaching a patch beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import (
    grid_change,
    identity_grid,
    nonrigid_part,
    resize,
    sample,
)
from custom_components.inferers.patches import Patch, batches, fold, plan_patches, unfold
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages

FLAT = 1e-3  # a patch whose grey values span less has nothing to align


@dataclass(frozen=True)
class LevelImages:
    """A pair on one level of the pyramid.

    Attributes:
        moving: (1, 1, H, W) on its own grid of the level.
        fixed: (1, 1, H, W).
        moving_mask: (1, 1, H, W), or None where nobody asks for it.
        fixed_mask: the same.
        matrix: (3, 3) row/col, level voxels, fixed -> moving: the affine that the field comes after.
    """

    moving: Tensor
    fixed: Tensor
    moving_mask: Tensor | None
    fixed_mask: Tensor | None
    matrix: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the level."""
        return self.fixed.shape[-2], self.fixed.shape[-1]


def level_images(images: PairImages, matrix: Matrix, scale: float, masks: bool = False) -> LevelImages:
    """A pair shrunk by ``scale``, anti-aliased, and its affine in the level's voxels."""
    shape = tuple(max(round(side * scale), 1) for side in images.shape)

    def shrunk(image: Tensor) -> Tensor:
        if shape == images.shape:
            return image
        return F.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True)

    to_work = grid_change(shape, images.shape)
    return LevelImages(
        shrunk(images.moving),
        shrunk(images.fixed),
        shrunk(images.moving_mask) if masks else None,
        shrunk(images.fixed_mask) if masks else None,
        np.asarray(np.linalg.inv(to_work) @ matrix @ to_work),
    )


class PatchGroup:
    """Patches of one level that go through the network together; memory grows with their number alone.

    Args:
        level: the images.
        residual: (1, 2, H, W), level voxels: the field so far, after the level's affine.
        patches: which parts.
        patch_size: of them.
        device: of the network.

    Attributes:
        fixed: (N, 1, P, P).
        moving: (N, 1, P, P), read through the field so far.
    """

    def __init__(
        self, level: LevelImages, residual: Tensor, patches: Sequence[Patch], patch_size: int, device: torch.device
    ) -> None:
        self.level = level
        self.residual = residual
        self.device = device
        starts = torch.tensor([patch.start for patch in patches], dtype=torch.float32, device=residual.device)
        self.grid = identity_grid((patch_size, patch_size), residual.device) + starts[:, :, None, None]
        fixed = unfold(level.fixed, patches, patch_size)
        so_far = unfold(residual, patches, patch_size)
        moving = self._read(level.moving, so_far)
        contrast = torch.stack([_span(fixed), _span(moving)]).amin(0) > FLAT
        self.patches = [patch for patch, keep in zip(patches, contrast.tolist(), strict=True) if keep]
        self.grid = self.grid[contrast]
        self.fixed = fixed[contrast].to(device)
        self.moving = moving[contrast].to(device)
        self.patch_size = patch_size

    @property
    def image(self) -> Tensor:
        """(N, 2, P, P), moving and fixed, what the network takes."""
        return torch.cat([self.moving, self.fixed], dim=1)

    def composed(self, step: Tensor) -> Tensor:
        """The field so far composed with the patches' ``step`` (N, 2, P, P): level voxels, (N, 2, P, P)."""
        step = step.to(self.grid)
        return step + self._rows(self.residual, self.grid + step, "border")

    def warped(self, step: Tensor) -> Tensor:
        """(N, 1, P, P) moving patches after ``step``, read once from the level's image; differentiable."""
        return self._read(self.level.moving, self.composed(step)).to(self.device)

    def common_mask(self, step: Tensor) -> Tensor:
        """(N, 1, P, P) 0..1, tissue in both images after ``step``."""
        if self.level.fixed_mask is None or self.level.moving_mask is None:
            raise InputError("the level was made without masks")
        fixed = unfold(self.level.fixed_mask, self.patches, self.patch_size)
        return (fixed * self._read(self.level.moving_mask, self.composed(step))).to(self.device)

    def _read(self, image: Tensor, residual: Tensor) -> Tensor:
        """``image`` (1, C, H, W) at A (x + residual(x)), zero outside: (N, C, P, P)."""
        matrix = torch.as_tensor(self.level.matrix, dtype=torch.float32, device=residual.device)
        positions = self.grid + residual
        moved = torch.einsum("ij,njhw->nihw", matrix[:2, :2], positions) + matrix[:2, 2].view(1, 2, 1, 1)
        return self._rows(image, moved, "zeros")

    @staticmethod
    def _rows(values: Tensor, positions: Tensor, padding_mode: str) -> Tensor:
        """``values`` (1, C, H, W) at (N, 2, P, P) positions: (N, C, P, P), read as one tall image without copies."""
        number, _, height, width = positions.shape
        tall = positions.transpose(0, 1).reshape(1, 2, number * height, width)
        read = sample(values, tall, padding_mode)
        return read.reshape(values.shape[1], number, height, width).transpose(0, 1)


# Takes a group with at least one patch, gives the step field (N, 2, P, P), level voxels, detached.
Predict = Callable[[PatchGroup], Tensor]


def _span(patches: Tensor) -> Tensor:
    return patches.flatten(1).amax(1) - patches.flatten(1).amin(1)


def improve(
    level: LevelImages,
    residual: Tensor,
    patches: Sequence[Patch],
    predict: Sequence[Predict],
    devices: Sequence[torch.device],
    patch_size: int,
    batch_size: int,
) -> Tensor:
    """One inner iteration: every patch predicts a step, the kept centres are composed with the field so far.

    Args:
        level: the images.
        residual: (1, 2, H, W), level voxels.
        patches: the parts of the level that take part.
        predict: one callable a device; with several, groups run side by side.
        devices: where each of them works.
        patch_size: of the network.
        batch_size: patches at a time on one device.

    Returns:
        The new residual (1, 2, H, W).
    """
    updated = residual.clone()

    def work(call: Predict, device: torch.device, members: Sequence[Patch]) -> None:
        group = PatchGroup(level, residual, members, patch_size, device)
        if group.patches:  # the centres are disjoint, so threads never write the same voxel
            fold(group.composed(call(group)).detach(), group.patches, updated)

    todo = batches(patches, batch_size)
    workers = list(zip(predict, devices, strict=True))
    if len(workers) == 1:
        for members in todo:
            work(*workers[0], members)
        return updated
    inference = torch.is_inference_mode_enabled()  # which threads don't take over

    def work_aside(call: Predict, device: torch.device, members: Sequence[Patch]) -> None:
        with torch.inference_mode(inference):
            work(call, device, members)

    with ThreadPoolExecutor(len(workers)) as pool:
        while batch := list(islice(todo, len(workers))):
            for future in [pool.submit(work_aside, *worker, m) for worker, m in zip(workers, batch, strict=False)]:
                future.result()
    return updated


class PatchPyramid:
    """A network per level, coarse to fine; each level looks at its own patches ``iterations`` times.

    The field is estimated after the affine part of the chain, starting from what the chain found so far.

    Args:
        network: called ``network(image, level)``: (N, 2, P, P) moving and fixed -> (N, 2, P, P) ddf in level voxels,
            such as ``NetworkPyramid`` or its TorchScript export.
        scales: one a level, coarsest first, of the working size or of what ``finest_size`` makes of it.
        finest_size: longest side of an image at scale 1, voxels; larger ones are shrunk to it, so that the networks see
            structures at the size that they were trained on. None takes the working size.
        iterations: inner iterations, one a level or one for all.
        patch_size: voxels a side, one a level or one for all.
        stride: voxels between patches, likewise; None takes half the patch size, which keeps the central halves.
        batch_size: patches that go through a network together; bounds the memory.
        devices: several of them share the patches of a level; None works where the images are.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.

    Raises:
        InputError: the numbers of scales, iterations, patch sizes and strides differ.
    """

    def __init__(
        self,
        network: nn.Module,
        scales: Sequence[float] = (0.25, 0.5, 1.0),
        finest_size: int | None = None,
        iterations: int | Sequence[int] = 3,
        patch_size: int | Sequence[int] = 256,
        stride: int | Sequence[int] | None = None,
        batch_size: int = 32,
        devices: Sequence[str | torch.device] | None = None,
        minimum_jacobian: float | None = 0.1,
        name: str = "patch pyramid",
    ) -> None:
        self.network = network
        self.scales = list(scales)
        self.finest_size = finest_size
        levels = len(self.scales)
        self.iterations = _each(iterations, levels)
        self.patch_size = _each(patch_size, levels)
        self.stride = _each(stride, levels) if stride is not None else [size // 2 for size in self.patch_size]
        if {len(self.iterations), len(self.patch_size), len(self.stride)} != {levels}:
            raise InputError(
                f"a number of iterations, a patch size and a stride for each of the {levels} scales, got "
                f"{self.iterations}, {self.patch_size} and {self.stride}"
            )
        self.batch_size = batch_size
        self.devices = [torch.device(device) for device in devices] if devices is not None else None
        self.minimum_jacobian = minimum_jacobian
        self.name = name

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``."""
        start = perf_counter()
        residual = nonrigid_part(estimate.affine, estimate.ddf)
        devices = self.devices or [images.fixed.device]
        if self.devices is None:  # a network is brought once, not copied for every pair
            self.network.to(images.fixed.device)
        modules = [_on(self.network, device) for device in devices]
        shrink = min(1.0, self.finest_size / max(images.shape)) if self.finest_size is not None else 1.0
        for index, scale in enumerate(self.scales):
            level = level_images(images, estimate.affine, scale * shrink)
            residual = resize(residual, level.shape)
            patches = plan_patches(level.shape, self.patch_size[index], self.stride[index])
            calls = [_predictor(module, index) for module in modules]
            for _ in range(self.iterations[index]):
                residual = improve(level, residual, patches, calls, devices, self.patch_size[index], self.batch_size)
        residual = resize(residual, images.shape)
        details = {"levels": len(self.scales), "iterations": sum(self.iterations)}
        return with_residual(estimate, residual, images, self.minimum_jacobian, self.name, start, details)


def _each(value: int | Sequence[int], levels: int) -> list[int]:
    return [value] * levels if isinstance(value, int) else list(value)


def _on(network: nn.Module, device: torch.device) -> nn.Module:
    """The network in evaluation mode on ``device``: itself, or a copy where it lives elsewhere."""
    wanted = torch.empty(0, device=device).device  # "cuda" is where "cuda:0" is
    here = next((parameter.device for parameter in network.parameters()), wanted)
    return (network if here == wanted else deepcopy(network).to(wanted)).eval()


def _predictor(network: nn.Module, level: int) -> Predict:
    def call(group: PatchGroup) -> Tensor:
        with torch.no_grad():
            step: Tensor = network(group.image, level)
        return step

    return call

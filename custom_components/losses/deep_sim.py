"""Similarity of images in the features of a trained network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import resize, warp
from custom_components.losses.masking import check_shapes, weighted_mean
from custom_components.networks.feature_encoder import frozen


class DeepSimLoss(nn.Module):
    """One minus the cosine of the images' feature vectors, averaged over voxels, then over levels.

    0 is best, 2 worst; where both vectors are zero it is 1. The extractor is frozen and always in evaluation mode, but
    gradients pass through it to the warped image.

    Source: Czolbe et al., "DeepSim", MIDL 2021 and Medical Image Analysis 2023, and its public code. Differences: in
    extraction before the transform, which the public code can't reach, fields are resized linearly, not by the nearest
    voxel; an optional mask.

    Args:
        extractor: (B, 1, *spatial) -> list of feature maps (B, C, *smaller), such as ``FeatureEncoder`` or a
            TorchScript export of one.
        levels: which maps count; None takes all.
        zero_mean: subtract at each voxel the mean over channels before, which makes the cosine a correlation.
        extract_before_transform: ``of_field`` warps the moving image's features instead of the image.
        epsilon: floor of the squared length of a feature vector.

    Raises:
        InputError: ``levels`` is empty.
    """

    def __init__(
        self,
        extractor: nn.Module,
        levels: Sequence[int] | None = None,
        zero_mean: bool = False,
        extract_before_transform: bool = False,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        if levels is not None and len(levels) == 0:
            raise InputError("levels names the feature maps that count, got none")
        self.extractor = frozen(extractor)
        self.levels = None if levels is None else tuple(levels)
        self.zero_mean = zero_mean
        self.extract_before_transform = extract_before_transform
        self.epsilon = epsilon

    def train(self, mode: bool = True) -> DeepSimLoss:
        """The extractor stays in evaluation mode: its dropout and running statistics are not this training's."""
        super().train(mode)
        self.extractor.eval()
        return self

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, 1, *spatial).
            fixed: the same.
            mask: (B, 1, *spatial), weights in 0..1 of the voxels.

        Raises:
            InputError: the shapes are not these, or the extractor gives no such level.
        """
        check_shapes(warped, fixed, mask)
        return self._mean([self._loss(*pair) for pair in self._features(warped, fixed)], mask)

    def of_field(self, moving: Tensor, fixed: Tensor, ddf: Tensor) -> Tensor:
        """``forward`` of the image after a field; with ``extract_before_transform`` its features are warped instead.

        Each level is then warped by the field at its size.

        Args:
            moving: (B, 1, *spatial).
            fixed: the same.
            ddf: (B, D, *spatial), voxels, fixed -> moving.

        Returns:
            scalar.

        Raises:
            InputError: as ``forward``.
        """
        if not self.extract_before_transform:
            return self.forward(warp(moving, ddf, padding_mode="border"), fixed)
        check_shapes(moving, fixed)
        losses = []
        for first, second in self._features(moving, fixed):
            losses.append(self._loss(warp(first, resize(ddf, first.shape[2:]), padding_mode="border"), second))
        return self._mean(losses, None)

    def maps(self, warped: Tensor, fixed: Tensor) -> list[Tensor]:
        """The loss at every voxel, (B, 1, *smaller) for every level that counts, for pictures."""
        check_shapes(warped, fixed)
        return [self._loss(*pair) for pair in self._features(warped, fixed)]

    def _features(self, first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor]]:
        moving = self.extractor(first)
        with torch.no_grad():
            fixed = self.extractor(second)
        levels = range(len(fixed)) if self.levels is None else self.levels
        if not isinstance(fixed, list | tuple) or max(levels) >= len(fixed):
            raise InputError(f"the extractor must return a list of feature maps with the levels {tuple(levels)}")
        return [(moving[level], fixed[level]) for level in levels]

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        if self.zero_mean:
            first, second = (features - features.mean(1, keepdim=True) for features in (first, second))
        lengths = [f.square().sum(1, keepdim=True).clamp(min=self.epsilon).sqrt() for f in (first, second)]
        return 1 - (first * second).sum(1, keepdim=True) / (lengths[0] * lengths[1])

    def _mean(self, losses: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        means = []
        for loss in losses:
            weight = None
            if mask is not None:
                weight = F.interpolate(mask, loss.shape[2:], mode="area")
            means.append(weighted_mean(loss, weight))
        return torch.stack(means).mean()

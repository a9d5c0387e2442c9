"""The loss of a registration that correspondences guide: similarity, smoothness and the distance of key points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.losses import DiffusionLoss
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, sample, smooth, warp
from custom_components.losses.boundary import BoundaryLoss
from custom_components.losses.keypoint_distance import KeypointDistanceLoss
from custom_components.losses.structural_ncc import StructuralNCCLoss


class GuidedLoss(nn.Module):
    """``similarity + smoothness * R + sum of keypoints[s] * L_s``.

    R is the mean squared forward difference of the field in voxels, L_s the distance of the correspondences of source s
    after the field, as a share of the image's diagonal.

    Source: Ge et al., SFG, and Wei et al., "IPCG" (IEEE TMI 2024): the ladder of D-PCG, LD-PCG, PCG and IPCG differs
    in the features and in the sources of correspondences alone.

    Args:
        keypoints: weight of each source of correspondences.
        features: (B, 1, H, W) grey -> (B, C, h, w) that the similarity compares, at every ``features.step``-th voxel,
            such as ``DenseSIFT``; None compares the grey images.
        regularization_weight: weight of R.
        similarity: of (warped, fixed, mask of common tissue), in place of the global correlation of ``features``.
        regulariser: of the field in voxels, in place of R.
        field_sigma: standard deviation, voxels, of a Gaussian over the field before anything is measured, as an inferer
            that smooths will use it.
        boundary: weight of leaving the image; 0 in the source.

    Attributes:
        loss_terms: the terms of the last call, for the training's curve.
    """

    def __init__(
        self,
        keypoints: Sequence[float] = (),
        features: nn.Module | None = None,
        regularization_weight: float = 1.0,
        boundary: float = 0.0,
        similarity: nn.Module | None = None,
        regulariser: nn.Module | None = None,
        field_sigma: float = 0.0,
    ) -> None:
        super().__init__()
        self.correlation = StructuralNCCLoss()
        self.similarity = similarity
        self.regulariser = regulariser or DiffusionLoss()
        self.field_sigma = field_sigma
        self.distance = KeypointDistanceLoss()
        self.leaving = BoundaryLoss()
        self.keypoints = tuple(keypoints)
        self.features = features
        self.step = int(getattr(features, "step", 1))
        self.regularization_weight = regularization_weight
        self.boundary = boundary
        self.loss_terms: dict[str, float] = {}

    def forward(self, predictions: Tensor | Sequence[Tensor], item: Mapping[str, Tensor]) -> Tensor:
        """Scalar.

        Args:
            predictions: ddf (B, 2, H, W), voxels, fixed -> moving, or several of which the last one counts.
            item: a batch of ``engines.KeypointPairs``.

        Raises:
            InputError: there are not as many sources of correspondences as weights.
        """
        ddf = predictions if isinstance(predictions, Tensor) else predictions[-1]
        if item["valid"].shape[1] != len(self.keypoints):
            raise InputError(f"{item['valid'].shape[1]} sources of correspondences, but {len(self.keypoints)} weights")
        ddf = smooth(ddf, self.field_sigma)
        similarity = self._similarity(ddf, item)
        regularization = self.regulariser(ddf)
        loss: Tensor = similarity + self.regularization_weight * regularization
        self.loss_terms = {"similarity": similarity.item(), "regularization": regularization.item()}
        if self.boundary:
            leaving = self.leaving(ddf)
            loss = loss + self.boundary * leaving
            self.loss_terms["boundary"] = leaving.item()
        for source, weight in enumerate(self.keypoints):
            distance = self.distance(
                ddf, item["points_fixed"][:, source], item["points_moving"][:, source], item["valid"][:, source]
            )
            loss = loss + weight * distance
            self.loss_terms[f"keypoints_{source}"] = distance.item()
        return loss

    def logged_terms(self, output: Any) -> dict[str, float]:
        """The loss and its terms, for the handlers of a trainer whose loss this is."""
        item = output[0] if isinstance(output, list) else output
        return {"loss": float(item["loss"].detach()), **self.loss_terms}

    def _similarity(self, ddf: Tensor, item: Mapping[str, Tensor]) -> Tensor:
        moving, fixed = item["image"].chunk(2, dim=1)
        loss: Tensor
        if self.similarity is not None:
            moving_mask, fixed_mask = item["mask"].chunk(2, dim=1)
            with torch.no_grad():  # to leave the tissue must not pay
                common = fixed_mask * warp(moving_mask, ddf)
            loss = self.similarity(warp(moving, ddf), fixed, common)
            return loss
        if self.features is None:
            loss = self.correlation(warp(moving, ddf), fixed)
            return loss
        with torch.no_grad():
            described = self.features(torch.cat([moving, fixed]))
        moving, fixed = described.chunk(2)
        coarse = ddf[:, :, :: self.step, :: self.step] / self.step
        positions = identity_grid(coarse.shape[2:], coarse.device, coarse.dtype) + coarse
        loss = self.correlation(sample(moving, positions, "zeros"), fixed)
        return loss

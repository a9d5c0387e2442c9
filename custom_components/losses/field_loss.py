"""What a registration network without landmarks minimises: dissimilarity, roughness and, with label maps, overlap."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.losses.diffusion import ForwardDiffusionLoss


class FieldLoss(nn.Module):
    """``similarity(warped, fixed) + smoothness * R(ddf) + supervision * S``.

    S is the mean squared difference of the linearly warped one-hot labels of the moving image and those of the fixed
    image. The warped image goes on beyond its border with its border's values, as in the source.

    Source: Czolbe et al., "DeepSim", MIDL 2021 and Medical Image Analysis 2023, and its public code.

    Args:
        similarity: of (warped, fixed); where it has ``of_field``, as ``DeepSimLoss``, that is asked.
        regularization_weight: lambda.
        regulariser: R; None is ``ForwardDiffusionLoss``.
        supervision: weight of S; 0 needs no labels.
        classes: labels 0 to classes - 1, for S.

    Attributes:
        loss_terms: the terms of the last call.

    Raises:
        InputError: supervision without classes.
    """

    def __init__(
        self,
        similarity: nn.Module,
        regularization_weight: float = 1.0,
        regulariser: nn.Module | None = None,
        supervision: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if supervision and classes < 2:
            raise InputError(f"supervision needs the number of classes, background included, got {classes}")
        self.similarity = similarity
        self.regularization_weight = regularization_weight
        self.regulariser = regulariser or ForwardDiffusionLoss()
        self.supervision = supervision
        self.classes = classes
        self.loss_terms: dict[str, float] = {}

    def forward(self, ddf: Tensor, pair: Tensor) -> Tensor:
        """Scalar.

        Args:
            ddf: (B, D, *spatial), voxels, fixed -> moving.
            pair: (B, 2, *spatial), moving and fixed image, or (B, 4, *spatial), their label maps after them.

        Raises:
            InputError: supervision, but no label maps.
        """
        moving, fixed = pair[:, :1], pair[:, 1:2]
        if hasattr(self.similarity, "of_field"):
            similarity = self.similarity.of_field(moving, fixed, ddf)  # type: ignore[operator]
        else:
            similarity = self.similarity(warp(moving, ddf, padding_mode="border"), fixed)
        regularization = self.regulariser(ddf)
        loss: Tensor = similarity + self.regularization_weight * regularization
        self.loss_terms = {"similarity": similarity.item(), "regularization": regularization.item()}
        if self.supervision:
            if pair.shape[1] != 4:
                raise InputError("supervision needs the label maps of both images: columns moving_labels, fixed_labels")
            first, second = (_one_hot(pair[:, channel], self.classes) for channel in (2, 3))
            overlap = (warp(first, ddf, padding_mode="border") - second).square().mean()
            loss = loss + self.supervision * overlap
            self.loss_terms["supervision"] = overlap.item()
        return loss


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, *spatial) -> (B, classes, *spatial); labels beyond the classes raise."""
    whole = labels.round().long()
    if int(whole.max()) >= classes or int(whole.min()) < 0:
        raise InputError(f"labels are 0 to {classes - 1}, got {int(whole.min())} to {int(whole.max())}")
    return F.one_hot(whole, classes).movedim(-1, 1).to(torch.float32)

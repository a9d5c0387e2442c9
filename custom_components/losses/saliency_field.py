"""What a global-to-local network minimises: losses of its refined and its coarse field, weighted by joint saliency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.losses.charbonnier import FieldVariationLoss
from custom_components.losses.end_point import EndPointLoss

WEIGHTINGS = ("none", "mismatch", "overlap")


class SaliencyFieldLoss(nn.Module):
    """``L(ddf) + coarse_weight * L(coarse)``, ``L = similarity + smoothness * R + truth * E``.

    The similarity may be weighted by the joint saliency J, through which no gradient passes here: "mismatch" by
    ``1 + strength * (1 - J)``, which pushes harder where structures disagree; "overlap" by ``1 - strength + strength *
    J``, which leaves out what has no counterpart, Qin's original use. Only ratios of weights count. E is the distance
    from a known displacement, for pairs that have one.

    Source: the thesis on joint saliency, global to local, where only the refined field is judged and J is no
    weight.

    Args:
        similarity: of (warped, fixed) and, for a weighting, a mask.
        regularization_weight: weight of R.
        regulariser: R of a ddf; None is ``FieldVariationLoss``.
        coarse_weight: of the coarse field's loss.
        weighting: "none", "mismatch" or "overlap".
        strength: of the weighting; for "overlap" 0..1.
        epe_weight: weight of E, similarities a voxel.

    Attributes:
        loss_terms: the terms of the refined field in the last call.

    Raises:
        InputError: another weighting, a strength that it can't have, or a similarity without weights.
    """

    def __init__(
        self,
        similarity: nn.Module,
        regularization_weight: float = 0.1,
        regulariser: nn.Module | None = None,
        coarse_weight: float = 0.5,
        weighting: str = "none",
        strength: float = 1.0,
        epe_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise InputError(f"weighting is {', '.join(WEIGHTINGS)}, got '{weighting}'")
        if strength < 0 or (weighting == "overlap" and strength > 1):
            raise InputError(f"the strength of a weighting is at least 0, of overlap at most 1; got {strength}")
        if weighting != "none" and isinstance(similarity, nn.MSELoss):
            raise InputError("mse takes no weights; charbonnier does, and so do ncc and mind")
        self.similarity = similarity
        self.regularization_weight = regularization_weight
        self.regulariser = regulariser or FieldVariationLoss()
        self.coarse_weight = coarse_weight
        self.weighting = weighting
        self.strength = strength
        self.epe_weight = epe_weight
        self.end_point = EndPointLoss()
        self.loss_terms: dict[str, float] = {}

    def forward(self, prediction: Tensor, pair: Tensor) -> Tensor:
        """Scalar.

        Args:
            prediction: (B, 2 D + 1, *spatial), as ``GlobalToLocal`` gives with ``every_stage``, or (B, D, *spatial), a
                ddf alone, which has no coarse field and no weighting.
            pair: (B, 2, *spatial) moving and fixed image, or (B, 2 + D + 1, *spatial), after them the known ddf and
                its weight.

        Raises:
            InputError: the channels are not these, ``truth`` is asked for where there is none, or nothing has weight.
        """
        dimensions = prediction.ndim - 2
        if prediction.shape[1] not in (dimensions, 2 * dimensions + 1):
            raise InputError(f"a prediction is a ddf, or ddf, coarse ddf and saliency; got {tuple(prediction.shape)}")
        if self.epe_weight and pair.shape[1] != 3 + dimensions:
            raise InputError("epe_weight needs pairs of known displacement")
        ddf = prediction[:, :dimensions]
        if prediction.shape[1] == dimensions:
            return self._loss(ddf, pair, None)
        weight = self._weight(prediction[:, -1:].detach())
        loss = self._loss(ddf, pair, weight)
        if not self.coarse_weight:
            return loss
        loss_terms = self.loss_terms
        loss = loss + self.coarse_weight * self._loss(prediction[:, dimensions : 2 * dimensions], pair, weight)
        self.loss_terms = loss_terms
        return loss

    def _weight(self, joint: Tensor) -> Tensor | None:
        if self.weighting == "none":
            return None
        weight = 1 + self.strength * ((1 - joint) if self.weighting == "mismatch" else (joint - 1))
        if not weight.any():
            raise InputError("overlap needs joint saliency: stages forward or backward, or a strength below 1")
        return weight

    def _loss(self, ddf: Tensor, pair: Tensor, weight: Tensor | None) -> Tensor:
        warped, fixed = warp(pair[:, :1], ddf, padding_mode="border"), pair[:, 1:2]
        terms = {
            "similarity": self.similarity(warped, fixed) if weight is None else self.similarity(warped, fixed, weight),
            "regularization": self.regularization_weight * self.regulariser(ddf),
        }
        if self.epe_weight:
            terms["end_point_error"] = self.epe_weight * self.end_point(ddf, pair[:, 2:])
        self.loss_terms = {name: float(term.detach()) for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

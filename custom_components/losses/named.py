"""Similarities by their names, for configs and tables that compare them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from custom_components.common.errors import InputError
from custom_components.losses.charbonnier import CharbonnierLoss
from custom_components.losses.deep_sim import DeepSimLoss
from custom_components.losses.mind import MINDSSCLoss
from custom_components.losses.nmi import NMILoss
from custom_components.losses.windowed_ncc import WindowedNCCLoss

NAMES = ("mse", "charbonnier", "ncc", "nmi", "mind", "deepsim")
WINDOW = 9  # voxels, of NCC


def similarity_named(
    name: str,
    spatial_dims: int = 2,
    extractor: nn.Module | None = None,
    levels: Sequence[int] | None = None,
    zero_mean: bool = False,
    extract_before_transform: bool = False,
    gradient_weight: float = 0.0,
) -> nn.Module:
    """A loss of (warped, fixed) with the settings of Czolbe et al., "DeepSim".

    Args:
        name: "mse", "charbonnier", "ncc" (squared, windows of 9), "nmi", "mind" or "deepsim".
        spatial_dims: 2 or 3.
        extractor: of "deepsim", see ``DeepSimLoss``; so are the others.
        levels: likewise.
        zero_mean: likewise.
        extract_before_transform: likewise.
        gradient_weight: of "charbonnier", see ``CharbonnierLoss``.

    Raises:
        InputError: another name, or "deepsim" without an extractor.
    """
    if name == "mse":
        return nn.MSELoss()
    if name == "charbonnier":
        return CharbonnierLoss(gradient_weight)
    if name == "ncc":
        return WindowedNCCLoss(spatial_dims, WINDOW)
    if name == "nmi":
        return NMILoss()
    if name == "mind":
        return MINDSSCLoss()
    if name != "deepsim":
        raise InputError(f"similarity is {', '.join(NAMES)}, got '{name}'")
    if extractor is None:
        raise InputError("similarity deepsim needs features: give --extractor WEIGHTS.pt, see docs/README.md")
    return DeepSimLoss(extractor, levels, zero_mean, extract_before_transform)

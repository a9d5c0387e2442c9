"""Networks that take moving and fixed image in one tensor and return a field or an affine."""

from __future__ import annotations

from custom_components.networks.affine import AffineNet, PatchAffineNet, theta_to_matrix
from custom_components.networks.cost_volume import cost_volume
from custom_components.networks.mask_flownet import MaskFlownetS
from custom_components.networks.patch_unet import NetworkPyramid, PatchUNet

__all__ = [
    "AffineNet",
    "MaskFlownetS",
    "NetworkPyramid",
    "PatchAffineNet",
    "PatchUNet",
    "cost_volume",
    "theta_to_matrix",
]

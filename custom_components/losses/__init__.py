"""What training and instance optimisation minimise; MONAI's ``DiffusionLoss`` belongs to it."""

from __future__ import annotations

from custom_components.losses.affine_similarity import AffineSimilarityLoss
from custom_components.losses.boundary import BoundaryLoss
from custom_components.losses.charbonnier import CharbonnierLoss, FieldVariationLoss
from custom_components.losses.correspondence import CorrespondenceLoss
from custom_components.losses.curvature import CurvatureLoss
from custom_components.losses.deep_sim import DeepSimLoss
from custom_components.losses.diffusion import ForwardDiffusionLoss
from custom_components.losses.end_point import EndPointLoss
from custom_components.losses.field_loss import FieldLoss
from custom_components.losses.guided import GuidedLoss
from custom_components.losses.keypoint_distance import KeypointDistanceLoss
from custom_components.losses.mind import MINDSSCLoss, mind_ssc
from custom_components.losses.multi_scale import PyramidLoss
from custom_components.losses.named import similarity_named
from custom_components.losses.ngf import NGFLoss, normalised_gradient
from custom_components.losses.nmi import NMILoss
from custom_components.losses.patch_ncc import PatchNCCLoss
from custom_components.losses.saliency_field import SaliencyFieldLoss
from custom_components.losses.shrunken import ShrunkenLoss
from custom_components.losses.structural_ncc import StructuralNCCLoss
from custom_components.losses.windowed_ncc import WindowedNCCLoss

__all__ = [
    "AffineSimilarityLoss",
    "BoundaryLoss",
    "CharbonnierLoss",
    "CorrespondenceLoss",
    "CurvatureLoss",
    "DeepSimLoss",
    "EndPointLoss",
    "FieldLoss",
    "FieldVariationLoss",
    "ForwardDiffusionLoss",
    "GuidedLoss",
    "KeypointDistanceLoss",
    "MINDSSCLoss",
    "NGFLoss",
    "NMILoss",
    "PatchNCCLoss",
    "PyramidLoss",
    "SaliencyFieldLoss",
    "ShrunkenLoss",
    "StructuralNCCLoss",
    "WindowedNCCLoss",
    "mind_ssc",
    "normalised_gradient",
    "similarity_named",
]

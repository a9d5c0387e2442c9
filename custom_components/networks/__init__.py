"""Networks that take moving and fixed image in one tensor and return a field or an affine, and feature extractors."""

from __future__ import annotations

from custom_components.networks.affine import AffineNet, PatchAffineNet, theta_to_matrix
from custom_components.networks.correlated_cotr import CorrelatedCOTR
from custom_components.networks.cost_volume import cost_volume
from custom_components.networks.cotr import COTR, CycleCOTR
from custom_components.networks.diffeomorphic import Diffeomorphic
from custom_components.networks.feature_encoder import FeatureEncoder, frozen
from custom_components.networks.flow_net import FlowNet
from custom_components.networks.global_to_local import GlobalToLocal, joint_saliency_network
from custom_components.networks.joint_saliency import JointSaliency
from custom_components.networks.mask_flownet import MaskFlownetS
from custom_components.networks.patch_unet import NetworkPyramid, PatchUNet
from custom_components.networks.registration import registration_network
from custom_components.networks.strided_unet import StridedUNet
from custom_components.networks.super_glue import SuperGlue
from custom_components.networks.super_point import SuperPoint
from custom_components.networks.trans_morph import TransMorph
from custom_components.networks.vgg_features import VGGFeatures
from custom_components.networks.xfeat_features import XFeatFeatures
from custom_components.networks.xfeat_maps import SplitMaps, XFeatMaps

__all__ = [
    "COTR",
    "AffineNet",
    "CorrelatedCOTR",
    "CycleCOTR",
    "Diffeomorphic",
    "FeatureEncoder",
    "FlowNet",
    "GlobalToLocal",
    "JointSaliency",
    "MaskFlownetS",
    "NetworkPyramid",
    "PatchAffineNet",
    "PatchUNet",
    "SplitMaps",
    "StridedUNet",
    "SuperGlue",
    "SuperPoint",
    "TransMorph",
    "VGGFeatures",
    "XFeatFeatures",
    "XFeatMaps",
    "cost_volume",
    "frozen",
    "joint_saliency_network",
    "registration_network",
    "theta_to_matrix",
]

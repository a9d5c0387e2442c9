"""Preparation of a pair: grey, tissue, working size, padding."""

from __future__ import annotations

from custom_components.transforms.augmentation import RandomPairAugmentation, RandPairAugmentd
from custom_components.transforms.augmented_pairs import AugmentedPairs
from custom_components.transforms.correspondence_queries import CorrespondenceQueries
from custom_components.transforms.defects import RandomDefect
from custom_components.transforms.dense_sift import DenseSIFT, dense_sift
from custom_components.transforms.dictionary import (
    CommonPadd,
    GreyScaled,
    OntoFixedd,
    ReadPaird,
    StainGreyd,
    WorkingSized,
)
from custom_components.transforms.disturbance import Corruptd
from custom_components.transforms.grey import stain_independent_grey, tissue_mask
from custom_components.transforms.known_pairs import RandKnownPaird
from custom_components.transforms.label_maps import GivenMaskd, ReadLabels
from custom_components.transforms.labelled_augmentation import labelled_augmentation
from custom_components.transforms.random_items import RandomItems
from custom_components.transforms.random_view import RandomView
from custom_components.transforms.synthetic_warp import RandomAppearance, RandomField, SyntheticPairs
from custom_components.transforms.working import common_shape, pad_to, shrink, working_scale

__all__ = [
    "AugmentedPairs",
    "CommonPadd",
    "CorrespondenceQueries",
    "Corruptd",
    "DenseSIFT",
    "GivenMaskd",
    "GreyScaled",
    "OntoFixedd",
    "RandKnownPaird",
    "RandPairAugmentd",
    "RandomAppearance",
    "RandomDefect",
    "RandomField",
    "RandomItems",
    "RandomPairAugmentation",
    "RandomView",
    "ReadLabels",
    "ReadPaird",
    "StainGreyd",
    "SyntheticPairs",
    "WorkingSized",
    "common_shape",
    "dense_sift",
    "labelled_augmentation",
    "pad_to",
    "shrink",
    "stain_independent_grey",
    "tissue_mask",
    "working_scale",
]

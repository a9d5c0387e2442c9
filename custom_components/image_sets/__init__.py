"""Public sets of images with label maps, from the layout of their download to a pair table."""

from __future__ import annotations

from custom_components.image_sets.brains import brain_labels, brain_mri, brain_oasis, brain_slabs
from custom_components.image_sets.cardiac import cardiac_sunnybrook
from custom_components.image_sets.digits import digits
from custom_components.image_sets.folder import folder
from custom_components.image_sets.known_warps import known_warps
from custom_components.image_sets.microscopy import membrane, phc_u373, platelet_em
from custom_components.image_sets.writing import Item, neighbours, ordered_pairs, write_set

__all__ = [
    "Item",
    "brain_labels",
    "brain_mri",
    "brain_oasis",
    "brain_slabs",
    "cardiac_sunnybrook",
    "digits",
    "folder",
    "known_warps",
    "membrane",
    "neighbours",
    "ordered_pairs",
    "phc_u373",
    "platelet_em",
    "write_set",
]

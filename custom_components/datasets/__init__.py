"""Public sets of images with label maps, from the layout of their download to a pair table."""

from __future__ import annotations

from custom_components.datasets.brains import brain_labels, brain_mri, brain_oasis, brain_slabs
from custom_components.datasets.cardiac import cardiac_sunnybrook
from custom_components.datasets.digits import digits
from custom_components.datasets.folder import folder
from custom_components.datasets.microscopy import membrane, phc_u373, platelet_em
from custom_components.datasets.synthetic_pairs import synthetic_pairs
from custom_components.datasets.writing import Item, neighbours, ordered_pairs, write_set

__all__ = [
    "Item",
    "brain_labels",
    "brain_mri",
    "brain_oasis",
    "brain_slabs",
    "cardiac_sunnybrook",
    "digits",
    "folder",
    "membrane",
    "neighbours",
    "ordered_pairs",
    "phc_u373",
    "platelet_em",
    "synthetic_pairs",
    "write_set",
]

"""Pair tables, and readers and writers of images, landmarks and annotations."""

from __future__ import annotations

from custom_components.pairs.acrobat import (
    AcrobatPair,
    AcrobatTruth,
    read_acrobat_points,
    read_acrobat_submission,
    read_acrobat_truth,
    write_acrobat_submission,
)
from custom_components.pairs.atomic import atomic_folder, atomic_path
from custom_components.pairs.geojson import map_geojson, read_geojson, write_geojson
from custom_components.pairs.images import read_image, suffix_of, write_image
from custom_components.pairs.landmarks import check_landmark_counts, read_index, read_points, write_points
from custom_components.pairs.table import Pair, check_pair, read_pairs, select_pairs

__all__ = [
    "AcrobatPair",
    "AcrobatTruth",
    "Pair",
    "atomic_folder",
    "atomic_path",
    "check_landmark_counts",
    "check_pair",
    "map_geojson",
    "read_acrobat_points",
    "read_acrobat_submission",
    "read_acrobat_truth",
    "read_geojson",
    "read_image",
    "read_index",
    "read_pairs",
    "read_points",
    "select_pairs",
    "suffix_of",
    "write_acrobat_submission",
    "write_geojson",
    "write_image",
    "write_points",
]

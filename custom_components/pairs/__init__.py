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
from custom_components.pairs.annotation_files import (
    AnnotationFile,
    holds_annotations,
    read_annotations,
    warped_name,
    write_annotations,
)
from custom_components.pairs.atomic import atomic_folder, atomic_path
from custom_components.pairs.formats import full_stem, full_suffix
from custom_components.pairs.geojson import geojson_stem, read_geojson, write_geojson
from custom_components.pairs.images import file_pixel_size, read_image, read_labels
from custom_components.pairs.landmarks import (
    LandmarkMatch,
    Landmarks,
    match_landmarks,
    read_index,
    read_landmarks,
    read_points,
    write_points,
)
from custom_components.pairs.point_table import PointTable, read_point_table, write_point_table
from custom_components.pairs.slides import (
    ArraySlide,
    Slide,
    is_large,
    level_for,
    open_slide,
)
from custom_components.pairs.table import Pair, check_pair, read_pairs, select_pairs
from custom_components.pairs.writing import write_image

__all__ = [
    "AcrobatPair",
    "AcrobatTruth",
    "AnnotationFile",
    "ArraySlide",
    "LandmarkMatch",
    "Landmarks",
    "Pair",
    "PointTable",
    "Slide",
    "atomic_folder",
    "atomic_path",
    "check_pair",
    "file_pixel_size",
    "full_stem",
    "full_suffix",
    "geojson_stem",
    "holds_annotations",
    "is_large",
    "level_for",
    "match_landmarks",
    "open_slide",
    "read_acrobat_points",
    "read_acrobat_submission",
    "read_acrobat_truth",
    "read_annotations",
    "read_geojson",
    "read_image",
    "read_index",
    "read_labels",
    "read_landmarks",
    "read_pairs",
    "read_point_table",
    "read_points",
    "select_pairs",
    "warped_name",
    "write_acrobat_submission",
    "write_annotations",
    "write_geojson",
    "write_image",
    "write_point_table",
    "write_points",
]

"""Annotations and points carried through a stored field: what their numbers mean, bends followed, damage told."""

from __future__ import annotations

from custom_components.annotations.coordinates import Coordinates, coordinates
from custom_components.annotations.densify import Followed, densify
from custom_components.annotations.files import (
    Convention,
    check_annotations,
    warp_geojson_file,
    warp_points_file,
    warp_volume_points_file,
)
from custom_components.annotations.point_map import PointMap, warp_points
from custom_components.annotations.ragged import Annotations, RaggedCoordinates, parse_annotations
from custom_components.annotations.transform import TransformReport, warp_geojson, warp_points_reported
from custom_components.annotations.validity import self_intersecting, signed_areas

__all__ = [
    "Annotations",
    "Convention",
    "Coordinates",
    "Followed",
    "PointMap",
    "RaggedCoordinates",
    "TransformReport",
    "check_annotations",
    "coordinates",
    "densify",
    "parse_annotations",
    "self_intersecting",
    "signed_areas",
    "warp_geojson",
    "warp_geojson_file",
    "warp_points",
    "warp_points_file",
    "warp_points_reported",
    "warp_volume_points_file",
]

"""Annotations and points carried through a stored field: what their numbers mean, bends followed, damage told."""

from __future__ import annotations

from custom_components.annotations.carry import Carried, carry_geojson, carry_points_told
from custom_components.annotations.chains import Annotations, Chains, take_apart
from custom_components.annotations.coordinates import Coordinates, coordinates
from custom_components.annotations.densify import Followed, follow_bends
from custom_components.annotations.files import Convention, carry_geojson_file, carry_points_file
from custom_components.annotations.point_map import PointMap, carry_points
from custom_components.annotations.validity import crossing, signed_areas

__all__ = [
    "Annotations",
    "Carried",
    "Chains",
    "Convention",
    "Coordinates",
    "Followed",
    "PointMap",
    "carry_geojson",
    "carry_geojson_file",
    "carry_points",
    "carry_points_file",
    "carry_points_told",
    "coordinates",
    "crossing",
    "follow_bends",
    "signed_areas",
    "take_apart",
]

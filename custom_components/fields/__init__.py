"""Displacement-field algebra in voxels, 2-D and 3-D, and its way to ITK's physical units."""

from __future__ import annotations

from custom_components.fields.affine import affine_to_ddf, compose_affine, nonrigid_part
from custom_components.fields.chain import Link, chain_ddf, warp_along
from custom_components.fields.compose import compose, warp
from custom_components.fields.error_map import (
    ErrorMap,
    pixels_per_length,
    read_error_map,
    voxel_length,
    write_error_map,
)
from custom_components.fields.geometry import apply_matrix, index_to_physical, spacing_origin_direction
from custom_components.fields.grid import Grid
from custom_components.fields.invert import best_affine, invert
from custom_components.fields.itk_bridge import (
    displacement_image,
    displacement_transform,
    image_matrix,
    image_to_ddf,
    image_vectors,
    read_displacement,
    read_transform,
    resample,
    transform_points,
    vector_image,
    write_displacement,
    write_transform,
)
from custom_components.fields.jacobian import folding_share, jacobian_determinant, log_jacobian_deviation, repair_folds
from custom_components.fields.resize import grid_change, resize
from custom_components.fields.sample_at import sample_at
from custom_components.fields.sampling import identity_grid, sample
from custom_components.fields.smooth import smooth
from custom_components.fields.sparse import points_to_ddf
from custom_components.fields.spline import robust_spline

__all__ = [
    "ErrorMap",
    "Grid",
    "Link",
    "affine_to_ddf",
    "apply_matrix",
    "best_affine",
    "chain_ddf",
    "compose",
    "compose_affine",
    "displacement_image",
    "displacement_transform",
    "folding_share",
    "grid_change",
    "identity_grid",
    "image_matrix",
    "image_to_ddf",
    "image_vectors",
    "index_to_physical",
    "invert",
    "jacobian_determinant",
    "log_jacobian_deviation",
    "nonrigid_part",
    "pixels_per_length",
    "points_to_ddf",
    "read_displacement",
    "read_error_map",
    "read_transform",
    "repair_folds",
    "resample",
    "resize",
    "robust_spline",
    "sample",
    "sample_at",
    "smooth",
    "spacing_origin_direction",
    "transform_points",
    "vector_image",
    "voxel_length",
    "warp",
    "warp_along",
    "write_displacement",
    "write_error_map",
    "write_transform",
]

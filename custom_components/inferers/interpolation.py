"""Matches to a dense field: the choices of the hybrid method, with lengths as shares of the tissue's diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from custom_components.fields import points_to_ddf, robust_spline


class Interpolation(Protocol):
    """Field (1, 2, H, W) in voxels from displacements (N, 2) known at points (N, 2)."""

    def __call__(
        self,
        points: Tensor,
        displacements: Tensor,
        shape: tuple[int, ...],
        diagonal: float,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The field on a grid of ``shape``; ``diagonal`` of the tissue in voxels."""
        ...


@dataclass(frozen=True)
class SplineInterpolation:
    """Robust cubic B-spline; see ``fields.robust_spline``.

    Attributes:
        spacing: between control points, share of the diagonal.
        smoothness: share of the squared diagonal.
        scale: residual that costs a point three quarters of its weight, share of the diagonal.
        start_scale: the same at the start.
        rest: see ``fields.robust_spline``; over glass the field fades to the affine.
    """

    spacing: float = 0.02
    smoothness: float = 3e-5
    scale: float = 0.004
    start_scale: float = 0.03
    rest: float = 1e-3

    def __call__(
        self,
        points: Tensor,
        displacements: Tensor,
        shape: tuple[int, ...],
        diagonal: float,
        weights: Tensor | None = None,
    ) -> Tensor:
        """See ``Interpolation``."""
        field, _ = robust_spline(
            points, displacements, shape, weights=weights, spacing=max(self.spacing * diagonal, 2.0),
            smoothness=self.smoothness * diagonal**2, scale=self.scale * diagonal,
            start_scale=self.start_scale * diagonal, rest=self.rest,
        )  # fmt: skip
        return field


@dataclass(frozen=True)
class ScatteredInterpolation:
    """Linear on the Delaunay triangulation, or thin plate; see ``fields.points_to_ddf``. Weights are not used.

    Attributes:
        method: "linear" as in the paper, or "thin_plate".
        smoothing: of the thin plate.
        neighbors: nearest matches that a thin plate goes through.
        fade: share of the grid's diagonal over which the field fades out beyond the matches' hull.
        stride: the field is evaluated every so many voxels.
    """

    method: Literal["linear", "thin_plate"] = "linear"
    smoothing: float = 10000.0
    neighbors: int = 50
    fade: float = 0.05
    stride: int = 8

    def __call__(
        self,
        points: Tensor,
        displacements: Tensor,
        shape: tuple[int, ...],
        diagonal: float,
        weights: Tensor | None = None,
    ) -> Tensor:
        """See ``Interpolation``."""
        return points_to_ddf(
            points, displacements, shape, method=self.method, smoothing=self.smoothing, neighbors=self.neighbors,
            fade=self.fade, stride=self.stride,
        )  # fmt: skip

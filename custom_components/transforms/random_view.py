"""Augmentation of a pair with correspondences: a second look after a first pass, and an extra bend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from monai.transforms import Randomizable
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, apply_matrix, compose_affine, identity_grid, sample, warp
from custom_components.transforms.synthetic_warp import RandomField

EXACT = 0.5  # voxels that a bent point may miss
STEPS = 30  # of the fixed-point iteration that undoes a bend at a point


class RandomView(Randomizable):
    """What the passes of the inference see: the pair, the pair bent further, or a part of it after a first pass.

    Aligned pairs alone teach a network that displacements are small, and at one size only. A bend that the
    correspondences know makes them large without any label. A second pass sees the pair magnified and nearly aligned by
    the first; a network that never saw such a pair moves what lies right already.

    Args:
        zoom: magnification of a second look.
        field: of the bend; None bends nothing.
        second: probability of a second look, where the item has a first pass's ``field``.
        bent: probability of a bend otherwise.

    Raises:
        InputError: ``zoom`` is below 1.
    """

    def __init__(
        self, zoom: float = 2.0, field: RandomField | None = None, second: float = 0.5, bent: float = 0.25
    ) -> None:
        if zoom < 1:
            raise InputError(f"a second look magnifies by at least 1, got {zoom}")
        self.zoom = zoom
        self.field = field
        self.second = second
        self.bent = bent

    def __call__(self, item: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The item in its new view, same shapes, without ``field``.

        Args:
            item: of ``engines.KeypointPairs``, and optionally ``field`` (2, H, W), voxels, fixed -> moving, of a first
                pass. Correspondences that leave either image become invalid.
        """
        shape = (item["image"].shape[1], item["image"].shape[2])
        plain = {key: value for key, value in item.items() if key != "field"}
        draw = self.R.uniform(size=2)
        if "field" in item and draw[0] < self.second:
            matrix = self._part(item["mask"][1], self.zoom)
            positions = identity_grid(shape) + affine_to_ddf(matrix, shape)
            return viewed(plain, matrix, self.zoom * sample(item["field"][None], positions))
        if self.field is not None and draw[1] < self.bent:
            self.field.set_random_state(state=self.R)
            return viewed(plain, np.eye(3), self.field(max(shape))[:, :, : shape[0], : shape[1]])
        return plain

    def _part(self, mask: Tensor, factor: float) -> Matrix:
        """Voxel of the magnified part -> voxel of the whole image; tissue, where there is any, is in its middle."""
        shape = np.array(mask.shape)
        tissue = mask.nonzero().numpy()
        middle = tissue[self.R.randint(len(tissue))] + 0.5 if len(tissue) else shape / 2
        half = shape / factor / 2
        corner = np.clip(middle, half, shape - half) - half
        matrix = np.diag([1 / factor, 1 / factor, 1.0])
        matrix[:2, 2] = corner + 0.5 / factor - 0.5
        return matrix


def viewed(item: Mapping[str, Tensor], matrix: Matrix, bend: Tensor) -> dict[str, Tensor]:
    """Images, masks and points of a pair after an affine of both and a bend of the moving image, interpolated once.

    Args:
        item: of ``engines.KeypointPairs``.
        matrix: (3, 3) row/col, new voxel -> old voxel of both images.
        bend: (1, 2, H, W), voxels of the new grid: the moving image at x shows what it showed at x + bend(x).
    """
    shape = item["image"].shape[1:]
    result = dict(item)
    fields = torch.cat([compose_affine(matrix, bend), affine_to_ddf(matrix, shape)])
    for key in ("image", "mask"):
        result[key] = warp(item[key][:, None], fields)[:, 0]
    valid = item["valid"].clone()
    back = np.linalg.inv(matrix)
    for key in ("points_fixed", "points_moving"):
        points = torch.from_numpy(apply_matrix(back, item[key].reshape(-1, 2).numpy())).float().view_as(item[key])
        if key == "points_moving":
            points, missed = _unbent(points, bend)
            valid *= missed < EXACT
        result[key] = points
        valid *= ((points >= 0) & (points <= torch.tensor(shape) - 1)).all(dim=-1)
    result["valid"] = valid
    return result


def _unbent(points: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
    """The y with ``y + bend(y) == points`` (S, N, 2), and by how many voxels each is missed."""
    target = points.permute(2, 0, 1)[None]
    place = target
    for _ in range(STEPS):
        place = target - sample(bend, place)
    missed = (place + sample(bend, place) - target).norm(dim=1)[0]
    return place[0].permute(1, 2, 0), missed

"""Curvature of a displacement field."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields.compose import check_ddf
from custom_components.losses.masking import crop_margin


class CurvatureLoss(nn.Module):
    """Half the squared Laplacian, summed over the components, averaged over the voxels that have all neighbours.

    The Laplacian is a voxel less the mean of its 3x3 (3x3x3) box: 8 (26) at the centre and -1 at each neighbour,
    divided by 9 (27). An affine field costs nothing. Source: Wodzinski & Mueller, "Unsupervised Learning-based
    Nonrigid Registration of High Resolution Histology Images", MLMI 2020, and its public code; the 3-D form is ours.
    """

    def forward(self, ddf: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar, squared voxels.

        Args:
            ddf: (B, D, *spatial), voxels.
            weight: (B, 1, *spatial), stiffness of each voxel: 1 everywhere is as none, 2 everywhere twice the loss.

        Raises:
            InputError: ``ddf`` is no field, a side is below 3 voxels, or the sizes differ.
        """
        dimensions = check_ddf(ddf)
        if min(ddf.shape[2:]) < 3:
            raise InputError(f"curvature needs at least 3 voxels a side, got {tuple(ddf.shape[2:])}")
        pool = F.avg_pool2d if dimensions == 2 else F.avg_pool3d
        curvature = (crop_margin(ddf, 1) - pool(ddf, 3, stride=1)).square().sum(1, keepdim=True) / 2
        if weight is None:
            return curvature.mean()
        if weight.shape != (ddf.shape[0], 1, *ddf.shape[2:]):
            raise InputError(f"the weight has the shape {tuple(weight.shape)}, the ddf {tuple(ddf.shape)}")
        return (curvature * crop_margin(weight, 1)).mean()

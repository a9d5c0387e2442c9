"""Folding of a field on tissue, also where pieces of it have changed places."""

from __future__ import annotations

from scipy import ndimage
from torch import Tensor

from custom_components.fields import jacobian_determinant

TURNED = 0.9  # share of a piece below which it is folded, and above which it was turned over as a whole


def folding_figures(ddf: Tensor, mask: Tensor) -> tuple[float, float]:
    """Share of the tissue that is folded, and standard deviation of the logarithm of the local volume change.

    A section, or a piece of one, that was turned over as a whole is not folded. No affine is taken out: the one nearest
    to pieces that changed places turns all of them over, and one that only turns or scales changes neither figure.

    Args:
        ddf: (1, D, *spatial), voxels.
        mask: (1, 1, *spatial), above 0.5 on tissue.

    Returns:
        Two zeros where there is no tissue.
    """
    determinant = jacobian_determinant(ddf)[0]
    tissue = mask[0, 0] > 0.5
    labels, count = ndimage.label(tissue.cpu().numpy())
    for number, place in enumerate(ndimage.find_objects(labels, count), start=1):
        piece = tissue.new_tensor(labels[place] == number)
        values = determinant[place]
        if (values[piece] < 0).float().mean() > TURNED:
            values[piece] *= -1
    inner = determinant[tissue]
    if len(inner) == 0:
        return 0.0, 0.0
    positive = inner[inner > 0].double()
    return float((inner <= 0).float().mean()), float(positive.log().std(correction=0)) if len(positive) else 0.0


def relative_area(ddf: Tensor) -> Tensor:
    """(*spatial) what a field does to area or volume, relative to what it does to most of the image.

    Args:
        ddf: (1, D, *spatial), voxels.

    Returns:
        Jacobian determinant over its median: 1 where nothing but a global scale is, below 0 where it is folded; of an
        image turned over as a whole as if it were not.
    """
    determinant = jacobian_determinant(ddf)[0]
    middle = determinant.median()
    return determinant / middle if middle else determinant

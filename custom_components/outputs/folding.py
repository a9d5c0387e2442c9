"""Folding of a field on tissue, also where pieces of it have changed places."""

from __future__ import annotations

from scipy import ndimage
from torch import Tensor

from custom_components.fields import best_affine, jacobian_determinant, nonrigid_part

TURNED = 0.9  # share of a piece below which it is folded, and above which the affine taken out has turned it over


def folding_figures(ddf: Tensor, mask: Tensor) -> tuple[float, float]:
    """Share of the tissue that is folded, and standard deviation of the logarithm of the local volume change.

    Both after the field's best affine, so that a section that was turned over as a whole is not folded. Of pieces that
    changed places that affine can be one that turns all of them over; such a piece is not folded either.

    Args:
        ddf: (1, D, *spatial), voxels.
        mask: (1, 1, *spatial), above 0.5 on tissue.

    Returns:
        Two zeros where there is no tissue.
    """
    determinant = jacobian_determinant(nonrigid_part(best_affine(ddf), ddf))[0]
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

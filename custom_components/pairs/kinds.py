"""What kind of image one is, as far as that is plain from its file: weights suit the kind that they were trained on."""

from __future__ import annotations

import numpy as np
from monai.data.meta_tensor import MetaTensor

from custom_components.common.errors import InputError

KINDS = {"section": "stained sections", "radiology": "radiological images"}
COLOURED = 6.0  # mean difference of a pixel's channels, of 255, above which an image is coloured


def image_kind(image: MetaTensor) -> str | None:
    """``section`` for a coloured 2-D image, ``radiology`` for volumes and grey images measured in millimetres.

    Args:
        image: (C, *spatial) as ``read_image`` gives it.

    Returns:
        None where it is neither plainly: a grey PNG may be anything.
    """
    if image.ndim == 4:
        return "radiology"
    if image.meta["layout"].kind == "rgb" and image.meta["dtype"] == "uint8":
        step = [max(1, side // 256) for side in image.shape[1:]]
        part = np.asarray(image[:, :: step[0], :: step[1]], dtype=np.float32)
        if float(np.ptp(part, axis=0).mean()) > COLOURED:
            return "section"
    return "radiology" if image.meta["file_grid"].unit == "millimetre" else None


def kind_warning(image: MetaTensor, name: str, trained_on: str) -> str:
    """A sentence where an image is plainly of another kind than the weights' data; "" where it is not.

    Args:
        image: as ``read_image`` gives it.
        name: what the sentence calls the image.
        trained_on: a key of ``KINDS``.

    Raises:
        InputError: an unknown kind.
    """
    if trained_on not in KINDS:
        raise InputError(f"trained_on is {', '.join(KINDS)} or null, got '{trained_on}'")
    kind = image_kind(image)
    if kind in (None, trained_on):
        return ""
    return (
        f"{name} looks like one of {KINDS[str(kind)]}, the weights were trained on {KINDS[trained_on]}; "
        "check the result, or take other weights"
    )

"""Images made from label maps of a head, after SynthSeg and SynthMorph: a grey value a tissue, blur, bias and noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_components.common.errors import InputError

Volume = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

# FreeSurfer's labels of both sides, and the median of the tissue in one real T1 brain of OASIS, scaled to 0..1
TISSUES: dict[str, tuple[tuple[int, ...], float]] = {
    "cerebral white matter": ((2, 41, 25, 57), 0.404),  # lesions (25, 57) lie in it
    "cerebral cortex": ((3, 42), 0.250),
    "lateral ventricle": ((4, 5, 43, 44), 0.071),
    "cerebellar white matter": ((7, 46), 0.337),
    "cerebellar cortex": ((8, 47), 0.231),
    "thalamus": ((10, 49), 0.341),
    "caudate": ((11, 50), 0.296),
    "putamen": ((12, 51), 0.331),
    "pallidum": ((13, 52), 0.396),
    "third and fourth ventricle": ((14, 15, 72), 0.115),
    "brain stem": ((16,), 0.325),
    "hippocampus": ((17, 53), 0.255),
    "amygdala": ((18, 54), 0.255),
    "cerebrospinal fluid": ((24,), 0.161),
    "accumbens": ((26, 58), 0.284),
    "ventral diencephalon": ((28, 30, 60, 62, 85), 0.373),
}
CLASSES = len(TISSUES) + 1  # with the background
CONTRASTS = ("t1", "random")


def merged(labels: npt.NDArray[np.generic]) -> Labels:
    """FreeSurfer's labels -> classes 1.. in the order of ``TISSUES``, sides merged; all else is background, 0."""
    classes = np.zeros(labels.shape, dtype=np.uint8)
    for number, (values, _) in enumerate(TISSUES.values(), start=1):
        classes[np.isin(labels, values)] = number
    return classes


def synthesised(classes: Labels, seed: int, contrast: str = "t1", blur: float = 0.7, noise: float = 0.02) -> Volume:
    """An image of the anatomy in a label map; the background is black.

    Every class has a mean, varied by up to 7 %, or any grey value; its voxels vary about that by 4 %. Then blur, a
    smooth bias field of up to 20 %, and Gaussian noise.

    Source: Billot et al., "SynthSeg", Medical Image Analysis 2023; Hoffmann et al., "SynthMorph", IEEE TMI 2022. The
    means and amounts are ours.

    Args:
        classes: (*spatial), as ``merged`` gives.
        seed: draws everything.
        contrast: "t1" as in the real brain, or "random", another one for every seed.
        blur: standard deviation, voxels.
        noise: standard deviation, of an image in 0..1.

    Returns:
        (*spatial) in 0..1.

    Raises:
        InputError: another contrast.
    """
    if contrast not in CONTRASTS:
        raise InputError(f"contrast is {' or '.join(CONTRASTS)}, got '{contrast}'")
    generator = np.random.default_rng(seed)
    means = np.zeros(CLASSES, dtype=np.float32)
    if contrast == "t1":
        means[1:] = [2 * grey for _, grey in TISSUES.values()] * generator.uniform(0.93, 1.07, CLASSES - 1)
    else:
        means[1:] = generator.uniform(0.1, 1.0, CLASSES - 1)
    inside = classes > 0
    texture = 1 + 0.04 * generator.standard_normal(classes.shape, dtype=np.float32)
    image = ndimage.gaussian_filter(means[classes] * texture, blur)
    coarse = generator.uniform(-0.2, 0.2, (4,) * classes.ndim).astype(np.float32)
    bias = ndimage.zoom(coarse, [side / 4 for side in classes.shape], order=3, mode="nearest", grid_mode=True)
    image = image * (1 + np.clip(bias, -0.2, 0.2)) + noise * generator.standard_normal(classes.shape, dtype=np.float32)
    return np.asarray(np.clip(image * inside, 0, 1), dtype=np.float32)

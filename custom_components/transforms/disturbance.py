"""Test images made worse on purpose, to see what a registration does then."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any
from zlib import crc32

import torch
from monai.config import KeysCollection
from monai.networks.layers import GaussianFilter
from monai.transforms import MapTransform

from custom_components.common.errors import InputError
from custom_components.transforms.dictionary import Data


class Corruptd(MapTransform):
    """Gaussian noise and blur in the working images, which stay in 0..1; the noise of a pair is always the same.

    Source: the noise study of Czolbe et al., "DeepSim", Medical Image Analysis 2023.

    Args:
        keys: names of the images.
        noise: standard deviation, of an image in 0..1.
        blur: standard deviation, voxels; before the noise.

    Raises:
        InputError: one of them is negative.
    """

    def __init__(self, keys: KeysCollection, noise: float = 0.0, blur: float = 0.0) -> None:
        super().__init__(keys)
        if noise < 0 or blur < 0:
            raise InputError(f"noise and blur are standard deviations, got {noise} and {blur}")
        self.noise = noise
        self.blur = blur

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Change ``working_<key>``."""
        result = dict(data)
        for key in self.key_iterator(result):
            name = f"working_{key}"
            image = result[name]
            if self.blur:
                image = GaussianFilter(image.ndim - 1, self.blur, approx="sampled")(image[None])[0]
            if self.noise:
                generator = torch.Generator().manual_seed(crc32(f"{result['pair'].id} {key}".encode()))
                image = (image + self.noise * torch.randn(image.shape, generator=generator)).clamp(0, 1)
            result[name] = image
        return result

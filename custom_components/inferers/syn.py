"""Symmetric normalisation of ANTs, the classical baseline, on grey values or on learned features as well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import compose_affine
from custom_components.fields import warp as warp_image
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages


class SyN:
    """ANTs' "SyNOnly" after the affine of the chain, with the settings of ANTsPy.

    Source: Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Medical Image Analysis
    2008; with features, a mean-squares metric of weight 1 for each of their channels, Czolbe et al., "DeepSim", 2023.

    Args:
        extractor: image (B, 1, *spatial) -> list of feature maps, used besides the grey values; None leaves them alone.
        levels: of the extractor's maps; None takes all, and ANTs needs minutes for hundreds of channels.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        iterations: of the resolutions, coarsest first.
        name: of the stage in the report.

    Raises:
        InputError: ANTsPy is not installed.
    """

    def __init__(
        self,
        extractor: nn.Module | None = None,
        levels: Sequence[int] | None = None,
        minimum_jacobian: float | None = None,
        iterations: Sequence[int] = (40, 20, 0),
        name: str = "SyN",
    ) -> None:
        try:
            import ants
        except ImportError as error:
            raise InputError(
                "SyN needs ANTsPy, which asks for older releases of NumPy and SciPy than are tested here: in an "
                "environment of its own, pip install 'warpzoo[baselines]'"
            ) from error
        self.ants: Any = ants
        self.extractor = extractor
        self.levels = levels
        self.minimum_jacobian = minimum_jacobian
        self.iterations = tuple(iterations)
        self.name = name

    @torch.no_grad()
    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; a field that the chain found before, beyond its affine, is replaced."""
        start = perf_counter()
        nothing = images.fixed.new_zeros(1, len(images.shape), *images.shape)
        moving = warp_image(images.moving, compose_affine(estimate.affine, nothing), padding_mode="border")
        channels = [self._channels(image) for image in (images.fixed, moving)]
        # with a spacing of 1 and no direction, ANTs' millimetres along its axes are voxels along the array's
        fixed, other = ([self.ants.from_numpy(channel) for channel in side] for side in channels)
        extras = [("MeanSquares", a, b, 1, 0) for a, b in zip(fixed[1:], other[1:], strict=True)]
        with TemporaryDirectory() as folder:
            found = self.ants.registration(
                fixed[0], other[0], "SyNOnly", initial_transform="identity", outprefix=str(Path(folder) / "syn"),
                reg_iterations=self.iterations, multivariate_extras=extras or None,
            )  # fmt: skip
            file = next(file for file in found["fwdtransforms"] if file.endswith("Warp.nii.gz"))
            field = self.ants.image_read(file).numpy()
        residual = torch.from_numpy(np.ascontiguousarray(np.moveaxis(field, -1, 0))).float()[None]
        return with_residual(
            estimate, residual.to(images.fixed), images, self.minimum_jacobian, self.name, start,
            {"channels": len(fixed)},
        )  # fmt: skip

    def _channels(self, image: Tensor) -> list[np.ndarray[Any, Any]]:
        """The image and its features at its size, each feature divided by its length over space."""
        found = [image[0, 0]]
        if self.extractor is not None:
            maps = self.extractor.to(image.device)(image)
            for level in range(len(maps)) if self.levels is None else self.levels:
                mode = "bicubic" if image.ndim == 4 else "trilinear"
                features = F.interpolate(maps[level], image.shape[2:], mode=mode, align_corners=False)[0]
                lengths = features.flatten(1).norm(dim=1).clamp(min=1e-6)
                found += list(features / lengths.view(-1, *[1] * (image.ndim - 2)))
        return [channel.cpu().numpy().astype(np.float32) for channel in found]

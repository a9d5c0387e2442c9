"""OpenCV's dense optical flow DIS as it is, the classical baseline for images of one modality."""

from __future__ import annotations

from time import perf_counter

import cv2
import torch
import torch.nn.functional as F

from custom_components.common.errors import InputError
from custom_components.fields import compose_affine, resize
from custom_components.fields import warp as warp_image
from custom_components.inferers.flow_refinement import flow_to_ddf, to_bytes
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages


class OpticalFlow:
    """DIS (Kroeger et al., ECCV 2016), preset "medium", of the pair after the affine of the chain; 2-D.

    Args:
        least_size: smaller pairs are enlarged until their longer side has so many voxels; the patches of DIS have 8,
            and on images of 64 its error is three times as large.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.
    """

    def __init__(
        self, least_size: int = 256, minimum_jacobian: float | None = None, name: str = "optical flow"
    ) -> None:
        self.least_size = least_size
        self.minimum_jacobian = minimum_jacobian
        self.name = name

    @torch.no_grad()
    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; a field that the chain found before, beyond its affine, is replaced.

        Raises:
            InputError: the images are volumes.
        """
        if len(images.shape) != 2:
            raise InputError(f"optical flow is for sections, got images of {images.shape}")
        start = perf_counter()
        nothing = images.fixed.new_zeros(1, 2, *images.shape)
        moving = warp_image(images.moving, compose_affine(estimate.affine, nothing), padding_mode="border")
        factor = max(self.least_size / max(images.shape), 1.0)
        shape = tuple(round(side * factor) for side in images.shape)
        first, second = (
            to_bytes(F.interpolate(image, shape, mode="bicubic", align_corners=False))
            for image in (images.fixed, moving)
        )
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
        residual = resize(flow_to_ddf(flow).to(images.fixed), images.shape)
        return with_residual(estimate, residual, images, self.minimum_jacobian, self.name, start, {})

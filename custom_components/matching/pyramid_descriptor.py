"""Features of a registration network's encoder, one pass over the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import sample
from custom_components.matching.patch_descriptors import PyramidNetwork
from custom_components.matching.point_descriptor import check_points
from custom_components.networks.mask_flownet import standardised


class PyramidDescriptor:
    """What the encoder of the registration network says about a point at several levels of its pyramid.

    Source: the learnable deep features of the keypoint-guided method (Wei et al., IEEE TMI 2024). Deviation: the method
    encodes turned patches to the deepest level (``EncoderDescriptor``); here the maps that the network correlates
    itself are read at the points, some hundred times cheaper and trained to agree where tissue does.

    Args:
        network: with the attribute ``pyramid``, each level of which halves the grid as ``MaskFlownetS`` does; it may go
            on being trained, its weights of the moment are used.
        levels: of the pyramid, 0 has stride 2; each is a group.

    Raises:
        InputError: there is no level, or the network has no ``pyramid``.
    """

    def __init__(self, network: PyramidNetwork, levels: Sequence[int] = (1, 2, 3)) -> None:
        if not levels or min(levels) < 0:
            raise InputError(f"levels are counted from 0, and there is at least one, got {list(levels)}")
        if not hasattr(network, "pyramid"):
            raise InputError(f"{type(network).__name__} has no encoder 'pyramid'; give a MaskFlownetS")
        self.network = network
        self.levels = list(levels)

    @torch.inference_mode()
    def __call__(self, image: Tensor, points: Tensor) -> Tensor:
        """Descriptors (N, levels, C) on the CPU, short ones filled with zeros; see ``PointDescriptor``."""
        check_points(image, points)
        weight = next(self.network.pyramid.parameters())
        image = image.to(weight)
        maps: list[Tensor] = self.network.pyramid(image - image.mean())
        width = max(maps[level].shape[1] for level in self.levels)
        groups = []
        for level in self.levels:
            # the strided convolutions put voxel i of a level at voxel i * stride of the image
            places = points.to(weight) / 2 ** (level + 1)
            read = sample(standardised(maps[level]), places.T[None, :, :, None])[0, :, :, 0].T
            groups.append(F.pad(F.normalize(read, dim=1), [0, width - read.shape[1]]))
        return torch.stack(groups, dim=1).cpu()

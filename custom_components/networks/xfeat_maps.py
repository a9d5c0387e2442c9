"""XFeat's network with its three maps in one tensor, as MONAI's tools for networks want it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.feature.xfeat import XFeatModel
from torch import Tensor, nn

CHANNELS = [64, 65, 1]  # descriptors, keypoint logits, reliability


class _Scriptable(XFeatModel):
    """kornia's network with an unfolding that TorchScript takes and that ONNX has an operator for."""

    def _unfold2d(self, x: Tensor, ws: int = 2) -> Tensor:
        return F.pixel_unshuffle(x, ws)


class XFeatMaps(nn.Module):
    """The network that ``XFeatMatcher`` runs (Potje et al., CVPR 2024); its weights load as ``net.*``.

    What the matcher does besides, finding the maxima and reading the descriptors there, has no fixed size and is no
    part of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = _Scriptable()

    def forward(self, image: Tensor) -> Tensor:
        """Maps of one image, not of a pair.

        Args:
            image: (B, 1, H, W), grey, sides multiples of 32.

        Returns:
            (B, 130, H / 8, W / 8): 64 channels of the descriptors, 65 logits of a cell's 8 x 8 pixels and of no
            keypoint, 1 of the reliability, 0..1.
        """
        descriptors, logits, reliability = self.net(image)
        return torch.cat([descriptors, logits, reliability], dim=1)


class SplitMaps(nn.Module):
    """What ``XFeatMaps`` or its export gives, as the three maps that kornia's ``XFeat`` asks its network for.

    Args:
        maps: (B, 1, H, W) -> (B, 130, H / 8, W / 8).
    """

    def __init__(self, maps: nn.Module) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, H, W) -> descriptors (B, 64, H / 8, W / 8), logits (B, 65, ...), reliability (B, 1, ...)."""
        return torch.split(self.maps(image), CHANNELS, dim=1)

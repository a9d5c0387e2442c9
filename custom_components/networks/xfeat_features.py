"""The dense descriptors of XFeat as a backbone."""

from __future__ import annotations

import torch.nn.functional as F
from kornia.feature.xfeat import XFeatModel
from torch import Tensor, nn

from custom_components.common.errors import InputError


class XFeatFeatures(nn.Module):
    """XFeat (Potje et al., CVPR 2024) without its heads, on kornia's layers; the keys are those of its file.

    Batch normalisation keeps its stored statistics in training.

    Args:
        enlarged: factor on the sides of the image before the network, 1, 2, 4 or 8; cells are that much finer.
        frozen: its weights don't learn.

    Raises:
        InputError: another factor.
    """

    channels = 64

    def __init__(self, enlarged: int = 2, frozen: bool = True) -> None:
        super().__init__()
        if enlarged not in (1, 2, 4, 8):
            raise InputError(f"images are enlarged by 1, 2, 4 or 8 before XFeat, got {enlarged}")
        self.enlarged = enlarged
        self.stride = 8 // enlarged
        whole = XFeatModel()
        self.skip1: nn.Module = whole.skip1
        self.block1: nn.Module = whole.block1
        self.block2: nn.Module = whole.block2
        self.block3: nn.Module = whole.block3
        self.block4: nn.Module = whole.block4
        self.block5: nn.Module = whole.block5
        self.block_fusion: nn.Module = whole.block_fusion
        self.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> XFeatFeatures:
        """See the class on batch normalisation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) grey -> (B, 64, H / stride, W / stride); sides go by 32 / ``enlarged``."""
        if self.enlarged > 1:
            image = F.interpolate(image, scale_factor=self.enlarged, mode="bicubic", align_corners=False)
        x = F.instance_norm(image)
        third = self.block3(self.block2(self.block1(x) + self.skip1(x)))
        fourth = self.block4(third)
        coarse = [
            F.interpolate(part, third.shape[-2:], mode="bilinear", align_corners=False)
            for part in (fourth, self.block5(fourth))
        ]
        maps: Tensor = self.block_fusion(third + coarse[0] + coarse[1])
        return maps

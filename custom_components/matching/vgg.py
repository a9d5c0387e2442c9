"""VGG16 features of patches, for users who have the weights: they come with no package that this project needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.common.weights import load_state, read_state
from custom_components.matching.patch_descriptors import check_patches, describe_patches
from custom_components.matching.point_descriptor import check_points
from custom_components.networks.vgg_features import BLOCKS, vgg_layers

SIZE = 224  # pixels a side that VGG16 takes
FEATURES = 4096


class VGG16Head(nn.Module):
    """The convolutions and the first fully connected layer of VGG16 (Simonyan and Zisserman, ICLR 2015).

    Parameters are named as in torchvision's ``vgg16`` (``features.N``, ``classifier.0``), whose files fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*vgg_layers(BLOCKS))
        self.classifier = nn.Sequential(nn.Linear(BLOCKS[-1][0] * (SIZE // 32) ** 2, FEATURES), nn.ReLU(inplace=True))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, 4096), not negative."""
        features: Tensor = self.classifier(self.features(image).flatten(1))
        return features


class VGGPatchDescriptor:
    """Patches as VGG16, trained on ImageNet, sees them: slow (seconds a point on a CPU), so cache its matches.

    Source: the fixed deep features of the keypoint-guided method (Wei et al., IEEE TMI 2024): patches of several half
    widths and 8 turns, resized to 224, zero mean and unit deviation, the 4096 outputs of the first fully connected
    layer, turns concatenated, cosine averaged over the half widths. The source adds two further image scales.

    Args:
        weights: torchvision's state dict of ``vgg16`` (``vgg16-397923af.pth``); keys of later layers are passed over.
        half_widths: voxels, those of the source at 512 pixels; each is a group.
        rotations: turns of each patch, spread over the full circle.
        batch: patches at a time.
        device: where the network runs.

    Raises:
        InputError: no weights are given or they don't fit, or a number is not positive.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        half_widths: Sequence[float] = (10.0, 15.0, 20.0, 25.0, 30.0),
        rotations: int = 8,
        batch: int = 32,
        device: str | torch.device = "cpu",
    ) -> None:
        if weights is None:
            raise InputError(
                "VGGPatchDescriptor needs weights, which no installed package brings: give the path of torchvision's "
                "vgg16-397923af.pth, or take XFeatDescriptor"
            )
        check_patches(half_widths, rotations, SIZE, batch)
        self.weights = Path(weights)
        self.half_widths = [float(width) for width in half_widths]
        self.rotations = rotations
        self.batch = batch
        self.device = torch.device(device)
        with torch.device("meta"):  # every parameter comes from the file, so none is drawn
            network = VGG16Head()
        state = read_state(self.weights, "vgg16")
        load_state(network.to_empty(device="cpu"), "vgg16", state)
        self._network = network.eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, image: Tensor, points: Tensor) -> Tensor:
        """Descriptors (N, half widths, 4096 * rotations) on the CPU; see ``PointDescriptor``."""
        check_points(image, points)

        def encode(patches: Tensor) -> Tensor:
            deviation, mean = torch.std_mean(patches, dim=(2, 3), keepdim=True)
            standard = (patches - mean) / deviation.clamp_min(1e-6)
            features: Tensor = self._network(standard.expand(-1, 3, -1, -1))
            return features

        return describe_patches(
            image.to(self.device).float(),
            points.to(self.device).float(),
            encode,
            half_widths=self.half_widths,
            rotations=self.rotations,
            size=SIZE,
            batch=self.batch,
        )

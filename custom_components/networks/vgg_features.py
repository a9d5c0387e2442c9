"""VGG16's first feature maps as an extractor, for users who have the weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions between poolings
USED = 3  # blocks whose maps are features


def vgg_layers(blocks: Sequence[tuple[int, int]]) -> list[nn.Module]:
    """Convolutions with their activations, a pooling after each block, in the order of torchvision's ``features``.

    Args:
        blocks: channels and number of convolutions of each.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for channels, count in blocks:
        for _ in range(count):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = channels
        layers.append(nn.MaxPool2d(2))
    return layers


class VGGFeatures(nn.Module):
    """Feature maps of a grey image after the first three blocks of VGG16: strides 1, 2 and 4.

    Source: Simonyan and Zisserman, ICLR 2015; its use, with the image repeated over three channels and not normalised,
    is that of Czolbe et al., "DeepSim", MIDL 2021. Parameters are named as in torchvision's ``vgg16``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*vgg_layers(BLOCKS[:USED]))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 1, H, W) -> (B, 64, H, W), (B, 128, H // 2, W // 2), (B, 256, H // 4, W // 4)."""
        found: list[Tensor] = []
        x = image.expand(-1, 3, -1, -1)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return found

"""VGG16's first feature maps as an extractor, for users who have the weights."""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS = ((64, 2), (128, 2), (256, 3))  # channels and convolutions between poolings


class VGGFeatures(nn.Module):
    """Feature maps of a grey image after the first three blocks of VGG16: strides 1, 2 and 4.

    Source: Simonyan and Zisserman, ICLR 2015; its use, with the image repeated over three channels and not normalised,
    is that of Czolbe et al., "DeepSim", MIDL 2021. Parameters are named as in torchvision's ``vgg16``.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        ends = []
        inputs = 3
        for channels, count in BLOCKS:
            for _ in range(count):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
                inputs = channels
            ends.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.ends = tuple(ends)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 1, H, W) -> (B, 64, H, W), (B, 128, H // 2, W // 2), (B, 256, H // 4, W // 4)."""
        found: list[Tensor] = []
        x = image.expand(-1, 3, -1, -1)
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.ends:
                found.append(x)
        return found

"""MaskFlownet-S: a coarse-to-fine matching network with learned occlusion masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks.cost_volume import cost_volume

SLOPE = 0.1  # of the leaky rectifiers
FIELD_SCALE = 20.0  # voxels that an output of 1 means
LEVELS = 6
ESTIMATED = 5  # of the levels, coarsest first; the finest of the pyramid only leads to the next


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation), nn.LeakyReLU(SLOPE)
    )


def refine_grid(field: Tensor, factor: int) -> Tensor:
    """Linear interpolation onto a grid ``factor`` times finer whose voxel ``factor * i`` is voxel i of the coarse one.

    That is where the strided convolutions put their outputs; MaskFlownet's own half-voxel grid is off by half a voxel
    of the coarser level. Beyond the last coarse voxel its value is kept.

    Args:
        field: (B, C, h, w).
        factor: 2 or more.

    Returns:
        (B, C, factor * h, factor * w); values are not rescaled.
    """
    height, width = field.shape[2:]
    size = [factor * height + 1, factor * width + 1]
    padded = F.pad(field, [0, 1, 0, 1], mode="replicate")
    return F.interpolate(padded, size, mode="bilinear", align_corners=True)[..., :-1, :-1]


def standardised(features: Tensor) -> Tensor:
    """Zero mean and unit variance in every channel of (B, C, h, w); what is constant becomes zero.

    Rectified features are mostly positive, so that their products hardly depend on the displacement.
    """
    features = features.float()
    centred = features - features.mean(dim=[2, 3], keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=[2, 3], keepdim=True) + 1e-6)


class ShiftedConvolution(nn.Module):
    """Deformable 3x3 convolution whose nine taps share one offset.

    Linear interpolation commutes with a convolution, so the values that the nine taps would read between voxels need
    no sampling of their own: convolve first, on a grid with a rim of one voxel, then sample the result once. Equal to
    ``torchvision.ops.deform_conv2d`` with the offset repeated nine times, the border included.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=2, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, offset: Tensor) -> Tensor:
        """Features read at their voxel plus ``offset``, zero outside, and convolved.

        Args:
            features: (B, C, H, W).
            offset: (B, 2, H, W), voxels, array-axis order, float32 or float64.

        Returns:
            (B, C, H, W).
        """
        height, width = features.shape[2:]
        rows = torch.arange(height, device=offset.device)[:, None]
        columns = torch.arange(width, device=offset.device)[None]
        # in the grid with the rim voxel i has the index i + 1
        row = 2 * (offset[:, 0] + rows + 1) / (height + 1) - 1
        column = 2 * (offset[:, 1] + columns + 1) / (width + 1) - 1
        positions = torch.stack([column, row], dim=-1)
        convolved = self.convolution(features)
        # under autocast the features are bfloat16, whose 8 bits would misplace the positions by up to a quarter voxel
        dtype = torch.promote_types(convolved.dtype, positions.dtype)
        sampled = F.grid_sample(convolved.to(dtype), positions.to(dtype), padding_mode="zeros", align_corners=True)
        shifted: Tensor = sampled + self.bias.view(1, -1, 1, 1)
        return shifted


class FeaturePyramid(nn.Module):
    """Six levels of three convolutions, the first with stride 2; both images pass the same weights."""

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = [in_channels, *channels]
        self.levels = nn.ModuleList(
            [
                nn.Sequential(_convolution(a, b, stride=2), _convolution(b, b), _convolution(b, b))
                for a, b in zip(inputs, channels, strict=False)
            ]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) -> features, finest first: (B, channels[i], ceil(H / 2^(i+1)), ...)."""
        features: list[Tensor] = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features


class DenseEstimator(nn.Module):
    """Densely connected convolutions; each sees what all before it have seen and found."""

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        blocks = []
        for count in channels:
            blocks.append(_convolution(in_channels, count))
            in_channels += count
        self.blocks = nn.ModuleList(blocks)
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w), the latest channels first."""
        for block in self.blocks:
            x = torch.cat([block(x), x], dim=1)
        return x


class FieldLevel(nn.Module):
    """One level of MaskFlownet-S: warp and mask the moving features, correlate, estimate what is left.

    The coarsest level correlates the features as they are. It has the layers before the correlation all the same, idle,
    as TorchScript needs levels of one kind.

    Args:
        channels: of the level's features.
        estimator_channels: of the dense estimator.
        carried: channels of the coarser level's estimator, 0 at the coarsest level.
        up_channels: to which they are reduced on their way up.
        radius: of the cost volume.
        masked: whether the level predicts the mask of the next one.
    """

    def __init__(
        self,
        channels: int,
        estimator_channels: Sequence[int],
        carried: int,
        up_channels: int,
        radius: int,
        masked: bool,
    ) -> None:
        super().__init__()
        volume = (2 * radius + 1) ** 2
        self.coarsest = carried == 0
        self.radius = radius
        self.field_scale = FIELD_SCALE
        self.activation = nn.LeakyReLU(SLOPE)
        more = 0 if self.coarsest else channels + up_channels + 2
        self.estimator = DenseEstimator(volume + more, estimator_channels)
        found = self.estimator.out_channels
        self.field = nn.Conv2d(found, 2, 3, padding=1)
        self.mask: nn.Module = nn.Conv2d(found, 1, 3, padding=1) if masked else nn.Identity()
        self.up = nn.ConvTranspose2d(max(carried, 1), up_channels, 4, stride=2, padding=1)
        self.shifted = ShiftedConvolution(channels)
        self.trade_off = nn.Conv2d(up_channels, channels, 3, padding=1)

    def forward(
        self, fixed: Tensor, moving: Tensor, found: Tensor, field: Tensor, mask: Tensor, stride: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Estimator features, field and mask logits of this level.

        Args:
            fixed: (B, channels, h, w) features.
            moving: the same.
            found: estimator features of the coarser level, (B, carried, h / 2, w / 2); anything at the coarsest.
            field: of the coarser level, (B, 2, h / 2, w / 2), in units of ``FIELD_SCALE`` voxels of the image.
            mask: logits of the coarser level, (B, 1, h / 2, w / 2).
            stride: of this level, image voxels.
        """
        if self.coarsest:
            found = self.estimator(self.activation(cost_volume(standardised(fixed), standardised(moving), self.radius)))
            return found, self.field(found).float(), self.mask(found)
        up = self.activation(self.up(found))
        field = refine_grid(field, 2)
        warped = self.shifted(moving, field * (self.field_scale / stride))
        warped = self.activation(warped * torch.sigmoid(refine_grid(mask.float(), 2)) + self.trade_off(up))
        volume = self.activation(cost_volume(standardised(fixed), standardised(warped), self.radius))
        found = self.estimator(torch.cat([volume, fixed, up, field], dim=1))
        return found, field + self.field(found).float(), self.mask(found)


class ContextNetwork(nn.Module):
    """Dilated convolutions that correct the finest field by what lies around."""

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = [in_channels, *channels]
        dilations = [1, 2, 4, 8, 16, 1]
        self.blocks = nn.Sequential(
            *[_convolution(a, b, dilation=d) for a, b, d in zip(inputs, channels, dilations, strict=False)],
            nn.Conv2d(channels[-1], 2, 3, padding=1),
        )

    def forward(self, found: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 2, h, w)."""
        correction: Tensor = self.blocks(found)
        return correction


class MaskFlownetS(nn.Module):
    """Displacement field of a pair from feature pyramids, cost volumes and learned masks of what has no counterpart.

    Source: MaskFlownet: Asymmetric Feature Matching with Learnable Occlusion Mask (Zhao et al., CVPR 2020), its
    small variant; the defaults are its sizes. Differences: one grey channel an image instead of the same channel
    three times; levels refined on the grid on which the strided convolutions lie (``refine_grid``); features
    standardised before they are correlated; the shifted convolutions begin as the identity and the fields near zero.

    Args:
        in_channels: of one image.
        channels: of the six pyramid levels.
        estimator_channels: of the dense estimators.
        context_channels: of the six dilated convolutions.
        up_channels: of the features handed from level to level.
        radius: of the cost volumes, level voxels.

    Attributes:
        coarsest_stride: voxels; inputs are padded with their last voxels to a multiple of it.

    Raises:
        InputError: there are not six levels and six context convolutions.

    Examples:
        >>> MaskFlownetS(channels=(4,) * 6, estimator_channels=(4,), context_channels=(4,) * 6)(
        ...     torch.rand(1, 2, 70, 90)
        ... ).shape
        torch.Size([1, 2, 70, 90])
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 96, 128, 196),
        estimator_channels: Sequence[int] = (128, 128, 96, 64, 32),
        context_channels: Sequence[int] = (128, 128, 128, 96, 64, 32),
        up_channels: int = 16,
        radius: int = 4,
    ) -> None:
        super().__init__()
        if len(channels) != LEVELS or len(context_channels) != LEVELS:
            raise InputError(
                f"MaskFlownet-S has {LEVELS} pyramid levels and context convolutions, got channels {tuple(channels)} "
                f"and context_channels {tuple(context_channels)}"
            )
        self.in_channels = in_channels
        self.field_scale = FIELD_SCALE
        self.coarsest_stride = 2**LEVELS
        self.pyramid = FeaturePyramid(in_channels, channels)
        levels = []
        carried = 0
        for index in range(ESTIMATED):
            level = FieldLevel(
                channels[LEVELS - 1 - index],
                estimator_channels,
                carried,
                up_channels,
                radius,
                masked=index + 1 < ESTIMATED,
            )
            carried = level.estimator.out_channels
            levels.append(level)
        self.levels = nn.ModuleList(levels)
        self.context = ContextNetwork(carried, context_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Features must be comparable before they can be learned, so the warped ones begin as they are. With a random
        # convolution in their way the network answers zero for more steps than a CPU has time for.
        with torch.no_grad():
            for level in levels:
                nn.init.dirac_(level.shifted.convolution.weight)
                level.field.weight.mul_(0.1)
            self.context.blocks[-1].weight.mul_(0.1)  # type: ignore[operator]

    def forward(self, image: Tensor) -> Tensor:
        """Displacement field of a pair.

        Args:
            image: (B, 2 * in_channels, H, W) in [0, 1], moving and fixed concatenated over channels, moving first.

        Returns:
            (B, 2, H, W), voxels, array-axis order, fixed -> moving.

        Raises:
            InputError: see ``predictions``.
        """
        return self.predictions(image)[-1]

    @torch.jit.unused
    def _check(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 2 * self.in_channels or 0 in image.shape:
            raise InputError(
                f"the network takes (B, {2 * self.in_channels}, H, W), moving and fixed image of {self.in_channels} "
                f"channels each, got {tuple(image.shape)}"
            )

    @torch.jit.export
    def predictions(self, image: Tensor) -> list[Tensor]:
        """The fields of all levels on the grid of the image, strides 64, 32, 16, 8 and 4; for the training.

        Args:
            image: see ``forward``.

        Returns:
            five fields (B, 2, H, W), voxels; the last one is the result.

        Raises:
            InputError: ``image`` has other channels or is empty; a scripted network doesn't check.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            self._check(image)
        height, width = image.shape[2:]
        padded = F.pad(image, [0, -width % self.coarsest_stride, 0, -height % self.coarsest_stride], mode="replicate")
        fields = self.level_fields(padded)
        found: list[Tensor] = []
        for field in fields:
            factor = padded.size(2) // field.size(2)
            found.append(refine_grid(field, factor)[:, :, :height, :width] * self.field_scale)
        return found

    def level_fields(self, image: Tensor) -> list[Tensor]:
        """Fields at strides 64 to 4, in units of ``FIELD_SCALE`` voxels, of images whose sides are multiples of 64."""
        pair = image.unflatten(1, [2, self.in_channels])
        pair = pair - pair.mean(dim=[1, 3, 4], keepdim=True)
        both = self.pyramid(torch.cat([pair[:, 1], pair[:, 0]]))
        count = image.size(0)
        found = both[-1]
        field = found.new_zeros(0)
        mask = field
        stride = self.coarsest_stride
        fields: list[Tensor] = []
        for index, level in enumerate(self.levels):
            features = both[-1 - index]
            found, field, mask = level(features[:count], features[count:], found, field, mask, stride)
            stride = stride // 2
            fields.append(field)
        fields[-1] = fields[-1] + self.context(found).float()
        return fields

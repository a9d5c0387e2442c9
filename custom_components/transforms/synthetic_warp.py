"""Pairs with known displacement: patches of one image, bent at random and given two different looks.

What stains do to a grey image can't be drawn exactly; a random tone curve, which may turn bright to dark, blur, noise
and uneven light teach a network to look at structure instead of brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Randomizable
from torch import Tensor
from torch.utils.data import Dataset

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, sample, smooth


class RandomField(Randomizable):
    """Smooth random displacement: an affine about the centre and noise on grids of several spacings.

    Args:
        amplitude: voxels; a field's own is drawn below it, small ones more often.
        grids: control points a side, coarse to fine; the finer the grid the smaller its share.
        linear: standard deviation of the affine's entries; half of the fields have one.
        decay: how fast the share falls with the number of control points; with 1 all grids bend equally.

    Attributes:
        strength: factor on the amplitude.
    """

    def __init__(
        self, amplitude: float = 4.0, grids: Sequence[int] = (6, 8, 12), linear: float = 0.02, decay: float = 0.5
    ) -> None:
        self.amplitude = amplitude
        self.grids = tuple(grids)
        self.linear = linear
        self.strength = 1.0
        self.decay = decay

    def __call__(self, side: int) -> Tensor:
        """(1, 2, side, side) voxels."""
        amplitude = self.strength * self.amplitude * self.R.uniform() ** 2
        field = torch.zeros(1, 2, side, side)
        for points in self.grids:
            noise = self._normal((1, 2, points, points)) * amplitude * self.R.uniform() / 2
            field += F.interpolate(
                noise * (self.grids[0] / points) ** self.decay, (side, side), mode="bicubic", align_corners=True
            )
        if self.R.uniform() < 0.5:
            centred = identity_grid((side, side)) - (side - 1) / 2
            shift = self._normal((2, 1, 1)) * amplitude * self.R.uniform() / 2
            field += torch.einsum("ij,jhw->ihw", self._normal((2, 2)) * self.linear, centred) + shift
        return field

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.R.standard_normal(shape).astype(np.float32))


class RandomAppearance(Randomizable):
    """Another stain's look for a grey patch: tone curve, blur, uneven light, noise, gamma.

    Args:
        tone: largest share of a random tone curve in the result.
        blur: largest standard deviation, voxels; half of the patches are blurred.
        light: largest relative strength of uneven light.
        noise: largest standard deviation of noise.
        gamma: largest absolute logarithm of the exponent.

    Attributes:
        strength: factor on all of them.
    """

    def __init__(
        self, tone: float = 0.5, blur: float = 1.2, light: float = 0.15, noise: float = 0.05, gamma: float = 0.4
    ) -> None:
        self.strength = 1.0
        self.tone = tone
        self.blur = blur
        self.light = light
        self.noise = noise
        self.gamma = gamma

    def __call__(self, image: Tensor) -> Tensor:
        """(1, 1, H, W) in [0, 1] -> the same; what is black stays black but for the noise."""
        grey = image.clamp(0, 1)
        knots = torch.from_numpy(self.R.uniform(size=9).astype(np.float32))
        place = grey * 8
        index = place.floor().clamp(max=7).long()
        curve = (knots[index] + (knots[index + 1] - knots[index]) * (place - index)) * (grey > 0.02)
        fraction = self.strength * float(self.R.uniform(0, self.tone))
        grey = (1 - fraction) * grey + fraction * curve
        if self.R.uniform() < 0.5 * self.strength:
            grey = smooth(grey, float(self.R.uniform(0.3, max(self.blur, 0.3))))
        light = torch.from_numpy(self.R.standard_normal((1, 1, 4, 4)).astype(np.float32)) * float(
            self.strength * self.R.uniform(0, self.light)
        )
        grey = grey * (1 + F.interpolate(light, grey.shape[-2:], mode="bicubic", align_corners=True))
        noise = torch.from_numpy(self.R.standard_normal(grey.shape).astype(np.float32))
        grey = (grey + noise * self.strength * float(self.R.uniform(0, self.noise))).clamp(0, 1)
        return grey ** float(np.exp(self.strength * self.R.uniform(-self.gamma, self.gamma)))


class SyntheticPairs(Dataset[dict[str, Tensor]]):
    """Patches with their exact displacement, drawn from the images of prepared pairs at several scales.

    An item is ``{"image": (2, P, P) moving and fixed, "label": (3, P, P) ddf (row, col) in voxels and the weight}``:
    the network has to find the ddf fixed -> moving; the weight is 1 on tissue. Item ``i`` of epoch ``e`` depends on
    the seed, ``e`` and ``i`` alone. No landmarks and no second image take part.

    Args:
        pairs: dictionaries as ``engines.training_pairs`` gives; both images of a pair are used.
        length: items an epoch.
        patch_size: P.
        scales: of the working size; each item takes one of them.
        field: of the displacement.
        appearance: of both patches.
        min_tissue: share of a patch that should be tissue.
        warm_up: epochs over which the looks grow to full strength; a network that begins with looks as different as
            those of two stains learns to answer zero before it learns to match.
        field_warm_up: epochs over which the displacements grow to their full size.
        seed: see above.

    Raises:
        InputError: there are no images.
    """

    def __init__(
        self,
        pairs: Sequence[dict[Any, Any]],
        length: int = 1600,
        patch_size: int = 128,
        scales: Sequence[float] = (0.25, 0.5, 1.0),
        field: RandomField | None = None,
        appearance: RandomAppearance | None = None,
        min_tissue: float = 0.3,
        warm_up: int = 0,
        field_warm_up: int = 0,
        seed: int = 0,
    ) -> None:
        if len(pairs) == 0:
            raise InputError("no images to draw patches from: give --pairs TABLE.csv")
        self.levels = [_levels(pairs, scale) for scale in scales]
        self.length = length
        self.patch_size = patch_size
        self.field = field or RandomField()
        self.appearance = appearance or RandomAppearance()
        self.min_tissue = min_tissue
        self.warm_up = warm_up
        self.field_warm_up = field_warm_up
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Draw other items from now on."""
        self.epoch = epoch
        self.appearance.strength = min(epoch / self.warm_up, 1.0) if self.warm_up else 1.0
        self.field.strength = min(epoch / self.field_warm_up, 1.0) if self.field_warm_up else 1.0

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.RandomState([self.seed, self.epoch, index])
        self.field.set_random_state(state=rng)
        self.appearance.set_random_state(state=rng)
        # beyond the patch, so that few displacements read past the cut
        side, rim = self.patch_size, max(16, round(self.field.amplitude))
        level = self.levels[rng.randint(len(self.levels))]
        image, mask = self._cut(*level[rng.randint(len(level))], side + 2 * rim, rng)
        grid = identity_grid(image.shape[2:])[None]
        label = self.field(side + 2 * rim)
        bent = sample(image, grid + label, "zeros")  # the fixed patch, so that the label is exact
        weight = sample(mask, grid + label, "zeros")
        inner = slice(rim, rim + side)
        pair = torch.cat([self.appearance(image), self.appearance(bent)], dim=1)
        return {
            "image": pair[0, :, inner, inner].contiguous(),
            "label": torch.cat([label, weight], dim=1)[0, :, inner, inner].contiguous(),
        }

    def _cut(self, image: Tensor, mask: Tensor, side: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """A square of both, (1, 1, side, side), with enough tissue in it if one is found in a few tries."""
        short = [max(side - length, 0) for length in image.shape[1:]]
        margins = (short[1] // 2, short[1] - short[1] // 2, short[0] // 2, short[0] - short[0] // 2)
        image, mask = (F.pad(part[None].float(), margins) for part in (image, mask))
        for _ in range(10):
            row, column = (rng.randint(length - side + 1) for length in image.shape[2:])
            cut = mask[..., row : row + side, column : column + side]
            if cut.mean() >= self.min_tissue:
                break
        return image[..., row : row + side, column : column + side], cut


def _levels(pairs: Sequence[dict[Any, Any]], scale: float) -> list[tuple[Tensor, Tensor]]:
    """All images and masks, (1, h, w) each, shrunk by ``scale``; half precision, as a cohort's patches must fit."""
    found = []
    for pair in pairs:
        for side in ("moving", "fixed"):
            parts = [
                torch.as_tensor(pair[f"{name}_{side}"]).as_subclass(Tensor).float() for name in ("working", "mask")
            ]
            shape = [max(round(length * scale), 1) for length in parts[0].shape[1:]]
            image, mask = (
                F.interpolate(part[None], shape, mode="bilinear", align_corners=False, antialias=True)[0].half()
                for part in parts
            )
            found.append((image, mask))
    return found

"""Tissue that is missing, torn, folded or stained in one image of a pair, drawn with the exact place of the damage.

What stands outside the damage stays where it was, so a known displacement remains the truth there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Randomizable
from scipy import ndimage
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, sample, smooth

KINDS = ("resection", "tear", "fold", "blob")
FAINT = 0.05  # above the background, what is darker shows nothing


class RandomDefect(Randomizable):
    """One defect in an image: a part cut away, a gap, a strip of doubled tissue or a stain.

    - resection: a region of irregular outline becomes background; most reach in from the rim of the content.
    - tear: a thin curved gap, wide in its middle and closed at its ends; both lips stay where they are.
    - fold: a curved strip on which the tissue beside it lies mirrored; two layers let through the product of what each
      lets through, which is brighter here, as these greys have tissue bright on black.
    - blob: an irregular spot with a soft rim, dark, bright or of a texture of its own.

    Args:
        kinds: each call draws one of them.
        size: range of the width of resections and blobs, share of the image's shorter side; tears and folds are about
            twice as long and much thinner.
        background: grey value of what is empty.

    Raises:
        InputError: a kind is unknown or there is none, or a range is wrong.
    """

    def __init__(
        self, kinds: Sequence[str] = KINDS, size: Sequence[float] = (0.12, 0.3), background: float = 0.0
    ) -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            found = f"'{unknown[0]}'" if unknown else "none"
            raise InputError(f"kinds of defects are {', '.join(KINDS)}; got {found}")
        if len(size) != 2 or not 0 < size[0] <= size[1] <= 1:
            raise InputError(f"size is a range of two shares in 0..1, the smaller first, got {tuple(size)}")
        if not 0 <= background < 1:
            raise InputError(f"background is a grey value from 0 to below 1, got {background}")
        self.kinds = tuple(kinds)
        self.size = (size[0], size[1])
        self.background = background

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor, str]:
        """The spoiled image, the mask of what no longer shows the truth, and the kind of the defect.

        Args:
            image: (1, 1, H, W) in [0, 1].

        Returns:
            The image (1, 1, H, W), changed inside the mask alone; the mask (1, 1, H, W), 0 or 1; one of ``kinds``.
        """
        kind = self.kinds[self.R.randint(len(self.kinds))]
        near, body = self._content(image)
        width = max(float(self.R.uniform(*self.size)) * min(image.shape[2:]), 3.0)
        draw: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] = getattr(self, f"_{kind}")
        spoiled, mask = draw(image, body, width)
        if kind != "blob":  # beside the tissue nothing can be missing
            mask = mask & near
        return torch.where(mask, spoiled.clamp(0, 1), image), mask.to(image), kind

    def _content(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, H, W) bool, where there is content or close to it, and how bright dense content is, 0 elsewhere.

        An image without content is all content.
        """
        shows = (image > self.background + FAINT).float()
        if not shows.any():
            return torch.ones_like(image, dtype=torch.bool), torch.ones_like(image)
        side = min(image.shape[2:])
        density = smooth(shows, side / 40)
        body = shows.bool() & (density > 0.4)  # no lone specks of noise
        bright = smooth((image - self.background).clamp(min=0), side / 40) + FAINT
        return smooth(shows, max(side / 100, 1.0)) > 0.02, bright * (body if body.any() else shows)

    def _resection(self, image: Tensor, body: Tensor, width: float) -> tuple[Tensor, Tensor]:
        if self.R.uniform() < 0.75:
            filled = smooth((body > 0).float(), min(image.shape[2:]) / 40)[0, 0].numpy() > 0.3
            depth = ndimage.distance_transform_edt(filled)  # the image's own border is no rim
            rim = body * torch.from_numpy((depth < 0.3 * width) & (not filled.all()))
            body = rim if rim.any() else body
        return torch.full_like(image, self.background), self._region(self._centre(body), width, image) < 1

    def _tear(self, image: Tensor, body: Tensor, width: float) -> tuple[Tensor, Tensor]:
        along, across = self._curve(self._centre(body), width, image)
        half = max(width * float(self.R.uniform(0.07, 0.14)), 1.0)
        reach = width * float(self.R.uniform(0.8, 1.2))
        frayed = half * (1 + 0.25 * self._wave(along / width, 12)) * (1 - (along / reach).square())
        return torch.full_like(image, self.background), across.abs() < frayed

    def _fold(self, image: Tensor, body: Tensor, width: float) -> tuple[Tensor, Tensor]:
        centre = self._centre(body)
        along, across = self._curve(centre, width, image)
        wide = max(width * float(self.R.uniform(0.2, 0.4)), 2.0)
        reach = width * float(self.R.uniform(0.9, 1.4))
        beside = [float(image[(side > 0) & (side < wide)].sum()) for side in (across, -across)]
        across = across if beside[1] > beside[0] else -across  # the fuller side is laid over the other one
        # blunt ends: a fold runs out in little length
        frayed = wide * (1 + 0.2 * self._wave(along / width, 4)) * (1 - (along / reach).abs().clamp(max=1) ** 4)
        # the way across the strip is the gradient of `across`; twice as far back lies the mirror image
        slope = torch.stack(torch.gradient(across[0, 0]))[None]
        slope = slope / slope.square().sum(dim=1, keepdim=True).clamp(min=1e-3)
        mirrored = sample(image, identity_grid(image.shape[2:])[None].to(image) - 2 * across * slope)
        through = (1 - image) * (1 - mirrored) / (1 - self.background)
        return 1 - through, (across >= 0) & (across < frayed)

    def _blob(self, image: Tensor, body: Tensor, width: float) -> tuple[Tensor, Tensor]:
        place = self._region(self._centre(body), width, image)
        soft = float(self.R.uniform(0.1, 0.35))
        cover = ((1 - place) / soft).clamp(0, 1)
        cover = cover * cover * (3 - 2 * cover)
        look = self.R.randint(3)
        grain = self._noise(image, max(width * float(self.R.uniform(0.03, 0.12)), 1.5))
        if look == 2:
            value = float(self.R.uniform(0.3, 0.7)) + 0.15 * grain
        else:  # hardly even, as no stain is
            value = float(self.R.uniform(0.05, 0.25) if look == 0 else self.R.uniform(0.8, 1.0)) + 0.04 * grain
        return torch.lerp(image, value.clamp(0, 1), cover), cover > 0

    def _centre(self, body: Tensor) -> Tensor:
        """(2,) row, col of one voxel of ``body``, bright ones more often, so that the defect hides something."""
        reached = body[0, 0].flatten().double().cumsum(0)
        chosen = int(torch.searchsorted(reached, float(self.R.uniform()) * reached[-1], right=True))
        return torch.tensor(divmod(min(chosen, len(reached) - 1), body.shape[3])).float()

    def _region(self, centre: Tensor, width: float, image: Tensor) -> Tensor:
        """(1, 1, H, W), the distance from ``centre`` as a share of the way to an irregular outline."""
        offset = self._turned(centre, image)
        stretch = float(np.exp(self.R.uniform(-0.3, 0.3)))
        row, column = offset[0] * stretch, offset[1] / stretch
        angle = torch.atan2(row, column)
        outline = torch.zeros_like(angle)
        for lobes in range(2, 10):
            fraction = float(self.R.normal(0, 0.7)) / lobes**1.4  # few spikes
            outline += fraction * torch.cos(lobes * angle + float(self.R.uniform(0, 6.3)))
        return (torch.hypot(row, column) / (0.5 * width * outline.clamp(-1, 1).exp()))[None, None]

    def _curve(self, centre: Tensor, width: float, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, H, W) voxels along a random curve through ``centre`` and across it, of which it has both signs."""
        across, along = self._turned(centre, image)
        bend = float(self.R.uniform(-0.25, 0.25)) / width
        across = across - bend * along.square()
        wave = self._wave(along / width, 5) * 0.1 * width
        at_centre = wave.flatten()[along.square().add(across.square()).argmin()]
        return along[None, None], (across - (wave - at_centre))[None, None]

    def _turned(self, centre: Tensor, image: Tensor) -> Tensor:
        """(2, H, W) voxels from ``centre``, in axes that are turned at random."""
        turn = float(self.R.uniform(0, 2 * np.pi))
        matrix = torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=torch.float32)
        return torch.einsum("ij,jhw->ihw", matrix, identity_grid(image.shape[2:]) - centre.view(2, 1, 1))

    def _wave(self, place: Tensor, fastest: float) -> Tensor:
        """A sum of waves along ``place``, about -1..1, with up to ``fastest`` radians a unit and little of the fast."""
        total = torch.zeros_like(place)
        for speed in np.linspace(fastest / 5, fastest, 5):
            fraction = float(self.R.normal(0, 0.6)) * (fastest / 5 / speed) ** 0.5
            total += fraction * torch.sin(float(speed) * place + float(self.R.uniform(0, 6.3)))
        return total.clamp(-1, 1)

    def _noise(self, image: Tensor, spacing: float) -> Tensor:
        """(1, 1, H, W) smooth noise of deviation about 1, whose grains lie ``spacing`` voxels apart."""
        points = [max(round(side / spacing), 2) for side in image.shape[2:]]
        noise = torch.from_numpy(self.R.standard_normal((1, 1, *points)).astype(np.float32))
        grown: Tensor = F.interpolate(noise, tuple(image.shape[2:]), mode="bicubic", align_corners=True)
        return grown

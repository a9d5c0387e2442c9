"""Training pairs whose displacement is known, with a defect in one image, as a step after augmentation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, sample
from custom_components.transforms.defects import FAINT, RandomDefect
from custom_components.transforms.synthetic_warp import RandomAppearance, RandomField


class RandKnownPaird(Randomizable, Transform):
    """A pair and its truth from one image, which is bent at random; a real pair goes through, its truth unknown.

    Then both images get looks of their own, and one of them may get a defect. The truth holds under a defect as well:
    it says where the tissue was.

    Args:
        field: of the displacement; None takes its defaults.
        defect: None makes none.
        probability: of a defect; it lies in the moving or the fixed image, with even odds.
        appearance: of both images; None leaves the grey values.

    Raises:
        InputError: the probability is none.
    """

    def __init__(
        self,
        field: RandomField | None = None,
        defect: RandomDefect | None = None,
        probability: float = 0.5,
        appearance: RandomAppearance | None = None,
    ) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"the probability of a defect lies in 0..1, got {probability}")
        self.field = field or RandomField()
        self.defect = defect
        self.probability = probability
        self.appearance = appearance

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandKnownPaird:
        """Seed both this transform and what it wraps."""
        super().set_random_state(seed, state)
        for part in (self.field, self.defect, self.appearance):
            if part is not None:
                part.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace ``image`` and ``label``.

        Args:
            data: ``image`` (1, H, W) in [0, 1], or (2, H, W), moving and fixed.

        Returns:
            ``image`` (2, H, W), moving and fixed, and ``label`` (5, H, W): the same, the ddf (row, col) in voxels,
            fixed -> moving, and the weight, 1 where the fixed image shows content and the ddf stays inside the image.
            A pair has a ddf and weights of 0. Other keys stay.

        Raises:
            InputError: ``image`` has another shape.
        """
        image = torch.as_tensor(data["image"]).as_subclass(Tensor).float()
        if image.ndim != 3 or len(image) not in (1, 2):
            raise InputError(f"a known pair is made of (1, H, W) or of a real pair (2, H, W), got {tuple(image.shape)}")
        moving, fixed = image[None, :1], image[None, -1:]
        height, width = image.shape[1:]
        ddf, weight = torch.zeros(1, 2, height, width), torch.zeros(1, 1, height, width)
        if len(image) == 1:
            ddf = self.field(max(height, width))[:, :, :height, :width]
            fixed, weight = bent(moving, ddf)
        images = [moving, fixed] if self.appearance is None else [self.appearance(moving), self.appearance(fixed)]
        if self.defect is not None and self.R.uniform() < self.probability:
            side = self.R.randint(2)
            images[side] = self.defect(images[side])[0]
        pair = torch.cat(images, dim=1)[0]
        return dict(data) | {"image": pair, "label": torch.cat([pair, ddf[0], weight[0]])}


def bent(moving: Tensor, ddf: Tensor) -> tuple[Tensor, Tensor]:
    """The fixed image to which ``ddf`` is the truth, and where it is: content whose counterpart lies in the image.

    Args:
        moving: (1, 1, H, W), black outside.
        ddf: (1, 2, H, W), voxels, fixed -> moving.

    Returns:
        Both (1, 1, H, W), the second one 0 or 1.
    """
    positions = identity_grid(moving.shape[2:])[None] + ddf
    fixed = sample(moving, positions, "zeros")
    last = torch.tensor(moving.shape[2:]).view(1, 2, 1, 1) - 1
    inside = ((positions >= 0) & (positions <= last)).all(dim=1, keepdim=True)
    return fixed, ((fixed > FAINT) & inside).float()

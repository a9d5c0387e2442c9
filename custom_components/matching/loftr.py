"""LoFTR: matches without keypoints, also where the texture has no corners; the user brings the weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kornia.feature import LoFTR
from kornia.feature.loftr.loftr import default_cfg
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.common.weights import load_state
from custom_components.matching.matcher import check_images, xy_to_row_col
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.weights import load

STRIDE = 8  # pixels from one of the network's coarse cells to the next


class LoFTRMatcher:
    """LoFTR (Sun et al., LoFTR: Detector-Free Local Feature Matching with Transformers, CVPR 2021), kornia's network.

    The fixed points lie on a grid of every eighth pixel of the image that the network sees, the moving ones between
    the pixels. Nothing is found in the outer two cells of that grid.

    Args:
        weights: a published file of the user's, such as ``loftr_outdoor.ckpt``; see docs/installation.md.
        max_side: pixels; where a side of either image is longer, both are shrunk by one factor for the matching. The
            network compares every cell of one image with every cell of the other, so memory grows with the fourth
            power of this.
        min_score: in [0, 1]; pairs of this score or less are dropped.
        corrected_positions: True for ``loftr_indoor_ds_new.ckpt`` alone, which was trained with other position codes.
        device: where the network runs.

    Raises:
        InputError: ``max_side`` is below one cell.
    """

    def __init__(
        self,
        weights: str | Path,
        max_side: int = 640,
        min_score: float = 0.2,
        corrected_positions: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        if max_side < STRIDE:
            raise InputError(f"max_side is at least {STRIDE} pixels, got {max_side}")
        self.weights = weights
        self.max_side = max_side
        self.min_score = min_score
        self.corrected_positions = corrected_positions
        self.device = torch.device(device)
        self._network: LoFTR | None = None

    @property
    def network(self) -> LoFTR:
        """The network with its weights, loaded at the first use.

        Raises:
            InputError: the file is missing, holds no weights or those of another network.
        """
        if self._network is None:
            config: dict[str, Any] = copy.deepcopy(default_cfg)
            config["match_coarse"]["thr"] = self.min_score
            config["coarse"]["temp_bug_fix"] = self.corrected_positions
            network = LoFTR(pretrained=None, config=config)
            state = load("loftr", self.weights)
            load_state(network, "loftr", state.get("state_dict", state))  # type: ignore[arg-type]  # published files nest it
            self._network = network.eval().to(self.device)
        return self._network

    @torch.inference_mode()
    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``.

        Raises:
            InputError: an image is not (1, 1, H, W), or as ``network``.
        """
        check_images(moving, fixed)
        scale = min(1.0, self.max_side / max(*moving.shape[-2:], *fixed.shape[-2:]))
        # the first image's points stay on the grid and only the second's are refined: with the fixed image first, the
        # field is known at even distances and to the sub-pixel
        found = self.network({"image0": self._prepared(fixed, scale), "image1": self._prepared(moving, scale)})
        points, inside = {}, torch.ones(len(found["confidence"]), dtype=torch.bool)
        for key, image in (("keypoints0", fixed), ("keypoints1", moving)):
            size = torch.tensor(image.shape[-2:])
            ratio = size / torch.tensor(_size(image, scale))
            # the network's coordinates begin at the image's corner, half a pixel before the first pixel's centre
            points[key] = xy_to_row_col(found[key].cpu().float()) * ratio - 0.5
            inside &= ((points[key] >= 0) & (points[key] <= size - 1)).all(dim=1)
        pairs = PointPairs(points["keypoints1"], points["keypoints0"], found["confidence"].cpu().float())
        return pairs.select(inside)

    def _prepared(self, image: Tensor, scale: float) -> Tensor:
        """The image shrunk, its sides then padded to what the network's strides divide."""
        image = image.to(self.device).float()
        height, width = size = _size(image, scale)
        if scale < 1:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        # less than a cell, so no cell lies in the padding and attention needs no mask; refined points may leave, though
        return F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def _size(image: Tensor, scale: float) -> list[int]:
    """(H, W) of the image when shrunk by ``scale``, at least one pixel."""
    return [max(round(side * scale), 1) for side in image.shape[-2:]]

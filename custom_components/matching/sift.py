"""SIFT with the ratio test: no learned weights, for comparison and as a last resort."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.matching.matcher import check_images
from custom_components.matching.point_pairs import PointPairs


class SIFTMatcher:
    """OpenCV's SIFT, RootSIFT descriptors, mutual nearest neighbours and Lowe's ratio test.

    Args:
        max_keypoints: strongest keypoints kept per image.
        ratio: nearest over second nearest distance that a pair must stay below.
    """

    def __init__(self, max_keypoints: int = 4096, ratio: float = 0.9) -> None:
        self.max_keypoints = max_keypoints
        self.ratio = ratio

    def _detect(self, image: Tensor) -> tuple[Tensor, Tensor]:
        array = (image[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        sift = cv2.SIFT.create(self.max_keypoints, contrastThreshold=0.01)
        keypoints, descriptors = sift.detectAndCompute(array, None)
        if not keypoints:
            return torch.zeros(0, 2), torch.zeros(0, 128)
        points = torch.from_numpy(np.array([k.pt[::-1] for k in keypoints], dtype=np.float32))
        return points, F.normalize(torch.from_numpy(descriptors), p=1, dim=1).sqrt()

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        (p, d), (q, e) = self._detect(moving), self._detect(fixed)
        if len(p) < 2 or len(q) < 2:
            return PointPairs.empty()
        distance = torch.cdist(d, e)
        two, index = distance.topk(2, dim=1, largest=False)
        forward = index[:, 0]
        mutual = distance.argmin(dim=0)[forward] == torch.arange(len(p))
        keep = mutual & (two[:, 0] < self.ratio * two[:, 1])
        return PointPairs(p[keep], q[forward[keep]], 1 - two[keep, 0])

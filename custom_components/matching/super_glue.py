"""SuperPoint keypoints with mutual nearest neighbours or SuperGlue, for users who have the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.weights import load_state, read_state
from custom_components.matching.matcher import Keypoints, check_images, mutual_nearest
from custom_components.matching.point_pairs import PointPairs
from custom_components.networks.super_glue import SuperGlue, centred
from custom_components.networks.super_point import (
    STRIDE,
    SuperPoint,
    local_maxima,
    point_scores,
    sample_descriptors,
    without_border,
)

OPEN_KEY = re.compile(r"(?:backbone\.([0-3])|(detector|descriptor))\.([01])\.(conv|bn)\.(\w+)")


def rename_open_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of SuperPoint-open, ``backbone.0.1.conv.weight`` -> ``conv1b.weight``; others are left as they are."""
    renamed = {}
    for key, value in state.items():
        if found := OPEN_KEY.fullmatch(key):
            stage, head, place, kind, rest = found.groups()
            part = str(int(stage) + 1) if stage else {"detector": "P", "descriptor": "D"}[head]
            key = f"{kind}{part}{'ab'[int(place)]}.{rest}"
        renamed[key] = value
    return renamed


class SuperPointDetector:
    """Keypoints of SuperPoint (DeTone et al., CVPR Workshops 2018).

    Args:
        weights: of Magic Leap (``superpoint_v1.pth``) or of SuperPoint-open (``superpoint_v6_from_tf.pth``); the file
            itself tells which.
        max_keypoints: strongest keypoints kept per image.
        detection_threshold: probability that a keypoint must exceed.
        device: where the network runs.
    """

    def __init__(
        self,
        weights: str | Path,
        max_keypoints: int = 2048,
        detection_threshold: float = 0.005,
        device: str | torch.device = "cpu",
    ) -> None:
        self.weights = Path(weights)
        self.max_keypoints = max_keypoints
        self.detection_threshold = detection_threshold
        self.device = torch.device(device)
        self._network: SuperPoint | None = None

    @property
    def network(self) -> SuperPoint:
        """The network with its weights, loaded at the first use.

        Raises:
            InputError: the file is missing, or its weights are those of another network.
        """
        if self._network is None:
            state = rename_open_keys(read_state(self.weights, "superpoint"))
            network = SuperPoint(norm="bn1a.weight" in state)
            load_state(network, "superpoint", state)
            self._network = network.eval().to(self.device)
        return self._network

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Keypoints:
        """Keypoints of one image (1, 1, H, W), strongest first, on the CPU."""
        height, width = image.shape[-2:]
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        logits, descriptors = self.network(F.pad(image.to(self.device).float(), padding, mode="replicate"))
        # cut off first: what is found in the padding must silence nothing in the image
        scores = point_scores(logits)[..., :height, :width]
        scores = without_border(local_maxima(scores))[0, 0]
        points = (scores > self.detection_threshold).nonzero()
        strength = scores[points[:, 0], points[:, 1]]
        strength, order = strength.topk(min(len(points), self.max_keypoints))
        points = points[order].float()
        described = sample_descriptors(descriptors, points[None])[0]
        return Keypoints(points.cpu(), described.cpu(), strength.cpu())


class SuperPointMatcher:
    """SuperPoint with mutual nearest neighbours.

    Args:
        weights: see ``SuperPointDetector``.
        max_keypoints: likewise.
        detection_threshold: likewise.
        min_similarity: cosine below which mutual neighbours are dropped.
        ratio: nearest over second nearest distance that a pair must stay below. None leaves this test out.
        max_displacement: share of the image's longer side; farther pairs are not candidates (``mutual_nearest``). None
            for images that are not aligned yet.
        device: where the network runs.
    """

    def __init__(
        self,
        weights: str | Path,
        max_keypoints: int = 4096,
        detection_threshold: float = 0.005,
        min_similarity: float = 0.6,
        ratio: float | None = None,
        max_displacement: float | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.detector = SuperPointDetector(weights, max_keypoints, detection_threshold, device)
        self.min_similarity = min_similarity
        self.ratio = ratio
        self.max_displacement = max_displacement

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        return mutual_nearest(
            self.detector(moving),
            self.detector(fixed),
            min_similarity=self.min_similarity,
            max_displacement=None if self.max_displacement is None else self.max_displacement * max(fixed.shape[-2:]),
            ratio=self.ratio,
        )


class SuperGlueMatcher:
    """SuperPoint with SuperGlue (Sarlin et al., CVPR 2020).

    Args:
        extractor_weights: see ``SuperPointDetector``; those whose descriptors SuperGlue was trained on.
        matcher_weights: of SuperGlue (``superglue_indoor.pth``, ``superglue_outdoor.pth``, or your own).
        max_keypoints: strongest keypoints kept per image.
        detection_threshold: see ``SuperPointDetector``.
        min_score: match probability below which a pair is dropped.
        iterations: of Sinkhorn's algorithm; they take most of the time where keypoints are many.
        device: where the networks run.
    """

    def __init__(
        self,
        extractor_weights: str | Path,
        matcher_weights: str | Path,
        max_keypoints: int = 2048,
        detection_threshold: float = 0.005,
        min_score: float = 0.2,
        iterations: int = 100,
        device: str | torch.device = "cpu",
    ) -> None:
        self.detector = SuperPointDetector(extractor_weights, max_keypoints, detection_threshold, device)
        self.weights = Path(matcher_weights)
        self.min_score = min_score
        self.iterations = iterations
        self.device = torch.device(device)
        self._network: SuperGlue | None = None

    @property
    def network(self) -> SuperGlue:
        """SuperGlue with its weights, loaded at the first use.

        Raises:
            InputError: the file is missing, or its weights are those of another network.
        """
        if self._network is None:
            network = SuperGlue(iterations=self.iterations)
            load_state(network, "superglue", read_state(self.weights, "superglue"))
            self._network = network.eval().to(self.device)
        return self._network

    @torch.inference_mode()
    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        first, second = self.detector(moving), self.detector(fixed)
        if min(len(first.points), len(second.points)) == 0:
            return PointPairs.empty()

        def both(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            return one[None].to(self.device), other[None].to(self.device)

        log_probability = self.network(
            both(centred(first.points, moving.shape[-2:]), centred(second.points, fixed.shape[-2:])),
            both(first.scores, second.scores),
            both(first.descriptors, second.descriptors),
        )
        probability = log_probability[0, :-1, :-1].exp().cpu()  # without the bins
        score, forward = probability.max(dim=1)
        mutual = probability.argmax(dim=0)[forward] == torch.arange(len(forward))
        keep = mutual & (score > self.min_score)
        return PointPairs(first.points[keep], second.points[forward[keep]], score[keep])

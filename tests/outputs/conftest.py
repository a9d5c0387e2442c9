"""A pair whose registration is a known shift, so that everything written has an exact answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.fields import Grid
from custom_components.inferers.result import Registration, Stage
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.writer import write_registration
from custom_components.pairs import Pair, read_image, write_image, write_points
from custom_components.transforms.working import shrink

SHIFT = np.array([4.0, -6.0])  # full-resolution pixels, fixed -> moving
FIXED_SHAPE, MOVING_SHAPE = (96, 120), (104, 112)


def tissue(shape: tuple[int, int], seed: int) -> np.ndarray:
    """(3, H, W) uint8: smooth blobs on a bright rim."""
    noise = gaussian_filter(np.random.default_rng(seed).random((3, *shape)), (0, 3, 3))
    noise = (noise - noise.min()) / np.ptp(noise) * 150 + 40
    noise[:, :6], noise[:, -6:], noise[:, :, :6], noise[:, :, -6:] = (240,) * 4
    return noise.round().astype(np.uint8)


@dataclass
class Case:
    """A pair on disk, its fake registration, and a way to write it."""

    pair: Pair
    ddf: torch.Tensor
    inverse: torch.Tensor
    output_dir: Path
    images: dict[str, Any]
    matches: PointPairs
    dropped: PointPairs
    stages: tuple[Stage, ...] = field(default_factory=tuple)
    error: torch.Tensor | None = None

    def write(self, **changes: Any) -> dict[str, Any]:
        """Call the writer; returns its metrics."""
        result = Registration(self.ddf, self.inverse, self.matches, self.dropped, self.stages, self.error)
        given = {"pair": self.pair, "unit": "pixel", "notes": (), **self.images, **changes}
        prepared = PreparedPair(**{name.name: given.pop(name.name) for name in fields(PreparedPair)})
        names = {"output_dir": "folder", "output_ext": "extension", "report": "report", "note": "note"}
        form = {own: given.pop(name) for name, own in names.items() if name in given}
        return write_registration(
            result, prepared, Output(**{"folder": self.output_dir, **form}), **{"seconds": 1.5, **given}
        )

    @property
    def folder(self) -> Path:
        return self.output_dir / self.pair.id

    def stored(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Factory of cases; ``suffix`` of the images, and files that go with the pair."""

    def make(suffix: str = ".png", **attached: Path) -> Case:
        arrays = {"moving": tissue(MOVING_SHAPE, 1), "fixed": tissue(FIXED_SHAPE, 2)}
        images: dict[str, Any] = {}
        for side, array in arrays.items():
            write_image(tmp_path / f"{side}{suffix}", array)
            image = read_image(tmp_path / f"{side}{suffix}")
            images[side] = image
            small = shrink(torch.from_numpy(array.mean(0, keepdims=True) / 255).float(), 0.5)
            grid = Grid.of(image).shrunk(0.5).cropped((0, 0), (56, 64))
            pad = torch.zeros(1, 56, 64)
            pad[:, : small.shape[1], : small.shape[2]] = small
            images[f"working_{side}"] = grid.on(pad, image.meta)
            images[f"mask_{side}"] = (pad > 0).float()
        where = np.stack(np.meshgrid([30.0, 50.0, 70.0], [30.0, 60.0, 80.0], indexing="ij"), -1).reshape(-1, 2)
        write_points(tmp_path / "fixed_landmarks.csv", where)
        write_points(tmp_path / "moving_landmarks.csv", where + SHIFT)
        pair = Pair(
            "a_to_b", tmp_path / f"moving{suffix}", tmp_path / f"fixed{suffix}",
            tmp_path / "moving_landmarks.csv", tmp_path / "fixed_landmarks.csv", **attached,
        )  # fmt: skip
        shift = torch.tensor(SHIFT / 2, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 56, 64).clone()
        points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * 30 + 10
        matches = PointPairs(points + shift[0, :, 0, 0], points, torch.ones(40))
        dropped = PointPairs(points[:5], points[:5].flip(0), torch.ones(5))
        stages = (Stage("affine_alignment", 0.2, {"rotation": 1.0}), Stage("flow_refinement", 0.3, {"similarity": 0.5}))
        return Case(pair, shift, -shift, tmp_path / "out", images, matches, dropped, stages)

    return make


@pytest.fixture
def case(make_case: Callable[..., Case]) -> Case:
    """The plain RGB case."""
    return make_case()

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import LightGlueMatcher
from custom_components.matching.lightglue import EXTRACTORS, build_extractor, build_lightglue, rename_lightglue_keys
from custom_components.matching.weights import resolve

FEATURES = ("disk", "aliked")


def need_weights(features: str) -> None:
    try:
        resolve(f"{features}_lightglue")
        resolve(EXTRACTORS[features])  # type: ignore[index]
    except InputError:
        pytest.skip(f"weights of {features} with LightGlue are not installed")


def test_only_the_attention_blocks_are_renamed() -> None:
    old = {
        "self_attn.0.Wqkv.weight": torch.tensor(0),
        "cross_attn.8.ffn.1.bias": torch.tensor(1),
        "input_proj.weight": torch.tensor(2),
        "log_assignment.3.final_proj.bias": torch.tensor(3),
        "transformers.2.self_attn.Wqkv.bias": torch.tensor(4),  # as kornia names it already
    }
    new = rename_lightglue_keys(old)
    assert {key: int(value) for key, value in new.items()} == {
        "transformers.0.self_attn.Wqkv.weight": 0,
        "transformers.8.cross_attn.ffn.1.bias": 1,
        "input_proj.weight": 2,
        "log_assignment.3.final_proj.bias": 3,
        "transformers.2.self_attn.Wqkv.bias": 4,
    }


def test_features_that_are_neither_are_refused() -> None:
    with pytest.raises(InputError, match="'disk' or 'aliked', got 'orb'"):
        LightGlueMatcher("orb")  # type: ignore[arg-type]


@pytest.mark.parametrize("features", FEATURES)
def test_weights_of_another_network_are_refused(features: str, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=f"'{EXTRACTORS[features]}' lack"):  # type: ignore[index]
        build_extractor(features, 100, tmp_path / "other.pt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"'{features}_lightglue' lack"):
        build_lightglue(features, tmp_path / "other.pt")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("features", FEATURES)
def test_a_shift_is_found(features: str, tissue: Tensor) -> None:
    need_weights(features)
    moving, fixed = tissue[..., 20:276, 30:254], tissue[..., 37:293, 21:245]
    matcher = LightGlueMatcher(features, max_keypoints=512)  # type: ignore[arg-type]
    pairs = matcher(moving, fixed)
    error = (pairs.moving - pairs.fixed - torch.tensor([17.0, -9.0])).norm(dim=1)
    assert len(pairs) > 100
    assert error.median() < 1
    assert (error < 3).double().mean() > 0.9
    assert pairs.score.min() > matcher.min_score
    assert len(matcher(torch.zeros_like(moving), fixed)) <= 5

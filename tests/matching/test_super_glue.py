"""Matchers on SuperPoint; no weights can be installed, so random ones stand in: the same image looks the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.matching import (
    PointPairs,
    SuperGlueMatcher,
    SuperPointDetector,
    SuperPointMatcher,
    fingerprint,
)
from custom_components.matching import super_glue as module
from custom_components.matching.super_glue import rename_open_keys
from custom_components.networks import SuperGlue, SuperPoint
from custom_components.networks.super_glue import centred

Shifted = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def super_point(tmp_path_factory: pytest.TempPathFactory, tissue: Tensor) -> Path:
    """SuperPoint at random, its descriptors without what they have in common, so that they tell points apart."""
    torch.manual_seed(0)
    network = SuperPoint()
    for name, parameter in network.named_parameters():
        nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.kaiming_normal_(parameter)
    described: list[Tensor] = []
    network.convDb.register_forward_hook(lambda *passed: described.append(passed[-1].detach()))
    network(tissue[..., :256, :256])
    network.convDb.bias.data = -described[0].mean(dim=(0, 2, 3))
    file = tmp_path_factory.mktemp("weights") / "superpoint.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture
def blind(tmp_path: Path, super_point: Path) -> Path:
    """The same network, but certain that there is no point anywhere."""
    state = torch.load(super_point, weights_only=True)
    state["convPb.bias"][-1] = 1e4
    torch.save(state, tmp_path / "blind.pth")
    return tmp_path / "blind.pth"


@pytest.fixture
def super_glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two layers that add nothing, so that the similarity is that of the descriptors, times 40."""
    monkeypatch.setattr(module, "SuperGlue", partial(SuperGlue, layers=2))
    network = SuperGlue(layers=2)
    for last in (network.kenc.encoder[-1], *(layer.mlp[-1] for layer in network.gnn.layers)):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    nn.init.zeros_(network.final_proj.bias)
    network.final_proj.weight.data = (40 * 16) ** 0.5 * torch.eye(256)[..., None]
    torch.save(network.state_dict(), tmp_path / "superglue.pth")
    return tmp_path / "superglue.pth"


@pytest.fixture
def pair(tissue: Tensor) -> Shifted:
    """Two windows that differ by whole cells, so that any network of stride 8 sees the same in both."""
    return tissue[..., 16:240, 40:232], tissue[..., 32:248, 32:232], torch.tensor([16.0, -8.0])


def share_found(pairs: PointPairs, shift: Tensor) -> float:
    """Share of the pairs that lie at the same structure, of those too far inside to see the border of a window."""
    inside = ((pairs.fixed > 56) & (pairs.fixed < torch.tensor([160.0, 144.0]))).all(dim=1)
    assert int(inside.sum()) > 20
    return float(((pairs.moving - pairs.fixed - shift)[inside] == 0).all(dim=1).double().mean())


def test_a_shift_by_whole_cells_is_found_with_any_weights(super_point: Path, pair: Shifted) -> None:
    moving, fixed, shift = pair
    assert share_found(SuperPointMatcher(super_point)(moving, fixed), shift) > 0.95


def test_an_image_matches_itself(super_point: Path, pair: Shifted) -> None:
    matcher = SuperPointMatcher(super_point)
    pairs = matcher(pair[0], pair[0])
    assert len(pairs) == len(matcher.detector(pair[0]).points) > 50
    assert torch.equal(pairs.moving, pairs.fixed)


def test_super_glue_matches_an_image_with_itself_and_with_its_shift(
    super_point: Path, super_glue: Path, pair: Shifted
) -> None:
    moving, fixed, shift = pair
    matcher = SuperGlueMatcher(super_point, super_glue)
    pairs = matcher(moving, moving)
    assert len(pairs) > 20
    assert torch.equal(pairs.moving, pairs.fixed)
    assert bool((pairs.score > matcher.min_score).all())
    assert bool((pairs.score <= 1.001).all())
    assert share_found(matcher(moving, fixed), shift) > 0.95
    assert len(SuperGlueMatcher(super_point, super_glue, min_score=0.5)(moving, moving)) < len(pairs)


def test_super_glue_is_given_places_scores_and_descriptors_of_each_image(
    super_point: Path, super_glue: Path, pair: Shifted
) -> None:
    matcher = SuperGlueMatcher(super_point, super_glue)
    images = pair[0][..., :61, :90], pair[1][..., :80, :50]
    given: list[tuple[tuple[Tensor, Tensor], ...]] = []
    matcher.network.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    matcher(*images)
    for side, image in enumerate(images):
        found = matcher.detector(image)
        expected = centred(found.points, image.shape[2:]), found.scores, found.descriptors
        for got, wanted in zip(given[0], expected, strict=True):
            torch.testing.assert_close(got[side][0], wanted)


def test_ratio_and_displacement_only_take_pairs_away(super_point: Path, pair: Shifted) -> None:
    moving, fixed, _ = pair

    def found(**options: float) -> set[tuple[float, ...]]:
        pairs = SuperPointMatcher(super_point, **options)(moving, fixed)  # type: ignore[arg-type]
        return {tuple(row) for row in torch.cat([pairs.moving, pairs.fixed], dim=1).tolist()}

    everything, certain = found(), found(ratio=0.5)
    assert 0 < len(certain) < len(everything)
    assert certain < everything
    near = torch.tensor(sorted(found(max_displacement=0.0834)))  # of 216 voxels: 18; the shift is 17.9
    assert 0 < len(near)
    assert (near[:, :2] - near[:, 2:]).norm(dim=1).max() < 18.02


@pytest.mark.parametrize("size", [(61, 43), (64, 47), (33, 40)])
def test_points_lie_inside_the_image_and_not_in_its_padding(
    super_point: Path, tissue: Tensor, size: tuple[int, int]
) -> None:
    found = SuperPointDetector(super_point)(tissue[..., : size[0], : size[1]])
    assert len(found.points) > 5
    assert found.points.min() >= 4
    assert bool((found.points <= torch.tensor(size) - 5).all())
    torch.testing.assert_close(found.descriptors.norm(dim=1), torch.ones(len(found.points)))
    assert bool((torch.cdist(found.points, found.points, p=torch.inf) + 9 * torch.eye(len(found.points)) > 4).all())


def test_the_strongest_keypoints_are_kept(super_point: Path, tissue: Tensor) -> None:
    image = tissue[..., :64, :72]
    everything, few = (SuperPointDetector(super_point, max_keypoints=n)(image) for n in (4096, 7))
    assert len(few.points) == 7
    assert torch.equal(few.points, everything.points[:7])
    assert bool((everything.scores.diff() <= 0).all())
    threshold = float(everything.scores.median())
    chosen = SuperPointDetector(super_point, detection_threshold=threshold)(image)
    assert len(chosen.points) == int((everything.scores > threshold).sum()) > 0


def test_images_without_keypoints_give_no_pairs(blind: Path, super_point: Path, super_glue: Path) -> None:
    empty = torch.zeros(1, 1, 64, 48)
    for matcher in (SuperPointMatcher(blind), SuperGlueMatcher(blind, super_glue)):
        assert len(matcher(empty, empty)) == 0
    small = torch.rand(1, 1, 5, 3)  # all of it is border
    for matcher in (SuperPointMatcher(super_point), SuperGlueMatcher(super_point, super_glue)):
        assert len(matcher(small, empty)) == 0


def open_name(name: str) -> str:
    """What SuperPoint-open calls a parameter: conv2b.weight is backbone.1.1.conv.weight."""
    layer, rest = name.split(".")
    part = {"P": "detector", "D": "descriptor"}.get(layer[-2]) or f"backbone.{int(layer[-2]) - 1}"
    return f"{part}.{'ab'.index(layer[-1])}.{layer[:-2]}.{rest}"


def test_weights_of_super_point_open_are_recognised(tmp_path: Path, tissue: Tensor) -> None:
    torch.manual_seed(0)
    network = SuperPoint(norm=True).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    state = {open_name(name): value for name, value in network.state_dict().items()}
    assert {"backbone.0.0.conv.weight", "backbone.3.1.bn.running_var", "detector.1.bn.weight",
            "descriptor.0.conv.bias"} <= state.keys()  # fmt: skip
    torch.save(state, tmp_path / "open.pth")
    loaded = SuperPointDetector(tmp_path / "open.pth").network
    image = tissue[..., :32, :32]
    for got, expected in zip(loaded(image), network(image), strict=True):
        torch.testing.assert_close(got, expected)


def test_other_keys_are_left_alone() -> None:
    keys = ["conv1a.weight", "bn1a.bias", "backbone.layer1.0.conv.weight", "detector.bias", "backbone.4.0.conv.weight"]
    assert list(rename_open_keys({key: torch.tensor(0) for key in keys})) == keys


def test_the_weights_are_loaded_at_the_first_use_only(tmp_path: Path, super_point: Path, pair: Shifted) -> None:
    absent = tmp_path / "absent.pth"
    for matcher in (SuperPointMatcher(absent), SuperGlueMatcher(super_point, absent)):
        with pytest.raises(InputError, match=r"absent\.pth does not exist"):
            matcher(*pair[:2])


def test_weights_of_another_network_are_refused(tmp_path: Path, super_point: Path, pair: Shifted) -> None:
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="'superpoint' lack"):
        SuperPointMatcher(tmp_path / "other.pth")(*pair[:2])
    with pytest.raises(InputError, match="'superglue' lack"):
        SuperGlueMatcher(super_point, tmp_path / "other.pth")(*pair[:2])


def test_images_of_another_shape_are_refused(super_point: Path, super_glue: Path) -> None:
    for matcher in (SuperPointMatcher(super_point), SuperGlueMatcher(super_point, super_glue)):
        with pytest.raises(InputError, match="takes a fixed image"):
            matcher(torch.zeros(1, 1, 16, 16), torch.zeros(1, 3, 16, 16))


def test_matchers_are_told_apart_by_settings_and_content_of_their_weights(super_point: Path, blind: Path) -> None:
    matchers = [SuperPointMatcher(super_point), SuperPointMatcher(super_point, ratio=0.9), SuperPointMatcher(blind),
                SuperGlueMatcher(super_point, blind), SuperGlueMatcher(blind, super_point)]  # fmt: skip
    assert len({fingerprint(matcher) for matcher in matchers}) == len(matchers)

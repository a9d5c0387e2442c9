"""LoFTR without its published weights: random ones, whose transformers do nothing, match an image with itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kornia.feature import LoFTR
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import LoFTRMatcher


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the form of the published files, the last layer of every attention block silenced."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = LoFTR(pretrained=None).state_dict()
    width = state["fine_preprocess.down_proj.bias"].shape[0]
    for key, value in state.items():
        if key.startswith(("loftr_coarse", "loftr_fine")) and "norm2" in key:
            value.zero_()
    # position codes outweigh the features then: a cell is most like itself
    state["backbone.layer3_outconv.weight"] *= 0.3
    # the fine stage compares the backbone's features as they are
    state["fine_preprocess.merge_feat.bias"].zero_()
    state["fine_preprocess.merge_feat.weight"].zero_()[:, :width] = torch.eye(width)
    file = tmp_path_factory.mktemp("loftr") / "random.ckpt"
    torch.save({"state_dict": {f"matcher.{key}": value for key, value in state.items()}}, file)
    return file


class Spot(torch.nn.Module):
    """In place of the network: one match, from centre of mass to centre of mass, in the network's coordinates."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {"confidence": torch.tensor([0.7])}
        for side in (0, 1):
            image = data[f"image{side}"][0, 0]
            assert all(length % 8 == 0 for length in image.shape)
            row, column = (torch.arange(length) + 0.5 for length in image.shape)
            mass = image.sum()
            centre = torch.stack([(image.sum(0) * column).sum() / mass, (image.sum(1) * row).sum() / mass])
            found[f"keypoints{side}"] = centre[None]
        return found


def spot(shape: tuple[int, int], centre: tuple[float, float]) -> Tensor:
    rows, columns = (torch.arange(length) - place for length, place in zip(shape, centre, strict=True))
    return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * 6.0**2))[None, None]


# An identity pair tells whether both images' points are in the same frame. Where in its cell a feature lies is learned,
# so that the frame begins half a pixel before the first pixel's centre can't be seen with random weights.
def test_an_image_matches_itself_without_bias(weights: Path, tissue: Tensor) -> None:
    image = tissue[..., 100:304, 60:216]
    pairs = LoFTRMatcher(weights, min_score=0.0)(image, image)
    assert len(pairs) > 100
    away = pairs.moving - pairs.fixed
    assert away.norm(dim=1).median() < 0.4
    assert away.mean(dim=0).abs().max() < 0.2
    cells = (pairs.fixed + 0.5) / 8
    torch.testing.assert_close(cells, cells.round())
    assert cells.min() >= 2  # the outer two cells are left out


def test_rows_are_rows_and_moving_points_lie_in_the_moving_image(weights: Path, tissue: Tensor) -> None:
    """Two windows of one image, 16 rows and 8 columns apart: whole cells, so that the features agree."""
    moving, fixed = tissue[..., 84:300, 52:220], tissue[..., 100:300, 60:240]
    matcher = LoFTRMatcher(weights, min_score=0.0)
    matcher.network.pos_encoding.pe.zero_()  # or each cell would be most like the one in its own place
    pairs = matcher(moving, fixed)
    assert len(pairs) >= 3
    assert (pairs.moving - pairs.fixed - torch.tensor([16.0, 8.0])).norm(dim=1).max() < 1


@pytest.mark.parametrize("max_side", [640, 100, 77])
def test_points_are_mapped_back_from_the_shrunk_images_without_bias(
    max_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoFTRMatcher, "network", Spot())
    moving, fixed = spot((203, 150), (88.3, 70.6)), spot((160, 181), (71.2, 95.9))
    pairs = LoFTRMatcher("", max_side=max_side)(moving, fixed)
    torch.testing.assert_close(pairs.moving, torch.tensor([[88.3, 70.6]]), atol=0.02, rtol=0)
    torch.testing.assert_close(pairs.fixed, torch.tensor([[71.2, 95.9]]), atol=0.02, rtol=0)
    assert pairs.score.tolist() == pytest.approx([0.7])


def test_both_images_are_shrunk_alike_and_none_is_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class Look(Spot):
        def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.update({key: tuple(value.shape[-2:]) for key, value in data.items()})
            return super().forward(data)

    monkeypatch.setattr(LoFTRMatcher, "network", Look())
    LoFTRMatcher("", max_side=100)(spot((200, 100), (90, 50)), spot((100, 60), (50, 30)))
    assert seen == {"image0": (56, 32), "image1": (104, 56)}
    LoFTRMatcher("", max_side=400)(spot((200, 100), (90, 50)), spot((100, 60), (50, 30)))
    assert seen == {"image0": (104, 64), "image1": (200, 104)}


@pytest.mark.parametrize(("row", "kept"), [(0.4, 0), (0.5, 1), (99.5, 1), (99.6, 0), (103.0, 0)])
def test_a_point_in_the_padding_is_dropped(row: float, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of 100 voxels, 99, has its centre at 99.5 in the network's coordinates."""

    class There(torch.nn.Module):
        def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
            assert data["image0"].shape == (1, 1, 104, 72)
            edge = torch.tensor([[30.0, row]])
            return {"keypoints0": torch.tensor([[30.0, 30.0]]), "keypoints1": edge, "confidence": torch.ones(1)}

    monkeypatch.setattr(LoFTRMatcher, "network", There())
    assert len(LoFTRMatcher("")(torch.zeros(1, 1, 100, 70), torch.zeros(1, 1, 100, 70))) == kept


@pytest.mark.parametrize("shape", [(96, 80), (5, 1)])
def test_an_empty_or_tiny_image_gives_no_pairs(shape: tuple[int, int], weights: Path, tissue: Tensor) -> None:
    matcher, empty = LoFTRMatcher(weights), torch.zeros(1, 1, *shape)
    assert len(matcher(empty, tissue[..., :96, :80])) == 0
    assert len(matcher(tissue[..., :96, :80], empty)) == 0


def test_only_pairs_above_the_score_are_given(weights: Path, tissue: Tensor) -> None:
    image = tissue[..., 100:228, 60:188]
    every = LoFTRMatcher(weights, min_score=0.0)(image, image)
    limit = float(every.score.median())
    some = LoFTRMatcher(weights, min_score=limit)(image, image)
    torch.testing.assert_close(some.fixed, every.select(every.score > limit).fixed)


def test_corrected_position_codes_are_others(weights: Path) -> None:
    codes = [LoFTRMatcher(weights, corrected_positions=on).network.pos_encoding.pe for on in (False, True)]
    assert not torch.allclose(*codes)


def test_weights_are_loaded_at_the_first_use_only(tmp_path: Path) -> None:
    matcher = LoFTRMatcher(tmp_path / "absent.ckpt")
    with pytest.raises(InputError, match=r"absent\.ckpt does not exist"):
        matcher(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))


@pytest.mark.parametrize("nested", [False, True])
def test_weights_of_another_network_are_refused(nested: bool, tmp_path: Path) -> None:
    state = {"fc.weight": torch.zeros(3, 3)}
    torch.save({"state_dict": state} if nested else state, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="'loftr' lack"):
        LoFTRMatcher(tmp_path / "other.ckpt")(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))


def test_weights_that_are_not_nested_are_taken(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)["state_dict"]
    torch.save({key.removeprefix("matcher."): value for key, value in state.items()}, tmp_path / "bare.ckpt")
    got, expected = (LoFTRMatcher(file).network.state_dict() for file in (tmp_path / "bare.ckpt", weights))
    assert all(torch.equal(got[key], expected[key]) for key in expected)


def test_images_and_sizes_that_fit_nothing_are_refused(weights: Path) -> None:
    with pytest.raises(InputError, match=r"moving image \(1, 1, H, W\), got \(1, 3, 64, 64\)"):
        LoFTRMatcher(weights)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    with pytest.raises(InputError, match="max_side is at least 8 pixels, got 4"):
        LoFTRMatcher(weights, max_side=4)

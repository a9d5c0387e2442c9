"""COTR's crops, with networks whose right answer is known in place of trained ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.matching import COTRMatcher, trained_cotr
from custom_components.matching.cotr import query_groups, scaled, with_xfeat
from custom_components.matching.weights import load
from custom_components.networks import COTR, CorrelatedCOTR, XFeatFeatures
from custom_components.networks.cotr import from_canvas, to_canvas

SIDE = 64


class Finder(nn.Module):
    """Answers a query by looking: where in the other image is the grey value pattern about it? Counts its crops."""

    def __init__(self, reach: int = 10, radius: int = 4) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.reach, self.radius, self.crops = reach, radius, 0

    def encode(self, image: Tensor) -> tuple[Tensor]:
        self.crops += len(image)
        return (image,)

    def decode(self, image: Tensor, queries: Tensor) -> Tensor:
        answers = torch.zeros_like(queries)
        for number, (pair, points) in enumerate(zip(image, queries, strict=True)):
            for asked, point in enumerate(points):
                right = bool(point[0] >= 0.5)
                place = from_canvas(point, (SIDE, SIDE), second=right)
                best = self.find(pair[int(right)], pair[1 - int(right)], place)
                answers[number, asked] = to_canvas(best, (SIDE, SIDE), second=not right)
        return answers

    def find(self, left: Tensor, right: Tensor, place: Tensor) -> Tensor:
        whole = place.round().long()
        pad, reach, radius = self.reach + self.radius, self.reach, self.radius
        row, column = (whole.clamp(0, SIDE - 1) + pad).tolist()
        a, b = (nn.functional.pad(part[None], [pad] * 4, mode="replicate")[0] for part in (left, right))
        patch = a[row - radius : row + radius + 1, column - radius : column + radius + 1]
        region = b[row - pad : row + pad + 1, column - pad : column + pad + 1]
        costs = ((region.unfold(0, 2 * radius + 1, 1).unfold(1, 2 * radius + 1, 1) - patch) ** 2).sum(dim=(2, 3))
        at = int(costs.argmin())
        return place + torch.tensor([at // (2 * reach + 1) - reach, at % (2 * reach + 1) - reach])


class Nowhere(nn.Module):
    """Answers at random, so that nothing comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def encode(self, image: Tensor) -> tuple[Tensor]:
        return (image,)

    def decode(self, image: Tensor, queries: Tensor) -> Tensor:
        return torch.rand_like(queries)


def texture(height: int, width: int) -> Tensor:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(height, width)), 4)
    return torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()[None, None]


def matcher(network: nn.Module, **settings) -> COTRMatcher:
    return COTRMatcher(network, side=SIDE, **{"queries": 60} | settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(150, 150), (150, 201)])
def test_a_shift_is_found_below_the_voxel_of_the_first_pass(shape) -> None:
    image = texture(shape[0] + 20, shape[1] + 20)
    moving, fixed = image[..., 8:-12, 3:-17], image[..., 3:-17, 8:-12]  # fixed (r, c) is moving (r - 5, c + 5)
    pairs = matcher(Finder())(moving, fixed)
    assert len(pairs) > 30
    error = (pairs.moving - pairs.fixed - torch.tensor([-5.0, 5.0])).norm(dim=1)
    # a voxel of the first pass is 2.3 to 3.1 of the image's, one of the last crop 0.5
    assert error.median() < 0.5
    assert pairs.score.max() <= 1
    assert (pairs.score.diff() <= 0).all()


def test_images_may_differ_in_size() -> None:
    image = texture(170, 170)
    pairs = matcher(Finder())(image[..., :150, :160], image)
    error = (pairs.moving - pairs.fixed).norm(dim=1)
    assert len(pairs) > 20
    assert error.median() < 0.5


def test_what_does_not_come_back_is_dropped() -> None:
    assert len(matcher(Nowhere())(texture(150, 150), texture(150, 150))) <= 1


def test_an_image_without_texture_gives_no_pairs() -> None:
    assert len(matcher(Finder())(torch.zeros(1, 1, 150, 150), torch.zeros(1, 1, 150, 150))) == 0


def test_the_best_pairs_are_kept() -> None:
    image = texture(150, 150)
    network = Finder()
    everything = matcher(network)(image, image)
    few = matcher(network, max_pairs=10)(image, image)
    assert len(few) == 10
    assert torch.equal(few.score, everything.score[:10])


def test_near_queries_share_their_crops() -> None:
    network = Finder()
    found = matcher(network, zooms=[0.5], queries=200)(texture(150, 150), texture(150, 150))
    assert len(found) > 100
    assert network.crops < len(found) / 2


def test_groups_hold_everything_once_and_nothing_far() -> None:
    generator = torch.Generator().manual_seed(0)
    first = 100 * torch.rand(80, 2, generator=generator)
    second = first + 10 * torch.rand(80, 2, generator=generator)
    second[7] = torch.nan
    found = list(query_groups(first, second, 12.0))
    assert sorted(torch.cat(found).tolist()) == list(range(80))
    for group in found:
        if len(group) > 1:
            for points in (first, second):
                assert (points[group] - points[group[0]]).abs().max() <= 12


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.3, (0.5, 1.5)])
def test_resized_images_keep_their_places(scale) -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    resized = [scaled(part[None, None], scale) for part in (rows, columns)]
    points = torch.tensor([[10.0, 20.0], [25.5, 31.25]])
    inside = resized[0].inwards(points)
    assert torch.allclose(resized[0].outwards(inside), points, atol=1e-4)
    for axis in (0, 1):  # an image of its own coordinates, read at a voxel
        voxel = inside.round().long()
        value = resized[axis].image[0, 0, voxel[:, 0], voxel[:, 1]]
        assert torch.allclose(value, resized[axis].outwards(voxel.float())[:, axis], atol=1e-3)


def test_crops_stay_inside_and_small_images_are_filled_up() -> None:
    image = scaled(torch.ones(1, 1, 40, 20), 1.0)
    corners = image.corners(torch.tensor([[0.0, 0.0], [39.0, 19.0], [20.0, 10.0]]), 32)
    assert corners.tolist() == [[0, 0], [8, 0], [4, 0]]
    cut = image.cut(corners[1], 32)
    assert cut.shape == (1, 32, 32)
    assert cut.sum() == 32 * 20


def test_a_network_of_random_weights_runs() -> None:
    pairs = matcher(tiny(), cycle=10.0, deviation=10.0)(texture(150, 150), texture(150, 150))
    assert bool(pairs.moving.isfinite().all())


def tiny() -> COTR:
    return COTR(16, 4, 1, 16, 0.0, "basic", (1, 1, 1), (8, 8, 8), ("group", {"num_groups": 4}))


@pytest.mark.parametrize("published", [False, True])
def test_weights_are_read_in_both_forms(tmp_path, published) -> None:
    network = tiny()
    state: dict = dict(network.state_dict())
    if published:
        names = {"encoder.": "transformer.encoder.layers.", "decoder.": "transformer.decoder.layers."}
        names |= {"backbone.": "backbone.0.body.", "norm.": "transformer.decoder.norm.", "head.": "corr_embed.layers."}
        for new, old in names.items():
            state = {old + key.removeprefix(new) if key.startswith(new) else key: state[key] for key in state}
        state = {"model_state_dict": state, "iter": 7}
    torch.save(state, tmp_path / "weights.pt")
    found = trained_cotr(tiny(), tmp_path / "weights.pt").state_dict()
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())


def test_a_network_without_weights_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="give --cotr_weights"):
        trained_cotr(tiny(), None)
    torch.save({"other": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="lack"):
        trained_cotr(tiny(), tmp_path / "weights.pt")


def test_zooms_of_nothing_are_refused() -> None:
    for zooms in ([], [0.5, 0.0]):
        with pytest.raises(InputError, match="zooms above 0"):
            matcher(Finder(), zooms=zooms)


def test_the_features_of_the_small_variant_get_the_weights_of_xfeat() -> None:
    network = CorrelatedCOTR(XFeatFeatures(1))
    given = {key.removeprefix("net."): value for key, value in load("xfeat", None).items()}
    state = with_xfeat(network).features.state_dict()
    assert state
    assert all(torch.equal(value, given[key]) for key, value in state.items())


def test_another_network_keeps_its_own_features() -> None:
    network = tiny()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert with_xfeat(network) is network
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

"""SuperPoint: the published names, scores, maxima and descriptors as the definitions say."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from custom_components.common.errors import InputError
from custom_components.networks import SuperPoint
from custom_components.networks.super_point import local_maxima, point_scores, sample_descriptors, without_border

# Shapes of the published file.
PUBLISHED = {
    "conv1a.weight": (64, 1, 3, 3), "conv1b.weight": (64, 64, 3, 3),
    "conv2a.weight": (64, 64, 3, 3), "conv2b.weight": (64, 64, 3, 3),
    "conv3a.weight": (128, 64, 3, 3), "conv3b.weight": (128, 128, 3, 3),
    "conv4a.weight": (128, 128, 3, 3), "conv4b.weight": (128, 128, 3, 3),
    "convPa.weight": (256, 128, 3, 3), "convPb.weight": (65, 256, 1, 1),
    "convDa.weight": (256, 128, 3, 3), "convDb.weight": (256, 256, 1, 1),
}  # fmt: skip


def test_the_parameters_are_named_and_sized_as_published() -> None:
    shapes = {name: tuple(value.shape) for name, value in SuperPoint().state_dict().items()}
    biases = {name.replace("weight", "bias"): shape[:1] for name, shape in PUBLISHED.items()}
    assert shapes == PUBLISHED | biases
    assert sum(math.prod(shape) for shape in shapes.values()) == 1_300_865


def test_a_cell_has_65_logits_and_a_descriptor_of_unit_length() -> None:
    logits, descriptors = SuperPoint()(torch.rand(2, 1, 24, 40))
    assert logits.shape == (2, 65, 3, 5)
    assert descriptors.shape == (2, 256, 3, 5)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2, 3, 5))


@pytest.mark.parametrize("size", [(24, 41), (20, 40), (0, 8)])
def test_sides_that_are_no_multiples_of_eight_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        SuperPoint()(torch.rand(1, 1, *size))


@pytest.mark.parametrize("norm", [False, True])
def test_the_layers_follow_each_other_as_described(norm: bool) -> None:
    """The same parameters in a plain chain of PyTorch's own modules, batch normalisation behind every activation."""
    torch.manual_seed(0)
    network = SuperPoint(norm).eval()
    if norm:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.eps == 1e-3
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -0.1, 0.1)

    def chain(*names: str) -> nn.Sequential:
        layers: list[nn.Module] = []
        for name in names:
            if name == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(getattr(network, f"conv{name}"))
            layers.append(nn.Identity() if name in ("Pb", "Db") else nn.ReLU())
            layers.append(getattr(network, f"bn{name}") if norm else nn.Identity())
        return nn.Sequential(*layers)

    image = torch.rand(1, 1, 32, 24)
    encoded = chain("1a", "1b", "pool", "2a", "2b", "pool", "3a", "3b", "pool", "4a", "4b")(image)
    logits, descriptors = network(image)
    torch.testing.assert_close(logits, chain("Pa", "Pb")(encoded))
    described = chain("Da", "Db")(encoded)
    torch.testing.assert_close(descriptors, described / described.norm(dim=1, keepdim=True))


def test_every_pixel_gets_the_probability_of_its_channel() -> None:
    logits = torch.randn(2, 65, 3, 2, generator=torch.Generator().manual_seed(0))
    scores = point_scores(logits)
    assert scores.shape == (2, 1, 24, 16)
    probability = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    for row, column in ((0, 0), (3, 13), (17, 8), (23, 15)):
        expected = probability[:, row % 8 * 8 + column % 8, row // 8, column // 8]
        torch.testing.assert_close(scores[:, 0, row, column], expected)


def from_the_highest_down(scores: torch.Tensor, radius: int) -> torch.Tensor:
    """Visit the pixels, highest first; keep one unless a kept one is near."""
    kept = torch.zeros_like(scores)
    for index in scores.flatten().argsort(descending=True).tolist():
        row, column = divmod(index, scores.shape[1])
        window = slice(max(row - radius, 0), row + radius + 1), slice(max(column - radius, 0), column + radius + 1)
        if not kept[window].any():
            kept[row, column] = scores[row, column]
    return kept


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_with_enough_passes_the_maxima_are_those_of_a_visit_from_the_highest_down(radius: int) -> None:
    scores = torch.rand(33, 40, generator=torch.Generator().manual_seed(radius)) + 0.01
    expected = from_the_highest_down(scores, radius)
    torch.testing.assert_close(local_maxima(scores[None, None], radius, passes=20)[0, 0], expected, rtol=0, atol=0)
    # every pass finds more of them, and never another
    counts = []
    for passes in range(3):
        found = local_maxima(scores[None, None], radius, passes)[0, 0]
        assert ((found == 0) | (found == expected)).all()
        counts.append(int((found > 0).sum()))
    assert counts[0] < counts[1] <= counts[2]


def test_a_point_that_only_a_silenced_one_exceeds_is_found() -> None:
    scores = torch.zeros(1, 1, 20, 20)
    scores[0, 0, 10, [4, 7, 10]] = torch.tensor([0.9, 0.6, 0.3])  # 3 pixels apart, radius 4
    assert local_maxima(scores)[0, 0].nonzero().tolist() == [[10, 4], [10, 10]]
    assert local_maxima(scores, passes=0)[0, 0].nonzero().tolist() == [[10, 4]]


@pytest.mark.parametrize(("size", "inside"), [((12, 15), 4 * 7), ((8, 30), 0), ((3, 5), 0)])
def test_the_border_is_cleared(size: tuple[int, int], inside: int) -> None:
    cleared = without_border(torch.ones(1, 1, *size))
    assert cleared.sum() == inside
    assert inside == 0 or bool((cleared[..., 4:-4, 4:-4] == 1).all())


def test_descriptors_are_interpolated_between_the_centres_of_the_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = F.normalize(torch.randn(1, 16, 4, 6, generator=generator), dim=1)
    # between the outermost centres, which lie at 3.5 pixels from the border
    points = 3.5 + torch.rand(50, 2, generator=generator) * torch.tensor([24.0, 40.0])
    found = sample_descriptors(cells, points[None])
    assert found.shape == (1, 50, 16)
    for point, descriptor in zip(points.tolist(), found[0], strict=True):
        row, column = ((value - 3.5) / 8 for value in point)
        top, left = min(int(row), 2), min(int(column), 4)
        down, right = row - top, column - left
        mixed = (1 - down) * (1 - right) * cells[0, :, top, left] + (1 - down) * right * cells[0, :, top, left + 1]
        mixed += down * (1 - right) * cells[0, :, top + 1, left] + down * right * cells[0, :, top + 1, left + 1]
        torch.testing.assert_close(descriptor, mixed / mixed.norm(), atol=1e-5, rtol=1e-4)


def test_a_descriptor_is_read_in_the_middle_of_its_cell() -> None:
    cells = F.normalize(torch.randn(1, 16, 2, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    centres = torch.tensor([[[3.5, 3.5], [3.5, 19.5], [11.5, 11.5]]])
    torch.testing.assert_close(
        sample_descriptors(cells, centres)[0], torch.stack([cells[0, :, 0, 0], cells[0, :, 0, 2], cells[0, :, 1, 1]])
    )

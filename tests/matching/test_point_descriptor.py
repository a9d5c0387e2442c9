from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import XFeatDescriptor
from custom_components.matching.point_descriptor import descriptor_similarity, turned_points


def some_points(count: int, low: float, high: float) -> Tensor:
    return low + torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * (high - low)


@pytest.mark.parametrize("quarters", range(5))
def test_points_turn_with_the_image(quarters: int) -> None:
    image = torch.arange(35.0).reshape(5, 7)
    points = torch.tensor([[0.0, 0.0], [4.0, 6.0], [1.0, 5.0]])
    row, column = turned_points(points, (5, 7), quarters).long().T
    assert torch.rot90(image, quarters)[row, column].tolist() == [0.0, 34.0, 12.0]


def test_similarity_is_the_mean_cosine_of_the_groups() -> None:
    a = torch.nn.functional.normalize(torch.randn(4, 3, 8), dim=2)
    b = torch.nn.functional.normalize(torch.randn(5, 3, 8), dim=2)
    expected = torch.stack([torch.stack([(x * y).sum(dim=1).mean() for y in b]) for x in a])
    torch.testing.assert_close(descriptor_similarity(a, b), expected)
    torch.testing.assert_close(descriptor_similarity(a, a).diagonal(), torch.ones(4))


@pytest.mark.parametrize(("scales", "rotations"), [((1.0,), 1), ((2.0, 0.5), 2)])
def test_every_group_has_unit_length(tissue: Tensor, scales: tuple[float, ...], rotations: int) -> None:
    described = XFeatDescriptor(scales, rotations)(tissue[..., :100, :130], some_points(9, 0, 99))
    assert described.shape == (9, len(scales), 64 * rotations)
    torch.testing.assert_close(described.norm(dim=2), torch.ones(9, len(scales)))


@pytest.mark.parametrize("scale", [2.0, 1.0, 0.5])
def test_features_move_with_the_image(tissue: Tensor, scale: float) -> None:
    describe = XFeatDescriptor((scale,))
    points = some_points(40, 130, 190)
    # moved by a cell of the coarsest features, nothing but the far surroundings changes
    step = round(32 / scale)
    assert moved(describe, tissue, points, (0, step)).mean() > 0.95
    assert moved(describe, tissue, points, (step, 0)).mean() > 0.95
    # moved by half a cell of the map, the features are still most alike in the right place
    half = round(4 / scale)
    for axis in ([1.0, 0.0], [0.0, 1.0]):
        errors = [k * half * torch.tensor(axis) for k in (-2, -1, 0, 1, 2)]
        alike = [float(moved(describe, tissue, points, (half, -half), error).mean()) for error in errors]
        assert max(alike) == alike[2]


def moved(
    describe: XFeatDescriptor, image: Tensor, points: Tensor, shift: tuple[int, int], error: Tensor | float = 0.0
) -> Tensor:
    """Cosines (N,) of points and of the same points, but for ``error``, in a window that lies ``shift`` further."""
    row, column = shift
    a = describe(image[..., 64:384, 64:384], points)
    b = describe(
        image[..., 64 + row : 384 + row, 64 + column : 384 + column], points - torch.tensor([row, column]) + error
    )
    return descriptor_similarity(a, b).diagonal()


def test_four_turns_know_the_tissue_in_any_of_them(tissue: Tensor) -> None:
    """The concatenated turns of a turned image are those of the image in another order."""
    image = tissue[..., :128, :192]  # multiples of 32: no padding
    points = some_points(20, 30, 90)
    describe = XFeatDescriptor((1.0,), rotations=4)
    straight = describe(image, points)
    turned = describe(torch.rot90(image, 1, (2, 3)), turned_points(points, (128, 192), 1))
    torch.testing.assert_close(turned[:, 0, :192], straight[:, 0, 64:], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(turned[:, 0, 192:], straight[:, 0, :64], atol=1e-4, rtol=1e-3)


def test_no_points_give_no_descriptors(tissue: Tensor) -> None:
    assert XFeatDescriptor((1.0,))(tissue[..., :64, :64], torch.zeros(0, 2)).shape == (0, 1, 64)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="scales must be positive"):
        XFeatDescriptor(())
    with pytest.raises(InputError, match=r"got \[1.0, -2.0\]"):
        XFeatDescriptor((1.0, -2.0))
    with pytest.raises(InputError, match="1, 2 or 4, got 3"):
        XFeatDescriptor(rotations=3)
    with pytest.raises(InputError, match="takes an image"):
        XFeatDescriptor()(torch.zeros(1, 1, 8, 8), torch.zeros(3))

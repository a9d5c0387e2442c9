"""Magnified and bent pairs: points go with what they show, by closed forms and on images of blobs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid
from custom_components.transforms import RandomField, RandomView
from custom_components.transforms.random_view import viewed

SHAPE = (72, 101)


def blob(point: Tensor, width: float = 2.0) -> Tensor:
    return torch.exp(-(identity_grid(SHAPE) - point.view(2, 1, 1)).square().sum(dim=0) / (2 * width**2))


def item(points: list[list[float]] | None = None) -> dict[str, Tensor]:
    """Blob number i in both images, the moving one shifted; each pair of points alone in its image."""
    fixed = torch.tensor([points or [[30.0, 40.0]]])
    moving = fixed + torch.tensor([4.0, -3.0])
    images = torch.stack([blob(moving[0, 0]), blob(fixed[0, 0])])
    return {"image": images, "mask": torch.ones(2, *SHAPE), "points_moving": moving, "points_fixed": fixed,
            "valid": torch.ones(1, fixed.shape[1])}  # fmt: skip


def centre(image: Tensor) -> Tensor:
    return (identity_grid(SHAPE) * image).sum(dim=(1, 2)) / image.sum()


def test_without_a_field_of_either_kind_nothing_changes() -> None:
    before = item()
    view = RandomView()
    for seed in range(6):
        view.set_random_state(seed)
        after = view(before)
        assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_second_look_is_magnified_and_aligned_by_the_first_pass() -> None:
    """The moving blob lies 4 rows below and 3 columns left of the fixed one, as the first pass found."""
    before = item()
    field = torch.tensor([4.0, -3.0]).view(2, 1, 1).expand(2, *SHAPE)
    view = RandomView(zoom=2.0, second=1.0)
    seen = 0
    for seed in range(12):
        view.set_random_state(seed)
        after = view({**before, "field": field})
        assert set(after) == set(before)
        if not after["valid"][0, 0]:
            continue
        seen += 1
        assert torch.allclose(after["points_moving"], after["points_fixed"], atol=1e-3)
        for channel in (0, 1):
            peak = after["image"][channel].flatten().argmax()
            found = torch.tensor([int(peak) // SHAPE[1], int(peak) % SHAPE[1]])
            assert (found - after["points_fixed"][0, 0]).abs().max() <= 1
        # twice as wide: four times the sum, unless it is cut by the border
        assert after["image"][1].sum() < 4.2 * before["image"][1].sum()
    assert seen >= 3


def test_a_first_pass_that_missed_leaves_the_rest_doubled() -> None:
    before = item()
    field = torch.tensor([3.0, -3.0]).view(2, 1, 1).expand(2, *SHAPE)  # one row short
    view = RandomView(zoom=2.0, second=1.0)
    rest = []
    for seed in range(12):
        view.set_random_state(seed)
        after = view({**before, "field": field})
        if after["valid"][0, 0]:
            rest.append((after["points_moving"] - after["points_fixed"])[0, 0])
    assert len(rest) >= 3
    assert torch.allclose(torch.stack(rest), torch.tensor([2.0, 0.0]).expand(len(rest), 2), atol=1e-3)


def test_a_magnified_part_has_its_voxels_where_they_were():
    matrix = np.diag([0.5, 0.5, 1.0])
    matrix[:2, 2] = [10 - 0.25, 20 - 0.25]  # rows 10 to 45, columns 20 to 70, half-pixel centres
    before = item()
    after = viewed(before, matrix, torch.zeros(1, 2, *SHAPE))
    assert after["points_fixed"][0, 0].tolist() == pytest.approx([(30 - 9.75) * 2, (40 - 19.75) * 2])
    assert after["valid"].tolist() == [[1.0]]
    for channel, key in ((0, "points_moving"), (1, "points_fixed")):
        assert torch.allclose(centre(after["image"][channel]), after[key][0, 0], atol=0.05)
    # every second voxel lies a quarter of an old voxel beside an old one
    old = before["image"][1, 10:46, 20:70]
    assert torch.allclose(after["image"][1, 0:72:2, 0:100:2][1:, 1:], (
        0.5625 * old[1:, 1:] + 0.1875 * (old[:-1, 1:] + old[1:, :-1]) + 0.0625 * old[:-1, :-1]), atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_a_bend_moves_the_moving_image_and_its_points_alone(seed):
    field = RandomField(30.0, grids=(3, 5), linear=0.05, decay=1.0)
    field.set_random_state(seed)
    bend = field(max(SHAPE))[:, :, : SHAPE[0], : SHAPE[1]]
    before = item()
    after = viewed(before, np.eye(3), bend)
    assert torch.allclose(after["image"][1], before["image"][1], atol=1e-4)
    assert torch.equal(after["points_fixed"], before["points_fixed"])
    if after["valid"][0, 0]:
        row, column = after["points_moving"][0, 0].round().int().tolist()
        around = after["image"][0, max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        assert around.max() == after["image"][0].max()
        assert after["image"][0, row, column] > 0.9


def test_points_that_leave_the_view_count_no_longer():
    before = item([[30.0, 40.0], [1.0, 2.0], [60.0, 95.0]])  # the second one's moving point is outside already
    matrix = np.diag([0.5, 0.5, 1.0])
    matrix[:2, 2] = [15.0, 20.0]
    after = viewed(before, matrix, torch.zeros(1, 2, *SHAPE))
    assert after["valid"].tolist() == [[1.0, 0.0, 0.0]]
    filler = {**before, "valid": torch.zeros(1, 3)}
    assert not viewed(filler, matrix, torch.zeros(1, 2, *SHAPE))["valid"].any()


def test_views_are_drawn_by_chance_and_keep_the_tissue() -> None:
    before = item()
    before["mask"] = torch.zeros(2, *SHAPE)
    before["mask"][:, 50:60, 80:90] = 1
    before["field"] = torch.zeros(2, *SHAPE)
    view = RandomView(3.0, RandomField(20.0), second=0.5, bent=0.5)
    kinds = {"second": 0, "bent": 0, "plain": 0}
    for seed in range(40):
        view.set_random_state(seed)
        after = view(before)
        fixed_kept, moving_kept = (torch.allclose(after["image"][c], before["image"][c], atol=1e-3) for c in (1, 0))
        kinds["second" if not fixed_kept else "plain" if moving_kept else "bent"] += 1
        if not fixed_kept:
            assert after["mask"][1].sum() >= 9 * 25  # a quarter of it at least, whatever part was drawn
        assert after["image"].shape == before["image"].shape
        view.set_random_state(seed)
        assert torch.equal(view(before)["image"], after["image"])
    assert 12 <= kinds["second"] <= 28
    assert kinds["bent"] >= 3
    assert kinds["plain"] >= 3


def test_no_tissue_no_points_and_wrong_zoom():
    nothing = {"points_moving": torch.zeros(0, 0, 2), "points_fixed": torch.zeros(0, 0, 2), "valid": torch.zeros(0, 0)}
    before = {**item(), **nothing, "mask": torch.zeros(2, *SHAPE)}
    view = RandomView(2.0, RandomField(10.0), bent=1.0)
    for seed in range(8):
        view.set_random_state(seed)
        assert view(before)["points_fixed"].shape == (0, 0, 2)
    with pytest.raises(InputError, match=r"at least 1, got 0\.5"):
        RandomView(0.5)

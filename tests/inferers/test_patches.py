"""Cutting images of any size into patches and putting their centres together again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.inferers.patches import Patch, batches, fold, patch_spans, plan_patches, unfold

SIDES = st.integers(1, 75)


def image(*spatial: int) -> Tensor:
    return torch.rand(1, 2, *spatial, generator=torch.Generator().manual_seed(0)) + 1


def there_and_back(values: Tensor, patch_size: int, stride: int, batch_size: int = 1000) -> Tensor:
    into = torch.full_like(values, torch.nan)
    for members in batches(plan_patches(values.shape[2:], patch_size, stride), batch_size):
        fold(unfold(values, members, patch_size), members, into)
    return into


@given(rows=SIDES, columns=SIDES, patch_size=st.integers(1, 24), fraction=st.floats(0.01, 1), group=st.integers(1, 9))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_cutting_and_folding_any_size_is_the_identity(rows, columns, patch_size, fraction, group) -> None:
    values = image(rows, columns)
    stride = max(int(fraction * patch_size), 1)
    assert torch.equal(there_and_back(values, patch_size, stride, group), values)


@pytest.mark.parametrize("spatial", [(1, 300), (300, 1), (1, 1), (7, 7), (8, 8), (9, 16), (17, 500), (5, 9, 13)])
def test_thin_long_small_and_deep_images_come_back(spatial) -> None:
    assert torch.equal(there_and_back(image(*spatial), 8, 4), image(*spatial))


@given(rows=SIDES, columns=SIDES, patch_size=st.integers(1, 24), fraction=st.floats(0.01, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_kept_parts_tile_the_image_exactly_once(rows, columns, patch_size, fraction) -> None:
    count = torch.zeros(1, 1, rows, columns)
    patches = plan_patches((rows, columns), patch_size, max(int(fraction * patch_size), 1))
    for patch in patches:
        count[0][(slice(None), *patch.keep)] += 1
    assert torch.equal(count, torch.ones_like(count))
    assert len({patch.start for patch in patches}) == len(patches)


@given(length=st.integers(1, 400), patch_size=st.integers(1, 40), fraction=st.floats(0.01, 1))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_only_centres_are_kept_but_at_the_images_own_border(length, patch_size, fraction) -> None:
    stride = max(int(fraction * patch_size), 1)
    for start, keep in patch_spans(length, patch_size, stride):
        assert 0 <= start <= max(length - patch_size, 0)
        assert start <= keep.start < keep.stop <= min(start + patch_size, length)
        before, after = keep.start - start, start + patch_size - keep.stop
        assert before >= (patch_size - stride) // 2 or keep.start == 0
        assert after >= (patch_size - stride) // 2 or keep.stop == length


def test_the_papers_setting_keeps_the_central_half() -> None:
    spans = patch_spans(1024, 256, 128)
    assert [start for start, _ in spans] == list(range(0, 769, 128))
    assert all((keep.start - start, keep.stop - start) == (64, 192) for start, keep in spans[1:-1])


def test_the_last_patch_ends_with_the_image() -> None:
    assert patch_spans(21, 8, 4) == [
        (0, slice(0, 6)), (4, slice(6, 10)), (8, slice(10, 14)), (12, slice(14, 16)), (13, slice(16, 21)),
    ]  # fmt: skip


def test_beyond_a_small_image_patches_are_zero() -> None:
    values = image(3, 5)
    patches = plan_patches((3, 5), 8, 4)
    assert patches == [Patch((0, 0), (slice(0, 3), slice(0, 5)))]
    cut = unfold(values, patches, 8)
    assert torch.equal(cut[..., :3, :5], values)
    assert cut[..., 3:, :].abs().max() == cut[..., 5:].abs().max() == 0


def test_a_patch_holds_what_lies_there() -> None:
    values = image(30, 40)
    patches = plan_patches((30, 40), 16, 8)
    for patch, cut in zip(patches, unfold(values, patches, 16), strict=True):
        row, column = patch.start
        assert torch.equal(cut, values[0, :, row : row + 16, column : column + 16])


def test_folding_writes_nothing_but_the_given_patches_parts() -> None:
    patches = plan_patches((30, 40), 16, 8)[3:5]
    into = torch.zeros(1, 1, 30, 40)
    fold(torch.ones(2, 1, 16, 16), patches, into)
    assert into.sum() == sum(
        (rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in (p.keep for p in patches)
    )


def test_groups_keep_the_order_and_their_size() -> None:
    patches = plan_patches((40, 40), 16, 8)
    found = list(batches(patches, 6))
    assert [len(members) for members in found] == [6, 6, 4]
    assert [patch for members in found for patch in members] == patches


@pytest.mark.parametrize("stride", [0, -3, 17])
def test_a_stride_that_leaves_gaps_is_refused_with_its_bounds(stride) -> None:
    with pytest.raises(InputError, match=rf"between 1 and their size \(16\), got {stride}"):
        plan_patches((40, 40), 16, stride)


@pytest.mark.parametrize("spatial", [(0, 5), ()])
def test_an_empty_image_is_refused_with_its_size(spatial) -> None:
    with pytest.raises(InputError, match="out of an image of size"):
        plan_patches(spatial, 16, 8)

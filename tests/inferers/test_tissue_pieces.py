"""Pieces are told apart, and their affines hold on them."""

from __future__ import annotations

import numpy as np
import torch

from custom_components.fields import affine_to_ddf
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.tissue_pieces import apart, blended, carried, find_pieces, nearest

SHAPE = (100, 240)


def squares() -> tuple[np.ndarray, np.ndarray]:
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[30:70, 20:80] = right[30:70, 150:200] = True
    return left, right


def test_pieces_in_one_generous_mask_are_told_apart_by_the_image() -> None:
    left, right = squares()
    image = torch.from_numpy(0.5 * (left | right)).float()[None, None]
    image[0, 0, 5:8, 5:8] = 0.5  # a speck is no piece
    found = find_pieces(image, torch.ones_like(image), 0.01)
    assert found.max() == 2
    assert (found[left] == 1).all()
    assert (found[right] == 2).all()
    assert (found > 0).all()


def test_tissue_that_hangs_together_is_one_piece_and_none_is_none() -> None:
    mask = torch.zeros(1, 1, *SHAPE)
    assert find_pieces(mask, mask, 0.01).max() == 0
    mask[..., 20:80, 20:200] = 1
    np.testing.assert_array_equal(find_pieces(0.7 * mask, mask, 0.01), mask[0, 0].numpy())


def test_affines_hold_on_their_pieces_and_between_them_field_and_weights_are_finite() -> None:
    left, right = squares()
    matrices = [rotation_about_centre(SHAPE, 5.0), rotation_about_centre(SHAPE, -8.0)]
    empty = (np.zeros(SHAPE, bool), np.eye(3))
    field = blended([(left, matrices[0]), (right, matrices[1]), empty], SHAPE)
    assert field.isfinite().all()
    for mask, matrix in zip((left, right), matrices, strict=True):
        torch.testing.assert_close(field[0][:, mask], affine_to_ddf(matrix, SHAPE)[0][:, mask])


def test_a_piece_is_carried_to_where_its_affine_has_it() -> None:
    left, right = squares()
    shift = np.eye(3)
    shift[:2, 2] = 10, 35
    expected = np.zeros(SHAPE, bool)
    expected[40:80, 55:115] = True
    np.testing.assert_array_equal(carried(left, shift), expected)
    owner = nearest([left, right, np.zeros(SHAPE, bool)])
    assert (owner[:, :114] == 0).all()
    assert (owner[:, 116:] == 1).all()


def test_room_is_made_between_masks_that_touch() -> None:
    left = np.zeros(SHAPE, bool)
    left[:, :100] = True
    kept = apart([left, ~left], 10)
    assert [int(mask[50].sum()) for mask in kept] == [95, 135]
    assert apart([left], 10)[0] is left

"""The report's pictures, against what they must show at known places."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from custom_components.outputs import pictures as draw

GREY = np.full((60, 80, 3), 128, np.uint8)


def has(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 12) -> np.ndarray:
    """(H, W) bool: where the picture has this colour."""
    return np.abs(picture.astype(int) - np.array(colour)).max(axis=-1) <= tolerance


def test_eight_bit_rgb_is_shown_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(np.uint8)
    assert (draw.to_rgb(image) == image.transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    ("channels", "dtype", "top"), [(1, np.uint8, 90), (1, np.uint16, 4000), (4, np.uint16, 4000), (3, np.float32, 0.01)]
)
def test_everything_else_is_stretched_from_its_first_channel(channels, dtype, top):
    image = np.zeros((channels, 20, 30), dtype)
    image[:] = np.linspace(0, top, 30).astype(dtype)
    if channels == 4:
        image[1:] = 0
    picture = draw.to_rgb(image)
    assert (picture.shape, picture.dtype) == ((20, 30, 3), np.uint8)
    assert picture[0, 0].max() < 10
    assert picture[0, -1].min() > 245
    assert (np.diff(picture[0, :, 0].astype(int)) >= 0).all()


def test_fit_shrinks_and_never_enlarges():
    assert draw.shrink_to(GREY, 40).shape == (30, 40, 3)
    assert draw.shrink_to(GREY, 800) is GREY
    assert draw.shrink_to(np.zeros((2000, 3, 3), np.uint8), 100).shape == (100, 1, 3)


def test_data_uri_holds_a_jpeg_of_the_picture_in_its_colours():
    uri = draw.data_uri(np.full((32, 48, 3), (200, 40, 90), np.uint8))
    kind, _, text = uri.partition(",")
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert kind == "data:image/jpeg;base64"
    assert decoded.shape == (32, 48, 3)
    assert np.abs(decoded.astype(int) - (200, 40, 90)).max() <= 4


def test_checkerboard_alternates():
    board = draw.checkerboard(np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8), tiles=4)
    assert board[5, 5, 0] == 0
    assert board[5, 15, 0] == 255
    assert board[15, 5, 0] == 255
    assert board[15, 15, 0] == 0
    assert board.mean() == pytest.approx(127.5)


def test_two_colours_add_up_to_grey_only_where_both_show_tissue():
    fixed, warped = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
    fixed[0, 1], warped[0, 2] = 1, 1
    fixed[0, 3] = warped[0, 3] = 1
    picture = draw.two_colour(fixed, warped)[0]
    assert picture[0].tolist() == [255, 255, 255]
    assert picture[1].tolist() == [0, 255, 0]  # fixed alone: green
    assert picture[2].tolist() == [255, 0, 255]  # moving alone: magenta
    assert picture[3].tolist() == [0, 0, 0]


def test_grid_of_no_deformation_is_straight_and_of_a_shift_is_shifted():
    flat = draw.deformation_grid(GREY, np.zeros((2, 60, 80)), lines=8)
    shifted = draw.deformation_grid(GREY, np.stack([np.zeros((60, 80)), np.full((60, 80), 3.0)]), lines=8)
    assert (flat[:, 20] == flat[0, 20]).all()  # on a line
    assert has(flat[:, 20:21], draw.BLUE).all()
    assert not has(flat[5:6, 25:26], draw.BLUE).any()
    # the moving tissue at column 20 is seen at column 17
    assert has(shifted[5:6, 17:18], draw.BLUE).all()
    assert not has(shifted[5:6, 20:21], draw.BLUE).any()


def test_spread_takes_the_far_points_first_and_no_point_twice():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 10.0], [9.0, 0.0]])
    assert draw.evenly_spaced(points, 3).tolist() == [0, 2, 3]
    assert sorted(draw.evenly_spaced(points, 99).tolist()) == [0, 1, 2, 3]
    assert draw.evenly_spaced(np.zeros((0, 2)), 5).tolist() == []


def test_matches_are_drawn_in_both_pictures_kept_green_dropped_red():
    left, right = np.zeros((60, 80, 3), np.uint8), np.zeros((50, 90, 3), np.uint8)
    kept = np.array([[20.0, 30.0]]), np.array([[10.0, 40.0]])
    dropped = np.array([[50.0, 10.0]]), np.array([[40.0, 70.0]])
    canvas = draw.matches_picture(left, right, kept, dropped, lines=3)
    assert canvas.shape == (60, 80 + 16 + 90, 3)
    for (row, column), colour in (((20, 30), draw.GREEN), ((10, 40 + 96), draw.GREEN),
                                  ((50, 10), draw.RED), ((40, 70 + 96), draw.RED)):  # fmt: skip
        assert has(canvas[row : row + 1, column : column + 1], colour).all(), (row, column)


def test_no_matches_draw_only_the_pictures():
    empty = np.zeros((0, 2)), np.zeros((0, 2))
    canvas = draw.matches_picture(GREY, GREY, empty, empty)
    assert not has(canvas, draw.GREEN).any()


def test_area_is_blue_where_tissue_shrinks_orange_where_it_grows_and_red_where_it_folds():
    determinant = np.array([[1.0, 4.0, 0.25, -0.5, 0.0]])
    picture = draw.area_picture(np.full((1, 5, 3), 255, np.uint8), determinant)[0].astype(int)
    assert (picture[0] > 240).all()
    assert picture[1, 2] > picture[1, 0] + 80  # two or more moving pixels pressed into one
    assert picture[2, 0] > picture[2, 2] + 80
    assert picture[3].tolist() == picture[4].tolist() == list(draw.RED)


def test_landmarks_join_start_and_result_to_the_truth():
    picture = draw.landmark_picture(GREY, np.array([[10.0, 10.0]]), np.array([[40.0, 52.0]]), np.array([[40.0, 60.0]]))
    assert has(picture[10:11, 10:11], draw.RED).all()
    assert has(picture[40:41, 52:53], draw.GREEN).all()
    assert has(picture[40:41, 66:67], draw.INK, 60).all()  # ring of radius 6


def test_error_chart_takes_errors_of_zero_and_a_single_landmark():
    for errors in (np.zeros(1), np.array([3.0, 5.0])):
        chart = draw.error_chart(errors + 2, errors, "px")
        assert chart.dtype == np.uint8
        assert chart.shape[2] == 3
        assert has(chart, draw.GREEN, 30).any()
        assert has(chart, draw.RED, 30).any()

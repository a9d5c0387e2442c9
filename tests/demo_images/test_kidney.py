"""The demo's real stains: what they are is said, and the landmarks lie on them."""

from __future__ import annotations

from custom_components.demo_images import kidney_pair
from custom_components.pairs import read_image, read_points


def test_both_images_have_the_same_landmarks_on_them() -> None:
    pair = kidney_pair()
    assert pair.moving_landmarks is not None
    assert pair.fixed_landmarks is not None
    for image, marks in ((pair.moving, pair.moving_landmarks), (pair.fixed, pair.fixed_landmarks)):
        points, shape = read_points(marks), read_image(image).shape
        assert shape[0] == 3
        assert points.shape == (69, 2)
        assert (points >= 0).all()
        assert (points < shape[1:]).all()


def test_origin_and_licence_come_with_them() -> None:
    text = kidney_pair().fixed.with_name("README.txt").read_text()
    assert "BIRL" in text
    assert "Redistribution and use in source and binary forms" in text

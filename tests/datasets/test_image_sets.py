"""Sets of images in the layouts of their downloads become pair tables that the project reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.datasets import folder, membrane, neighbours, ordered_pairs, phc_u373, platelet_em
from custom_components.pairs import check_pair, read_image, read_pairs


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array) if path.suffix == ".tif" else Image.fromarray(array).save(path)


def checked(table: Path, classes: int) -> pd.Series:
    """Every file of the table is there, label maps have the classes 0 to ``classes - 1``; counts by status."""
    pairs = read_pairs(table)
    for pair in pairs[:: max(len(pairs) // 5, 1)]:
        check_pair(pair)
        image, labels = read_image(pair.moving), read_image(pair.moving_labels)
        assert image.shape[1:] == labels.shape[1:]
        assert set(np.unique(labels.numpy())) <= set(range(classes))
    return pd.Series([pair.extra["status"] for pair in pairs]).value_counts()


def test_pairs_of_a_sequence_and_of_subjects() -> None:
    assert neighbours("abc", 0) == [("a", "b"), ("b", "c")]
    assert neighbours("abcd", 1) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "c")]
    assert len(neighbours("abcd", 2)) == 10
    assert ordered_pairs("abc") == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]


def test_membrane(tmp_path) -> None:
    for number in range(30):
        save(tmp_path / "images" / f"{number:02d}.png", np.full((40, 40), number, np.uint8))
        save(tmp_path / "labels" / f"{number:02d}.png", np.full((40, 40), 255 * (number % 2), np.uint8))
    membrane(str(tmp_path), str(tmp_path / "set"))
    counts = checked(tmp_path / "set" / "pairs.csv", 3)
    assert counts.to_dict() == {"training": 2 * (17 + 16), "evaluation": 7, "validation": 3}
    assert [float(read_image(tmp_path / "set" / "labels" / f"{n}.tif").max()) for n in (28, 29)] == [1, 2]


def test_phc_u373(tmp_path) -> None:
    shape = (520, 696)
    for sequence, frames in (("01", range(3)), ("02", range(48, 62))):
        for frame in frames:
            image = np.full(shape, frame, np.uint8)
            image[:4] = 255  # cropped
            save(tmp_path / sequence / f"t{frame:03d}.tif", image)
            labels = np.zeros(shape, np.uint16)
            labels[100:120, 50:70], labels[300:320, 50:70] = 3, 7
            save(tmp_path / f"{sequence}_ST" / "SEG" / f"man_seg{frame:03d}.tif", labels)
    phc_u373(str(tmp_path), str(tmp_path / "set"))
    counts = checked(tmp_path / "set" / "pairs.csv", 2)
    assert counts.to_dict() == {"training": 6, "validation": 1, "evaluation": 1}  # 50 to 59 belong to neither
    image, labels = (read_image(tmp_path / "set" / kind / "01_002.tif") for kind in ("images", "labels"))
    assert image.shape == (1, 512, 688)
    assert set(np.unique(image.numpy())) == {2}
    assert labels[0, 96:116, 46:66].min() == 1
    (tmp_path / "01_ST" / "SEG" / "man_seg001.tif").unlink()
    with pytest.raises(InputError, match=r"man_seg001\.tif does not exist"):
        phc_u373(str(tmp_path), str(tmp_path / "again"))
    assert not (tmp_path / "again" / "pairs.csv").exists()
    with pytest.raises(InputError, match="has no frames"):
        phc_u373(str(tmp_path / "elsewhere"), str(tmp_path / "again"))


def test_platelet_em(tmp_path) -> None:
    for count in (50, 24):
        save(tmp_path / f"{count}-images.tif", np.zeros((count, 40, 48), np.uint8))
        save(
            tmp_path / f"{count}-semantic.tif",
            (np.arange(count)[:, None, None] % 7 * np.ones((40, 48))).astype(np.uint8),
        )
    platelet_em(str(tmp_path), str(tmp_path / "set"))
    counts = checked(tmp_path / "set" / "pairs.csv", 3)
    assert counts.to_dict() == {"training": 2 * (49 + 48), "validation": 11, "evaluation": 11}
    save(tmp_path / "24-semantic.tif", np.zeros((23, 40, 48), np.uint8))
    with pytest.raises(InputError, match="two stacks of one size"):
        platelet_em(str(tmp_path), str(tmp_path / "again"))


@pytest.fixture
def images(tmp_path: Path) -> Callable[[int], Path]:
    def make(count: int) -> Path:
        for number in range(count):
            for kind in ("images", "labels"):
                save(tmp_path / kind / f"s{number}.png", np.full((40, 40), number, np.uint8))
        return tmp_path

    return make


def test_a_folder_of_one_s_own(images, tmp_path) -> None:
    root = images(5)
    text = folder(str(root / "images"), str(root / "pairs.csv"), labels=str(root / "labels"), reach=1, evaluation=0.4)
    assert text.endswith("pairs.csv: 4 training pairs, 2 evaluation pairs")
    assert checked(root / "pairs.csv", 5).to_dict() == {"training": 4, "evaluation": 2}
    folder(str(root / "images"), str(root / "all.csv"), evaluation=0)
    pairs = read_pairs(root / "all.csv")
    assert len(pairs) == 20
    assert pairs[0].moving_labels is None


def test_a_folder_without_images_or_labels_is_refused(images, tmp_path) -> None:
    root = images(2)
    (root / "labels" / "s1.png").unlink()
    with pytest.raises(InputError, match="no label map for s1; 1 of 2 are missing"):
        folder(str(root / "images"), str(root / "pairs.csv"), labels=str(root / "labels"))
    (root / "images" / "s1.png").unlink()
    with pytest.raises(InputError, match="has 1 images; two are needed"):
        folder(str(root / "images"), str(root / "pairs.csv"))


@pytest.mark.slow
def test_the_command_line(images) -> None:
    root = images(3)
    command = [sys.executable, "-m", "custom_components.datasets", "folder", "--to", str(root / "p.csv"), "--images"]
    done = subprocess.run([*command, str(root / "images")], check=True, capture_output=True, text=True)
    assert "training pairs" in done.stdout
    failed = subprocess.run([*command, str(root / "absent")], check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.strip().endswith("two are needed for a pair")

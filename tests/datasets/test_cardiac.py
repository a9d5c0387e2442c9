"""Cine MR of the heart: slices at the two ends of a cycle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.datasets import cardiac_sunnybrook
from custom_components.pairs import check_pair, read_image, read_pairs

PART = "Sunnybrook_Part1"


def save(root: Path, patient: str, frame: int, radius: int, side: int = 96) -> None:
    """A disc about (side / 2, side / 2), grey as the frame's number, and its mask, both stored as RGB."""
    mask = np.linalg.norm(np.indices((side, side)) - side / 2, axis=0) < radius
    for kind, array in (("Images", frame % 256 * mask), ("Labels", 255 * mask)):
        (root / kind / PART).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.repeat(array.astype(np.uint8)[..., None], 3, axis=-1))
        picture.save(root / kind / PART / f"{patient}-IM-0001-{frame:04d}.dcm.png")


@pytest.fixture
def hearts(tmp_path) -> Path:
    """Three patients a group with a slice each, where the first or the second frame is end-diastole."""
    for group in ("HF-I", "HF-NI", "HYP", "N"):
        for number in (3, 20, 11):
            save(tmp_path, f"SC-{group}-{number:02d}", 20, radius=20 if group == "N" else 10)  # the end of slice 0
            save(tmp_path, f"SC-{group}-{number:02d}", 9, radius=10 if group == "N" else 20)
    save(tmp_path, "SC-N-03", 21, radius=10)  # slice 1 has this frame only
    return tmp_path


def area(path: Path) -> float:
    return float(read_image(path).float().sum())


def test_the_larger_mask_is_moving_and_single_frames_are_left_out(hearts) -> None:
    text = cardiac_sunnybrook(str(hearts), str(hearts / "set"), crop=64)
    assert {"6 training pairs", "2 validation pairs", "4 evaluation pairs"} == set(text.split(": ")[1].split(", "))
    pairs = read_pairs(hearts / "set" / "pairs.csv")
    assert len(pairs) == 12
    for pair in pairs:
        check_pair(pair)
        assert pair.moving.stem.removesuffix("_ed") == pair.fixed.stem.removesuffix("_es")
        assert area(pair.moving_labels) > 3 * area(pair.fixed_labels)
    assert not list((hearts / "set" / "images").glob("SC-N-03_01*"))


def test_patients_are_split_by_group(hearts) -> None:
    cardiac_sunnybrook(str(hearts), str(hearts / "set"), crop=64)
    found: dict[str, set[str]] = {}
    for pair in read_pairs(hearts / "set" / "pairs.csv"):
        found.setdefault(pair.extra["status"], set()).add(pair.moving.stem.split("_")[0])
    assert found["evaluation"] == {"SC-HF-I-20", "SC-HF-NI-20", "SC-HYP-20", "SC-N-20"}
    assert found["validation"] == {"SC-HF-I-11", "SC-HYP-11"}
    assert len(found["training"]) == 6
    assert not found["training"] & (found["evaluation"] | found["validation"])


def test_images_are_grey_and_cropped_about_their_middle(hearts) -> None:
    cardiac_sunnybrook(str(hearts), str(hearts / "set"), crop=64)
    image, labels = (read_image(hearts / "set" / k / "SC-HYP-03_00_ed.tif").numpy() for k in ("images", "labels"))
    assert image.shape == labels.shape == (1, 64, 64)
    assert image.dtype == labels.dtype == np.uint8
    assert set(np.unique(image)) == {0, 9}
    assert np.array_equal(labels, image > 0)
    assert np.argwhere(labels[0]).mean(axis=0) == pytest.approx([32, 32])


def test_what_is_missing_or_of_another_size_is_named(hearts) -> None:
    def refused(match: str, source: Path = hearts, crop: int = 64) -> None:
        with pytest.raises(InputError, match=match):
            cardiac_sunnybrook(str(source), str(hearts / "set"), crop=crop)
        assert not (hearts / "set" / "pairs.csv").exists()

    refused("has no pictures under Images and Labels", hearts / "elsewhere")
    refused(r"crop is 32 to 96, the size of .*SC-HF-I-03-IM-0001-0009\.dcm\.png, got 128", crop=128)
    refused(r"a crop of 32 cuts the mask .*Labels.*0009\.dcm\.png", crop=32)
    save(hearts, "SC-N-20", 9, radius=5, side=100)
    refused(r"SC-N-20-IM-0001-0009\.dcm\.png has shape \(100, 100\), the first image \(96, 96\)")
    save(hearts, "SC-N-20", 9, radius=5)
    save(hearts, "SC-N-20", 12, radius=5)
    refused(r"slice 0 of SC-N-20 has 3 frames, .*0009\.dcm\.png first")
    (hearts / "Images" / PART / "SC-N-20-IM-0001-0012.dcm.png").unlink()
    (hearts / "Labels" / PART / "SC-N-20-IM-0001-0012.dcm.png").rename(hearts / "Labels" / PART / "mask.png")
    refused(r"mask\.png is not named as")
    (hearts / "Labels" / PART / "mask.png").unlink()
    for kind in ("Images", "Labels"):
        file = hearts / kind / PART / "SC-HYP-11-IM-0001-0020.dcm.png"
        kept = file.read_bytes()
        file.unlink()
        refused(rf"{kind}.*SC-HYP-11-IM-0001-0020\.dcm\.png does not exist")
        file.write_bytes(kept)


def test_the_hearts_of_sunnybrook(shared_data, tmp_path) -> None:
    source = shared_data / "cardiac_sunnybrook"
    if not source.is_dir():
        pytest.skip(f"hearts not found at {source}")
    cardiac_sunnybrook(str(source), str(tmp_path))
    pairs = read_pairs(tmp_path / "pairs.csv")
    assert len(pairs) == 125
    statuses = [pair.extra["status"] for pair in pairs]
    assert [statuses.count(s) for s in ("training", "validation", "evaluation")] == [74, 18, 33]
    scores = []
    for pair in pairs:
        moving, fixed = (read_image(path).numpy() > 0 for path in (pair.moving_labels, pair.fixed_labels))
        scores.append(2 * (moving & fixed).sum() / (moving.sum() + fixed.sum()))
        assert moving.sum() > fixed.sum()
    assert np.mean(scores) == pytest.approx(0.74, abs=0.005)

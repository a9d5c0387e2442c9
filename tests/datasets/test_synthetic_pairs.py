"""Sets with known warps: landmarks and footprints are the truth, and a clean set has the same warps."""

from __future__ import annotations

from pathlib import Path

import fire
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from custom_components.common.errors import InputError
from custom_components.datasets import synthetic_pairs
from custom_components.datasets.synthetic_pairs import LEAST, _warp, footprint
from custom_components.fields import jacobian_determinant
from custom_components.pairs import check_pair, read_image, read_points, select_pairs, write_image


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six images in grey and colour, odd and not square, each in two rows; two of another status."""
    lines = ["id,moving,fixed,status"]
    for number in range(8):
        shape = (85, 101) if number % 2 else (96, 70)
        noise = gaussian_filter(np.random.default_rng(number).normal(size=shape), 3)
        rows, columns = np.indices(shape)
        disc = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < 0.42 * min(shape)
        grey = (255 * (0.3 + 0.7 * (noise - noise.min()) / np.ptp(noise)) * disc).astype(np.uint8)
        write_image(tmp_path / f"s{number}.png", grey[None] if number % 3 else np.stack([255 - grey] * 3))
        status = "evaluation" if number < 6 else "training"
        other = (number + 1) % 6 if number < 6 else 13 - number
        lines.append(f"{number},s{number}.png,s{other}.png,{status}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


def to_pair_images(pair, folder: Path) -> dict[str, np.ndarray]:
    return {side: read_image(getattr(pair, side)).numpy()[0].astype(float) for side in ("moving", "fixed")}


def test_every_image_becomes_one_pair_that_the_project_reads(table, tmp_path) -> None:
    text = synthetic_pairs(str(table), str(tmp_path / "set"), kinds="resection,tear,fold,blob", amplitude=2.0)
    assert text.endswith("pairs.csv: 6 evaluation pairs")
    pairs = select_pairs(tmp_path / "set" / "pairs.csv", status="evaluation")
    assert [pair.id for pair in pairs] == [f"{number:03d}_s{number}" for number in range(6)]
    assert [pair.extra["kind"] for pair in pairs] == ["resection", "tear", "fold", "blob", "resection", "tear"]
    for pair in pairs:
        check_pair(pair)
        defect = read_image(tmp_path / "set" / pair.extra["defect"]).numpy()
        assert defect.shape == read_image(pair.moving).shape == read_image(pair.fixed).shape
        assert set(np.unique(defect)) == {0, 255}
        assert read_image(pair.fixed).numpy().dtype == np.uint8
        assert len(read_points(pair.fixed_landmarks)) == 100


def test_landmarks_are_on_the_same_structure(table, tmp_path) -> None:
    synthetic_pairs(str(table), str(tmp_path / "set"), kinds="", amplitude=3.0, points=60)
    for pair in select_pairs(tmp_path / "set" / "pairs.csv"):
        assert pair.extra["defect"] == pair.extra["kind"] == ""
        moving, fixed = read_points(pair.moving_landmarks), read_points(pair.fixed_landmarks)
        assert np.array_equal(fixed, fixed.round())
        assert len(np.unique(fixed, axis=0)) == 60
        images = to_pair_images(pair, tmp_path)
        assert (moving >= 0).all()
        assert (moving <= np.array(images["moving"].shape) - 1).all()
        seen = {side: map_coordinates(images[side], points.T, order=1)
                for side, points in (("moving", moving), ("fixed", fixed))}  # fmt: skip
        assert abs(seen["moving"] - seen["fixed"]).max() <= 1.01  # of 255: both files are rounded
        assert seen["fixed"].min() > 0.05 * 255 - 1
        # were the landmarks exchanged, they would not fit
        assert abs(map_coordinates(images["fixed"], moving.T, order=1) - seen["fixed"]).mean() > 2
        assert 0.3 < np.linalg.norm(moving - fixed, axis=1).mean() < 6


def test_clean_and_spoiled_sets_share_warps_and_landmarks(table, tmp_path) -> None:
    for name, kinds in (("clean", ""), ("spoiled", ("blob", "resection")), ("again", ("blob", "resection"))):
        synthetic_pairs(str(table), str(tmp_path / name), kinds=kinds, amplitude=2.0)
    sides = set()
    for clean, spoiled, again in zip(
        *(select_pairs(tmp_path / name / "pairs.csv") for name in ("clean", "spoiled", "again")), strict=True
    ):
        for side in ("moving_landmarks", "fixed_landmarks"):
            assert np.array_equal(read_points(getattr(clean, side)), read_points(getattr(spoiled, side)))
        before, after, same = (to_pair_images(pair, tmp_path) for pair in (clean, spoiled, again))
        changed = [side for side in before if not np.array_equal(before[side], after[side])]
        assert len(changed) == 1
        assert all(np.array_equal(after[side], same[side]) for side in after)
        sides.add((spoiled.extra["kind"], changed[0]))
        if changed == ["fixed"]:
            defect = read_image(tmp_path / "spoiled" / spoiled.extra["defect"]).numpy()[0]
            assert np.array_equal(before["fixed"][defect == 0], after["fixed"][defect == 0])
    assert len(sides) == 4


def test_the_footprint_of_a_moving_defect_lies_where_the_displacement_reaches_it() -> None:
    mask = torch.zeros(1, 1, 30, 40)
    mask[..., 10:14, 20:25] = 1
    ddf = torch.tensor([4.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 30, 40)
    expected = torch.zeros_like(mask)
    expected[..., 6:10, 23:28] = 1  # x with x + u(x) in the mask
    assert torch.equal(footprint(mask, ddf), expected)
    half = footprint(mask, ddf + 0.5)  # a voxel that reads a spoiled one in part belongs to it
    assert half.sum() == 5 * 6


@pytest.mark.parametrize("kinds", ["resection", "tear", "fold", "blob"])
def test_beside_the_footprint_the_truth_holds(table, tmp_path, kinds) -> None:
    synthetic_pairs(str(table), str(tmp_path / "set"), kinds=kinds, amplitude=2.0, points=2000)
    for pair in select_pairs(tmp_path / "set" / "pairs.csv"):
        moving, fixed = read_points(pair.moving_landmarks), read_points(pair.fixed_landmarks)
        images = to_pair_images(pair, tmp_path)
        defect = read_image(tmp_path / "set" / pair.extra["defect"]).numpy()[0]
        row, column = fixed.astype(int).T
        outside = defect[row, column] == 0
        seen = map_coordinates(images["moving"], moving.T, order=1)
        assert abs(seen - images["fixed"][row, column])[outside].max() <= 1.01
        assert 0.2 < outside.mean() < 1


@pytest.mark.parametrize(("shape", "amplitude"), [((64, 64), 5.0), ((400, 301), 3.0), ((80, 80), 0.0)])
def test_warps_have_their_size_unless_they_would_fold(shape, amplitude) -> None:
    for seed in range(4):
        ddf = _warp(shape, amplitude, (6, 8, 12), np.random.RandomState(seed))
        assert ddf.shape == (1, 2, *shape)
        length = float(ddf.norm(dim=1).mean())
        assert float(jacobian_determinant(ddf).min()) >= LEAST
        assert length <= amplitude + 1e-3
        assert length == pytest.approx(amplitude, abs=1e-3) or shape == (64, 64)
        if shape == (64, 64):
            coarse = _warp(shape, amplitude, (3, 4), np.random.RandomState(seed))
            assert length < float(coarse.norm(dim=1).mean())


def test_a_part_of_the_images_and_a_smaller_size(table, tmp_path) -> None:
    synthetic_pairs(str(table), str(tmp_path / "set"), images=3, working_size=64, seed=2)
    pairs = select_pairs(tmp_path / "set" / "pairs.csv")
    assert [pair.id for pair in pairs] == ["000_s0", "001_s2", "002_s5"]
    assert all(max(read_image(pair.fixed).shape) == 64 for pair in pairs)
    synthetic_pairs(str(table), str(tmp_path / "training"), status="training")
    assert {p.extra["status"] for p in select_pairs(tmp_path / "training" / "pairs.csv")} == {"training"}


def test_what_can_t_be_done_is_refused(table, tmp_path) -> None:
    with pytest.raises(InputError, match="got 'hole'"):
        synthetic_pairs(str(table), str(tmp_path / "set"), kinds="tear,hole")
    with pytest.raises(InputError, match="at least 1, got 0"):
        synthetic_pairs(str(table), str(tmp_path / "set"), images=0)
    with pytest.raises(InputError, match="no row with status 'other'"):
        synthetic_pairs(str(table), str(tmp_path / "set"), status="other")
    write_image(tmp_path / "s0.png", np.full((1, 50, 50), 7, np.uint8))
    with pytest.raises(InputError, match=r"s0\.png shows nothing"):
        synthetic_pairs(str(table), str(tmp_path / "set"))
    assert not (tmp_path / "set" / "pairs.csv").exists()
    write_image(tmp_path / "s0.nii.gz", np.zeros((1, 40, 40, 40), np.uint8))
    table.write_text("id,moving,fixed,status\na,s0.nii.gz,s1.png,evaluation")
    with pytest.raises(InputError, match="made of 2-D images"):
        synthetic_pairs(str(table), str(tmp_path / "set"))


def test_the_command_line_takes_kinds_with_commas(table, tmp_path) -> None:
    for number, kinds in enumerate(("tear,blob", "fold", "")):
        to = tmp_path / str(number)
        options = [f"--pairs={table}", f"--to={to}", f"--kinds={kinds}", "--images=2"]
        fire.Fire({"synthetic_pairs": synthetic_pairs}, command=["synthetic_pairs", *options])
        found = [pair.extra["kind"] for pair in select_pairs(to / "pairs.csv")]
        assert found == [["tear", "blob"], ["fold", "fold"], ["", ""]][number]

"""The table of defects: distances, errors, tests, and whole runs on tiny images with known warps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter

from benchmarks import defects as module
from benchmarks.defects import (
    Method,
    defects,
    distance_to_defect,
    landmark_errors,
    methods_of,
    parse_method,
    reference_of,
    set_of,
)
from benchmarks.defects_table import compared_with, markdown
from custom_components.common.errors import InputError
from custom_components.fields import invert, sample_at, warp
from custom_components.outputs.pair_folder import is_done
from custom_components.pairs import read_pairs, write_image, write_points

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64
CPU = "$torch.device('cpu')"


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Two pairs with a known warp, the second one with a defect in the middle of its fixed image."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(module, "CONFIGS", Path("bundles/semantic_similarity/configs"))
    lines = ["id,moving,fixed,moving_landmarks,fixed_landmarks,defect,kind,status"]
    for number in range(2):
        rng = np.random.default_rng(number)
        image = gaussian_filter(rng.random((SIDE, SIDE)), 2)
        fixed = torch.from_numpy(0.1 + 0.9 * (image - image.min()) / np.ptp(image)).float()[None, None]
        field = np.stack([gaussian_filter(part, 10) for part in rng.normal(size=(2, SIDE, SIDE))])
        truth = torch.from_numpy(4 * field / np.abs(field).max()).float()[None]
        moving = warp(fixed, invert(truth)[0], padding_mode="border")
        points = rng.uniform(8, SIDE - 9, size=(40, 2))
        if number:
            mask = np.zeros((1, SIDE, SIDE), np.uint8)
            mask[:, 28:36, 28:36] = 255
            write_image(tmp_path / "defect.png", mask)
        for side, values in (("moving", moving), ("fixed", fixed)):
            write_image(tmp_path / f"{side}{number}.png", (255 * values[0].clamp(0, 1)).byte().numpy())
        write_points(tmp_path / f"fixed{number}.csv", points)
        write_points(tmp_path / f"moving{number}.csv", points + sample_at(truth.double(), torch.tensor(points)).numpy())
        files = [f"{side}{number}.{suffix}" for suffix in ("png", "csv") for side in ("moving", "fixed")]
        lines.append(",".join([f"p{number}", *files, "defect.png,blob" if number else ",", "evaluation"]))
    (tmp_path / "known.csv").write_text("\n".join(lines))
    yield tmp_path / "known.csv"
    set_determinism(None)  # what train.yaml switches on


def test_methods_as_the_command_line_gives_them() -> None:
    assert parse_method("backward") == Method("backward", "backward", {"stages": "backward"})
    found = parse_method("overlap=backward;weighting=overlap;levels=[0,1]")
    assert found.overrides == {"stages": "backward", "weighting": "overlap", "levels": [0, 1]}
    assert (found.name, found.trained) == ("overlap", True)
    assert parse_method("smooth=demons;field_sigma=3") == Method("smooth", "demons", {"field_sigma": 3})
    assert not parse_method("dis").trained


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lddmm", "'lddmm' is none of coarse"),
        ("backward;seed=1", "needs a name of its own: NAME=backward;seed=1"),
        ("a/b=backward", "'a/b' can't be its name"),
        ("none=backward", "'none' can't be its name"),
        ("a=backward;seed", "an option is key=value"),
        ("dis dis", "two methods have the name 'dis'"),
    ],
)
def test_a_wrong_method_is_named(text, message) -> None:
    with pytest.raises(InputError, match=message):
        methods_of(text)


def test_the_others_are_tested_against_the_last_variant_of_the_bundle() -> None:
    assert reference_of(methods_of("coarse x=local;seed=1 voxelmorph dis"), None) == "x"
    assert reference_of(methods_of("voxelmorph dis"), None) is None
    assert reference_of(methods_of("coarse dis"), "dis") == "dis"
    with pytest.raises(InputError, match="reference 'syn' is none of the methods coarse"):
        reference_of(methods_of("coarse"), "syn")


def test_near_and_far_are_told_apart_by_the_distance_to_the_mask(known) -> None:
    first, second = read_pairs(known)
    points = np.array([[30.0, 30.0], [30.0, 45.0], [20.5, 30.0]])
    assert distance_to_defect(first, known, points) is None
    np.testing.assert_allclose(distance_to_defect(second, known, points), [0, 10, 7.5])
    write_points(known.with_name("fixed1.csv"), points)
    write_points(known.with_name("moving1.csv"), points + np.array([[3, 4], [0, 1], [0, 2]]))
    assert landmark_errors(second, known, 8) == {"tre": 8 / 3, "near": 3.5, "far": 1}
    assert landmark_errors(second, known, 10)["near"] == 8 / 3
    assert np.isnan(landmark_errors(second, known, 10)["far"])
    assert np.isnan(landmark_errors(first, known, 8)["near"])


def test_a_mask_of_another_size_is_refused_and_an_empty_one_is_none(known) -> None:
    pair = read_pairs(known)[1]
    write_image(known.with_name("defect.png"), np.zeros((1, SIDE, SIDE), np.uint8))
    assert distance_to_defect(pair, known, np.zeros((1, 2))) is None
    write_image(known.with_name("defect.png"), np.zeros((1, SIDE, SIDE + 1), np.uint8))
    with pytest.raises(InputError, match=r"defect\.png is \(64, 65\), fixed image .*fixed1\.png \(64, 64\)"):
        distance_to_defect(pair, known, np.zeros((1, 2)))


def rows(errors: dict[str, list[float]], measure: str = "near") -> pd.DataFrame:
    empty = {name: float("nan") for name in ("tre", "near", "far", "dice")}
    found = [
        {**empty, "method": name, "seed": 0, "set": "s", "pair": str(pair), measure: value, "tre": value,
         "folding": 0.01, "deviation": 0.0, "seconds": 1.0}
        for name, values in errors.items() for pair, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(found)


def test_tests_are_paired_and_corrected() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 12)
    table = rows({"a": [*values], "b": [*(values + 0.1)], "c": [*values]})
    found = compared_with(table, "a")
    assert found["method"].tolist() == ["b", "c"]
    np.testing.assert_allclose(found["difference"], [0.1, 0])
    np.testing.assert_allclose(found["p"], [2 * 2 / 2**12, 1])  # twelve of one sign, doubled by Holm
    lines = markdown(table, "a", 8).splitlines()
    assert lines[0] == "s: 12 pairs"
    assert "| a | 1 |" in lines[4]
    assert lines[4].endswith("| 1.000 | 1.00 |")
    assert lines[-2].startswith("| b - a | +0.1000 | 0.00098 | 12 |")


def test_classical_methods_recover_known_warps_and_are_passed_over_when_done(known) -> None:
    to = known.parent / "out"
    arguments = {"sets": f"known={known}", "to": str(to), "methods": "demons dis", "options": f"device={CPU}"}
    text = defects(**arguments)
    table = pd.read_csv(to / "defects.csv")
    errors = table.groupby("method")["tre"].mean()
    assert errors["demons"] < 0.5 * errors["none"]
    assert errors["dis"] < 0.5 * errors["none"]
    assert table["near"].notna().tolist() == [False, True] * 3
    assert (table["folding"] == 0).all()
    assert [line.split(" | ")[0] for line in text.splitlines()[4:]] == ["| none", "| demons", "| dis"]
    before = (to / "demons_0" / "known" / "p0" / "metrics.json").stat().st_mtime_ns
    assert defects(**arguments) == text
    assert (to / "demons_0" / "known" / "p0" / "metrics.json").stat().st_mtime_ns == before


def test_what_another_environment_has_done_needs_no_ants(known) -> None:
    to = known.parent / "out"
    arguments = {"sets": f"known={known}", "to": str(to), "options": f"device={CPU}"}
    defects(methods="demons", **arguments)
    (to / "demons_0").rename(to / "syn_0")
    assert is_done(to / "syn_0" / "known", "p0")
    assert "| syn | 1 |" in defects(methods="syn", **arguments)


@pytest.mark.slow
def test_networks_are_trained_for_every_seed_and_judged_by_landmarks_and_labels(
    known, labelled_table, monkeypatch
) -> None:
    networks = {"backward": {"similarity": "mse", "regularization_weight": 0.02}}
    monkeypatch.setattr(module, "VARIANTS", networks)
    monkeypatch.setattr(module, "NETWORKS", networks)
    to = known.parent / "out"
    text = defects(
        sets=f"known={known} labels={labelled_table}", to=str(to), train=str(labelled_table), seeds=2,
        methods="backward narrow=backward;channels=[4,4] dis", options=f"max_epochs=1 batch_size=1 device={CPU}",
    )  # fmt: skip
    table = pd.read_csv(to / "defects.csv")
    assert len(table) == (1 + 2 + 2 + 1) * (2 + 2)
    assert table.groupby("set")["dice"].count().to_dict() == {"known": 0, "labels": 12}
    assert table.groupby("set")["tre"].count().to_dict() == {"known": 12, "labels": 0}
    assert (to / "narrow_1" / "models" / "model.pt").is_file()
    assert {"known: 2 pairs", "labels: 2 pairs"} < set(text.splitlines())
    assert "| narrow | 2 |" in text
    assert "| backward - narrow |" in text
    assert "| method | seeds | mean Dice | folded, % | sd log J | seconds a pair |" in text


def test_wrong_requests_are_refused_before_the_work(known, monkeypatch) -> None:
    monkeypatch.setattr(module, "NETWORKS", {"backward": {"similarity": "mse"}})
    given = {"sets": f"known={known}", "to": str(known.parent / "out")}
    with pytest.raises(InputError, match="has the key 'smothing'"):
        defects(methods="x=demons;smothing=2", **given)
    with pytest.raises(InputError, match="has the key 'epochs'"):
        defects(methods="demons", options="epochs=2", **given)
    with pytest.raises(InputError, match="give --train"):
        defects(methods="backward", **given)
    with pytest.raises(InputError, match="no row with status 'test'"):
        defects(methods="demons", status="test", **given)
    known.write_text(known.read_text().replace("moving1.csv", ""))
    with pytest.raises(InputError, match="pair p1 has no moving_landmarks"):
        set_of("known", known, None)

"""The displacement benchmark on two small pairs whose only displacement is the extra warp."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from benchmarks import large_displacement as benchmark
from benchmarks.large_displacement import large_displacement, parse_method, unit_field, warp_moving
from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import folding_share
from custom_components.pairs import write_image, write_points

SIDE = 128
CONFIG = "bundles/patch_nonrigid/configs/inference.yaml"


def texture(seed: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 3)
    return np.asarray(255 * (noise - noise.min()) / np.ptp(noise), np.uint8)[None]


@pytest.fixture
def cohort(tmp_path):
    """Two pairs of one image with itself, and landmarks away from the border."""
    lines = ["id,moving,fixed,moving_landmarks,fixed_landmarks,status"]
    for number in range(2):
        write_image(tmp_path / f"{number}.png", texture(number))
        write_points(tmp_path / f"{number}.csv", np.random.default_rng(number).uniform(20, 108, (40, 2)))
        lines.append(f"p{number},{number}.png,{number}.png,{number}.csv,{number}.csv,validation")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path


def test_field_is_smooth_of_unit_size_and_without_folds():
    field = unit_field((96, SIDE), 0.1 * SIDE, (0, 1))
    assert field.shape == (1, 2, 96, SIDE)
    assert field.norm(dim=1).max() == pytest.approx(1)
    assert folding_share(0.1 * SIDE * field) == 0
    assert torch.equal(field, unit_field((96, SIDE), 0.1 * SIDE, (0, 1)))
    assert not torch.equal(field, unit_field((96, SIDE), 0.1 * SIDE, (0, 2)))
    with pytest.raises(InputError, match="warps of 128 px fold an image of 128 x 96 pixels"):
        unit_field((96, SIDE), SIDE, (0, 1))


def test_landmarks_stay_on_the_structure_that_they_mark():
    spots = np.stack(np.meshgrid([30, 60, 90], [35, 64, 95], indexing="ij"), -1).reshape(-1, 2).astype(float)
    rows, columns = np.indices((SIDE, SIDE))
    field = 0.08 * SIDE * unit_field((SIDE, SIDE), 0.08 * SIDE, (3,))
    for spot in spots:
        image = 200 * np.exp(-((rows - spot[0]) ** 2 + (columns - spot[1]) ** 2) / 18)[None]
        bent, (carried,) = warp_moving(image.astype(np.float32), spot[None], field)
        assert np.linalg.norm(carried - spot) > 0.3
        centre = np.array([(bent[0] * axis).sum() for axis in (rows, columns)]) / bent.sum()
        assert np.linalg.norm(carried - centre) < 0.5


def test_landmarks_that_leave_the_image_are_nan():
    away = torch.zeros(1, 2, SIDE, SIDE, dtype=torch.float64)
    away[:, 1] = 20  # the result at x is the image at x + 20: what lies further left is gone
    _, carried = warp_moving(texture(0), np.array([[50.0, 10.0], [50.0, 60.0]]), away)
    assert np.isnan(carried[0]).all()
    assert carried[1] == pytest.approx([50, 40], abs=0.01)


def test_none_has_the_warps_error_and_dis_undoes_it(cohort):
    said = large_displacement(str(cohort / "pairs.csv"), str(cohort / "to"), "dis", amplitudes="0 4 8")
    rows = pd.read_csv(cohort / "to" / "large_displacement.csv")
    none, dis = (rows[rows["method"] == name].groupby("amplitude")["mean"].mean() for name in ("none", "dis"))
    assert none[0] == 0
    assert none[8] == pytest.approx(2 * none[4], rel=0.1)
    # the mean displacement is a third to a half of the largest, the diagonal is sqrt(2) sides
    assert 0.2 * 0.08 < none[8] * np.sqrt(2) < 0.7 * 0.08
    assert (dis[[4.0, 8.0]] < 0.2 * none[[4.0, 8.0]]).all()
    assert f"| 8 | {none[8]:.5f} | {dis[8]:.5f} |" in said
    assert (cohort / "to" / "large_displacement.md").read_text() == said + "\n"
    assert (cohort / "to" / "large_displacement.png").stat().st_size > 5000


def test_refused_pair_counts_as_unregistered_and_is_told(cohort, monkeypatch):
    def refuse(moving, fixed, points):
        raise RegistrationError("too few matches")

    monkeypatch.setattr(benchmark, "parse_method", lambda text: (text, refuse))
    said = large_displacement(str(cohort / "pairs.csv"), str(cohort / "to"), "shy", amplitudes="4", limit=1)
    assert re.search(r"\| 4 \| (\S+) \| \1 \|", said)
    assert said.endswith("`shy` refused 1 of 1, counted as unregistered.")


def test_method_overrides_keys_of_a_bundle(repository, monkeypatch):
    monkeypatch.chdir(repository)
    parser = open_bundle(CONFIG, align=False, scales=[0.5, 1.0]).parser()
    assert (parser.get_parsed_content("align"), parser.get_parsed_content("scales")) == (False, [0.5, 1.0])
    name, carry = parse_method(f"patch={CONFIG},align=false,scales=[0.25,0.5],margin=0")
    parsed = carry.keywords["parser"]
    assert (name, parsed.get_parsed_content("scales"), parsed.get_parsed_content("margin")) == ("patch", [0.25, 0.5], 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sift", "method 'sift' is none of dis, xfeat"),
        ("patch=gone.yaml", r"config file gone\.yaml does not exist"),
        (f"patch={CONFIG},algin=false", "has no key 'algin'"),
    ],
)
def test_unknown_methods_files_and_keys_are_told(text, message, repository, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(InputError, match=message):
        parse_method(text)


@pytest.mark.parametrize("amplitudes", ["", "1 two", "-1"])
def test_amplitudes_are_numbers_from_zero_on(cohort, amplitudes):
    with pytest.raises(InputError, match="amplitudes are numbers"):
        large_displacement(str(cohort / "pairs.csv"), str(cohort / "to"), "none", amplitudes=amplitudes)


@pytest.mark.slow
def test_bundle_without_its_affine_undoes_a_small_warp(cohort, repository, monkeypatch):
    monkeypatch.chdir(repository)
    method = f"patch={CONFIG},align=false,margin=0,device=cpu"
    large_displacement(str(cohort / "pairs.csv"), str(cohort / "to"), method, amplitudes="4", limit=1)
    none, patch = pd.read_csv(cohort / "to" / "large_displacement.csv")["mean"]
    assert patch < 0.5 * none

"""From the ACROBAT point table through a run to a scored submission, on small files of the documented layout."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from monai.transforms import Compose

from custom_components.commands.acrobat import main, pairs, score, submit
from custom_components.common.errors import InputError
from custom_components.engines import PairEvaluator, pair_dataset
from custom_components.handlers import RegistrationWriter
from custom_components.inferers.result import PairImages, Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.pairs import read_pairs, read_points, write_image
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

MPP_IHC, MPP_HE = 0.91, 0.92
HEIGHT, WIDTH = 96, 128
IDS = ["1_ER_to_1_HE", "2_KI67_to_2_HE"]


def tissue(seed: int) -> np.ndarray:
    image = np.full((3, HEIGHT, WIDTH), 240, np.uint8)
    image[:, 20:80, 20:110] = np.random.default_rng(seed).integers(40, 160, (3, 60, 90))
    return image


@pytest.fixture
def challenge(tmp_path):
    """Two pairs of 10x files and their point table, the rows of the pairs in turns; unregistered pixels differ."""
    rows = []
    for number, antibody in ((1, "ER"), (2, "KI67")):
        for name in (f"{number}_{antibody}", f"{number}_HE"):
            write_image(tmp_path / f"{name}.tif", tissue(number))
        for index, (row, column) in enumerate(np.random.default_rng(number).uniform(10, 90, (12, 2))):
            rows.append({
                "anon_id": number, "anon_filename_he": f"{number}_HE.ndpi",
                "anon_filename_ihc": f"{number}_{antibody}.ndpi", "point_id": 100 * number + index,
                "ihc_x": column * MPP_IHC, "ihc_y": row * MPP_IHC, "mpp_ihc_10X": MPP_IHC, "mpp_he_10X": MPP_HE,
                "ihc_antibody": antibody, "he_x": np.nan, "he_y": np.nan,
            })  # fmt: skip
    table = pd.DataFrame(rows[::2] + rows[1::2])
    table.to_csv(tmp_path / "points.csv", index=False)
    return tmp_path, table


def register(folder, only: int | None = None) -> None:
    """Write the outputs of a run whose field is the identity; ``only`` so many pairs."""

    def identity(images: PairImages) -> Registration:
        field = torch.zeros(1, 2, *images.shape)
        return Registration(field, field, PointPairs.empty(), PointPairs.empty(), ())

    keys = ["moving", "fixed"]
    prepare = Compose([ReadPaird(), WorkingSized(keys, 100), StainGreyd(keys), CommonPadd(keys)])
    dataset = pair_dataset(folder / "out", pairs=folder / "pairs.csv")
    dataset.data = dataset.data[:only]
    handlers = [RegistrationWriter(folder / "out", report=False)]
    PairEvaluator(dataset, prepare, identity, handlers=handlers).run()


def prepare_and_run(folder, only: int | None = None) -> None:
    pairs(str(folder / "points.csv"), str(folder), str(folder / "pairs.csv"))
    register(folder, only)


def test_pair_table_and_landmarks_are_what_a_bundle_reads(challenge):
    folder, table = challenge
    said = pairs(str(folder / "points.csv"), str(folder), str(folder / "pairs.csv"))
    assert said.endswith("pairs.csv: 2 pairs, 24 points")
    first, second = read_pairs(folder / "pairs.csv")
    assert (first.id, first.moving, first.fixed) == (IDS[0], folder / "1_ER.tif", folder / "1_HE.tif")
    assert second.extra == {"anon_id": "2", "ihc_antibody": "KI67"}
    assert first.moving_landmarks == folder / "landmarks" / f"{IDS[0]}.csv"
    own = table[table["anon_id"] == 1]
    np.testing.assert_allclose(read_points(first.moving_landmarks), own[["ihc_y", "ihc_x"]].to_numpy() / MPP_IHC)


def test_identity_field_leaves_pixels_where_they_are_in_the_tables_order(challenge):
    folder, table = challenge
    prepare_and_run(folder)
    submit(str(folder / "points.csv"), str(folder / "out"), str(folder / "submission.csv"))
    found = pd.read_csv(folder / "submission.csv")
    assert list(found.columns) == ["point_id", "he_x", "he_y"]
    assert found["point_id"].tolist() == table["point_id"].tolist()
    pixels = found[["he_x", "he_y"]].to_numpy() / MPP_HE
    np.testing.assert_allclose(pixels, table[["ihc_x", "ihc_y"]].to_numpy() / MPP_IHC, atol=1e-3)


def test_files_of_another_resolution_go_by_their_own_pixel_size(challenge):
    folder, table = challenge
    for name in ("1_ER", "1_HE"):
        write_image(folder / f"{name}.tif", tissue(1)[:, ::2, ::2], pixel_size=(2 * MPP_IHC, 2 * MPP_IHC))
    said = pairs(str(folder / "points.csv"), str(folder), str(folder / "pairs.csv"))
    assert "1 pairs state another pixel size than the table's at 10x: their own is taken" in said
    register(folder)
    submit(str(folder / "points.csv"), str(folder / "out"), str(folder / "submission.csv"))
    own = table["anon_id"].to_numpy() == 1
    marks = read_points(folder / "landmarks" / f"{IDS[0]}.csv")
    np.testing.assert_allclose(marks, table[own][["ihc_y", "ihc_x"]].to_numpy() / (2 * MPP_IHC), rtol=1e-6)
    pixels = pd.read_csv(folder / "submission.csv")[own][["he_y", "he_x"]].to_numpy() / (2 * MPP_IHC)
    np.testing.assert_allclose(pixels, marks, atol=1e-3)
    with pytest.raises(InputError, match=r"outside 1_ER\.tif of 64 x 48 pixels"):
        pairs(str(folder / "points.csv"), str(folder), str(folder / "again.csv"), own_pixel_size=False)


def test_pair_without_a_result_is_named_and_unregistered(challenge):
    folder, table = challenge
    prepare_and_run(folder, only=1)
    said = submit(str(folder / "points.csv"), str(folder / "out"), str(folder / "submission.csv"))
    assert said.splitlines()[1:] == [f"unregistered: {IDS[1]}: no result"]
    lost = table["anon_id"].to_numpy() == 2
    found = pd.read_csv(folder / "submission.csv")
    np.testing.assert_allclose(found[lost][["he_x", "he_y"]], table[lost][["ihc_x", "ihc_y"]])


def test_files_of_the_users_are_not_written_over(challenge):
    folder, _ = challenge
    points, table, submission = (str(folder / f"{name}.csv") for name in ("points", "pairs", "submission"))
    (folder / "landmarks").mkdir()
    own = folder / "landmarks" / f"{IDS[0]}.csv"
    own.write_text("the user's")
    with pytest.raises(InputError, match="was not made by acrobat pairs"):
        pairs(points, str(folder), table)
    own.unlink()
    prepare_and_run(folder)
    submit(points, str(folder / "out"), submission)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="exists already"):
        pairs(points, str(folder), table)
    with pytest.raises(InputError, match="exists already"):
        submit(points, str(folder / "out"), submission)
    for act in (lambda: pairs(points, str(folder), points, overwrite=True),
                lambda: submit(points, str(folder / "out"), points, overwrite=True)):  # fmt: skip
        with pytest.raises(InputError, match="is an input"):
            act()
    pairs(points, str(folder), table, overwrite=True)
    submit(points, str(folder / "out"), submission, overwrite=True)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_results_of_other_points_or_of_another_folder_are_refused(challenge):
    folder, table = challenge
    prepare_and_run(folder)
    table.iloc[1:].to_csv(folder / "points.csv", index=False)
    with pytest.raises(InputError, match=r"warped_landmarks\.csv has other points than points\.csv"):
        submit(str(folder / "points.csv"), str(folder / "out"), str(folder / "submission.csv"))
    with pytest.raises(InputError, match=r"typo holds no warped landmarks of any of the 2 pairs"):
        submit(str(folder / "points.csv"), str(folder / "typo"), str(folder / "submission.csv"))


def test_pixels_given_as_micrometres_are_told_before_anything_is_written(challenge):
    folder, table = challenge
    table.loc[5, ["ihc_x", "ihc_y"]] = [125.0, 40.0]  # pixels of the image, but 137 once divided
    table.to_csv(folder / "points.csv", index=False)
    with pytest.raises(InputError, match=r"row 7: point \d+ at \(125, 40\) micrometres .* as pixels they would fit"):
        pairs(str(folder / "points.csv"), str(folder), str(folder / "pairs.csv"))
    assert not (folder / "landmarks").exists()


def test_missing_image_is_named_with_its_row(challenge, monkeypatch):
    folder, _ = challenge
    (folder / "2_HE.tif").unlink()
    arguments = ["--points", str(folder / "points.csv"), "--images", str(folder), "--to", str(folder / "pairs.csv")]
    monkeypatch.setattr(sys, "argv", ["acrobat", "pairs", *arguments])
    with pytest.raises(SystemExit, match=r"^error: points\.csv row \d+: there is no image of '2_HE\.ndpi' in "):
        main()


@pytest.fixture
def truth(challenge):
    """Annotators 1 um left and right of the unregistered point of pair 1, and of a point 30 um below that of pair 2."""
    folder, table = challenge
    known = table[["anon_filename_he", "anon_filename_ihc", "point_id", "ihc_x", "ihc_y"]].copy()
    below = np.where(table["anon_id"] == 2, 30.0, 0.0)
    for annotator, shift in ((1, -1.0), (2, 1.0)):
        known[f"he_x_{annotator}"] = known["ihc_x"] + shift
        known[f"he_y_{annotator}"] = known["ihc_y"] + below
    known["max_he_x"], known["max_he_y"] = 1000, 1000
    known.to_csv(folder / "truth.csv", index=False)
    best = table[["point_id"]].assign(he_x=known["ihc_x"], he_y=known["ihc_y"] + below)
    return folder, best


def scored(folder, submission) -> str:
    submission.to_csv(folder / "submission.csv", index=False)
    return score(str(folder / "submission.csv"), str(folder / "truth.csv"))


def test_perfect_submission_is_off_by_the_annotators_disagreement(truth):
    folder, best = truth
    said = scored(folder, best)
    assert f"| {IDS[1]} | 12 | 1.00 | 1.00 |" in said
    assert "| median_p90 | 1.00 |" in said
    assert "24 points of 2 pairs, 0 missing" in said


def test_missing_points_count_as_unregistered_and_foreign_ones_not_at_all(truth):
    folder, best = truth
    kept = best[best["point_id"] < 200]
    said = scored(folder, pd.concat([kept, pd.DataFrame([{"point_id": 999, "he_x": 1, "he_y": 1}])]))
    assert "12 missing and counted as unregistered, 1 submitted ones not in" in said
    away = np.hypot(1, 30)
    assert f"| {IDS[1]} | 12 | {away:.2f} | {away:.2f} |" in said
    assert f"| mean_p90 | {(1 + away) / 2:.2f} |" in said
    with pytest.raises(InputError, match=r"has none of the points of .*truth\.csv, such as '1"):
        scored(folder, best.assign(point_id=best["point_id"] + 5000))

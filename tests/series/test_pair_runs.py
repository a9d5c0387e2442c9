"""Single registrations of a series: how they are made, kept and taken as links."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.fields import warp_along
from custom_components.pairs import write_image
from custom_components.series.pair_runs import PairRuns, config_file
from custom_components.series.sections import read_sections


@pytest.fixture(scope="module")
def runs(known, repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        runs = PairRuns(read_sections(known.table), known.config, tmp_path_factory.mktemp("runs"), {})
        runs(1, 3)
        return runs


def test_a_pair_is_registered_once_and_scored_although_its_method_does_not(runs):
    outcome = runs(1, 3)
    assert (outcome.fixed, outcome.moving, outcome.status, outcome.matches) == (1, 3, "ok", 0)
    assert outcome.similarity is not None
    assert outcome.similarity > 0.3
    record = runs.pair_path(1, 3) / "metrics.json"
    before = record.stat().st_mtime_ns
    assert runs(1, 3) == outcome
    assert record.stat().st_mtime_ns == before
    assert runs.pair_path(1, 3).name == "c_to_b"


def test_its_link_leads_from_the_fixed_section_to_the_moving_one_and_backwards(runs, known):
    there = warp_along([runs.link(1, 3)], known.places("b"))
    assert np.linalg.norm(there - known.places("c"), axis=1).mean() < 1
    back = warp_along([runs.link(1, 3, backwards=True)], known.places("c"))
    assert np.linalg.norm(back - known.places("b"), axis=1).mean() < 1
    assert np.linalg.norm(known.places("b") - known.places("c"), axis=1).mean() > 3


def test_a_failure_is_an_outcome_with_its_reason(runs):
    outcome = runs(1, 2)
    assert (outcome.status, outcome.matches, outcome.similarity) == ("failed", 0, None)
    assert "blank.png is empty" in outcome.reason


def test_another_file_of_the_same_name_is_refused_in_the_folder_with_both_paths(runs, known, tmp_path):
    write_image(tmp_path / "c.png", np.full((3, 300, 300), 240, np.uint8))
    sections = [*runs.sections]
    sections[3] = replace(sections[3], image=tmp_path / "c.png", landmarks=None)
    record = runs.pair_path(1, 3) / "metrics.json"
    kept = record.read_bytes()
    with pytest.raises(InputError, match=rf"holds the result of .*, not of {tmp_path}"):
        PairRuns(sections, known.config, runs.folder.parent, {}, resume=False)
    assert record.read_bytes() == kept


def test_settings_that_the_series_sets_itself_and_unknown_ones_are_refused(known, tmp_path):
    sections = read_sections(known.table)
    for settings, message in (({"fixed": "x"}, "a series sets 'fixed' itself"), ({"sede": 1}, "has no key 'sede'")):
        with pytest.raises(InputError, match=message):
            PairRuns(sections, known.config, tmp_path, settings)


def test_other_settings_are_taken_when_everything_is_done_again(known, tmp_path):
    sections = read_sections(known.table)
    PairRuns(sections, known.config, tmp_path, {"least_size": 300})
    with pytest.raises(InputError, match=r"other settings, see settings\.json"):
        PairRuns(sections, known.config, tmp_path, {})
    PairRuns(sections, known.config, tmp_path, {}, resume=False)
    PairRuns(sections, known.config, tmp_path, {})


def test_a_bundle_is_named_by_its_folder_or_by_a_config():
    assert config_file("hybrid_matching").as_posix().endswith("bundles/hybrid_matching/configs/inference.yaml")
    assert str(config_file("bundles/x/configs/union.yaml")) == "bundles/x/configs/union.yaml"

"""The loop over pairs with a fake inferer: every failure is recorded with its cause and the run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.transforms import Compose

from custom_components.common.errors import InputError, RegistrationError
from custom_components.engines import PairEvaluator, pair_dataset
from custom_components.inferers.result import PairImages, Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.identity import RunSettings, run_record
from custom_components.outputs.outcome import failure_reason
from custom_components.pairs import Pair, read_pairs, write_image
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized


def identity(images: PairImages) -> Registration:
    """An inferer that leaves everything where it is."""
    field = torch.zeros(1, 2, *images.shape)
    return Registration(field, field, PointPairs.empty(), PointPairs.empty(), ())


def prepare() -> Compose:
    keys = ["moving", "fixed"]
    return Compose([ReadPaird(), WorkingSized(keys, 64), StainGreyd(keys), CommonPadd(keys)])


@pytest.fixture
def table(tmp_path):
    """Three pairs; the second names a file that is not there."""
    square = np.full((3, 64, 80), 240, np.uint8)
    square[:, 20:44, 20:60] = np.random.default_rng(0).integers(40, 160, (3, 24, 40))
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", square)
    path = tmp_path / "pairs.csv"
    path.write_text("id,moving,fixed\none,a.png,b.png\ntwo,a.png,absent.png\nthree,b.png,a.png\n")
    return path


def evaluator_of(table, tmp_path, inferer=identity, **options):
    return PairEvaluator(pair_dataset(tmp_path / "out", pairs=table, **options), prepare(), inferer)


def test_each_pair_is_prepared_and_reaches_the_handlers(table, tmp_path):
    seen = []
    evaluator = evaluator_of(table, tmp_path)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    evaluator.run()
    assert [outcome.pair.id for outcome in seen] == ["one", "two", "three"]
    assert [outcome.registration is None for outcome in seen] == [False, True, False]
    assert seen[0].data["working_moving"].shape == seen[0].data["mask_fixed"].shape
    assert seen[0].registration.ddf.shape[2:] == seen[0].data["working_fixed"].shape[1:]
    assert all(outcome.seconds > 0 for outcome in seen)


def test_a_missing_file_is_named_although_compose_wraps_the_cause(table, tmp_path):
    evaluator = evaluator_of(table, tmp_path)
    evaluator.run()
    reasons = dict(evaluator.outcomes)
    assert reasons["two"] == f"pairs.csv row 3: fixed image 'absent.png' does not exist (looked in {tmp_path})"
    assert reasons["one"] == reasons["three"] == ""


def refuse(images: PairImages) -> Registration:
    raise RegistrationError("only 3 matches agree")


def break_down(images: PairImages) -> Registration:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("inferer", "reason"),
    [
        (refuse, "one: a.png onto b.png: only 3 matches agree"),
        (break_down, "one: a.png onto b.png: unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_a_run_in_which_everything_failed_ends_with_all_reasons(table, tmp_path, inferer, reason):
    with pytest.raises(SystemExit) as stopped:
        evaluator_of(table, tmp_path, inferer).run()
    lines = str(stopped.value.code).splitlines()
    assert len(lines) == 3
    assert lines[0] == f"error: {reason}"


def test_an_unexpected_error_in_a_transform_is_reported_with_its_own_message(table, tmp_path):
    def stumble(data):
        raise OSError("no space left on device")

    evaluator = PairEvaluator(pair_dataset(tmp_path / "out", pairs=table), Compose([stumble]), identity)
    with pytest.raises(SystemExit, match=r"a\.png onto b\.png: unexpected OSError: no space left on device"):
        evaluator.run()


def done(table, output_dir, **statuses):
    """Leave the records that runs would have left of the table's pairs."""
    for pair in read_pairs(table):
        if pair.id in statuses:
            metrics = {"id": pair.id, "status": statuses[pair.id], "run": run_record(pair, RunSettings(), {})}
            (output_dir / pair.id).mkdir(parents=True)
            (output_dir / pair.id / "metrics.json").write_text(json.dumps(metrics))


def test_finished_pairs_are_passed_over_and_failed_ones_repeated(table, tmp_path, capsys):
    table.write_text(table.read_text().replace("absent.png", "a.png"))
    done(table, tmp_path / "out", one="ok", two="failed", three="poor")
    dataset = pair_dataset(tmp_path / "out", pairs=table)
    assert [item["pair"].id for item in dataset.data] == ["two"]
    assert [pair.id for pair in dataset.pairs] == ["one", "two", "three"]
    assert "2 of 3 pairs are in" in capsys.readouterr().out
    assert len(pair_dataset(tmp_path / "out", resume=False, pairs=table)) == 3


def test_a_damaged_metrics_file_counts_as_not_done(table, tmp_path):
    (tmp_path / "out" / "one").mkdir(parents=True)
    (tmp_path / "out" / "one" / "metrics.json").write_text('{"status": "o')
    assert len(pair_dataset(tmp_path / "out", pairs=table)) == 3


def test_a_finished_cohort_still_fires_completed_so_that_the_summary_is_written(table, tmp_path):
    table.write_text(table.read_text().replace("absent.png", "a.png"))
    done(table, tmp_path / "out", one="ok", two="ok", three="ok")
    completed = []
    evaluator = evaluator_of(table, tmp_path)
    evaluator.add_event_handler(Events.COMPLETED, completed.append)
    evaluator.run()
    assert completed == [evaluator]
    assert evaluator.outcomes == []


def test_without_images_a_config_parses_but_does_not_run(tmp_path):
    dataset = pair_dataset(tmp_path / "out")
    assert len(dataset) == 0
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match="--moving IMAGE and --fixed IMAGE"):
        PairEvaluator(dataset, prepare(), identity).run()


def test_wrong_arguments_and_an_unwritable_folder_end_before_any_work(table, tmp_path):
    with pytest.raises(SystemExit, match=r"pair table .*gone\.csv does not exist"):
        pair_dataset(tmp_path / "out", pairs=tmp_path / "gone.csv")
    with pytest.raises(SystemExit, match=r"output folder .*pairs\.csv.out can't be written"):
        pair_dataset(table / "out", pairs=table)


def test_a_handler_that_cannot_write_a_pair_makes_it_a_failed_one(table, tmp_path):
    class Stubborn:
        def attach(self, engine):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

        def __call__(self, engine):
            engine.state.output = replace(engine.state.output, reason="disk full")

    dataset = pair_dataset(tmp_path / "out", pairs=table)
    evaluator = PairEvaluator(dataset, prepare(), identity, handlers=[Stubborn()])
    with pytest.raises(SystemExit, match="error: one: disk full"):
        evaluator.run()


def test_reasons_name_both_images_where_the_error_does_not():
    pair = Pair("p", Path("x/a.png"), Path("y/b.png"))
    assert failure_reason(InputError("image c.png is empty"), pair) == "image c.png is empty"
    assert failure_reason(RegistrationError("no match"), pair) == "a.png onto b.png: no match"

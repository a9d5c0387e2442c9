"""Stages that build on one another: what they train on, in which order, what is done already, what a kill leaves."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.data import Dataset
from monai.utils import set_determinism
from torch import nn

from custom_components.common.errors import InputError
from custom_components.common.weights import read_state
from custom_components.engines import StagedTraining, TrainingStage
from custom_components.engines.staged_training import _constant, _half_cosine
from custom_components.engines.training_pairs import SIDES, stacked
from custom_components.fields import smooth
from custom_components.losses import GuidedLoss
from custom_components.matching import PointPairs
from custom_components.networks import MaskFlownetS
from custom_components.transforms import RandomView

TINY = {"channels": [4] * 6, "estimator_channels": [4], "context_channels": [4] * 6}


@pytest.fixture(autouse=True)
def _seeded():
    set_determinism(0)
    yield
    set_determinism(None)


def pairs(count: int = 3) -> Dataset:
    return Dataset(
        [
            {
                "pair": SimpleNamespace(id=str(index)),
                **{
                    f"{name}_{side}": torch.rand(1, 48, 64)
                    for name in ("working", "mask")
                    for side in ("moving", "fixed")
                },
            }
            for index in range(count)
        ]
    )


def found_at(*rows: float) -> PointPairs:
    fixed = torch.tensor([[row, 20.0] for row in rows])
    return PointPairs(fixed + 1, fixed, torch.ones(len(rows)))


def fixed_matcher(*_: Any) -> PointPairs:
    return found_at(5.0, 15.0)


def learned_matcher(network: nn.Module, rows: tuple[float, ...] = (15.0, 30.0)) -> Any:
    assert not network.training
    return lambda *_: found_at(*rows)


def stage(name: str, start: str | Path, sources: tuple[str, ...] = (), **options: Any) -> TrainingStage:
    return TrainingStage(
        name, start, GuidedLoss(keypoints=[30.0] * len(sources)), sources, **{"max_epochs": 1, **options}
    )


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    torch.save(MaskFlownetS(**TINY).state_dict(), tmp_path / "pretrained.pt")
    return tmp_path / "pretrained.pt"


def training(start: Path, folder: Path, stages: list[TrainingStage], **options: Any) -> StagedTraining:
    return StagedTraining(
        MaskFlownetS(**TINY), stages, options.pop("pairs", pairs()), fixed_matcher,
        options.pop("learned_matcher", learned_matcher), folder, **options,
    )  # fmt: skip


def ladder(start: Path, **options: Any) -> list[TrainingStage]:
    return [stage("first", start, ("fixed",), **options), stage("second", "first", ("fixed", "first"), **options)]


def test_the_stages_run_in_order_and_are_passed_over_when_done(start, tmp_path, capsys):
    folder, model = tmp_path / "training", tmp_path / "model.pt"
    training(start, folder, ladder(start), model_file=model).run()
    first, second = (read_state(folder / f"{name}.pt", name) for name in ("first", "second"))
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(read_state(model, "model")[key], value) for key, value in second.items())
    with (folder / "second" / "matches.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # 15 is known already
    assert rows[0] == {"id": "0", "fixed": "2", "first": "1"}
    assert len(rows) == 3
    with (folder / "second" / "curve.csv").open() as stream:
        columns = set(next(csv.DictReader(stream)))
    assert {"keypoints_0", "keypoints_1", "similarity", "regularization", "loss"} < columns
    capsys.readouterr()
    training(start, folder, ladder(start), model_file=model).run()
    assert capsys.readouterr().out.count("done already") == 2


def test_one_stage_alone_asks_for_what_it_builds_on(start, tmp_path):
    work = training(start, tmp_path / "training", ladder(start))
    with pytest.raises(InputError, match=r"stage 'first' is not done.*--stage first"):
        work.run(stage="second")
    work.run(stage="first")
    assert not work.weights_path("second").exists()
    work.run(stage="second")
    assert work.weights_path("second").exists()


def test_correspondences_alone(start, tmp_path, capsys):
    work = training(start, tmp_path / "training", ladder(start))
    work.run(generate_keypoints="fixed")
    assert "fixed: 2 correspondences a pair in 3 pairs" in capsys.readouterr().out
    assert not (tmp_path / "training").exists()
    with pytest.raises(InputError, match="stage 'first' is not done"):
        work.run(generate_keypoints="first")


def test_the_schedule_ends_when_a_round_finds_little_new(start, tmp_path, capsys):
    stages = [*ladder(start)[:1], stage("second", "first", ("fixed", "first"), min_match_gain=0.6)]
    model = tmp_path / "model.pt"
    work = training(start, tmp_path / "training", stages, model_file=model)
    work.run()
    assert "first adds 50.0% of correspondences only; converged" in capsys.readouterr().out
    assert not work.weights_path("second").exists()
    assert model.read_bytes() == work.weights_path("first").read_bytes()


def test_a_stopped_stage_goes_on_to_the_same_weights(start, tmp_path):
    def stages(epochs: int) -> list[TrainingStage]:
        return ladder(start, max_epochs=epochs)[:1]

    data = pairs()
    training(start, tmp_path / "whole", stages(3), pairs=data).run()
    broken = training(start, tmp_path / "broken", stages(3), pairs=data)
    loss = broken.stages["first"].loss
    forward, calls = loss.forward, []

    def failing(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 9:  # in the second epoch of six steps
            raise KeyboardInterrupt
        return forward(*arguments)

    loss.forward = failing  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert not broken.weights_path("first").exists()
    training(start, tmp_path / "broken", stages(3), pairs=data).run()
    whole, again = (read_state(tmp_path / name / "first.pt", name) for name in ("whole", "broken"))
    assert all(torch.equal(whole[key], again[key]) for key in whole)


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (("a", "a"), ((), ()), "two sources of correspondences would have the name 'a'"),
        (("fixed",), ((),), "two sources of correspondences would have the name 'fixed'"),
        (("a", "b"), (("b",), ()), r"stage 'a' takes matches of \['b'\], which come not before it"),
    ],
)
def test_a_schedule_that_can_not_be_is_refused(start, tmp_path, names, sources, message):
    stages = [stage(name, start, source) for name, source in zip(names, sources, strict=True)]
    with pytest.raises(InputError, match=message):
        training(start, tmp_path, stages)


def test_unknown_stages_and_missing_pairs_are_named(start, tmp_path):
    with pytest.raises(InputError, match="unknown stage 'third'; there are first, second"):
        training(start, tmp_path, ladder(start)).run(stage="third")
    with pytest.raises(InputError, match=r"give --pairs TABLE\.csv"):
        training(start, tmp_path, ladder(start), pairs=Dataset([])).run()


def test_a_flat_loss_ends_a_stage_early(start, tmp_path):
    stages = [stage("first", start, ("fixed",), max_epochs=9, patience=1, improvement=0.99)]
    training(start, tmp_path, stages).run()
    with (tmp_path / "first" / "curve.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 2


def test_later_sources_keep_away_from_known_points(start, tmp_path):
    make = partial(learned_matcher, rows=(7.0, 40.0, 15.0))
    work = training(start, tmp_path, ladder(start), learned_matcher=make, separation=3.0)
    work.run(stage="first")
    fixed, new = work.matches(["fixed", "first"])
    assert fixed["1"].fixed[:, 0].tolist() == [5.0, 15.0]
    assert new["1"].fixed[:, 0].tolist() == [40.0]


def test_a_stage_with_a_view_sees_second_looks_after_the_first_pass_of_its_start(start, tmp_path):
    data, seen = pairs(), {}

    class Watched(RandomView):
        def __call__(self, item):
            seen[float(item["image"][0, 0, 0])] = item["field"]
            return super().__call__(item)

    training(start, tmp_path, [stage("first", start, view=Watched(second=1.0), field_sigma=2.0)], pairs=data).run()
    network = MaskFlownetS(**TINY).eval()
    network.load_state_dict(read_state(start, "start"))
    assert len(seen) == 6
    for backwards in (False, True):
        image = stacked(data[1], "working", SIDES[::-1] if backwards else SIDES)
        with torch.no_grad():
            wanted = smooth(network(image[None]), 2.0)[0]
        assert torch.allclose(seen[float(image[0, 0, 0])], wanted, atol=1e-2)


def test_the_rate_falls_where_it_is_asked_to():
    assert _half_cosine(0, 10) == pytest.approx(1)
    assert _half_cosine(5, 10) == pytest.approx(0.525)
    assert _half_cosine(10, 10) == _half_cosine(12, 10) == pytest.approx(0.05)
    assert _constant(7) == 1

"""Stages of the presets: they add up, and what can't be measured says why."""

from __future__ import annotations

import pytest
import torch

from benchmarks import speed_stages
from benchmarks.known_pair import tissue_pair
from benchmarks.speed_stages import PRESETS, RIVALS, Clock, Spent, main, measure, rival, table, timed_steps
from custom_components.common.errors import InputError
from custom_components.inferers import Chain, FlowRefinement


def test_steps_on_the_clock_find_what_they_find_without() -> None:
    images, clock = tissue_pair(160, 0.012), Clock()
    chain = Chain([FlowRefinement()])
    assert torch.equal(timed_steps(chain, clock)(images).ddf, chain(images).ddf)
    assert [spent.stage for spent in clock.spent] == ["flow refinement"]
    assert clock.spent[0].wall > 0


def test_an_affine_before_the_flow_is_part_of_the_field() -> None:
    clock = Clock()
    found = rival("xfeat+dis", 1)(tissue_pair(320, 0.012), clock)
    assert speed_stages.mean_error(found, 320, 0.012) < 0.3 * speed_stages.mean_error(None, 320, 0.012)
    assert [spent.stage for spent in clock.spent] == ["xfeat", "dis"]


@pytest.mark.slow
@pytest.mark.parametrize("method", PRESETS[:2])
def test_the_stages_of_a_preset_add_up(method: str) -> None:
    found = measure(method, 256, 1)
    assert [spent.stage for spent in found][:1] == ["affine alignment"]
    assert found[-1].cpu == pytest.approx(sum(spent.cpu for spent in found[:-1]))
    assert found[-1].after < 1


def test_the_table_has_a_row_for_each_stage_and_for_what_is_missing() -> None:
    stages = [Spent("affine alignment", 0.5, 0.6), Spent("all", 1.0, 1.234, 0.5)]
    rows = table(["fast", "elastix"], [512], 2, lambda method, *_: stages if method == "fast" else "not installed")
    assert rows.splitlines()[2:] == [
        "| 512 | fast | affine alignment | 0.50 | 0.60 |  |",
        "| 512 | fast | all | 1.00 | 1.23 | 0.50 |",
        "| 512 | elastix | not installed | | | |",
    ]


def test_every_preset_and_rival_is_measured_at_every_size(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        speed_stages.table, "__defaults__", (lambda *chosen: asked.append(chosen) or "instead of figures",)
    )
    assert "instead of figures" in main(["--sizes", "256", "512", "--threads", "1"])
    assert asked == [(method, size, 1) for size in (256, 512) for method in (*PRESETS, *RIVALS)]
    with pytest.raises(InputError, match="at least 192 pixels, got 8"):
        main(["--sizes", "8"])

"""The landmark error as a metric of MONAI and a handler of Ignite: the same figures as the plain functions."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.metrics import LandmarkError, LandmarkErrorHandler, aggregate, pair_metrics
from custom_components.metrics.ignite import Name

NAMES = get_args(Name)
COUNTS = (4, 1, 7, 2, 5)
DIAGONALS = (100.0, 50.0, 80.0, 120.0, 64.0)


@pytest.fixture
def landmarks() -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    fixed = [50 * torch.rand(n, 2, generator=generator, dtype=torch.float64) for n in COUNTS]
    return [f + torch.randn(f.shape, generator=generator, dtype=torch.float64) for f in fixed], fixed


def wanted(warped: list[Tensor], fixed: list[Tensor], name: str) -> float:
    pairs = [pair_metrics(w.numpy(), w.numpy(), f.numpy(), d) for w, f, d in zip(warped, fixed, DIAGONALS, strict=True)]
    return float(getattr(aggregate(pairs), name))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_that_of_aggregate_however_the_batches_are_cut(name, landmarks) -> None:
    warped, fixed = landmarks
    metric = LandmarkError(name)
    for start, stop in ((0, 2), (2, 3), (3, 5)):
        rows = metric(warped[start:stop], fixed[start:stop], diagonal=DIAGONALS[start:stop])
        assert rows.shape == (stop - start, 3)
    assert float(metric.aggregate()) == pytest.approx(wanted(warped, fixed, name), abs=1e-12)


def test_a_row_is_mean_median_and_maximum_of_a_pair(landmarks) -> None:
    warped, fixed = landmarks
    row = LandmarkError()(warped[:1], fixed[:1], diagonal=100.0)[0]
    errors = (warped[0] - fixed[0]).norm(dim=1) / 100
    np.testing.assert_allclose(row, [errors.mean(), np.median(errors), errors.max()], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_batch_may_be_one_tensor_and_the_diagonal_one_number(dtype, dimensions) -> None:
    warped = torch.ones(3, 4, dimensions, dtype=dtype, requires_grad=True)
    metric = LandmarkError()
    metric(warped, torch.zeros(3, 4, dimensions, dtype=dtype), diagonal=10)
    assert float(metric.aggregate()) == pytest.approx(math.sqrt(dimensions) / 10)


def test_without_pairs_there_is_no_figure_and_reset_forgets() -> None:
    metric = LandmarkError()
    assert math.isnan(metric.aggregate())
    metric(torch.ones(1, 4, 2), torch.zeros(1, 4, 2), diagonal=10)
    metric.reset()
    assert math.isnan(metric.aggregate())
    metric(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2), diagonal=10)
    assert metric.aggregate() == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_handler_puts_the_figure_into_the_engines_state(name, landmarks) -> None:
    warped, fixed = landmarks
    engine = Engine(lambda _, i: {"warped": [warped[i]], "fixed": [fixed[i]], "diagonal": DIAGONALS[i]})
    handler = LandmarkErrorHandler(lambda output: (output["warped"], output["fixed"], output["diagonal"]), name)
    handler.attach(engine, "error")
    for _ in range(2):  # a second run begins anew
        state = engine.run(list(range(len(COUNTS))))
        assert state.metrics["error"] == pytest.approx(wanted(warped, fixed, name), abs=1e-12)
    assert state.metric_details["error"].shape == (len(COUNTS), 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.ones(2, 4, 2), torch.ones(1, 4, 2)), {"diagonal": 1}, "2 warped landmark lists need as many fixed"),
        ((torch.ones(2, 4, 2),), {"diagonal": 1}, "2 warped landmark lists need as many fixed"),
        ((torch.ones(2, 4, 2), torch.ones(2, 4, 2)), {}, "needs diagonal="),
        ((torch.ones(2, 4, 2), torch.ones(2, 4, 2)), {"diagonal": 0}, "must be positive, got 0"),
        (([torch.ones(4, 2)], [torch.ones(3, 2)]), {"diagonal": 1}, "differ in shape"),
        (([torch.ones(0, 2)], [torch.ones(0, 2)]), {"diagonal": 1}, "no landmarks to compare"),
        (([torch.full((4, 2), math.nan)], [torch.ones(4, 2)]), {"diagonal": 1}, "4 of 4 warped landmarks are not"),
    ],
)
def test_what_can_not_be_compared_is_refused(arguments, options, message) -> None:
    with pytest.raises(InputError, match=message):
        LandmarkError()(*arguments, **options)


def test_an_unknown_figure_and_an_output_of_another_form_are_refused() -> None:
    with pytest.raises(InputError, match="got 'XXrTRE'"):
        LandmarkError("XXrTRE")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(warped, fixed, diagonal\), got 2"):
        LandmarkErrorHandler().update((torch.zeros(1, 4, 2), torch.zeros(1, 4, 2)))

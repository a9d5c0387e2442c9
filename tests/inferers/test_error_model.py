"""The expected error as a function of the evidence, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.inferers.error_model import FLOOR, ErrorModel, LogLinear, log_evidence

CONTENT: dict[str, Any] = {
    "expected": {"intercept": -4.0, "place": {"disagreement": 0.5}, "pair": {"unlike": 0.25}},
    "bound": {"intercept": -3.0, "place": {"disagreement": 0.5}, "pair": {"unlike": 0.25}},
}
ALL = np.ones((2, 3), bool)


def maps(disagreement: float = 0.01, unlike: float = 0.5) -> dict[str, np.ndarray]:
    return {
        "disagreement": np.full((2, 3), disagreement, np.float32),
        "unlike": np.full((2, 3), unlike, np.float32),
    }


def written(folder: Path, content: Any) -> Path:
    file = folder / "error_model.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_it_is_the_exponential_of_a_sum_of_logarithms() -> None:
    function = LogLinear(0.3, {"a": 2.0, "b": -1.0}, {"a": 0.5})
    here = {"a": np.array([0.1, 0.2]), "b": np.array([0.5, 0.7])}
    wanted = np.exp(0.3) * here["a"] ** 2 / here["b"] * 0.4**0.5
    np.testing.assert_allclose(function(here, {"a": 0.4}), wanted)


def test_a_function_without_evidence_is_constant(tmp_path) -> None:
    constant = {"intercept": float(np.log(0.01)), "place": {}, "pair": {}}
    model = ErrorModel.read(written(tmp_path, {"expected": constant, "bound": constant}))
    found = model({"disagreement": np.random.default_rng(0).random((2, 3)).astype(np.float32)}, ALL, 500.0)
    np.testing.assert_allclose(found[0].numpy(), np.full((2, 2, 3), 5.0), rtol=1e-5)


def test_errors_are_shares_of_the_diagonal_with_the_median_of_the_tissue(tmp_path) -> None:
    model = ErrorModel.read(written(tmp_path, CONTENT))
    evidence = maps()
    evidence["unlike"][:, 0] = 0.9  # outside of the tissue
    tissue = ALL.copy()
    tissue[:, 0] = False
    found = model(evidence, tissue, 1000.0)
    assert found.shape == (1, 2, 2, 3)
    assert found.dtype == torch.float32
    expected = 1000 * np.exp(-4) * 0.01**0.5 * 0.5**0.25
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(found[0, 1].numpy(), expected * np.e, rtol=1e-5)


def test_the_more_evidence_against_a_field_the_larger_its_error(tmp_path) -> None:
    model = ErrorModel.read(written(tmp_path, CONTENT))
    found = [model(maps(value), ALL, 1000.0)[0].mean().item() for value in (0.0, 0.001, 0.01, 0.1)]
    assert found == sorted(found)
    assert found[0] < found[1]


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-12, 1e6])
def test_any_evidence_gives_positive_finite_errors(value, tmp_path) -> None:
    found = ErrorModel.read(written(tmp_path, CONTENT))(maps(value, value), ALL, 100.0)
    assert torch.isfinite(found).all()
    assert (found > 0).all()
    assert log_evidence(value) >= np.log(FLOOR)


def test_the_bound_is_never_below_the_expected_error(tmp_path) -> None:
    content = {**CONTENT, "bound": {"intercept": -5.0, "place": {"disagreement": 0.1}, "pair": {}}}
    model = ErrorModel.read(written(tmp_path, content))
    evidence = {**maps(), "disagreement": np.geomspace(1e-6, 1, 6).reshape(2, 3).astype(np.float32)}
    expected, bound = model(evidence, ALL, 100.0)[0]
    assert (bound >= expected).all()
    assert (bound > expected).any()


def test_a_pair_without_tissue_has_an_error_too(tmp_path) -> None:
    found = ErrorModel.read(written(tmp_path, CONTENT))(maps(), np.zeros((2, 3), bool), 100.0)
    assert torch.isfinite(found).all()


BROKEN = {
    "no json": "{",
    "a list": [1],
    "no bound": {"expected": CONTENT["expected"]},
    "no pair": {**CONTENT, "bound": {"intercept": 1.0, "place": {}}},
    "another key": {**CONTENT, "bound": {**CONTENT["bound"], "slope": 1.0}},
    "a word": {**CONTENT, "bound": {**CONTENT["bound"], "intercept": "much"}},
    "unknown evidence": {**CONTENT, "bound": {**CONTENT["bound"], "place": {"luck": 1.0}}},
    "a word as coefficient": {**CONTENT, "bound": {**CONTENT["bound"], "pair": {"unlike": "much"}}},
    "a list as coefficients": {**CONTENT, "bound": {**CONTENT["bound"], "pair": [1.0]}},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_error_model_is_named(content, tmp_path) -> None:
    with pytest.raises(InputError, match=r"error_model\.json can't be read as an error model"):
        ErrorModel.read(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.json can't be read as an error model"):
        ErrorModel.read(tmp_path / "gone.json")


def test_evidence_that_the_chain_does_not_give_is_named(tmp_path) -> None:
    """The model of a corrected field on one that nothing corrected."""
    asking = {"expected": CONTENT["expected"] | {"place": {"doubt": 0.5}}, "bound": CONTENT["bound"]}
    model = ErrorModel.read(written(tmp_path, asking))
    with pytest.raises(InputError, match="'doubt'"):
        model(maps(), ALL, 10.0)

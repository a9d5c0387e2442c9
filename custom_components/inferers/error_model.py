"""Expected error of a field from the evidence for it, calibrated on pairs with landmarks.

The logarithm of the error is linear in the logarithms of the evidence at the place and of its median over the tissue of
the pair. Two such functions are stored: of the median error and of the bound that 95 % of landmarks stay below, the
second widened until it held on cases that it was not fitted to (split conformal prediction: Papadopoulos et al.,
Inductive Confidence Machines for Regression, ECML 2002). ``benchmarks/error_model.py`` fits and checks them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.inferers.evidence_maps import EVIDENCE
from custom_components.inferers.flow_refinement import Weight

FLOOR = 1e-5  # of evidence, which would have no logarithm at 0


@dataclass(frozen=True)
class LogLinear:
    """``exp(intercept + sum_k place_k log x_k + pair_k log median(x_k))``.

    Attributes:
        intercept: of the logarithm.
        place: coefficient of each evidence at the place.
        pair: coefficient of its median over the tissue.
    """

    intercept: float
    place: Mapping[str, float]
    pair: Mapping[str, float]

    @classmethod
    def of(cls, intercept: Any, place: Any, pair: Any, known: Collection[str] = EVIDENCE) -> LogLinear:
        """From what a file holds, of evidence with ``known`` names.

        Raises:
            TypeError: the parts are of another form.
            ValueError: a coefficient is no number, or that of unknown evidence.
        """
        for name in {*place, *pair} - set(known):
            raise ValueError(f"unknown evidence '{name}'")
        numbers = ({str(name): float(value) for name, value in dict(part).items()} for part in (place, pair))
        return cls(float(intercept), *numbers)

    def __call__(self, here: Mapping[str, Array], median: Mapping[str, float]) -> Array:
        """The error in the unit that it was fitted in, of the shape of the evidence."""
        total = np.asarray(self.intercept, np.float64)
        for name, coefficient in self.place.items():
            total = total + coefficient * log_evidence(here[name])
        for name, coefficient in self.pair.items():
            total = total + coefficient * log_evidence(median[name])
        return np.asarray(np.exp(total))


@dataclass(frozen=True)
class ErrorModel:
    """Both functions; errors are shares of the tissue's diagonal.

    Attributes:
        expected: the median error.
        bound: what 95 % of places stay below.
    """

    expected: LogLinear
    bound: LogLinear

    @classmethod
    def read(cls, file: str | Path) -> ErrorModel:
        """From the JSON file that ``benchmarks.error_model`` writes.

        Raises:
            InputError: the file is missing or is none.
        """
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
            return cls(LogLinear.of(**content["expected"]), LogLinear.of(**content["bound"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} can't be read as an error model ({error})") from error

    def __call__(self, maps: Mapping[str, Weight], tissue: Array, diagonal: float) -> Tensor:
        """(1, 2, H, W) voxels: expected error and bound.

        Args:
            maps: of ``evidence_maps``.
            tissue: (H, W), true on tissue.
            diagonal: of the tissue, voxels.

        Raises:
            InputError: the model asks for evidence that there is none of.
        """
        asked = {*self.expected.place, *self.expected.pair, *self.bound.place, *self.bound.pair}
        if missing := sorted(asked - set(maps)):
            raise InputError(
                f"the error model asks for '{missing[0]}', which this chain does not know: doubt is that of the "
                "correction; give the error model that was fitted to the chain, or error_model null"
            )
        median = {name: float(np.median(values[tissue] if tissue.any() else values)) for name, values in maps.items()}
        # a function of the medians alone is one number
        expected, bound = (
            np.broadcast_to(function(maps, median), tissue.shape) for function in (self.expected, self.bound)
        )
        both = np.stack([expected, np.maximum(bound, expected)]) * diagonal
        return torch.from_numpy(both.astype(np.float32))[None]


def log_evidence(values: Array | float) -> Array:
    """Natural logarithm, of values of at least ``FLOOR``."""
    return np.asarray(np.log(np.maximum(np.asarray(values, np.float64), FLOOR)))

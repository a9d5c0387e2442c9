"""The challenge's landmark error as a MONAI metric and an Ignite handler, for validation during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.metrics.metric import CumulativeIterationMetric
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.metrics.tre import rtre

Name = Literal["AArTRE", "AMrTRE", "MArTRE", "MMrTRE", "AMxrTRE", "MMxrTRE"]
Landmarks = Sequence[Tensor] | Tensor
STATISTICS = ("A", "M", "Mx")  # over the landmarks of a pair, in the order of the buffer's columns


class LandmarkError(CumulativeIterationMetric):
    """Collects the rTRE of pairs; ``aggregate`` gives the figure that ``name`` asks for.

    Call it as ``metric(warped, fixed, diagonal=...)`` with the landmarks of a batch, each side a list of (N, D) or
    a (B, N, D) tensor in pixels of the fixed image, and the diagonal of the fixed image in pixels, one for all
    pairs or one per pair. It returns, and the buffer collects, (B, 3): mean, median and maximum of every pair.

    Args:
        name: as in ``Aggregate``: the first letter is the statistic over pairs, the next over a pair's
            landmarks.

    Raises:
        InputError: an unknown name.
    """

    def __init__(self, name: Name = "AArTRE") -> None:
        super().__init__()
        if name not in get_args(Name):
            raise InputError(f"name is one of {', '.join(get_args(Name))}, got '{name}'")
        self.name = name

    def _compute_list(
        self, y_pred: Landmarks, y: Landmarks | None = None, diagonal: Any = None, **kwargs: Any
    ) -> Tensor:
        if y is None or len(y) != len(y_pred):
            raise InputError(f"{len(y_pred)} warped landmark lists need as many fixed ones")
        if diagonal is None:
            raise InputError("rTRE needs diagonal=, the fixed image's, one for all pairs or one per pair")
        diagonals = torch.as_tensor(diagonal).cpu().double().expand(len(y_pred))
        rows = []
        for warped, fixed, size in zip(y_pred, y, diagonals.tolist(), strict=True):
            if len(warped) == 0:
                raise InputError("no landmarks to compare")
            errors = torch.from_numpy(rtre(_array(warped), _array(fixed), size))
            # numpy's median of an even number is the mean of the middle two, torch.median's the lower one
            rows.append(torch.stack([errors.mean(), errors.quantile(0.5), errors.max()]))
        return torch.stack(rows) if rows else torch.zeros(0, 3, dtype=torch.float64)

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, diagonal: Any = None, **kwargs: Any) -> Tensor:
        return self._compute_list(y_pred, y, diagonal)

    def aggregate(self) -> Tensor:
        """The figure over all pairs since the last ``reset``, a scalar; NaN without pairs."""
        buffer = self.get_buffer()
        if buffer is None:
            return torch.tensor(torch.nan, dtype=torch.float64)
        outer, inner = self.name[0], self.name.removesuffix("rTRE")[1:]
        values: Tensor = buffer[:, STATISTICS.index(inner)]
        return values.mean() if outer == "A" else values.quantile(0.5)


class LandmarkErrorHandler(IgniteMetricHandler):
    """Ignite handler of ``LandmarkError``, fit for the key metric of an evaluator (lower is better).

    Args:
        output_transform: from the engine's output to (warped, fixed, diagonal), as ``LandmarkError`` takes them.
        name: see ``LandmarkError``.
        save_details: keep every pair's (mean, median, maximum) in ``engine.state.metric_details``.
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = lambda output: output,
        name: Name = "AArTRE",
        save_details: bool = True,
    ) -> None:
        super().__init__(LandmarkError(name), output_transform=output_transform, save_details=save_details)

    def update(self, output: Sequence[Any]) -> None:
        """Add one iteration's (warped, fixed, diagonal).

        Raises:
            InputError: not three items.
        """
        if len(output) != 3:
            raise InputError(f"output_transform must give (warped, fixed, diagonal), got {len(output)}")
        warped, fixed, diagonal = output
        self.metric_fn(warped, fixed, diagonal=diagonal)


def _array(points: Tensor) -> Any:
    return torch.as_tensor(points).detach().cpu().double().numpy()

"""Ends a training whose loss no longer falls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ignite.engine import Engine, Events

from custom_components.handlers.training import figures_of_all, select_losses


class StopWhenFlat:
    """Ends the run when ``patience`` epochs in a row have not improved the best mean loss by ``improvement``.

    Unlike Ignite's ``EarlyStopping`` it needs no trainer when it is made, asks for a relative improvement and watches
    the training loss, as no landmark may decide. Its state belongs into the checkpoint; attach it before that.

    Args:
        patience: epochs.
        improvement: share of the best loss.
    """

    def __init__(self, patience: int = 3, improvement: float = 0.005) -> None:
        self.patience = patience
        self.improvement = improvement
        self.best = float("inf")
        self.flat = 0
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._decide)

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"best": self.best, "flat": self.flat}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """From a checkpoint."""
        self.best, self.flat = float(state["best"]), int(state["flat"])

    def _begin(self, engine: Engine) -> None:
        if self.flat >= self.patience:  # a run that had ended here
            engine.terminate()
        self.losses.clear()

    def _collect(self, engine: Engine) -> None:
        self.losses.append(select_losses(engine.state.output)["loss"])

    def _decide(self, engine: Engine) -> None:
        losses = figures_of_all({"loss": self.losses})["loss"]  # all processes decide alike
        loss = float(np.mean(losses)) if losses else float("inf")
        improved = loss < self.best * (1 - self.improvement) or self.best == float("inf")
        self.flat = 0 if improved else self.flat + 1
        self.best = min(self.best, loss)
        if self.flat >= self.patience:
            engine.terminate()

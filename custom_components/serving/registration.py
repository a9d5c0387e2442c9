"""One pair through a bundle, as ``python -m monai.bundle run`` does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError
from custom_components.engines import PairDataset
from custom_components.outputs.identity import read_run_settings
from custom_components.outputs.pair_folder import check_writable, clear_leftovers
from custom_components.outputs.targets import check_targets, pairs_to_do
from custom_components.outputs.writer import versions
from custom_components.pairs import Pair
from custom_components.results.record import read_metrics
from custom_components.serving.bundles import Bundle
from custom_components.serving.errors import UNREADABLE, RequestError


def register(bundle: Bundle, pair: Pair, options: Mapping[str, Any], output_dir: Path) -> dict[str, Any]:
    """Register one pair into ``<output_dir>/<pair.id>``; returns its metrics, whose status may be "failed".

    A result that is there already is replaced.

    Args:
        bundle: whose inference.yaml is run.
        pair: what to register.
        options: entries of the config, as ``read_options`` gives them.
        output_dir: made if absent.

    Raises:
        RequestError: an image or option is wrong.
        InputError: the output folder can't be written, or holds something else than an earlier result of the pair.
    """
    check_writable(output_dir)
    clear_leftovers(output_dir, {pair.id})
    check_targets([pair], output_dir)
    opened = open_bundle(bundle.config, **options)
    (pair,) = pairs_to_do([pair], output_dir, read_run_settings(opened.config), versions(), resume=False)
    parser = opened.parser(output_dir=str(output_dir), dataset=PairDataset([pair], [pair], output_dir))
    evaluator = parser.get_parsed_content("evaluator")
    causes: list[BaseException] = []

    def remember(engine: Engine) -> None:
        causes.extend(_chain(engine.state.output.error))

    # after the writer, which may find a file to be wrong
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, remember)
    try:
        evaluator.run()
    except SystemExit:  # says what metrics.json says
        pass
    wrong = next((error for error in causes if isinstance(error, InputError)), None)
    if wrong is not None:
        raise RequestError(_parameter(str(wrong), pair), str(wrong), UNREADABLE)
    return read_metrics(output_dir / pair.id)


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what it came from."""
    return [] if error is None else [error, *_chain(error.__cause__)]


def _parameter(message: str, pair: Pair) -> str:
    """Which parameter of a request a message is about, by the file that it names."""
    if str(pair.moving) in message:
        return "image"
    return "fixed" if str(pair.fixed) in message else "params"

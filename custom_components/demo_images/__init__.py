"""Two real stains that come with the package, for the demo; README.txt says from where, and under which licence."""

from __future__ import annotations

from pathlib import Path

from custom_components.pairs import Pair


def kidney_pair() -> Pair:
    """Neighbouring sections of a rat kidney, pan-cytokeratin onto HE, with landmarks of both."""
    moving, fixed = (Path(__file__).with_name(name) for name in ("PanCytokeratin.jpg", "HE.jpg"))
    return Pair(
        "kidney", moving, fixed, moving_landmarks=moving.with_suffix(".csv"), fixed_landmarks=fixed.with_suffix(".csv")
    )

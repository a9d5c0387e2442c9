"""A slide bent by a known map, with the field and the inverse that a registration would store."""

from __future__ import annotations

import pytest

from benchmarks.annotations import KnownSlide


@pytest.fixture(scope="session")
def slide() -> KnownSlide:
    """Small, but with the bends and the field's spacing of a slide of 30 000 pixels."""
    return KnownSlide(side=6000)

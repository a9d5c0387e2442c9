from __future__ import annotations

import numpy as np
import pytest

from custom_components.slides.parts import PartsReader, write_parts
from custom_components.slides.slide_warp import BLOCK, STRIP, in_strips


def test_each_part_comes_back_by_itself(tmp_path) -> None:
    array = np.arange(24, dtype=">u2").reshape(2, 4, 3)[:, ::2]
    size = write_parts(tmp_path / "block.parts", {"tile": b"\x00abc", "empty": b"", "last": array})
    found = PartsReader(tmp_path / "block.parts")
    assert size == 4 + array.nbytes
    assert [found.content("tile"), found.content("empty")] == [b"\x00abc", b""]
    np.testing.assert_array_equal(found.array("last"), array)
    assert found.array("last").dtype == array.dtype
    with pytest.raises(KeyError):
        found.content("other")
    assert [file.name for file in tmp_path.iterdir()] == ["block.parts"]


def test_blocks_that_follow_each_other_are_neighbours() -> None:
    places = [(row * BLOCK, column * BLOCK) for row in range(2 * STRIP + 1) for column in range(5)]
    ordered = in_strips(places)
    assert sorted(ordered) == places
    steps = np.abs(np.diff(np.array(ordered) // BLOCK, axis=0))
    assert (steps[:, 1].reshape(-1) <= 1).sum() >= len(steps) - 2  # but where a strip ends
    assert ordered[:STRIP] == [(row * BLOCK, 0) for row in range(STRIP)]

"""Which channel is matched on, by name, number, or the nuclei that most stains show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs.channels import as_matched, matched_channel
from custom_components.pairs.layout import Layout

FILE = Path("a.tif")
STAINS = Layout("channels", ("CD3", "Hoechst 33342", "PanCK"))
RGB = Layout("rgb")
ARRAY = np.random.default_rng(0).integers(0, 255, (3, 4, 5), dtype=np.uint8)


@pytest.mark.parametrize(
    ("layout", "wanted", "channel"),
    [
        (STAINS, None, 1), (STAINS, "panck", 2), (STAINS, 0, 0), (RGB, None, None), (RGB, "green", 1), (RGB, 2, 2),
        (Layout("channels"), None, None), (Layout("channels", ("a", "b", "c")), None, None),
        (Layout("channels", ("PSMA", "x", "DAPI")), None, 2), (Layout("grey"), None, None),
    ],
)  # fmt: skip
def test_the_one_asked_for_else_the_nuclei(layout, wanted, channel) -> None:
    found, notes = matched_channel(layout, 3, wanted, FILE)
    assert found == channel
    assert bool(notes) == (layout.kind == "channels" and wanted is None)


@pytest.mark.parametrize(("layout", "wanted"), [(STAINS, "CD8"), (STAINS, 3), (RGB, "DAPI"), (RGB, -1)])
def test_one_that_is_not_there_is_told_with_those_that_are(layout, wanted) -> None:
    with pytest.raises(InputError, match=rf"a\.tif has channels 0 to 2.*; asked for '{wanted}'"):
        matched_channel(layout, 3, wanted, FILE)


def test_colours_stay_three_and_channels_become_one() -> None:
    np.testing.assert_array_equal(as_matched(ARRAY, RGB, None), ARRAY)
    np.testing.assert_array_equal(as_matched(ARRAY, STAINS, 1), ARRAY[1:2])
    np.testing.assert_allclose(as_matched(ARRAY, Layout("channels"), None), ARRAY.mean(0, keepdims=True), rtol=1e-6)

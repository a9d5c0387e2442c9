"""Methods and options as the command line gives them."""

from __future__ import annotations

import pytest

from custom_components.errors import InputError
from custom_components.studies import method_of, options_of


def test_methods_as_the_command_line_gives_them() -> None:
    assert method_of("mse:0.02").overrides == {"similarity": "mse", "smoothness": 0.02, "extractor": None}
    supervised = method_of("ncc+sup:0.5")
    assert (supervised.name, supervised.overrides["supervision"]) == ("ncc+sup", 1.0)
    learned = method_of("deepsim-ae:1e-1=runs/a=b.pt")
    assert learned.name == "deepsim-ae"
    assert learned.overrides == {"similarity": "deepsim", "smoothness": 0.1, "extractor": "runs/a=b.pt"}
    ablated = method_of("deepsim-ae@02:1=a.pt")
    assert (ablated.name, ablated.overrides["levels"]) == ("deepsim-ae@02", [0, 2])
    classical = method_of("syn-seg=a.pt")
    assert (classical.name, classical.overrides, classical.trained) == ("syn-seg", {"extractor": "a.pt"}, False)
    assert not method_of("syn").trained
    for wrong in ("mse", "mse:", ":1", "mse:x"):
        with pytest.raises(InputError, match="is not of the form"):
            method_of(wrong)


def test_options() -> None:
    assert options_of("max_epochs=3 patch_size=[8,16] black=null") == {
        "max_epochs": 3, "patch_size": [8, 16], "black": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="got 'x'"):
        options_of("a=1 x")

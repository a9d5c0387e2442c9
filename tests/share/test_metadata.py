"""Metadata of packed bundles."""

from __future__ import annotations

import json

import pytest

from custom_components.common.errors import InputError
from custom_components.common.version import VERSION
from custom_components.share.metadata import completed, read_metadata

MINE = {"version": "1.0", "changelog": {"1.0": "first"}, "required_packages_version": {"scipy": "1.0", "itk": "5.0"}}


def test_what_is_said_stays_and_what_is_missing_gets_the_installed_version():
    whole = completed({**MINE, "monai_version": "1.5"}, {"scipy", "cv2", "itk", "torch"})
    required = whole["required_packages_version"]
    assert (whole["monai_version"], required["scipy"], required["itk"]) == ("1.5", "1.0", "5.0")
    assert "opencv-python-headless" in required
    assert "pyyaml" in required
    assert not {"torch", "numpy", "monai", "itk-core"} & set(required)
    assert "+" not in whole["pytorch_version"]


def test_packages_come_and_go_with_the_form():
    whole = completed(MINE, set(), without={"scipy"}, with_warpzoo=True)
    assert "scipy" not in whole["required_packages_version"]
    assert whole["required_packages_version"]["warpzoo"] == VERSION
    assert "scipy" in MINE["required_packages_version"]


def test_a_package_without_version_is_an_error():
    with pytest.raises(InputError, match="no_such_package is not installed"):
        completed(MINE, {"no_such_package"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a bundle"),
        ("{", "is not valid JSON"),
        (json.dumps({**MINE, "version": "2.0"}), "no entry for the version"),
    ],
)
def test_wrong_metadata_is_an_error(tmp_path, content, message):
    (tmp_path / "configs").mkdir()
    if content is not None:
        (tmp_path / "configs" / "metadata.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_metadata(tmp_path)

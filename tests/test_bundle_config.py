"""Bundles' configs as Python reads them."""

from __future__ import annotations

import pytest

from custom_components.bundle_config import read_bundle
from custom_components.errors import InputError

CONFIG = "bundles/hybrid_matching/configs/inference.yaml"


@pytest.fixture(autouse=True)
def _from_the_root(repository, monkeypatch):
    monkeypatch.chdir(repository)


def test_keys_are_overridden_and_reach_the_parts_that_refer_to_them():
    parser = read_bundle(CONFIG, {"working_size": 300, "min_matches": 7})
    assert parser.get_parsed_content("working_size") == 300
    assert parser.get_parsed_content("inferer").steps[0].min_matches == 7


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        ("bundles/typo.yaml", {}, r"config file bundles/typo\.yaml does not exist; run from the repository's root"),
        (CONFIG, {"sede": 1}, r"inference\.yaml has no key 'sede'"),
    ],
)
def test_a_wrong_file_or_key_is_named(config, overrides, message):
    with pytest.raises(InputError, match=message):
        read_bundle(config, overrides)

"""One word of a config chooses the values of several keys, and a wrong word is named before anything is built."""

from __future__ import annotations

import pytest

from custom_components.bundles import open_bundle
from custom_components.bundles.places import DEFAULT
from custom_components.bundles.presets import pick, read_presets, with_presets
from custom_components.common.errors import InputError

SIZES = "$presets.pick(@quality, fast=768, best=2048)"


def test_the_word_chooses() -> None:
    assert pick("fast", fast=1, best=[2]) == 1
    assert pick("best", fast=1, best=[2]) == [2]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bst", "unknown preset 'bst'; did you mean 'best'?"),
        ("nothing", "unknown preset 'nothing'; there are fast, best"),
        (None, "unknown preset 'None'; there are fast, best"),
        (3, "unknown preset '3'; there are fast, best"),
    ],
)
def test_an_unknown_word_is_refused_with_a_hint(word, message) -> None:
    with pytest.raises(InputError) as found:
        pick(word, fast=1, best=2)
    assert str(found.value) == message


def test_a_choice_is_read_from_the_config() -> None:
    found = read_presets("$presets.pick(@quality, fast=['a', 'b'], best=None)")
    assert found is not None
    assert (found.key, dict(found.values)) == ("quality", {"fast": ["a", "b"], "best": None})
    for other in ("$torch.device('cpu')", "quality", 3, None, ["$presets.pick(@a, b=1)"]):
        assert read_presets(other) is None


def test_what_is_given_wins_and_what_is_not_known_yet_stays() -> None:
    assert with_presets({"quality": "best", "size": SIZES, "other": 5}) == {"quality": "best", "size": 2048, "other": 5}
    assert with_presets({"quality": "best", "size": 300})["size"] == 300
    for unknown in ({"size": SIZES}, {"quality": "$x", "size": SIZES}, {"quality": "@y", "size": SIZES}):
        assert with_presets(unknown) == unknown
    with pytest.raises(InputError, match="--quality: unknown preset 'bets'; did you mean 'best'"):
        with_presets({"quality": "bets", "size": SIZES})


@pytest.mark.parametrize(
    ("quality", "size", "renderings", "candidates"),
    [("fast", 768, 3, 0), ("balanced", 1024, 3, 1), ("best", 2048, 3, 1)],
)
def test_the_quality_of_the_default_bundle(quality, size, renderings, candidates) -> None:
    parser = open_bundle(DEFAULT, quality=quality, error_model=None).parser()
    assert parser.get_parsed_content("working_size") == size
    consensus = parser.get_parsed_content("inferer").steps[-1]
    assert (len(consensus.renderings), len(consensus.candidates)) == (renderings, candidates)


def test_keys_of_a_preset_are_checked_as_what_they_usually_are() -> None:
    config = open_bundle(DEFAULT, working_size="300", networks="false", quality="fast").config
    assert (config["working_size"], config["networks"]) == (300, False)
    for wrong, message in (
        ({"working_size": "abc"}, "--working_size is a number, got 'abc'"),
        ({"networks": "maybe"}, "networks is true or false, got 'maybe'"),
        ({"renderings": "gradient"}, "--renderings is a list such as"),
        ({"quality": "fst"}, "--quality: unknown preset 'fst'; did you mean 'fast'"),
    ):
        with pytest.raises(InputError, match=message):
            open_bundle(DEFAULT, **wrong)
    assert open_bundle(DEFAULT, working_size=None, micrometres_per_pixel=2.0).config["working_size"] is None

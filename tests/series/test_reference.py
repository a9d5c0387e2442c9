"""Which section becomes the reference."""

from __future__ import annotations

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import write_image
from custom_components.series.reference import central, choose_reference, middle, thumbnail_pairs, thumbnails
from custom_components.series.routes import Outcome
from custom_components.series.sections import Section, read_sections


def outcomes_of(counts):
    return [Outcome(i, j, "ok", matches=n) for (i, j), n in counts.items()]


def test_few_sections_are_all_matched_and_many_only_near_ones():
    assert thumbnail_pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    many = thumbnail_pairs(20)
    assert len(many) == 19 + 18
    assert max(j - i for i, j in many) == 2


def test_the_stain_that_all_others_match_well_is_taken_wherever_it_stands():
    counts = {(i, j): 1500 if 3 in (i, j) else 400 for i, j in thumbnail_pairs(4)}
    assert central(4, outcomes_of(counts)) == 3


@pytest.mark.parametrize("count", [9, 30])
def test_of_a_long_even_series_it_is_the_middle(count):
    counts = {(i, j): 1000 // (j - i) for i, j in thumbnail_pairs(count)}
    assert central(count, outcomes_of(counts)) == middle(count)


def test_a_section_that_no_other_matches_is_not_taken_even_in_the_middle():
    counts = {(i, j): 1000 for i, j in thumbnail_pairs(5) if 2 not in (i, j)}
    assert central(5, outcomes_of(counts)) in (1, 3)


def test_two_that_match_each_other_do_not_win_over_three_that_do():
    counts = {(0, 1): 5000, (2, 3): 300, (3, 4): 300}
    assert central(5, outcomes_of(counts)) == 3


def test_without_any_match_it_is_the_middle():
    assert central(5, []) == middle(5) == 2


def test_what_the_user_says_goes_and_a_wrong_name_is_told():
    sections = [Section(name, None) for name in ("x", "middle", "y", "z")]
    assert choose_reference(sections, "z")[0] == 3
    assert choose_reference(sections, "middle")[0] == 1  # a section of that name comes before the word
    assert choose_reference(sections[2:], "middle") == (1, "the middle of the order")
    with pytest.raises(InputError, match="got 'w'; the ids are x, middle, y, z"):
        choose_reference(sections, "w")


def test_thumbnails_keep_the_relative_size_and_leave_out_what_shows_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for name, side in (("large", 1024), ("small", 256)):
        image = np.full((3, side, side), 240, np.uint8)
        image[:, side // 4 : -side // 4, side // 4 : -side // 4] = rng.integers(30, 150, (3, side // 2, side // 2))
        write_image(tmp_path / f"{name}.png", image)
    write_image(tmp_path / "blank.png", np.full((3, 300, 300), 240, np.uint8))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    names = ("large", "blank", "small", "torn")
    found = thumbnails([Section(name, tmp_path / f"{name}.png") for name in names])
    assert set(found) == {0, 2}
    (large, large_mask), (small, small_mask) = found[0], found[2]
    assert large.shape == small.shape == large_mask.shape == small_mask.shape
    # 1024 pixels become 512, so 256 become 128: a sixteenth of the area
    assert float(large_mask.sum() / small_mask.sum()) == pytest.approx(16, rel=0.25)


@pytest.mark.slow
def test_of_real_thumbnails_the_blank_one_is_not_taken(known):
    sections = read_sections(known.table)
    number, why = choose_reference(sections)
    assert sections[number].id in "abcd"
    assert "match it best" in why

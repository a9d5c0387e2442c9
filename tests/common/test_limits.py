"""What may be read of a file is decided by what its header states, before memory is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from custom_components.common import limits
from custom_components.common.errors import InputError
from custom_components.common.limits import Limits, applied, check_size, check_unpacked, current, free_memory

FILE = Path("a.png")


def test_limits_come_from_the_environment_and_go_with_their_block() -> None:
    assert current() == Limits()
    with applied(max_pixels=1e6, detached="true", fill_damaged=None):
        assert current() == Limits(1_000_000, True, False)
        assert os.environ["WARPZOO_DETACHED"] == "true"
    assert current() == Limits()


@pytest.mark.parametrize("wrong", ["many", "-1", "nan", "inf"])
def test_a_number_of_pixels_that_is_none_is_told(wrong) -> None:
    with pytest.raises(InputError, match="max_pixels is a number of pixels"), applied(max_pixels=wrong):
        pass
    assert current() == Limits()


def test_more_than_the_memory_holds_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 3_000_000)
    check_size(FILE, (1000, 1000), 1)
    with pytest.raises(InputError, match=r"a\.png states 1000 x 1001 pixels, which takes 3 MB of memory"):
        check_size(FILE, (1001, 1000), 1)
    check_size(FILE, (1001, 1000), 1, by_regions=True)
    with applied(max_pixels=2_000_000):
        check_size(FILE, (1001, 1000), 1)


def test_a_limit_of_the_user_counts_pixels_of_four_channels() -> None:
    with applied(max_pixels=100):
        check_size(FILE, (10, 10), 1, 4)
        with pytest.raises(InputError, match="states 10 x 10 pixels of 5 channels, more than --max_pixels 100"):
            check_size(FILE, (10, 10), 1, 5)


def test_a_size_that_the_file_cannot_hold_is_refused_and_a_small_one_is_not() -> None:
    check_size(FILE, (8000, 8000), 1, 1, 100)
    with pytest.raises(InputError, match="states 20000 x 10000 pixels, 200 MB, and has 10 kB for them"):
        check_size(FILE, (10_000, 20_000), 1, 1, 10_000)
    with pytest.raises(InputError, match="states 0 x 5 pixels; it is damaged"):
        check_size(FILE, (5, 0), 1)


def test_what_unpacks_to_more_than_such_files_do_is_refused(tmp_path, monkeypatch) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(b"x" * 100)
    check_unpacked(file, 64 << 20, "table")
    with pytest.raises(InputError, match=r"table .*a\.csv\.gz unpacks to over 64 MiB"):
        check_unpacked(file, (64 << 20) + 1, "table")
    monkeypatch.setattr(limits, "free_memory", lambda: 1000)
    with pytest.raises(InputError, match="unpacks to 2 kB, and 1 kB of memory are free"):
        check_unpacked(file, 2000, "table")


def test_the_free_memory_is_less_than_the_machine_has_and_obeys_limits(monkeypatch) -> None:
    assert 0 < free_memory() < 1 << 45
    monkeypatch.setattr(limits.resource, "getrlimit", lambda kind: (1000, 1000))
    assert free_memory() == 0

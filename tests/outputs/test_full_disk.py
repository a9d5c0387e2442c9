"""A disk that is full in the middle of any output: the pair fails with that reason, nothing half-written is left."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from custom_components.outputs.summary import write_summary


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """While it lasts, the system lets no file grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, int]:
    """Sizes of all files, hidden ones too."""
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def test_every_output_is_whole_or_the_pair_is_not_there(case) -> None:
    case.write()
    whole = contents(case.output_dir)
    assert len(whole) > 7
    shutil.rmtree(case.output_dir)
    for size in sorted({0, *(size // 2 for size in whole.values())}):
        with pytest.raises(InputError, match=r"can't be written|can't write"), files_up_to(size):
            case.write()
        assert contents(case.output_dir) == {}, size


def test_an_earlier_result_stays(case) -> None:
    case.write()
    before = {name: (case.output_dir / name).read_bytes() for name in contents(case.output_dir)}
    for size in (0, 3000, max(len(content) for content in before.values()) - 1):
        with pytest.raises(InputError), files_up_to(size):
            case.write()
        assert {name: (case.output_dir / name).read_bytes() for name in contents(case.output_dir)} == before


def test_the_summary_is_whole_or_the_earlier_one(case) -> None:
    case.write()
    write_summary(case.output_dir)
    before = {name: (case.output_dir / name).read_bytes() for name in contents(case.output_dir)}
    for size in (0, 100, 1000):
        with pytest.raises(InputError, match="can't be written"), files_up_to(size):
            write_summary(case.output_dir)
        after = {name: (case.output_dir / name).read_bytes() for name in contents(case.output_dir)}
        assert after == before


def test_a_folder_that_is_removed_under_the_run_is_made_again_or_told(case) -> None:
    case.write()
    shutil.rmtree(case.output_dir)
    case.write()
    assert (case.output_dir / case.pair.id / "metrics.json").is_file()


@pytest.mark.slow
def test_a_real_disk_that_runs_full_between_any_two_bytes(case, tmp_path) -> None:
    """A file system of its own, so that outputs written before take the room of those after."""
    case.write()
    total = sum(contents(case.output_dir).values())
    disk = tmp_path / "disk"
    disk.mkdir()
    for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97):
        size = f"size={max(4096, int(total * share))}"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=False)
        if mounted.returncode:
            pytest.skip("a file system can't be mounted here")
        try:
            with pytest.raises(InputError, match="can't be written"):
                case.write(output_dir=disk / "out")
            assert not (disk / "out").exists() or contents(disk / "out") == {}, share
        finally:
            subprocess.run(["umount", str(disk)], check=True)

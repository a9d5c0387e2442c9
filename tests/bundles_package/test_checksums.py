"""A packed bundle that was changed says so before it runs."""

from __future__ import annotations

import subprocess

import pytest

from custom_components.bundles.checksums import SUMS, sums_of, verify
from custom_components.common.errors import InputError


@pytest.fixture
def packed(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"weights")
    (tmp_path / "a b.yaml").write_text("x: 1")
    (tmp_path / SUMS).write_text(sums_of(tmp_path, ["models/model.pt", "a b.yaml"]))
    return tmp_path


def test_what_is_as_it_was_packed_passes_also_by_sha256sum(packed) -> None:
    verify(packed)
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=packed, check=False)
    assert done.returncode == 0
    (packed / SUMS).unlink()
    verify(packed)


def test_changed_and_missing_files_are_named(packed) -> None:
    (packed / "models" / "model.pt").write_bytes(b"Weights")
    with pytest.raises(InputError, match=r"model\.pt is not the file that was packed: its SHA-256 differs"):
        verify(packed)
    (packed / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match=r"model\.pt is missing, which SHA256SUMS names; unpack the bundle again"):
        verify(packed)


@pytest.mark.parametrize("line", ["no sum", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  ../a"])
def test_a_list_that_is_none_or_leads_elsewhere_is_refused(packed, line) -> None:
    (packed / SUMS).write_text(line)
    with pytest.raises(InputError, match="has a line that is none"):
        verify(packed)

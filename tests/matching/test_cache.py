from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.matching import CachedMatcher, PointPairs, fingerprint
from custom_components.matching.cache import read_matches, write_matches


class Counting:
    """Finds one pair that tells the images' sums; knows how often it was asked."""

    def __init__(self, setting: float = 1.0) -> None:
        self.setting = setting
        self._asked = 0

    @property
    def asked(self) -> int:
        return self._asked

    def __call__(self, moving: Tensor, fixed: Tensor, *masks: Tensor | None) -> PointPairs:
        self._asked += 1
        place = torch.stack([moving.sum(), fixed.sum()])[None]
        return PointPairs(place, place * self.setting, torch.ones(1))


IMAGES = torch.rand(2, 1, 1, 6, 8, generator=torch.Generator().manual_seed(0))


def test_a_pair_is_matched_once(tmp_path: Path) -> None:
    inner = Counting()
    cached = CachedMatcher(inner, tmp_path / "deep" / "folder")
    first = cached(IMAGES[0], IMAGES[1])
    for matcher in (cached, CachedMatcher(Counting(), tmp_path / "deep" / "folder")):
        again = matcher(IMAGES[0].clone(), IMAGES[1])
        assert torch.equal(again.moving, first.moving)
        assert torch.equal(again.fixed, first.fixed)
        assert torch.equal(again.score, first.score)
        assert again.moving.dtype == first.moving.dtype
    assert inner.asked == 1
    assert [file.suffix for file in (tmp_path / "deep" / "folder").iterdir()] == [".npz"]


def test_whatever_changes_is_matched_anew(tmp_path: Path) -> None:
    moving, fixed = IMAGES
    mask = torch.ones_like(moving)
    inner = Counting()
    CachedMatcher(inner, tmp_path)(moving, fixed)
    CachedMatcher(inner, tmp_path)(fixed, moving)
    CachedMatcher(inner, tmp_path)(moving + 1e-6, fixed)
    CachedMatcher(inner, tmp_path)(moving.reshape(1, 1, 8, 6), fixed)
    CachedMatcher(inner, tmp_path)(moving, fixed, mask)
    CachedMatcher(inner, tmp_path)(moving, fixed, mask, mask)
    CachedMatcher(inner, tmp_path)(moving, fixed, None, mask)
    CachedMatcher(inner, tmp_path, key="second round")(moving, fixed)
    inner.setting = 2.0
    CachedMatcher(inner, tmp_path)(moving, fixed)
    assert inner.asked == len(list(tmp_path.iterdir())) == 9


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def scramble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[60:90] = bytes(30)
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def other_arrays(file: Path) -> None:
    np.savez(file, moving=np.zeros((1, 2)), fixed=np.zeros((3, 2)), score=np.zeros(1))


def objects(file: Path) -> None:
    np.savez(file, moving=np.array([object()]), fixed=np.zeros((1, 2)), score=np.zeros(1))


def nothing_in_it(file: Path) -> None:
    np.savez(file)


@pytest.mark.parametrize("damage", [truncate, scramble, empty, other_arrays, objects, nothing_in_it])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: object) -> None:
    inner = Counting()
    cached = CachedMatcher(inner, tmp_path)
    first = cached(IMAGES[0], IMAGES[1])
    damage(cached.file(IMAGES[0], IMAGES[1]))  # type: ignore[operator]
    assert torch.equal(cached(IMAGES[0], IMAGES[1]).moving, first.moving)
    assert inner.asked == 2
    cached(IMAGES[0], IMAGES[1])
    assert inner.asked == 2


def test_no_pairs_are_kept_as_well(tmp_path: Path) -> None:
    write_matches(tmp_path / "none.npz", PointPairs.empty())
    kept = read_matches(tmp_path / "none.npz")
    assert kept is not None
    assert kept.moving.shape == (0, 2)
    assert read_matches(tmp_path / "missing.npz") is None


def test_nothing_unfinished_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: object, **arrays: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stopped)
    with pytest.raises(KeyboardInterrupt):
        CachedMatcher(Counting(), tmp_path)(IMAGES[0], IMAGES[1])
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_kept() -> None:
    inner = Counting()
    cached = CachedMatcher(inner, None)
    cached(IMAGES[0], IMAGES[1])
    cached(IMAGES[0], IMAGES[1])
    assert inner.asked == 2
    with pytest.raises(InputError, match="no folder"):
        cached.file(IMAGES[0], IMAGES[1])


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="matches can't be kept there"):
        CachedMatcher(Counting(), tmp_path / "file" / "folder")(IMAGES[0], IMAGES[1])


# fingerprint


def test_different_values_have_different_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    values = [
        None, True, 1, 1.5, "1", "", [], {}, [1, 2], [[1], 2], [[1, 2]], {"a": 1}, {"a": 2}, {"b": 1},
        torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(2, 3).double(), torch.ones(2, 3), torch.zeros(6).bfloat16(),
        np.zeros((2, 3)), np.zeros((3, 2)), torch.float32, torch.device("cpu"),
        Path("nowhere"), tmp_path / "a", tmp_path / "b", Counting(1.0), Counting(2.0),
    ]  # fmt: skip
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint([1], [2]) != fingerprint([1, [2]])


def test_equal_values_have_equal_fingerprints(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(torch.arange(6).reshape(2, 3).T) == fingerprint(torch.arange(6).reshape(2, 3).T.contiguous())
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


def test_a_network_is_told_by_its_weights() -> None:
    network, other = nn.Linear(2, 3), nn.Linear(2, 3)
    other.load_state_dict(network.state_dict())
    assert fingerprint(network) == fingerprint(other)
    with torch.no_grad():
        other.weight[0, 0] += 1e-3
    assert fingerprint(network) != fingerprint(other)


def test_another_process_agrees() -> None:
    # found by a process that hashes strings with another seed
    expected = "d9e81e6d7a46e58c2a17f1063d494f8f61f90a4074f710ae6f035dbfab42fb42"
    assert fingerprint({"b": [1, 2.5, None], "a": "x"}, torch.arange(5)) == expected


@pytest.mark.parametrize("thing", [len, lambda: 1, Counting, functools.partial(max, 1), object()])
def test_what_shows_nothing_is_refused(thing: object) -> None:
    with pytest.raises(InputError, match="can't be told from another"):
        fingerprint(thing)

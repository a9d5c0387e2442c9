"""Uploads, as far as the call of the network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import monai.bundle.scripts
import pytest

from custom_components.common.errors import InputError
from custom_components.share import hub, push


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "configs").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0\n")
    (folder / "docs" / "README.md").write_text("# Model Overview\n")
    metadata = {"version": "0.3.0", "changelog": {"0.3.0": ""}, "packed_by": "warpzoo 0.1.0"}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the Hub's client is asked to do, instead of the network."""
    made: list[tuple[str, dict[str, Any]]] = []

    class HfApi:
        def __init__(self, token: str | None = None) -> None:
            made.append(("token", {"token": token}))

        def create_repo(self, **options: Any) -> None:
            made.append(("create_repo", options))

        def upload_folder(self, **options: Any) -> str:
            folder = Path(options["folder_path"])
            made.append(("upload_folder", {**options, "card": (folder / "README.md").read_text()}))
            return f"https://huggingface.co/{options['repo_id']}"

        def create_tag(self, **options: Any) -> None:
            made.append(("create_tag", options))

    monkeypatch.setattr(monai.bundle.scripts, "huggingface_hub", SimpleNamespace(HfApi=HfApi))
    monkeypatch.setattr(hub, "find_spec", lambda name: object())
    return made


def test_the_bundle_is_uploaded_with_a_card_and_tagged_with_its_version(packed, calls):
    assert push(str(packed), "me/mine", latest=True) == "mine 0.3.0: https://huggingface.co/me/mine"
    done = dict(calls[:3])
    assert done["create_repo"] == {"repo_id": "me/mine", "private": True, "exist_ok": True}
    assert "license: apache-2.0" in done["upload_folder"]["card"]
    assert [options["tag"] for name, options in calls if name == "create_tag"] == ["0.3.0", "latest_version"]
    assert not (packed / "README.md").exists()


def test_what_is_not_packed_is_not_uploaded(packed, calls):
    metadata = {"version": "0.3.0", "changelog": {"0.3.0": ""}}
    (packed / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="is not packed"):
        push(str(packed), "me/mine")
    assert calls == []


@pytest.mark.parametrize("repo", ["mine", "me/", "a/b/c"])
def test_a_wrong_repository_is_refused(packed, calls, repo):
    with pytest.raises(InputError, match="--repo is owner/name"):
        push(str(packed), repo)


def test_without_the_hubs_client_it_says_what_to_install(packed, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        push(str(packed), "me/mine")

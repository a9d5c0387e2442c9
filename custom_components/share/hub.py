"""Packed bundles on the Hugging Face Hub."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from monai.bundle import push_to_hf_hub

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.share.metadata import read_metadata


def push(bundle: str, repo: str, private: bool = True, token: str | None = None, latest: bool = False) -> str:
    """Upload a packed bundle with MONAI's own command, tagged with its version.

    Args:
        bundle: folder that ``pack`` wrote. It stays as it is: MONAI makes the model card in a copy.
        repo: ``owner/name`` on the Hub; made if absent.
        private: a repository that is made is private.
        token: of the Hub; default is the one that ``hf auth login`` stored.
        latest: also tag it as ``latest_version``, which ``monai.bundle download`` takes where no version is asked for.

    Returns:
        Where it lies.

    Raises:
        InputError: the folder is not packed, ``repo`` is no ``owner/name``, or huggingface_hub is not installed.
    """
    folder = Path(bundle).resolve()
    metadata = read_metadata(folder)
    if "packed_by" not in metadata:
        raise InputError(f"{folder} is not packed; pack it first: python -m custom_components.share pack")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InputError(f"--repo is owner/name, got '{repo}'")
    if find_spec("huggingface_hub") is None:
        raise InputError("huggingface_hub is not installed: pip install 'warpzoo[export]'")
    with TemporaryDirectory() as copies:
        shutil.copytree(folder, Path(copies) / folder.name, ignore=shutil.ignore_patterns("__pycache__", "eval", "out"))
        place = push_to_hf_hub(
            repo=repo,
            name=folder.name,
            bundle_dir=copies,
            token=token,
            private=booleans.parse_bool(private, "private"),
            version=metadata["version"],
            tag_as_latest_version=booleans.parse_bool(latest, "latest"),
        )
    return f"{folder.name} {metadata['version']}: {place}"

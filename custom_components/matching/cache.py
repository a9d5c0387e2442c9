"""Matches kept on disk, so that a training that looks at a pair many times matches it once."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.common.version import VERSION
from custom_components.matching.point_pairs import PointPairs
from custom_components.pairs.atomic import atomic_path

NAMES = ("moving", "fixed", "score")


def fingerprint(*parts: Any) -> str:
    """SHA-256 of values by what they hold, the same in every process.

    Tensors and arrays count by type, shape and content; a ``Path`` by its file's content where it is a file, else by
    its name; modules by their class and their state; other objects by their class and their public attributes, so
    that a matcher is told from one with other settings. Private attributes hold what is derived.

    Raises:
        InputError: a part, such as a function, shows nothing to tell it by.
    """
    digest = hashlib.sha256()
    for part in parts:
        _add(digest, part)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: Any) -> None:
    """Each part is preceded by its kind and its length, so that no two sequences of parts read alike."""
    if part is None or isinstance(part, bool | int | float | str):
        _token(digest, "value", json.dumps(part))
    elif isinstance(part, torch.device | torch.dtype):
        _token(digest, "torch", str(part))
    elif isinstance(part, Tensor):
        _token(digest, "tensor", f"{part.dtype} {tuple(part.shape)}")
        # NumPy has no bfloat16, but bytes
        digest.update(part.detach().cpu().as_subclass(Tensor).contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(part, np.ndarray | np.generic):
        _token(digest, "array", f"{part.dtype.str} {part.shape}")
        digest.update(part.tobytes())
    elif isinstance(part, Path):
        content = hashlib.sha256(part.read_bytes()).hexdigest() if part.is_file() else str(part)
        _token(digest, "path", content)
    elif isinstance(part, Mapping):
        _token(digest, "mapping", str(len(part)))
        for key in sorted(part, key=str):
            _add(digest, str(key))
            _add(digest, part[key])
    elif isinstance(part, list | tuple):
        _token(digest, "sequence", str(len(part)))
        for item in part:
            _add(digest, item)
    elif isinstance(part, nn.Module):
        _token(digest, "module", _class_name(part))
        _add(digest, part.state_dict())
    elif hasattr(part, "__dict__") and not isinstance(part, type | partial) and not hasattr(part, "__get__"):
        _token(digest, "object", _class_name(part))
        _add(digest, {name: value for name, value in vars(part).items() if not name.startswith("_")})
    else:
        raise InputError(f"a {type(part).__name__} can't be told from another, so nothing that depends on it is cached")


def _token(digest: hashlib._Hash, kind: str, text: str) -> None:
    digest.update(f"{kind} {len(text)} {text}\n".encode())


def _class_name(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


class CachedMatcher:
    """A matcher whose results are kept in a folder, a file for each pair of images.

    The file's name tells the content of the images, the matcher with all its settings and network weights (see
    ``fingerprint``) and the version of this package: where anything changes, another file is asked for. A file that
    can't be read is made anew.

    Args:
        matcher: a ``Matcher``, or one that takes masks as well.
        folder: made when it is needed; None keeps nothing.
        key: anything more that the results depend on.
    """

    def __init__(self, matcher: Callable[..., PointPairs], folder: str | Path | None, key: Any = None) -> None:
        self.matcher = matcher
        self.folder = None if folder is None else Path(folder)
        self.key = key

    def __call__(self, moving: Tensor, fixed: Tensor, *masks: Tensor | None) -> PointPairs:
        """Match two images, or read what was found before; see ``Matcher``.

        Args:
            moving: (1, 1, H, W).
            fixed: (1, 1, H, W).
            masks: passed on to the matcher.

        Raises:
            InputError: the folder can't be written, or the matcher shows nothing to tell it by.
        """
        if self.folder is None:
            return self.matcher(moving, fixed, *masks)
        file = self.file(moving, fixed, *masks)
        kept = read_matches(file)
        if kept is None:
            kept = self.matcher(moving, fixed, *masks)
            write_matches(file, kept)
        return kept

    def file(self, moving: Tensor, fixed: Tensor, *masks: Tensor | None) -> Path:
        """Where the matches of these images are, or would be, kept.

        Raises:
            InputError: no folder was given, or the matcher shows nothing to tell it by.
        """
        if self.folder is None:
            raise InputError("no folder was given to keep matches in")
        return self.folder / f"{fingerprint(VERSION, self.matcher, self.key, moving, fixed, masks)}.npz"


def write_matches(file: Path, pairs: PointPairs) -> None:
    """Keep pairs in an ``.npz`` file, whole or not at all.

    Raises:
        InputError: it can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{file.parent}: matches can't be kept there ({error.strerror or error})") from error
    with atomic_path(file) as unfinished:
        np.savez_compressed(unfinished, **{name: getattr(pairs, name).cpu().numpy() for name in NAMES})


def read_matches(file: Path) -> PointPairs | None:
    """The pairs in a file of ``write_matches``; None where there is none or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return PointPairs(*(torch.from_numpy(arrays[name]) for name in NAMES))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # InputError, for shapes that don't fit, is a ValueError

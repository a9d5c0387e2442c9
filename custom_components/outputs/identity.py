"""What identifies a result: the files, bundle, weights and options that it was made of.

A pair is done when an earlier run made it of the same. The record stands as ``run`` in metrics.json.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from custom_components.bundles.keys import read_bundle_root, strings_in
from custom_components.bundles.literals import literal_text
from custom_components.pairs import Pair

Record = Mapping[str, Any]
HASHED = 64 << 20  # bytes; of larger files size and time of the last change have to do
LONGEST = 200  # characters of an option's value that is noted as it is; of others the hash
WEIGHTS = re.compile(r"\.(pt|pth|ts|onnx|npz|safetensors|engine)(\b|$)")
# keys of a bundle that say what is registered, where or by which processes, and not how
APART = frozenset({
    "imports", "initialize", "finalize", "run", "bundle_root", "dataset_dir", "output_dir", "device", "pairs", "status",
    "moving", "fixed", "moving_landmarks", "fixed_landmarks", "moving_annotations", "fixed_annotations",
    "moving_labels", "fixed_labels", "moving_mask", "fixed_mask", "id", "resume", "processes", "scheduler",
    "submission", "dataset", "evaluator", "handlers", "tensorboard", "report", "note",
})  # fmt: skip


@dataclass(frozen=True)
class RunSettings:
    """What the pairs of one run share.

    Attributes:
        bundle: name of the bundle's folder; "" for a registration without one.
        version: of the bundle, for readers.
        weights: SHA-256 of each file of weights that the config names, by its key.
        options: the config's other keys, long values as their hash.
    """

    bundle: str = ""
    version: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def read_run_settings(config: Mapping[str, Any] | None, apart: frozenset[str] = APART) -> RunSettings:
    """The settings in a bundle's config, overrides in it; those of no bundle for None.

    Args:
        config: as ``ConfigParser.get`` gives it.
        apart: keys that don't influence the result.
    """
    if config is None:
        return RunSettings()
    chosen = {key: value for key, value in config.items() if key not in apart and not key.startswith("_")}
    weights = _weights_in(config, chosen)
    root = read_bundle_root(config)
    options = {key: _plain(value) for key, value in chosen.items() if key not in weights}
    try:
        version = str(json.loads((root / "configs" / "metadata.json").read_text())["version"])
    except (OSError, ValueError, KeyError):
        version = ""
    name = root.resolve().name if config.get("bundle_root") else ""
    return RunSettings(name, version, weights, options)


def _weights_in(config: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files of weights that entries of the config name, however deep."""
    found = {key: text for key, text in strings_in(chosen) if WEIGHTS.search(text) and not text.startswith(("%", "@"))}
    computed = [key for key, text in found.items() if text.startswith("$")]
    if computed:
        # a config of its own: the one that is just being built is in use
        names = {reference for text in found.values() for reference in re.findall(r"@(\w+)", text)}
        names.add("bundle_root")
        part = {key: config[key] for key in {*names, "imports", *(key.split("::")[0] for key in computed)} & {*config}}
        parser = ConfigParser(deepcopy(part))
        for key in computed:
            try:
                found[key] = str(parser.get_parsed_content(key))
            except Exception:  # it needs more than that: the expression stays among the options
                del found[key]
    return {key: digest for key, text in found.items() if (digest := _digest(Path(text))) is not None}


def _plain(value: Any) -> Any:
    """A value as JSON has it, however it was given; a long one as its hash."""
    value = literal_text(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):  # from the command line
        return value.strip().lower() == "true"
    if value is None or isinstance(value, bool | int | float):
        return value
    text = json.dumps(value, sort_keys=True, default=_named)
    return json.loads(text) if len(text) <= LONGEST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _named(value: Any) -> str:
    """A path as text; of any other object its kind, as its address differs each time."""
    return str(value) if isinstance(value, Path) else f"{type(value).__module__}.{type(value).__qualname__}"


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def file_record(path: Path) -> dict[str, Any]:
    """Path, size, time of the last change, and SHA-256 unless the file is large; of a missing one the path alone."""
    try:
        size, modified = size_and_time(path)
    except OSError:
        return {"path": str(path.resolve())}
    return {
        "path": str(path.resolve()), "size": size, "modified": modified,
        "sha256": _digest(path) if size <= HASHED else None,
    }  # fmt: skip


def size_and_time(path: Path) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change; of a folder (DICOM, OME-Zarr) over all files in it."""
    files = [path.stat()] + [file.stat() for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    if not files:
        return path.stat().st_size, path.stat().st_mtime_ns
    return sum(file.st_size for file in files[1:]), max(file.st_mtime_ns for file in files)


def is_unchanged(earlier: Record, path: Path) -> bool:
    """Whether ``path`` is the file of a record: in the same place, or moved there as it was."""
    try:
        size, modified = size_and_time(path)
    except OSError:
        return False
    before = Path(str(earlier.get("path")))
    if size != earlier.get("size") or (before != path.resolve() and before.exists()):
        return False
    known = earlier.get("sha256")
    return modified == earlier.get("modified") or (known is not None and _digest(path) == known)


def list_inputs(pair: Pair) -> dict[str, Path]:
    """The files of a pair by the names of its fields."""
    values = {entry.name: getattr(pair, entry.name) for entry in fields(pair)}
    return {name: value for name, value in values.items() if isinstance(value, Path)}


def run_record(pair: Pair, settings: RunSettings, versions: Mapping[str, str]) -> dict[str, Any]:
    """``run`` of a pair's metrics.json."""
    return {
        "inputs": {name: file_record(path) for name, path in (list_inputs(pair) | _stored_in(pair, settings)).items()},
        "reading": _reading(pair, settings), "bundle": settings.bundle, "bundle_version": settings.version,
        "weights": dict(settings.weights), "options": dict(settings.options), "versions": dict(versions),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def pending(settings: RunSettings, versions: Mapping[str, str]) -> dict[str, Any]:
    """``Pair.run`` of a pair whose turn has not come: of ten thousand, files are not read before the first begins."""
    return {"settings": settings, "versions": versions}


def recorded(pair: Pair) -> Pair:
    """The pair with its ``run_record`` in place of what ``pending`` has noted; any other as it is."""
    settings = pair.run.get("settings")
    if not isinstance(settings, RunSettings):
        return pair
    return replace(pair, run=run_record(pair, settings, pair.run["versions"]))


def _reading(pair: Pair, settings: RunSettings) -> dict[str, Any]:
    """What a user said of the files, side by side, and of the points where it is no option; empty where nothing."""
    option = str(settings.options.get("point_space") or "").strip().lower()
    own = pair.point_space not in (None, option)
    return ({"point_space": pair.point_space} if own else {}) | {
        f"{side}_{name}": value
        for side, reading in (("moving", pair.moving_reading), ("fixed", pair.fixed_reading))
        for name, value in asdict(reading).items()
        if value is not None
    }


def _stored_in(pair: Pair, settings: RunSettings) -> dict[str, Path]:
    """The earlier registration that this one starts from, where the bundle has the key ``results``."""
    results = settings.options.get("results")
    return {"results": Path(results) / pair.id / "metrics.json"} if isinstance(results, str) else {}


def other_images(metrics: Record, pair: Pair) -> tuple[str, str] | None:
    """(then, now) of the first image that differs from that of an earlier result; None if it is of this pair."""
    then = (metrics.get("run") or {}).get("inputs") or {}
    for side in ("moving", "fixed"):
        now: Path = getattr(pair, side)
        if side in then:
            earlier = Path(str(then[side].get("path")))
            if earlier != now.resolve() and not is_unchanged(then[side], now):
                return str(earlier), str(now)
        elif isinstance(metrics.get(side), str) and Path(metrics[side]).resolve() != now.resolve():
            return metrics[side], str(now)  # an older version's, whose paths start at the folder that was current then
    return None


def differences(run: Record | None, pair: Pair, settings: RunSettings) -> list[str]:
    """What differs from the ``run`` of an earlier result, in words; none when the pair is done."""
    if not run:
        return ["an older version made it, which did not record what it is made of"]
    found = []
    then, now = run.get("inputs") or {}, list_inputs(pair) | _stored_in(pair, settings)
    for name in dict.fromkeys([*then, *now]):
        if name not in now or name not in then or not is_unchanged(then[name], now[name]):
            gone = " is not given now" if name not in now else " was not given then" if name not in then else " differs"
            found.append(f"{name}{gone}")
    if (run.get("reading") or {}) != _reading(pair, settings):
        found.append(f"read as {run.get('reading')}, now {_reading(pair, settings)}")
    if run.get("bundle") != settings.bundle:
        found.append(f"bundle '{run.get('bundle')}', now '{settings.bundle}'")
    for kind, before, after in (
        ("weights of ", run.get("weights") or {}, settings.weights),
        ("", run.get("options") or {}, settings.options),
    ):
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                found.append(f"{kind}{key}{_change(before.get(key), after.get(key)) if not kind else ' differ'}")
    return found


def _change(before: Any, after: Any) -> str:
    if any(isinstance(value, str) and value.startswith("sha256:") for value in (before, after)):
        return " differs"
    return f" {json.dumps(before)}, now {json.dumps(after)}"

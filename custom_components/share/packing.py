"""A bundle in a form that needs nothing beside it.

    python -m custom_components.share pack bundles/patch_nonrigid --output packed

In the repository bundles share YAML fragments and one package of components. Packed, the fragments stand in the
configs, the components lie in ``scripts/``, and paths start at the bundle's own root.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import torch
import yaml

from custom_components.bundles.checksums import SUMS, sums_of
from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.common.version import VERSION
from custom_components.matching.weights import FILES, load, sha256
from custom_components.pairs import atomic_folder, atomic_path
from custom_components.pairs.atomic import IsOurs
from custom_components.pairs.owners import OWNER
from custom_components.share.inlining import Scalar, edited, inlined
from custom_components.share.metadata import completed, read_metadata
from custom_components.share.vendoring import (
    ROOT,
    VENDORED,
    data_files,
    find_modules,
    foreign_packages,
    names_in,
    renamed,
)

LARGEST = 25 << 20  # bytes of a file that the model zoo accepts
NEEDED = ("LICENSE", "configs/inference.yaml", "configs/logging.conf", "docs/README.md", "docs/data_license.txt")
MARK = "This is the packed form, made by WarpZoo"  # in docs/README.md
DIFFERENCES = "packed.yaml"  # what a bundle says about its packed form
YAML = (".yaml", ".yml")
TEXT = (*YAML, ".md", ".txt", ".py", ".conf")


def pack(
    bundle: str,
    output: str,
    zip: bool = False,
    vendor: bool = True,
    force: bool = False,
    large_files_url: str | None = None,
) -> str:
    """Write the self-contained form of a bundle to ``<output>/<name>``.

    Args:
        bundle: folder of the bundle, two below the folder that its references start from.
        output: folder for packed bundles.
        zip: also ``<output>/<name>_v<version>.zip``, as ``monai.bundle download`` reads it.
        vendor: copy the components that the bundle uses into it; false names the package warpzoo as a requirement.
        force: replace an older packed form; what else lies in its folder is kept.
        large_files_url: folder on the web where files above 25 MB will lie. They go to ``<output>/<name>_large_files``
            and ``large_files.yml`` says where to fetch them and their hashes; the zip file keeps them.

    Returns:
        What was written.

    Raises:
        InputError: the folder is no complete bundle, a reference leads nowhere, there is an older packed form and no
            ``force``, a folder that is none, or a large file and no ``large_files_url``.
    """
    source, vendored = Path(bundle).resolve(), booleans.parse_bool(vendor, "vendor")
    name, metadata = source.name, read_metadata(source)
    missing = [file for file in NEEDED if not (source / file).is_file()]
    if missing:
        raise InputError(f"{source} is not a complete bundle: {', '.join(missing)} missing")
    target = Path(output) / name
    archive = Path(output) / f"{name}_v{metadata['version']}.zip"
    large = Path(output) / f"{name}_large_files"
    wanted = [target, *([archive] if booleans.parse_bool(zip, "zip") else [])]
    if target.resolve() == source or source in target.resolve().parents or target.resolve() in source.parents:
        raise InputError(f"--output {output} would put the packed form over the bundle itself; choose another folder")
    older = [path for path in wanted if path.exists()]
    if older and not booleans.parse_bool(force, "force"):
        raise InputError(f"{older[0]} exists; give --force true to replace it, or another --output")
    try:
        with atomic_folder(target, recognise_packed) as folder:
            _fill(folder, source, metadata, vendored)
            packed = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
            (folder / SUMS).write_text(sums_of(folder, (name for name in packed if name != OWNER)), encoding="utf-8")
            if archive in wanted:
                _archive(folder, name, archive)
            sizes = _set_aside(folder, large, large_files_url)
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror or error})") from error
    total = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    lines = [f"wrote {target}: {total / 1e6:.1f} MB"]
    lines += [f"wrote {archive}"] if archive in wanted else []
    return "\n".join(lines + [f"upload {large / file} to {large_files_url}" for file in sizes])


def recognise_packed(folder: Path) -> IsOurs:
    """Takes a folder for a packed bundle; weights that none was packed with, and all else, are the user's.

    Raises:
        InputError: it is none.
    """
    readme = folder / "docs" / "README.md"
    if not readme.is_file() or MARK not in readme.read_text(errors="replace"):
        raise InputError(f"{folder} is not recognisable as a packed bundle; it stays, choose another --output")
    configs = "".join(file.read_text(errors="replace") for file in (folder / "configs").glob("*.yaml"))
    own = {"LICENSE", SUMS, "large_files.yml", "models/model.pt", *re.findall(r"models/[\w.-]+", configs)}
    return lambda name: name in own or name.split("/")[0] in ("configs", "docs", VENDORED)


def recognise_set_aside(large: Path) -> Callable[[Path], IsOurs]:
    """Takes a folder for the large files of the packed bundle beside it, by its ``large_files.yml``."""

    def recognise(folder: Path) -> IsOurs:
        listed = large.with_name(large.name.removesuffix("_large_files")) / "large_files.yml"
        entries = (yaml.safe_load(listed.read_text()) or {}).get("large_files", []) if listed.is_file() else []
        own = {entry["path"] for entry in entries}
        if not own:
            raise InputError(f"{folder} is not recognisable as files set aside from a bundle; choose another --output")
        return own.__contains__

    return recognise


def _fill(folder: Path, source: Path, metadata: Mapping[str, Any], vendored: bool) -> None:
    root = source.parents[1]
    differences: dict[str, Any] = {}
    if (source / DIFFERENCES).is_file():
        differences = yaml.safe_load((source / DIFFERENCES).read_text()) or {}
    texts: dict[str, str] = {}
    for file in _files(source):
        relative = file.relative_to(source).as_posix()
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        if file.suffix not in TEXT:
            shutil.copyfile(file, folder / relative)
            continue
        text = file.read_text()
        if relative.startswith("configs/") and file.suffix in YAML:
            text = inlined(text, root, relative)
            text = _own_keys(text, differences.get("keys", {}))
            text = _own_weights(text, root, source.name, folder)
        texts[relative] = text
    names = set().union(*(names_in(text) for text in texts.values()))
    modules = find_modules(names) if vendored else set()
    for module in sorted(modules | data_files(modules)):
        texts[f"{VENDORED}/{module.relative_to(ROOT).as_posix()}"] = module.read_text()
    if vendored:
        texts[f"{VENDORED}/__init__.py"] = f'"""Components of this bundle, from WarpZoo {VERSION}."""\n'
    for relative, text in texts.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        localised = _localised(text, source.name, relative)
        (folder / relative).write_text(renamed(localised) if vendored else localised)
    published = {file: FILES[entry["published"]] for file, entry in differences.get("weights", {}).items()}
    for file, entry in differences.get("weights", {}).items():
        state = load(entry["published"])
        prefix = entry.get("prefix", "")
        (folder / file).parent.mkdir(exist_ok=True)
        torch.save({prefix + key: value for key, value in state.items()}, folder / file)
    whole = completed(
        metadata, foreign_packages(modules), {known.requirement for known in published.values()}, not vendored
    )
    (folder / "configs" / "metadata.json").write_text(json.dumps(whole, indent=4, ensure_ascii=False) + "\n")
    if not (folder / "models" / "model.pt").is_file():
        raise InputError(
            f"{source} has no models/model.pt, which the model zoo asks for: train it, or see {DIFFERENCES}"
        )


def _files(source: Path) -> list[Path]:
    """What belongs to the bundle: the root's licence, configs and docs, weights, but nothing that runs have left."""
    whole = [file for part in ("configs", "docs") for file in (source / part).rglob("*")]
    files = [source / "LICENSE", *whole, *(source / "models").glob("*.pt"), *(source / "models").glob("*.json")]
    return sorted(file for file in files if file.is_file() and file.name != "metadata.json")


def _own_keys(text: str, keys: Mapping[str, str]) -> str:
    """The config with values for some top-level keys, where it has them and they are null."""
    return edited(
        text, lambda scalar: keys.get(scalar.ids[0]) if scalar.value == "null" and scalar.ids[1:] == () else None
    )


def _own_weights(text: str, root: Path, name: str, folder: Path) -> str:
    """The config with the weights of other bundles copied beside its own."""

    def copied(scalar: Scalar) -> str | None:
        found = re.fullmatch(r"bundles/(\w+)/models/([\w.-]+)", scalar.value) or re.fullmatch(
            r"\$bundles\.folder\('(\w+)'\) \+ '/models/([\w.-]+)'", scalar.value
        )
        if found is None or found[1] == name:
            return None
        file = root / "bundles" / found[1] / "models" / found[2]
        if not file.is_file():
            raise InputError(f"{'::'.join(scalar.ids)} names {file}, which does not exist")
        own = f"models/{found[1]}_{found[2]}"
        (folder / "models").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / own)
        return f"$@bundle_root + '/{own}'"

    return edited(text, copied)


def _localised(text: str, name: str, relative: str) -> str:
    """A text with paths that start at the bundle's own root, and without links that lead out of it."""
    text = re.sub(rf"\$bundles\.folder\('{name}'\)(?! \+)", ".", text)
    text = re.sub(rf"\$bundles\.folder\('{name}'\) \+", "$@bundle_root +", text)
    text = re.sub(rf"\bbundles/{name}/", "", text)
    text = re.sub(rf"\bbundles/{name}\b", ".", text)
    if not relative.endswith(".md"):
        return text
    text = re.sub(r"\[([^\]]+)\]\((?:\.\./){2,}[^)]*\)", r"\1", text)
    text = text.replace(
        "From the root of the repository, with the package installed.",
        "From this bundle's root, with the packages that `configs/metadata.json` names.",
    )
    note = f"""
{MARK} {VERSION}. Commands run from this folder; what is said of
`benchmarks`, `make` and other bundles is about WarpZoo's repository.
"""
    return re.sub(r"\A(# .*\n)", rf"\1{note}", text)


def _archive(folder: Path, name: str, archive: Path) -> None:
    """A zip file of the folder, under the bundle's name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != OWNER)
    with atomic_path(archive) as partial, ZipFile(partial, "w", ZIP_DEFLATED) as packed:
        for file in files:
            packed.write(file, f"{name}/{file.relative_to(folder).as_posix()}")


def _set_aside(folder: Path, large: Path, url: str | None) -> list[str]:
    """Move files that are too large for the zoo to ``large``; ``large_files.yml`` names them for MONAI's download."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.stat().st_size > LARGEST]
    names = [file.relative_to(folder).as_posix() for file in files]
    if not files:
        return []
    if url is None:
        raise InputError(
            f"{names[0]} has more than {LARGEST >> 20} MB, which the model zoo does not take: "
            "give --large_files_url, the folder on the web where it will lie"
        )
    entries = [
        {"path": name, "url": f"{url.rstrip('/')}/{name}", "hash_val": sha256(file), "hash_type": "sha256"}
        for name, file in zip(names, files, strict=True)
    ]
    with atomic_folder(large, recognise_set_aside(large)) as aside:
        for name, file in zip(names, files, strict=True):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, aside / name)
    (folder / "large_files.yml").write_text(yaml.safe_dump({"large_files": entries}, sort_keys=False))
    return names

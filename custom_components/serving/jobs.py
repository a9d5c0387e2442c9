"""A registration as a job of JSON, and what the process that does it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from custom_components.bundles import root
from custom_components.commands import view
from custom_components.common.errors import InputError
from custom_components.pairs import select_pairs
from custom_components.serving.answer import build_answer
from custom_components.serving.attachments import FIELDS, attach_files
from custom_components.serving.bundles import find_bundles
from custom_components.serving.errors import RequestError
from custom_components.serving.messages import SCRATCH, public
from custom_components.serving.outcomes import UNWRITABLE, RunError
from custom_components.serving.parameters import Value
from custom_components.serving.registration import register

TARGET = f"{__name__}:run_job"


def make_job(
    model: str, moving: Path, fixed: Path, identifier: str, options: Mapping[str, Value], given: Mapping[str, Any],
    studies: Path, results: Path, follow_links: bool, viewer: bool, url: str,
) -> dict[str, Any]:  # fmt: skip
    """What ``run_job`` is given.

    Args:
        model: name of a bundle.
        moving: image.
        fixed: image.
        identifier: of the pair.
        options: of the bundle's config.
        given: the request's parameters, of which points and annotations are taken.
        studies: folder of images and of files that a request names.
        results: folder that has one for each model.
        follow_links: see ``attach_files``.
        viewer: also write the viewer.
        url: of the results.

    Raises:
        RequestError: points or annotations are wrong.
    """
    attached = {name: given[name] for name in FIELDS if given.get(name) not in (None, "")}
    with TemporaryDirectory(prefix=SCRATCH) as scratch:  # so that who asks is told at once
        attach_files(attached, studies, Path(scratch), follow_links)
    return {
        "model": model, "moving": str(moving), "fixed": str(fixed), "id": identifier, "options": dict(options),
        "attached": attached, "studies": str(studies), "results": str(results), "follow_links": follow_links,
        "viewer": viewer, "url": url,
    }  # fmt: skip


def job_key(job: Mapping[str, Any]) -> str:
    """The same for jobs of which one need not be done again: same files as they are now, same options."""
    stats = [Path(job[side]).stat() for side in ("moving", "fixed")]
    state = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return hashlib.sha256(json.dumps([job, state], sort_keys=True).encode()).hexdigest()[:32]


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Register; the answer of docs/serving.md.

    Raises:
        RunError: an image or option is wrong, or the results folder can't be written; nothing of the message names a
            folder of the server.
    """
    start = perf_counter()
    try:
        result = _registered(job)
    except InputError as error:
        status = error.status if isinstance(error, RequestError) else UNWRITABLE
        raise RunError(public(str(error), (job["studies"], job["results"])), status) from error
    return {"result": {"model": job["model"], **result}, "latencies": {"total": perf_counter() - start}}


def _registered(job: Mapping[str, Any]) -> dict[str, Any]:
    bundle = find_bundles(root() / "bundles", [job["model"]])[job["model"]]
    output = Path(job["results"]) / bundle.name
    with TemporaryDirectory(prefix=SCRATCH) as scratch:
        files = attach_files(job["attached"], Path(job["studies"]), Path(scratch), job["follow_links"])
        attached: dict[str, Any] = dict(files)
        pair = select_pairs(moving=Path(job["moving"]), fixed=Path(job["fixed"]), id=job["id"], **attached)[0]
        metrics = register(bundle, pair, job["options"], output)
        if job["viewer"] and metrics["status"] != "failed":
            view.write_viewer(output / job["id"])
        answer = build_answer(metrics, pair, output / job["id"], job["url"])
    folders = (job["studies"], job["results"])
    answer["reason"] = public(answer.get("reason") or "", folders)
    answer["notes"] = [public(str(note), folders) for note in answer.get("notes") or ()]
    return answer

"""A bundle as a task of MONAI Label."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import perf_counter
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from custom_components.commands import view
from custom_components.pairs import select_pairs
from custom_components.serving import Bundle, RequestError, attach_files, build_answer, read_options, register
from custom_components.serving.parameters import describe, switch

URL = "/registrations"
ONE_AT_A_TIME = Lock()  # memory is bounded by one registration, and the current process has one random state


class RegistrationTask(InferTask):  # type: ignore[misc]
    """Registers the image of a request onto its ``fixed``.

    Args:
        bundle: the method.
        app: whose datastore, results folder and settings are used.
    """

    def __init__(self, bundle: Bundle, app: Any) -> None:
        self.bundle = bundle
        self.app = app
        self.parameters = describe(bundle.defaults)
        # what clients show as a form: no empty defaults, which they can't draw
        config = {name: p["default"] for name, p in self.parameters.items() if p.get("default") is not None}
        config = {"fixed": app.settings["fixed"], **config}
        super().__init__(InferType.OTHERS, [], dimension=2, description=bundle.description, config=config)

    def is_valid(self) -> bool:
        """Always: bundles were looked up at the start."""
        return True

    def info(self) -> dict[str, Any]:
        """What GET /info says of the model."""
        return {**super().info(), "parameters": self.parameters, "pathology": True}

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """(a copy of the warped image or None, ``{"result", "latencies"}``).

        Raises:
            RequestError: the request is wrong.
            InputError: the results folder can't be written.
        """
        start = perf_counter()
        given = {key: value for key, value in request.items() if key not in ("model", "image")}
        store, settings = self.app.datastore(), self.app.settings
        device = {"device": settings["device"]} if settings["device"] else {}
        options = read_options(given, self.bundle.defaults) | device
        wants_viewer = switch(given, "viewer")
        fixed_id = given.get("fixed") or settings["fixed"]
        if not fixed_id:
            raise RequestError("fixed", "is missing; give the id of the fixed image in params")
        moving, fixed = store.image_file(request["image"], "image"), store.image_file(fixed_id, "fixed")
        if moving == fixed:
            raise RequestError("fixed", f"'{fixed_id}' is the moving image itself")
        identifier = f"{request['image']}_to_{fixed_id}"
        output = self.app.results / self.bundle.name
        folder, url = output / identifier, f"{URL}/{self.bundle.name}/{identifier}"
        with TemporaryDirectory() as scratch, ONE_AT_A_TIME:
            attached = attach_files(given, store.folder, Path(scratch), store.follow_links)
            pair = select_pairs(moving=moving, fixed=fixed, id=identifier, **attached)[0]
            metrics = register(self.bundle, pair, options, output)
            if wants_viewer and metrics["status"] != "failed":
                view.write_viewer(folder)
            result = build_answer(metrics, pair, folder, url)
            file = self._copy(folder) if metrics["status"] != "failed" else None
        return file, {"result": {"model": self.bundle.name, **result}, "latencies": {"total": perf_counter() - start}}

    def _copy(self, folder: Path) -> str:
        """The warped image under another name, since MONAI Label deletes the file that it sends."""
        warped = next(folder.glob("warped.*"))
        copies = self.app.results / ".sent"
        copies.mkdir(exist_ok=True)
        copy = copies / f"{folder.name}-{uuid.uuid4().hex[:8]}{''.join(warped.suffixes)}"
        try:
            os.link(warped, copy)
        except OSError:  # a file system without links
            shutil.copyfile(warped, copy)
        return str(copy)

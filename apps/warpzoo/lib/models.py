"""A bundle as a task of MONAI Label."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from custom_components.serving import Bundle, RequestError, Ticket, job_key, make_job, read_options
from custom_components.serving.parameters import describe, switch

URL = "/registrations"
LONGEST_NAME = 240  # bytes of a pair's folder; file systems take 255


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
        """(a copy of the warped image or None, ``{"result", "latencies"}``), see ``WarpZoo.infer``."""
        answer = self.app.infer({**request, "model": self.bundle.name})
        return answer["file"], answer["params"]

    def prepare(self, request: dict[str, Any]) -> tuple[Ticket, dict[str, Any]]:
        """A new ticket for what a request asks for, and what is to be done.

        Raises:
            RequestError: the request is wrong.
        """
        given = {key: value for key, value in request.items() if key not in ("model", "image")}
        store, settings = self.app.datastore(), self.app.settings
        device = {"device": settings["device"]} if settings["device"] else {}
        options = read_options(given, self.bundle.defaults) | device
        viewer = switch(given, "viewer")
        fixed_id = given.get("fixed") or settings["fixed"]
        if not fixed_id:
            raise RequestError("fixed", "is missing; give the id of the fixed image in params")
        moving, fixed = store.image_file(request["image"], "image"), store.image_file(fixed_id, "fixed")
        if moving == fixed:
            raise RequestError("fixed", f"'{fixed_id}' is the moving image itself")
        pair = f"{request['image']}_to_{fixed_id}"
        if len(pair.encode()) > LONGEST_NAME:
            raise RequestError("fixed", f"the ids of both images have more than {LONGEST_NAME - 4} bytes together")
        name = self.bundle.name
        job = make_job(
            name, moving, fixed, pair, options, given, studies=store.folder, results=self.app.results,
            follow_links=store.follow_links, viewer=viewer, url=f"{URL}/{name}/{pair}",
        )  # fmt: skip
        try:
            return Ticket(job_key(job), name, request["image"], fixed_id), job
        except OSError:  # deleted meanwhile
            raise RequestError("image", "or the fixed one was deleted", 404) from None

    def copy(self, job: dict[str, Any], answer: dict[str, Any]) -> str | None:
        """The warped image under another name, since MONAI Label deletes the file that it sends; None without one.

        Raises:
            OSError: the results folder can't be written.
        """
        folder = self.app.results / job["model"] / job["id"]
        warped = next(folder.glob("warped.*"), None)
        if answer["result"]["status"] == "failed" or warped is None:
            return None
        copies = self.app.results / ".sent"
        copies.mkdir(exist_ok=True)
        copy = copies / f"{uuid.uuid4().hex}{''.join(warped.suffixes)}"
        try:
            os.link(warped, copy)
        except OSError:  # a file system without links
            shutil.copyfile(warped, copy)
        return str(copy)

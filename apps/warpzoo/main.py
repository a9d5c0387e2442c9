"""MONAI Label app that registers pairs of images with the bundles of this repository; docs/serving.md.

monailabel start_server --app apps/warpzoo --studies FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from fastapi import HTTPException
from lib.datastore import Studies
from lib.models import RegistrationTask
from lib.routes import add_routes
from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json

from custom_components.bundles import root
from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.serving import RequestError, find_bundles, to_polygons

CONF = ("models", "fixed", "results", "follow_links", "device")
# of MONAI Label's own sample apps: nothing is downloaded here, and nothing trained
IGNORED = (
    "zoo_source",
    "zoo_repo",
    "auth_token",
    "sam2",
    "skip_trainers",
    "skip_scoring",
    "skip_strategies",
    "server_mode",
)


class WarpZoo(MONAILabelApp):  # type: ignore[misc]
    """The app.

    ``--conf`` takes models (names, commas between; default all), fixed (id of a fixed image for requests that name
    none), results (folder, default ``registrations`` in the studies folder), follow_links (also take images that are
    links to files elsewhere) and device (of torch).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        try:
            self.settings = _settings(conf)
            if studies.startswith(("http://", "https://")):
                raise InputError(f"--studies is a folder here, got {studies}")
            folder = Path(studies)
            self.results = Path(self.settings["results"] or folder / "registrations").resolve()
            names = [name.strip() for name in self.settings["models"].split(",") if name.strip() not in ("", "all")]
            _check_device(self.settings["device"])
            self.bundles = find_bundles(root() / "bundles", names)
        except InputError as error:
            sys.exit(f"error: --conf: {error}")
        super().__init__(
            app_dir, studies, conf, name="WarpZoo", labels=[],
            description="Registration: the image of a request is warped onto another one, its parameter 'fixed'",
        )  # fmt: skip

    def init_datastore(self) -> Studies:
        """The studies folder, from which no file outside of it is given."""
        return Studies(self.studies, booleans.parse_bool(self.settings["follow_links"], "follow_links"))

    def init_infers(self) -> dict[str, RegistrationTask]:
        """A task a bundle."""
        return {name: RegistrationTask(bundle, self) for name, bundle in self.bundles.items()}

    def init_strategies(self) -> dict[str, Any]:
        """None: there is nothing to label."""
        return {}

    def init_batch_infer(self) -> Any:
        """Registration of all images onto one."""
        return self.register_all

    def on_init_complete(self) -> None:
        """Put this app's routes before MONAI Label's."""
        super().on_init_complete()
        from monailabel.app import app

        add_routes(app)

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Register ``request["image"]`` onto ``request["fixed"]``.

        Raises:
            HTTPException: the request is wrong; its detail names the parameter.
        """
        name = request.get("model", "")
        task = self._infers.get(name)
        if task is None:
            raise HTTPException(404, f"model: there is no '{name[:80]}'; there are {', '.join(self._infers)}")
        try:
            file, params = task(request)
        except RequestError as error:
            raise HTTPException(error.status, self._public(error)) from error
        except InputError as error:  # the results folder is full or can't be written
            raise HTTPException(507, self._public(error)) from error
        return {"label": file, "tag": "", "file": file, "params": params}

    def _public(self, error: InputError) -> str:
        """The message without the server's own path of the studies."""
        return str(error).replace(f"{self.studies.rstrip('/')}/", "")

    def infer_wsi(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """The annotations carried over, for pathology clients; the whole image, whatever region is asked for."""
        answer = self.infer(request, datastore)
        _forget(answer)
        result = answer["params"]["result"]
        table = {
            "name": f"WarpZoo {request['model']}", "description": "annotations of the moving image",
            "model": request["model"], "location": None, "size": None, "latencies": answer["params"]["latencies"],
            "annotations": [{"annotation": to_polygons(result.get("annotations") or [])}],
        }  # fmt: skip
        if request.get("output") == "json":
            return {"file": None, "params": answer["params"]}
        write = create_asap_annotations_xml if request.get("output") == "asap" else create_dsa_annotations_json
        file, _ = write(table)
        return {"file": file, "params": answer["params"]}

    def register_all(self, request: dict[str, Any], datastore: Any, infer: Any) -> dict[str, Any]:
        """Register every image but the fixed one; what goes wrong with one does not end the others."""
        fixed = request.get("fixed") or self.settings["fixed"]
        wanted = request.get("images")
        names = [n for n in wanted if n != fixed] if isinstance(wanted, list) else datastore.list_images()
        results: dict[str, Any] = {}
        for name in sorted(names):
            if name == fixed:
                continue
            try:
                answer = infer({**request, "image": name}, datastore)
                _forget(answer)
                results[name] = answer["params"]["result"]
            except HTTPException as error:
                results[name] = {"status": "failed", "reason": error.detail}
        return results


def _forget(answer: dict[str, Any]) -> None:
    """Delete the copy of the warped image that nobody will be sent."""
    if answer["file"]:
        Path(answer["file"]).unlink(missing_ok=True)


def _check_device(name: str) -> None:
    """Raise ``InputError`` unless the name is empty or that of a device that is there."""
    try:
        torch.empty(0, device=name or None)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{name}': {str(error).splitlines()[0]}") from error


def _settings(conf: dict[str, str]) -> dict[str, str]:
    """The app's part of ``--conf``, every key there.

    Raises:
        InputError: a key that nothing reads.
    """
    unknown = [key for key in conf if key not in (*CONF, *IGNORED)]
    if unknown:
        raise InputError(f"'{unknown[0]}' is not known; known are {', '.join(CONF)}")
    return {key: conf.get(key, "") for key in CONF} | {"follow_links": conf.get("follow_links", "false")}

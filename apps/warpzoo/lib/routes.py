"""Routes of the app: results as files, and MONAI Label's inference calls with wrong bodies caught.

MONAI Label's own calls run the inference in the server's event loop, where nothing else is answered meanwhile; these
are plain functions, which run in a thread.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints import infer, wsi_infer
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from pydantic import ValidationError

from custom_components.serving import RequestError, file_inside

router = APIRouter(tags=["WarpZoo"])
Upload = Annotated[UploadFile | None, File()]
Text = Annotated[str, Form()]
USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))


def add_routes(app: FastAPI) -> None:
    """Put these routes before those of the same path."""
    if not any(getattr(route, "name", "") == give_result.__name__ for route in app.router.routes):
        app.router.routes[:0] = router.routes


@router.get("/registrations/{path:path}", summary="File of a registration")
def give_result(path: str, user: Any = USER) -> FileResponse:
    """A file of the results folder."""
    try:
        return FileResponse(file_inside(app_instance().results, path, "path"))
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error


@router.post("/infer/{model}", summary="Register the image onto params.fixed")
def register(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Text = "{}",
    file: Upload = None,
    label: Upload = None,
    output: infer.ResultType | None = None,
    user: Any = USER,
) -> Any:
    """MONAI Label's call with the request checked."""
    _check(image, session_id, file, label)
    if output == infer.ResultType.dicom_seg:
        raise HTTPException(400, "output: dicom_seg is for segmentations; image, json and all can be given")
    app = app_instance()
    answer = app.infer({"model": model, "image": image, **_parameters("params", params)})
    if output == infer.ResultType.image and answer["file"] is None:
        raise HTTPException(422, f"no image: {answer['params']['result']['reason']}")
    return infer.send_response(app.datastore(), answer, output, background_tasks)


@router.post("/infer/wsi_v2/{model}", summary="Register, and give the annotations carried over")
def register_wsi(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    file: Upload = None,
    wsi: Text = "{}",
    output: wsi_infer.ResultType | None = None,
    user: Any = USER,
) -> Any:
    """MONAI Label's call with the request checked."""
    _check(image, session_id, file)
    body = _parameters("wsi", wsi)
    _parameters("params", json.dumps(body.get("params") or {}))
    try:
        given = wsi_infer.WSIInput.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"wsi: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return wsi_infer.run_wsi_inference(background_tasks, model, image, "", None, given, output)


def _check(image: str, session_id: str, *files: UploadFile | None) -> None:
    if any(file is not None for file in files):
        raise HTTPException(
            400, "file: uploads are not registered; PUT /datastore/image first, then give the image's id"
        )
    if session_id:
        raise HTTPException(400, "session_id: sessions are not registered; give image and params.fixed")
    if not image:
        raise HTTPException(400, "image: is missing; give the id of the moving image")


def _parameters(name: str, text: str) -> dict[str, Any]:
    """The JSON object of a form field."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise HTTPException(400, f"{name}: is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise HTTPException(400, f'{name}: is a JSON object such as {{"fixed": "HE"}}, got {text[:40]!r}')
    for key in ("image", "model"):
        if key in found:
            raise HTTPException(400, f"{name}: '{key}' is given in the address, not here")
    return found

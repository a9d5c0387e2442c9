"""Routes of the app: results as files, and MONAI Label's inference calls with wrong bodies caught.

MONAI Label's own calls run the inference in the server's event loop, where nothing else is answered meanwhile; these
wait without holding anything up.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, Form, HTTPException, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from monailabel.endpoints import infer, wsi_infer
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json
from pydantic import ValidationError

from custom_components.serving import RequestError, file_inside, parse_object, to_polygons, without_folders
from lib.users import ADMIN, USER
from lib.waiting import register

router = APIRouter(tags=["WarpZoo"])
Upload = Annotated[UploadFile | None, File()]
Text = Annotated[str, Form()]
NAMING = (".json", ".csv", ".html")  # of results; they name the images
FIELD = {"max_part_size": 32 << 20}  # bytes of a field of a form; annotations are large


@router.get("/registrations/{path:path}", summary="File of a registration")
def give_result(path: str, user: Any = USER) -> Response:
    """A file of the results folder; where it names images of the server, their paths are relative."""
    app = app_instance()
    try:
        file = file_inside(app.results, path, "path")
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error
    if file.suffix in NAMING:
        text = file.read_text(encoding="utf-8")
        told = without_folders(text, app.folders())
        if told != text:
            return Response(told, media_type=mimetypes.guess_type(file.name)[0])
    return FileResponse(file)


@router.post("/infer/{model}", summary="Register the image onto params.fixed", form_limits=FIELD)
async def register_image(
    request: Request, background_tasks: BackgroundTasks, model: str, image: str = "", session_id: str = "",
    params: Text = "{}", file: Upload = None, label: Upload = None, output: infer.ResultType | None = None,
    user: Any = USER,
) -> Any:  # fmt: skip
    """MONAI Label's call with the request checked."""
    _check(image, session_id, file, label)
    if output == infer.ResultType.dicom_seg:
        raise HTTPException(400, "output: dicom_seg is for segmentations; image, json and all can be given")
    given = await run_in_threadpool(_parameters, "params", params)
    copied = output != infer.ResultType.json
    answer = await register(request, {**given, "model": model, "image": image}, user.username, copied)
    if output == infer.ResultType.image and answer["file"] is None:
        raise HTTPException(422, f"no image: {answer['params']['result']['reason']}")
    return await run_in_threadpool(infer.send_response, app_instance().datastore(), answer, output, background_tasks)


@router.post("/infer/wsi_v2/{model}", summary="Register, and give the annotations carried over", form_limits=FIELD)
async def register_wsi_v2(
    request: Request, background_tasks: BackgroundTasks, model: str, image: str = "", session_id: str = "",
    file: Upload = None, wsi: Text = "{}", output: wsi_infer.ResultType | None = None, user: Any = USER,
) -> Any:  # fmt: skip
    """MONAI Label's call with the request checked; the whole image, whatever region is asked for."""
    _check(image, session_id, file)
    return await _outlines(request, background_tasks, model, image, wsi, output, user)


@router.post("/infer/wsi/{model}", include_in_schema=False)
async def register_wsi(
    request: Request, background_tasks: BackgroundTasks, model: str, image: str = "", session_id: str = "",
    output: wsi_infer.ResultType | None = None, user: Any = USER,
) -> Any:  # fmt: skip
    """The same with the parameters as body, as QuPath's extension sends them."""
    _check(image, session_id)
    return await _outlines(request, background_tasks, model, image, await request.body(), output, user)


@router.post("/batch/infer/{model}", summary="Register all images onto params.fixed")
async def register_all(
    request: Request, model: str, images: BatchInferImageType = BatchInferImageType.IMAGES_ALL, run_sync: bool = False,
    user: Any = ADMIN,
) -> Any:  # fmt: skip
    """Every image but the fixed one; what goes wrong with one does not end the others. Tickets unless run_sync."""
    given = await run_in_threadpool(_parameters, "params", await request.body())
    app = app_instance()
    fixed, wanted = given.get("fixed") or app.settings["fixed"], given.pop("images", None)
    names = wanted if isinstance(wanted, list) else app.datastore().list_images()
    found: dict[str, Any] = {}
    for name in sorted({name for name in names if isinstance(name, str)} - {fixed}):
        job = {**given, "model": model, "image": name}
        try:
            if run_sync:
                found[name] = (await register(request, job, user.username))["params"]["result"]
            else:
                ticket, _ = await run_in_threadpool(app.submit, job, user.username)
                found[name] = ticket.described()
        except HTTPException as error:
            found[name] = {"status": "failed", "reason": error.detail}
    return found if run_sync else JSONResponse({"tickets": found}, 202)


async def _outlines(
    request: Request, background_tasks: BackgroundTasks, model: str, image: str, text: str | bytes,
    output: wsi_infer.ResultType | None, user: Any,
) -> Any:  # fmt: skip
    params = await run_in_threadpool(_wsi_parameters, text)
    params = (await register(request, {**params, "model": model, "image": image}, user.username))["params"]
    if output == wsi_infer.ResultType.json:
        return params
    return await run_in_threadpool(_outline_file, background_tasks, model, params, output)


def _outline_file(background_tasks: BackgroundTasks, model: str, params: dict[str, Any], output: Any) -> FileResponse:
    table = {
        "name": f"WarpZoo {model}", "description": "annotations of the moving image", "model": model, "location": None,
        "size": None, "latencies": params["latencies"],
        "annotations": [{"annotation": to_polygons(params["result"].get("annotations") or [])}],
    }  # fmt: skip
    asap = output == wsi_infer.ResultType.asap
    file, _ = (create_asap_annotations_xml if asap else create_dsa_annotations_json)(table)
    background_tasks.add_task(Path(file).unlink, missing_ok=True)
    return FileResponse(file, media_type="application/xml" if asap else "application/json", filename=Path(file).name)


def _wsi_parameters(text: str | bytes) -> dict[str, Any]:
    body = _parameters("wsi", text)
    try:
        given = wsi_infer.WSIInput.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"wsi: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return _own(given.params or {}, "params")


def _check(image: str, session_id: str, *files: UploadFile | None) -> None:
    if any(file is not None for file in files):
        raise HTTPException(
            400, "file: uploads are not registered; PUT /datastore/image first, then give the image's id"
        )
    if session_id:
        raise HTTPException(400, "session_id: sessions are not registered; give image and params.fixed")
    if not image:
        raise HTTPException(400, "image: is missing; give the id of the moving image")


def _parameters(name: str, text: str | bytes) -> dict[str, Any]:
    """The JSON object of a form field or body."""
    try:
        return _own(parse_object(name, text), name)
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error


def _own(params: dict[str, Any], name: str) -> dict[str, Any]:
    for key in ("image", "model"):
        if key in params:
            raise HTTPException(400, f"{name}: '{key}' is given in the address, not here")
    return params

"""MONAI Label's calls for images and labels with what is sent checked, in threads: files are large.

Its own ones copy and hash files in the server's event loop, where nothing else is answered meanwhile.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse
from monailabel.endpoints import datastore
from monailabel.interfaces.utils.app import app_instance

from custom_components.serving import RequestError, list_images, parse_object
from custom_components.serving.listing import PAGE
from lib.users import ANNOTATOR, USER

router = APIRouter(tags=["Datastore"])
Text = Annotated[str, Form()]
Upload = Annotated[UploadFile, File()]


@router.get("/datastore/images", summary="Images by kind: picture, slide or volume")
def images(kind: str = "", start: int = 0, limit: int = PAGE, user: Any = USER) -> dict[str, Any]:
    """``{"images": [{"id", "kind", "form", "bytes"}], "total", "next"}``."""
    try:
        return list_images(app_instance().datastore().image_files(), kind, start, limit)
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error


@router.put("/datastore/", include_in_schema=False)
@router.put("/datastore/image", summary="Upload an image")
def add_image(
    background_tasks: BackgroundTasks, file: Upload, image: str = "", params: Text = "{}", user: Any = ANNOTATOR
) -> Any:
    """MONAI Label's call."""
    _checked("params", params)
    return datastore.add_image(background_tasks, image, params, file, user.username)


@router.put("/datastore/label", summary="Upload a label")
def add_label(
    background_tasks: BackgroundTasks, image: str, label: Upload, params: Text = "{}", tag: str = "final",
    user: Any = ANNOTATOR,
) -> Any:  # fmt: skip
    """MONAI Label's call."""
    _checked("params", params)
    return datastore.save_label(background_tasks, image, params, tag, label, user.username)


@router.head("/datastore/image", summary="Whether there is an image, and with this hash")
def check_image(image: str, check_sum: str = "", user: Any = USER) -> Any:
    """``check_sum`` is SHA256:..., SHA512:... or MD5:..., the first if it is not named."""
    algorithm, _, digest = check_sum.rpartition(":")
    algorithm = algorithm.lower() or "sha256"
    if algorithm not in ("sha256", "sha512", "md5"):
        raise HTTPException(400, f"check_sum: is SHA256:..., SHA512:... or MD5:..., got {check_sum[:20]!r}")
    file = app_instance().datastore().get_image_uri(image)
    if not file:
        raise HTTPException(404, "image: is not there")
    if digest:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
        if found != digest.lower():
            raise HTTPException(404, "image: is another one by its check_sum")
    return {}


@router.put("/datastore/image/info", summary="Change what is known of an image")
def change_image(image: str, info: Text = "{}", user: Any = ANNOTATOR) -> Any:
    """MONAI Label's call."""
    _checked("info", info)
    return datastore.update_image_info(image, info, user.username)


@router.put("/datastore/label/info", summary="Change what is known of a label")
def change_label(label: str, tag: str, info: Text = "{}", user: Any = ANNOTATOR) -> Any:
    """MONAI Label's call."""
    _checked("info", info)
    return datastore.update_label_info(label, tag, info, user.username)


@router.put("/datastore/updatelabelinfo", include_in_schema=False)
def change_label_by_params(label: str, tag: str, params: Text = "{}", user: Any = ANNOTATOR) -> Any:
    """The same, by its earlier name."""
    return change_label(label, tag, params, user)


@router.get("/datastore/dataset", summary="All labelled images with their labels, as a ZIP file")
def dataset(limit_cases: int | None = None, user: Any = ANNOTATOR) -> FileResponse:
    """MONAI Label's call."""
    answer: FileResponse = datastore.download_dataset(limit_cases)
    return answer


def _checked(name: str, text: str) -> None:
    try:
        parse_object(name, text)
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error

"""MONAI Label's datastore over a folder, closed against names that lead out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore

from custom_components.serving import RequestError, file_inside

# of several that fit the last one counts
FORMS = ("*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff", "*.btf", "*.ome.tif", "*.ome.tiff", "*.nii",
         "*.nii.gz", "*.mha", "*.nrrd")  # fmt: skip
NAME = re.compile(r'[^/\\:*?"<>|.\x00-\x1f][^/\\:*?"<>|\x00-\x1f]*')


class Studies(LocalDatastore):  # type: ignore[misc]
    """The images of one folder, by name without suffix.

    Args:
        folder: the studies folder.
        follow_links: also give images that are links to files elsewhere.
    """

    def __init__(self, folder: str, follow_links: bool = False) -> None:
        self.folder = Path(folder)
        self.follow_links = follow_links
        named = "MONAI_LABEL_DATASTORE_FILE_EXT" in settings.model_fields_set
        super().__init__(
            folder, extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT if named else FORMS,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD, read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )  # fmt: skip

    def image_file(self, image_id: Any, parameter: str) -> Path:
        """The file of an image.

        Raises:
            RequestError: no such image (404), or a link that leads out of the folder (403).
        """
        known = self._datastore.objects.get(image_id) if isinstance(image_id, str) else None
        if known is None:
            names = sorted(self.list_images())
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "it is empty"
            raise RequestError(parameter, f"there is no image {str(image_id)[:80]!r} in the datastore ({some})", 404)
        return file_inside(self.folder, self._filename(image_id, known.image.ext), parameter, self.follow_links)

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image, or "" where there is none that may be given."""
        try:
            return str(self.image_file(image_id, "image"))
        except RequestError:
            return ""

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of an image."""
        self._known(image_id)
        return dict(super().get_image_info(image_id))

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Take an image in; an id that is there already is refused, since results refer to it."""
        checked = _plain("image", image_id or Path(image_filename).name)
        if checked in self._datastore.objects:
            raise HTTPException(409, f"image: '{checked}' is in the datastore already; give another id")
        suffix = self._to_id(Path(image_filename).name)[1]
        if f"*{suffix.lower()}" not in self._extensions:
            raise HTTPException(400, f"file: '{suffix}' is no form of image here; {', '.join(self._extensions)} are")
        return str(super().add_image(checked, image_filename, image_info))

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Take a label in."""
        self._known(image_id)
        return str(super().save_label(image_id, label_filename, _plain("tag", label_tag), label_info))

    def remove_image(self, image_id: str) -> None:
        """Delete an image."""
        self._known(image_id)
        super().remove_image(image_id)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Change what is known of an image."""
        self._known(image_id)
        super().update_image_info(image_id, info)

    def _known(self, image_id: str) -> None:
        try:
            self.image_file(image_id, "image")
        except RequestError as error:
            raise HTTPException(error.status, str(error)) from error


def _plain(parameter: str, name: str) -> str:
    """The name, if it can be that of a file or folder and no way to another one."""
    if not NAME.fullmatch(name):
        raise HTTPException(400, f"{parameter}: {name[:80]!r} can't be the name of a file")
    return name

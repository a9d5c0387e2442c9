"""MONAI Label's datastore over a folder, closed against names that lead out of it."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Lock
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore

from custom_components.serving import SERVED, RequestError, file_inside, short

# of several that fit the last one counts
FORMS = tuple(f"*{form}" for lower in SERVED for form in (lower, lower.upper()))
NAME = re.compile(r'[^/\\:*?"<>|.\x00-\x1f][^/\\:*?"<>|\x00-\x1f]*')
LONGEST_NAME = 120  # bytes; a pair's folder has the names of two


class Studies(LocalDatastore):  # type: ignore[misc]
    """The images of one folder, by name without suffix.

    Args:
        folder: the studies folder.
        follow_links: also give images that are links to files elsewhere.
    """

    def __init__(self, folder: str, follow_links: bool = False) -> None:
        self.folder = Path(folder)
        self.follow_links = follow_links
        self._adding = Lock()
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
            raise RequestError(parameter, f"there is no image {short(str(image_id))!r} in the datastore ({some})", 404)
        return file_inside(self.folder, self._filename(image_id, known.image.ext), parameter, self.follow_links)

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image, or "" where there is none that may be given."""
        try:
            return str(self.image_file(image_id, "image"))
        except RequestError:
            return ""

    def image_files(self) -> list[tuple[str, Path]]:
        """(id, file) of all images that may be given."""
        named = ((name, self.get_image_uri(name)) for name in self.list_images())
        return [(name, Path(file)) for name, file in named if file]

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of an image, but not where the server has it."""
        self._known(image_id)
        return {key: value for key, value in super().get_image_info(image_id).items() if key != "path"}

    def datalist(self, full_path: bool = False) -> list[dict[str, Any]]:
        """Images and labels that belong together, relative to the folder."""
        folder = self.folder.resolve()
        return [
            {key: Path(file).relative_to(folder).as_posix() for key, file in pair.items()}
            for pair in super().datalist(full_path=True)
            if all(Path(file).is_relative_to(folder) for file in pair.values())
        ]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """ZIP file of what has labels."""
        raise HTTPException(404, "dataset: there is none; registrations have no labels")

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Take an image in; an id that is there already is refused, since results refer to it."""
        checked = _plain("image", image_id or Path(image_filename).name)
        suffix = self._to_id(Path(image_filename).name)[1]
        if f"*{suffix.lower()}" not in self._extensions:
            forms = ", ".join(form[1:] for form in self._extensions if form == form.lower())
            raise HTTPException(400, f"file: '{short(suffix, 20)}' is not a form of image here; {forms} are")
        with self._adding:
            if checked in self._datastore.objects:
                raise HTTPException(409, f"image: '{checked}' is in the datastore already; give another id")
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
    try:
        fits = NAME.fullmatch(name) is not None and len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:  # half a surrogate pair
        fits = False
    if not fits:
        raise HTTPException(400, f"{parameter}: {short(name)!r} can't be the name of a file of {LONGEST_NAME} bytes")
    return name

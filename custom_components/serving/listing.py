"""The images of a folder by kind, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
from custom_components.pairs.formats import MEDICAL, PICTURES, TIFF, full_suffix
from custom_components.pairs.slides import SLIDES, is_large
from custom_components.serving.errors import RequestError

KINDS = ("picture", "slide", "volume")
PAGE = 1000  # images of one answer at most
# what a server offers; not folders such as OME-Zarr, nor .mrxs and .vms, whose pixels are in other files
SERVED = (*PICTURES, *TIFF, ".ome.tif", ".ome.tiff", ".nii", ".nii.gz", ".mha", ".nrrd",
          *(form for form in SLIDES if not form.endswith((".zarr", ".mrxs", ".vms", ".vmu"))))  # fmt: skip


def kind_of(file: Path) -> str:
    """One of KINDS: a slide has a scanner's form or is a TIFF too large to be read whole, a volume a medical form."""
    if full_suffix(file) in MEDICAL:
        return "volume"
    stat = file.stat()
    return _picture_or_slide(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=10_000)  # it opens TIFFs
def _picture_or_slide(file: Path, size: int, changed: int) -> str:
    try:
        return "slide" if is_large(file) else "picture"
    except InputError:  # damaged, as its registration will say
        return "picture"


def list_images(
    images: Iterable[tuple[str, Path]], kind: str = "", start: int = 0, limit: int = PAGE
) -> dict[str, Any]:
    """``{"images": [{"id", "kind", "form", "bytes"}], "total", "next"}`` in the order of their ids.

    Args:
        images: (id, file).
        kind: only these; all if it is empty.
        start: of the page, counted among those of the kind.
        limit: images of the page.

    Raises:
        RequestError: there is no such kind, or no such page.
    """
    if kind and kind not in KINDS:
        raise RequestError("kind", f"is one of {', '.join(KINDS)}, got {kind[:40]!r}")
    if start < 0 or not 1 <= limit <= PAGE:
        raise RequestError("limit", f"lies between 1 and {PAGE}, and start is not negative")
    found = []
    for name, file in sorted(images):
        of_file = kind_of(file)
        if not kind or of_file == kind:
            found.append({"id": name, "kind": of_file, "form": full_suffix(file)[1:], "bytes": file.stat().st_size})
    end = start + limit
    return {"images": found[start:end], "total": len(found), "next": end if end < len(found) else None}

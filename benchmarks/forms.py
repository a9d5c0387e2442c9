"""Forms of images that labs have: each is written, registered, and its result opened again by other programs.

    python -m benchmarks.forms
    python -m benchmarks.forms --only "20x" "CZI"

The moving image is scikit-image's immunohistochemistry, turned by 14 degrees and shifted; the error is the mean
distance, in pixels of the moving file, of 100 places from where they truly lie.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image
from skimage import data

import warpzoo
from benchmarks.dicom_files import write_dicom_slide
from benchmarks.microscope_files import LifImage, write_lif, write_nd2

SIZE = 512
TURN = cv2.getRotationMatrix2D((255.5, 255.5), 14.0, 1.0) + np.array([[0, 0, 9.0], [0, 0, -6.0]])
FIXED: np.ndarray[Any, Any] = data.immunohistochemistry()
MOVING: np.ndarray[Any, Any] = cv2.warpAffine(FIXED, TURN, (SIZE, SIZE), borderValue=(235, 230, 235))
GREY = MOVING.mean(axis=2).astype(np.uint8)


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        write: the moving image into a folder; gives the file.
        scale: pixels of the file a pixel of ``MOVING``.
        offset: pixels of the file before the first of ``MOVING``.
        options: of the registration.
        fixed_size: micrometres of a pixel of the fixed image, where it states them.
    """

    write: Callable[[Path], Path]
    scale: float = 1.0
    offset: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()
    fixed_size: float | None = None


def tiff(name: str = "a.tif", image: np.ndarray[Any, Any] = MOVING, **options: Any) -> Callable[[Path], Path]:
    """Written by tifffile."""

    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / name, image, **options)
        return folder / name

    return write


def picture(name: str, image: Image.Image, **options: Any) -> Callable[[Path], Path]:
    """Written by Pillow."""

    def write(folder: Path) -> Path:
        image.save(folder / name, **options)
        return folder / name

    return write


def exif(code: int) -> Image.Exif:
    """With an orientation."""
    found = Image.Exif()
    found[274] = code
    return found


def with_thumbnail(folder: Path) -> Path:
    """An OME-TIFF whose first series is a thumbnail."""
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as file:
        for name, image in (("thumbnail", MOVING[::8, ::8]), ("section", MOVING)):
            file.write(image, photometric="rgb", metadata={"axes": "YXS", "Name": name})
    return folder / "a.ome.tif"


def czi(folder: Path) -> Path:
    """By Zeiss' own library."""
    from pylibCZIrw import czi as library

    with library.create_czi(str(folder / "a.czi")) as file:
        file.write(np.ascontiguousarray(MOVING[..., ::-1]))
        file.write_metadata("a", scale_x=0.5e-6, scale_y=0.5e-6)
    return folder / "a.czi"


def ome_zarr(folder: Path) -> Path:
    """By our own writer."""
    from custom_components.pairs import write_image

    write_image(folder / "a.ome.zarr", np.moveaxis(MOVING, -1, 0), None, (0.5, 0.5))
    return folder / "a.ome.zarr"


CHANNELS = np.stack([MOVING[..., 1] // 3, 255 - GREY, MOVING[..., 0] // 2])
NAMES = {"axes": "CYX", "Channel": {"Name": ["CD3", "DAPI", "CD20"]}}
TWICE = cv2.resize(MOVING, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
ROTATED = np.ascontiguousarray(np.rot90(MOVING, 1))  # shown upright by orientation 6
SIZES = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
FORMS: dict[str, Form] = {
    "PNG": Form(picture("a.png", Image.fromarray(MOVING))),
    "JPEG, EXIF orientation 6": Form(picture("a.jpg", Image.fromarray(ROTATED), exif=exif(6), quality=95)),
    "JPEG, black fill around": Form(
        picture("a.jpg", Image.fromarray(np.pad(MOVING, ((90, 90), (90, 90), (0, 0)))), quality=92), offset=90
    ),
    "TIFF": Form(tiff(photometric="rgb")),
    "TIFF, planar": Form(tiff(image=np.moveaxis(MOVING, -1, 0), photometric="rgb", planarconfig="separate")),
    "TIFF, palette": Form(picture("a.tif", Image.fromarray(MOVING).quantize(64))),
    "TIFF, CMYK": Form(picture("a.tif", Image.fromarray(MOVING).convert("CMYK"))),
    "TIFF, white is 0": Form(tiff(image=255 - GREY, photometric="miniswhite")),
    "TIFF, 16 bit": Form(tiff(image=GREY.astype(np.uint16) * 200, photometric="minisblack")),
    "TIFF, alpha": Form(
        tiff(image=np.dstack([MOVING, np.full_like(GREY, 255)]), photometric="rgb", extrasamples=["unassalpha"])
    ),
    "TIFF, orientation 6": Form(tiff(image=ROTATED, photometric="rgb", extratags=[(274, "H", 1, 6, True)])),
    "TIFF, 300 dpi": Form(tiff(photometric="rgb", resolution=(300, 300), resolutionunit="INCH", metadata=None)),
    "TIFF, JPEG tiles": Form(tiff(photometric="rgb", tile=(256, 256), compression="jpeg")),
    "ImageJ, Z stack (plane max)": Form(
        tiff(image=np.stack([255 - GREY, 200 - GREY // 2]), imagej=True, metadata={"axes": "ZYX"}),
        options=(("moving_plane", "max"),),
    ),
    "OME-TIFF, colours": Form(tiff("a.ome.tif", photometric="rgb", metadata={"axes": "YXS"})),
    "OME-TIFF, CD3, DAPI, CD20": Form(
        tiff("a.ome.tif", CHANNELS.astype(np.uint16) * 99, photometric="minisblack", metadata=NAMES)
    ),
    "OME-TIFF, thumbnail first": Form(with_thumbnail),
    "OME-TIFF 40x onto 20x, sizes stated": Form(
        tiff("a.ome.tif", TWICE, photometric="rgb", metadata=SIZES), 2.0, fixed_size=0.5
    ),
    "TIFF 40x onto 20x, no sizes": Form(tiff(image=TWICE, photometric="rgb"), 2.0),
    "OME-Zarr": Form(ome_zarr),
    "CZI": Form(czi),
    "LIF": Form(lambda folder: write_lif(folder / "a.lif", LifImage("a", MOVING, "YXC", tags=(1, 2, 3)))),
    "LIF, CD3, DAPI, CD20": Form(
        lambda folder: write_lif(folder / "a.lif", LifImage("a", CHANNELS, dyes=("CD3", "DAPI", "CD20")))
    ),
    "ND2": Form(lambda folder: write_nd2(folder / "a.nd2", np.ascontiguousarray(MOVING[None, ..., ::-1]))),
    "ND2, CD3, DAPI, CD20": Form(
        lambda folder: write_nd2(
            folder / "a.nd2", np.ascontiguousarray(np.moveaxis(CHANNELS, 0, -1))[None], ("CD3", "DAPI", "CD20")
        )
    ),
    "DICOM, whole slide": Form(lambda folder: write_dicom_slide(folder / "a", MOVING, levels=2, jpeg=True)),
    "DICOM, CD3, DAPI, CD20": Form(
        lambda folder: write_dicom_slide(folder / "a", CHANNELS, names=("CD3", "DAPI", "CD20"))
    ),
}  # fmt: skip


def opened_by(file: Path) -> list[str]:
    """Programs that open the warped image."""
    found = []
    if file.suffix == ".zarr":
        import zarr

        zarr.open_group(str(file), mode="r")
        return ["zarr"]
    readers: dict[str, Callable[[Path], Any]] = {"Pillow": lambda path: np.asarray(Image.open(path))}
    if file.suffix == ".tif":
        readers = {"tifffile": tifffile.imread, **readers}
    if file.name.endswith(".ome.tif"):
        from ome_types import from_tiff

        readers["ome-types"] = from_tiff
    for name, read in readers.items():
        try:
            read(file)
        except Exception:  # that one is not named
            continue
        found.append(name)
    return found


def row(name: str, form: Form, folder: Path) -> str:
    """A line of the table."""
    folder.mkdir()
    moving, fixed = form.write(folder), folder / "fixed.ome.tif"
    sizes = {} if form.fixed_size is None else {"PhysicalSizeX": form.fixed_size, "PhysicalSizeY": form.fixed_size}
    tifffile.imwrite(fixed, FIXED, photometric="rgb", metadata={"axes": "YXS", **sizes})
    try:
        result = warpzoo.register(moving, fixed, output_dir=folder / "out", report=False, **dict(form.options))
    except (warpzoo.InputError, warpzoo.RegistrationError) as error:
        return f"| {name} | refused: {error} | | | |"
    places = np.stack(np.meshgrid(np.linspace(130, 380, 10), np.linspace(130, 380, 10)), axis=-1).reshape(-1, 2)
    truth = places @ TURN[:, :2].T + TURN[:, 2]
    truth = (truth + 0.5) * form.scale - 0.5 + form.offset
    error = np.linalg.norm(result.points(places, "fixed_to_moving") - truth, axis=1).mean()
    warped = next(file for file in result.folder.glob("warped.*"))
    notes = "; ".join(result.metrics.get("notes", []))
    return f"| {name} | {result.status} | {error:.2f} | {warped.name}: {', '.join(opened_by(warped))} | {notes} |"


def table(only: Sequence[str] = ()) -> str:
    """As Markdown."""
    lines = ["| form | status | error, pixels | written, opened by | notes |", "| --- | --- | --- | --- | --- |"]
    with TemporaryDirectory() as folder:
        for number, (name, form) in enumerate(FORMS.items()):
            if not only or any(word in name for word in only):
                lines.append(row(name, form, Path(folder) / str(number)))
                print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=(), help="words in the names of the forms to try")
    table(parser.parse_args().only)

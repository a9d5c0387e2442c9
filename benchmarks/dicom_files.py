"""Small whole slides in DICOM, written by pydicom: a file a level, of tiles without compression or as JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
TILE = 256


def write_dicom_slide(
    folder: Path,
    image: Array,
    step: tuple[float, float] = (0.5, 0.5),
    levels: int = 1,
    jpeg: bool = False,
    names: Sequence[str] = (),
    series: str = "section",
    kind: str = "VOLUME",
    planes: int = 1,
) -> Path:
    """A slide into a folder, which may hold others; gives ``folder``.

    Args:
        folder: made if it is not there.
        image: (H, W, 3) colour of 8 bit, or (optical paths x focal planes, H, W) of 8 or 16 bit.
        step: (row, col) micrometres of a pixel.
        levels: of the pyramid, each half of the one before.
        jpeg: the tiles are compressed as JPEG.
        names: of the optical paths.
        series: description of the series.
        kind: of the image: "VOLUME", or "LABEL" or "OVERVIEW".
        planes: focal planes, a micrometre apart.
    """
    from pydicom.uid import generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    shared = {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
    }
    paths = image[None] if image.shape[-1] == 3 else image[..., None]
    extent = paths.shape[1] * step[0] * 1e-3, paths.shape[2] * step[1] * 1e-3  # millimetres
    for level in range(levels):
        small = np.stack([_halved(path, level) for path in paths])
        file = folder / f"{series}_{kind.lower()}_{level}.dcm"
        dataset = _dataset(small, jpeg, names or [""] * (len(paths) // planes), extent)
        dataset.update(shared)
        dataset.SeriesDescription = series
        dataset.ImageType = ["ORIGINAL" if level == 0 else "DERIVED", "PRIMARY", kind, "RESAMPLED" if level else "NONE"]
        dataset.save_as(file, enforce_file_format=True)
    return folder


def _halved(image: Array, times: int) -> Array:
    size = max(1, image.shape[1] >> times), max(1, image.shape[0] >> times)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if times else image
    return small.reshape(size[1], size[0], image.shape[2])


def _dataset(paths: Array, jpeg: bool, names: Sequence[str], extent: tuple[float, float]) -> Any:
    """A level, (optical paths x focal planes, H, W, samples)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

    _, height, width, samples = paths.shape
    frames = [tile for path in paths for tile in _tiles(path)]
    bits = 8 * paths.itemsize
    found, meta, shared, measures = Dataset(), FileMetaDataset(), Dataset(), Dataset()
    found.SOPClassUID, found.SOPInstanceUID, found.Modality = VLWholeSlideMicroscopyImageStorage, generate_uid(), "SM"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = found.SOPClassUID, found.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    found.file_meta = meta
    found.Rows = found.Columns = TILE
    found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns = height, width
    found.TotalPixelMatrixFocalPlanes, found.NumberOfOpticalPaths = len(paths) // len(names), len(names)
    found.ImagedVolumeHeight, found.ImagedVolumeWidth, found.ImagedVolumeDepth = (*extent, 0.001)
    found.NumberOfFrames, found.SamplesPerPixel = len(frames), samples
    found.PhotometricInterpretation = ("YBR_FULL_422" if jpeg else "RGB") if samples == 3 else "MONOCHROME2"
    if samples == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = bits, bits, bits - 1, 0
    found.DimensionOrganizationType, found.VolumetricProperties = "TILED_FULL", "VOLUME"
    found.ImageOrientationSlide, found.FocusMethod, found.ExtendedDepthOfField = [0, -1, 0, -1, 0, 0], "AUTO", "NO"
    found.BurnedInAnnotation, found.SpecimenLabelInImage = "NO", "NO"
    found.LossyImageCompression = "01" if jpeg else "00"
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    found.TotalPixelMatrixOriginSequence = [origin]
    measures.SpacingBetweenSlices = 0.001
    measures.PixelSpacing, measures.SliceThickness = [extent[0] / height, extent[1] / width], 0.001
    shared.PixelMeasuresSequence = [measures]
    found.SharedFunctionalGroupsSequence = [shared]
    found.OpticalPathSequence = [_optical_path(number, name) for number, name in enumerate(names)]
    if jpeg:
        found.PixelData = encapsulate([_jpeg(frame) for frame in frames])
        found["PixelData"].is_undefined_length = True
    else:
        found.PixelData = b"".join(frame.tobytes() for frame in frames)
        found["PixelData"].VR = "OB" if bits == 8 else "OW"
    return found


def _optical_path(number: int, name: str) -> Any:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.OpticalPathIdentifier, found.OpticalPathDescription = str(number), name
    return found


def _tiles(image: Array) -> list[Array]:
    """(H, W, samples) in squares, row by row, the last ones filled up."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    return [
        np.ascontiguousarray(padded[row : row + TILE, column : column + TILE])
        for row in range(0, height, TILE)
        for column in range(0, width, TILE)
    ]


def _jpeg(tile: Array) -> bytes:
    stream = BytesIO()
    Image.fromarray(tile.squeeze()).save(stream, "JPEG", quality=95)
    return stream.getvalue()

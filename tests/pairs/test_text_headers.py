"""MetaImage and NRRD are read by their headers' word only as far as that can be, and no other file for their pixels."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from custom_components.common.errors import InputError
from custom_components.common.limits import applied
from custom_components.pairs import read_image

PIXELS = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
META = "ObjectType = Image\nNDims = 2\nDimSize = 64 48\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 64 48\nencoding: raw\n"


def write(file: Path, header: str, pixels: bytes = b"") -> Path:
    file.write_bytes(header.encode() + pixels)
    return file


@pytest.fixture
def outside(tmp_path) -> Path:
    """A file that is no image's, beside the folder of the images."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(PIXELS.tobytes())
    return tmp_path / "secret.raw"


def detached(folder: Path, named: str) -> list[Path]:
    """Headers of all forms that name a file for their pixels."""
    meta, nrrd = f"{META}ElementDataFile = {named}\n", f"{NRRD}data file: {named}\n\n"
    forms = {"a.mha": meta, "a.mhd": meta, "a.nrrd": nrrd, "a.nhdr": nrrd.replace("data file", "DataFile")}
    return [write(folder / name, text) for name, text in forms.items()]


def test_a_detached_header_is_refused_unless_asked_for(tmp_path) -> None:
    (tmp_path / "a.raw").write_bytes(PIXELS.tobytes())
    for file in detached(tmp_path, "a.raw"):
        with pytest.raises(InputError, match=rf"{file.name} is a header that names 'a\.raw'.* --detached true"):
            read_image(file)
        with applied(detached=True):
            np.testing.assert_array_equal(read_image(file).numpy()[0], PIXELS)


def test_and_then_read_beside_the_header_alone(tmp_path, outside) -> None:
    (tmp_path / "in" / "link.raw").symlink_to(outside)
    for named in (str(outside), "../secret.raw", "link.raw", "a%d.raw", "LIST", "absent.raw", "sub/a.raw"):
        for file in detached(tmp_path / "in", named):
            with applied(detached=True), pytest.raises(InputError, match=rf"{file.name}"):
                read_image(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hidden.mha", f"{META}Comment = ElementDataFile = LOCAL\nElementDataFile = ../secret.raw\n"),
        ("twice.mha", f"{META}DimSize = 9 9\nElementDataFile = LOCAL\n"),
        ("carriage.mha", f"{META}Comment = a\rElementDataFile = ../secret.raw\nElementDataFile = LOCAL\n"),
        ("dimensions.mha", META.replace("NDims = 2", "NDims = 99") + "ElementDataFile = LOCAL\n"),
        ("negative.mha", META.replace("64 48", "-64 48") + "ElementDataFile = LOCAL\n"),
        ("kind.mha", META.replace("UCHAR", "OTHER") + "ElementDataFile = LOCAL\n"),
        ("none.mha", META),
        ("spaced.nrrd", f"{NRRD}data  file: ../secret.raw\n\n"),
        ("other.nrrd", f"{META}ElementDataFile = LOCAL\n"),
        ("both.mha", f"{NRRD}\n"),
        ("bomb.mha", META.replace("64 48", "100000 100000") + "ElementDataFile = LOCAL\n"),
        ("bomb.nrrd", NRRD.replace("64 48", "100000 100000").replace("raw", "gzip") + "\n"),
    ],
)
def test_headers_that_lie_are_refused_at_once(tmp_path, outside, name, text) -> None:
    file = write(tmp_path / "in" / name, text, PIXELS.tobytes())
    start = time.process_time()
    with pytest.raises(InputError, match=name):
        read_image(file)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_itk_writes_is_read_and_refused_when_it_is_cut(tmp_path, name, packed) -> None:
    file = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 60000, (20, 40, 44)).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(file), packed)
    np.testing.assert_array_equal(read_image(file).numpy()[0], noise)
    os.truncate(file, file.stat().st_size - 2000)
    with pytest.raises(InputError, match=f"{name} can't be read, it may be damaged or cut off"):
        read_image(file)

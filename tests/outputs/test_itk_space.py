"""transform.h5 does the right thing with the very files of the pair in SimpleITK, whatever they say of their pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from custom_components.inferers.result import Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.writer import write_registration
from custom_components.pairs import Pair, read_image, select_pairs, write_image
from custom_components.transforms import CommonPadd, GreyScaled, ReadPaird, WorkingSized

KEYS = ["moving", "fixed"]
SHIFT = np.array([5.0, -8.0])  # rows and columns, fixed -> moving


def picture(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8, smooth."""
    noise = gaussian_filter(np.random.default_rng(0).random(shape), 4)
    return ((noise - noise.min()) / np.ptp(noise) * 200 + 20).round().astype(np.uint8)


def write(path: Path, image: np.ndarray, form: str) -> Path:
    file = path.with_name(f"{path.name}.{form.split('_')[0]}")
    if form == "png_dpi":
        Image.fromarray(image).save(file, dpi=(300, 300))
    elif form == "jpg_dpi":
        Image.fromarray(image).save(file, dpi=(72, 72), quality=98)
    elif form == "tif_cm":
        tifffile.imwrite(file, image, resolution=(20000, 10000), resolutionunit="CENTIMETER")
    elif form == "tif_inch":
        tifffile.imwrite(file, image, resolution=(72, 72), resolutionunit="INCH")
    elif form == "ome.tif":
        write_image(file, image[None], pixel_size=(0.5, 0.5))
    elif form == "ome.tif_xml":
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        tifffile.imwrite(file, image, ome=True, metadata={"axes": "YX", **sizes})
    elif form == "mha":
        write_image(file, image[None], np.array([[0, -0.5, 7], [0.25, 0, 3], [0, 0, 1.0]]))
    else:
        write_image(file, image[None])
    return file


def registered(pair: Pair, folder: Path) -> Path:
    """The pair's result under a known shift of the files' pixels."""
    steps = [ReadPaird(), WorkingSized(KEYS, 80), GreyScaled(KEYS), CommonPadd(KEYS, 0, 4)]
    data = {"pair": pair}
    for step in steps:
        data = step(data)
    grids = [data[f"working_{side}"] for side in KEYS]
    from custom_components.fields import Grid

    moving, fixed = (Grid.of(image) for image in grids)
    index = np.stack([axis.ravel() for axis in np.indices(fixed.shape)], axis=1).astype(float)
    files = [image.meta["file_grid"] for image in grids]
    pixels = files[1].index(fixed.physical(index)) + SHIFT
    ddf = torch.from_numpy((moving.index(files[0].physical(pixels)) - index).T.reshape(1, 2, *fixed.shape)).float()
    none = PointPairs.empty()
    registration = Registration(ddf, -ddf, none, none, ())
    write_registration(registration, PreparedPair.of(data), Output(folder, report=False))
    return folder / pair.id


FORMS = ["png", "png_dpi", "jpg_dpi", "tif", "tif_cm", "tif_inch", "ome.tif", "ome.tif_xml", "mha"]


@pytest.mark.parametrize("form", FORMS)
def test_the_pairs_own_files_are_resampled_right_in_simpleitk(form, tmp_path, repository):
    image = picture((120, 160))
    rows, columns = (np.clip(np.arange(side) + shift, 0, None) for side, shift in ((104, 5), (131, -8)))
    fixed = image[np.ix_(rows.astype(int), columns.astype(int))]
    files = {"moving": write(tmp_path / "moving", image, form), "fixed": write(tmp_path / "fixed", fixed, form)}
    folder = registered(select_pairs(**files, id="a")[0], tmp_path / "out")
    program = re.findall(r"```python\n(.*?)```", (repository / "docs/outputs.md").read_text(), re.DOTALL)[0]
    assert program.count("out/IHC_to_HE") == 1
    program = program.replace("out/IHC_to_HE", str(folder))
    for side, file in files.items():
        program = program.replace(f'"{side.upper()}.tif"', repr(str(file)))
    found: dict[str, sitk.Image] = {}
    exec(program, found)
    result = sitk.GetArrayFromImage(found["warped"]).astype(float)
    kept = np.s_[4:-8, 12:-4]
    assert result.shape == fixed.shape
    assert np.abs(result - fixed)[kept].mean() < 1.5
    ours = read_image(next(folder.glob("warped.*")))[0].numpy().astype(float)
    assert np.abs(result - ours)[kept].mean() < 0.6

"""Images of every form: what is written by other libraries is read as they wrote it, what is broken is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import itk
import nibabel
import numpy as np
import pytest
import tifffile
import torch
from monai.data.meta_tensor import MetaTensor
from PIL import Image, ImageFile

from custom_components.common.errors import InputError
from custom_components.common.limits import applied
from custom_components.fields import Grid, apply_matrix, index_to_physical
from custom_components.pairs import full_suffix, read_image, write_image
from custom_components.pairs.reading import Reading

HEIGHT, WIDTH = 37, 44
WIDER = {"uint16": torch.int32, "uint32": torch.int64, "uint64": torch.int64}


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, size=shape, endpoint=True).astype(dtype)


def smooth() -> np.ndarray:
    """(H, W, 3) uint8 that JPEG keeps well."""
    row, column = np.indices((HEIGHT, WIDTH))
    return np.stack([3 * row, 3 * column, 200 - 2 * row], axis=-1).astype(np.uint8)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, C) colours and (H, W) alpha of 8 bits, blended."""
    fraction = alpha[..., None] / 255
    return np.asarray(np.round(colour * fraction + 255 * (1 - fraction)))


def check(image: MetaTensor, wanted: np.ndarray, path: Path, tolerance: float = 0) -> None:
    """``image`` is the (C, *spatial) array ``wanted``, read from ``path``."""
    assert image.shape == wanted.shape
    assert image.meta["dtype"] == wanted.dtype.name
    assert image.dtype == WIDER.get(wanted.dtype.name, torch.from_numpy(wanted[..., :0].copy()).dtype)
    assert image.meta["filename"] == str(path)
    np.testing.assert_allclose(image.numpy().astype(np.float64), wanted.astype(np.float64), atol=tolerance)


@pytest.mark.parametrize(("shape", "dtype"), [((), "uint8"), ((), "uint16"), ((3,), "uint8")])
def test_png_grey_and_colour(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    values = noise(HEIGHT, WIDTH, *shape, dtype=dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    check(image, values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0), tmp_path / "a.png")
    assert image.meta["pixel_size"] is None
    np.testing.assert_array_equal(Grid.of(image).matrix, index_to_physical((1, 1)))


def test_png_of_16_bit_colour_keeps_its_bits(tmp_path: Path) -> None:
    values = noise(HEIGHT, WIDTH, 3, dtype="uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    check(read_image(tmp_path / "a.png"), np.moveaxis(values, -1, 0), tmp_path / "a.png")
    opaque = np.concatenate([values, np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], axis=-1)
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(opaque))
    check(read_image(tmp_path / "b.png"), np.moveaxis(values, -1, 0), tmp_path / "b.png", 1)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.png can't be read"):
        read_image(tmp_path / "cut.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_png_alpha_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    values = noise(HEIGHT, WIDTH, len(mode))
    Image.fromarray(values).save(tmp_path / "a.png")
    wanted = on_white(values[..., :-1], values[..., -1])
    image = read_image(tmp_path / "a.png")
    check(image, np.moveaxis(wanted, -1, 0).astype(np.uint8), tmp_path / "a.png", 1)


def test_png_palette_with_a_transparent_colour_and_one_bit(tmp_path: Path) -> None:
    picture = Image.fromarray((noise(HEIGHT, WIDTH) % 3).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png", transparency=1)
    colours = np.array([[255, 0, 0], [255, 255, 255], [0, 0, 255]], np.uint8)
    check(read_image(tmp_path / "a.png"), np.moveaxis(colours[np.asarray(picture)], -1, 0), tmp_path / "a.png")
    bits = noise(HEIGHT, WIDTH) > 127
    Image.fromarray(bits).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0], 255 * bits)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_jpeg(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(smooth()).save(path, quality=95, subsampling=0)
    check(read_image(path), np.moveaxis(smooth(), -1, 0), path, 8)
    Image.fromarray(smooth()).convert("L").save(path, quality=95)
    assert read_image(path).shape == (1, HEIGHT, WIDTH)


def test_jpeg_in_printers_colours_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    check(read_image(tmp_path / "a.jpg"), np.moveaxis(smooth(), -1, 0), tmp_path / "a.jpg", 12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (5, HEIGHT, WIDTH)])
def test_tiff_of_every_type(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = noise(*shape, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", compression="zlib")
    check(read_image(tmp_path / "a.tif"), values.reshape(-1, HEIGHT, WIDTH), tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_in_colour(tmp_path: Path, dtype: str, planar: str) -> None:
    values = noise(3, HEIGHT, WIDTH, dtype=dtype)
    data = np.moveaxis(values, 0, -1) if planar == "contig" else values
    tifffile.imwrite(tmp_path / "a.tiff", data, photometric="rgb", planarconfig=planar, tile=(16, 16))
    check(read_image(tmp_path / "a.tiff"), values, tmp_path / "a.tiff")


def test_tiff_alpha_is_laid_on_white_and_further_channels_are_kept(tmp_path: Path) -> None:
    values = noise(HEIGHT, WIDTH, 4)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    wanted = on_white(values[..., :3], values[..., 3]).astype(np.uint8)
    check(read_image(tmp_path / "a.tif"), np.moveaxis(wanted, -1, 0), tmp_path / "a.tif", 1)
    tifffile.imwrite(tmp_path / "b.tif", values, photometric="rgb", extrasamples=["unspecified"])
    check(read_image(tmp_path / "b.tif"), np.moveaxis(values, -1, 0), tmp_path / "b.tif")


@pytest.mark.parametrize(("unit", "factor"), [("µm", 1.0), ("nm", 1e3), ("mm", 1e-3), (None, 1.0)])
@pytest.mark.parametrize(("axes", "shape"), [("CYX", (4, HEIGHT, WIDTH)), ("YX", (HEIGHT, WIDTH))])
def test_ome_tiff_with_pixel_size(
    tmp_path: Path, unit: str | None, factor: float, axes: str, shape: tuple[int, ...]
) -> None:
    values = noise(*shape, dtype="uint16")
    metadata = {"axes": axes, "PhysicalSizeX": 0.25 * factor, "PhysicalSizeY": 0.5 * factor}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, values, ome=True, photometric="minisblack", metadata=metadata)
    image = read_image(path)
    check(image, values.reshape(-1, HEIGHT, WIDTH), path)
    assert image.meta["pixel_size"] == pytest.approx((0.5, 0.25))
    np.testing.assert_array_equal(Grid.of(image).matrix, index_to_physical((1, 1)))


@pytest.mark.parametrize(
    ("unit", "per_unit", "wanted"),
    [("CENTIMETER", (40_000, 20_000), (0.5, 0.25)), ("INCH", (300, 300), None), ("CENTIMETER", (40, 40), None)],
)
def test_tiff_resolution_is_a_pixel_size_where_it_fits_a_microscope(
    tmp_path: Path, unit: str, per_unit: tuple[int, int], wanted: tuple[float, float] | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(HEIGHT, WIDTH), resolution=per_unit, resolutionunit=unit)
    found = read_image(tmp_path / "a.tif").meta["pixel_size"]
    assert found == (wanted if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_nifti_by_nibabel_has_slices_before_rows_and_lps(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = noise(7, 6, 5, dtype=dtype)  # x, y, z
    affine = np.array([[0.0, -2, 0, 11], [0.5, 0, 0, -7], [0, 0, 3, 5], [0, 0, 0, 1]])
    path = tmp_path / f"a{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    image = read_image(path)
    check(image, values.transpose(2, 1, 0)[None], path)
    assert image.meta["pixel_size"] is None
    xyz = np.array([[0.0, 0, 0], [6, 0, 0], [0, 5, 0], [0, 0, 4], [1, 2, 3]])
    lps = apply_matrix(affine, xyz) * [-1, -1, 1]  # NIfTI counts to the right and to the front
    np.testing.assert_allclose(Grid.of(image).physical(xyz[:, ::-1]), lps, atol=1e-5)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("spatial", [(HEIGHT, WIDTH), (5, 6, 7)])
def test_itks_own_forms_keep_their_geometry(tmp_path: Path, suffix: str, dtype: str, spatial: tuple[int, ...]) -> None:
    values, dimensions = noise(*spatial, dtype=dtype), len(spatial)
    matrix = index_to_physical((0.5, 0.7, 3.0)[:dimensions], (10.0, -20.0, 30.0)[:dimensions])
    written = itk.image_from_array(values)
    written.SetSpacing([0.5, 0.7, 3.0][:dimensions])
    written.SetOrigin([10.0, -20.0, 30.0][:dimensions])
    path = tmp_path / f"a{suffix}"
    itk.imwrite(written, str(path))
    image = read_image(path)
    check(image, values[None], path)
    np.testing.assert_allclose(Grid.of(image).matrix, matrix)


def test_a_section_stored_as_a_volume_of_one_slice_is_flat(tmp_path: Path) -> None:
    values = noise(1, HEIGHT, WIDTH)
    written = itk.image_from_array(values)
    written.SetSpacing([0.5, 0.7, 3.0])
    itk.imwrite(written, str(tmp_path / "a.mha"))
    image = read_image(tmp_path / "a.mha")
    check(image, values, tmp_path / "a.mha")
    np.testing.assert_allclose(Grid.of(image).matrix, index_to_physical((0.5, 0.7)))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ome.tif", ".mha", ".mhd", ".nrrd", ".nii.gz"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint8"), (1, "uint16"), (5, "float32")])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, channels: int, dtype: str) -> None:
    path, values = tmp_path / f"a{suffix}", noise(channels, HEIGHT, WIDTH, dtype=dtype)
    if suffix == ".png" and channels == 5:
        with pytest.raises(InputError, match=r"a\.png: \.png can't hold 5 channels of float32; choose \.tif"):
            write_image(path, values)
        assert list(tmp_path.iterdir()) == []
        return
    matrix = index_to_physical((0.5, 0.25), (3.0, 4.0))
    write_image(path, values, matrix, (0.25, 0.5))
    with applied(detached=suffix == ".mhd"):
        image = read_image(path)
    check(image, values, path)
    if suffix.endswith(".tif"):
        assert image.meta["pixel_size"] == pytest.approx((0.25, 0.5), rel=1e-4)
    if suffix in (".mha", ".mhd", ".nrrd"):
        np.testing.assert_allclose(Grid.of(image).matrix, matrix)
    expected = {path.name} | ({"a.raw"} if suffix == ".mhd" else set())
    assert {p.name for p in tmp_path.iterdir()} - {"a.zraw"} == expected - {"a.zraw"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_volumes_are_written_and_read_again(tmp_path: Path, suffix: str, channels: int) -> None:
    values = noise(channels, 5, 6, 7, dtype="float32")
    matrix = index_to_physical((0.5, 0.25, 2.0), (3.0, 4.0, 5.0), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    write_image(tmp_path / f"a{suffix}", values, matrix)
    image = read_image(tmp_path / f"a{suffix}")
    check(image, values, tmp_path / f"a{suffix}")
    np.testing.assert_allclose(Grid.of(image).matrix, matrix, atol=1e-5)


def test_one_channel_of_several(tmp_path: Path) -> None:
    values = noise(4, HEIGHT, WIDTH)
    write_image(tmp_path / "a.tif", values)
    image = read_image(tmp_path / "a.tif", reading=Reading(channel=2))
    check(image, values, tmp_path / "a.tif")  # all are kept, one is matched on
    assert image.meta["channel"] == 2
    for channel in (4, -1, "DAPI"):
        with pytest.raises(InputError, match=rf"a\.tif has channels 0 to 3; asked for '{channel}'"):
            read_image(tmp_path / "a.tif", reading=Reading(channel=channel))


@pytest.mark.parametrize("value", [0, 255])
def test_a_blank_image_is_read_as_it_is(tmp_path: Path, value: int) -> None:
    write_image(tmp_path / "a.png", np.full((3, 40, 40), value, np.uint8))
    assert read_image(tmp_path / "a.png").unique().tolist() == [value]


@pytest.mark.parametrize(
    ("name", "suffix"), [("A.NII.GZ", ".nii.gz"), ("a.ome.TIF", ".tif"), ("x.y.png", ".png"), ("none", "")]
)
def test_suffixes(name: str, suffix: str) -> None:
    assert full_suffix(name) == suffix


def write_jpeg(path: Path) -> None:
    Image.fromarray(noise(200, 220, 3)).save(path)


def write_noise(path: Path) -> None:
    write_image(path, noise(1, 200, 220, dtype="uint16"))


def write_volume(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(noise(20, 21, 22), np.eye(4)), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    ".jpg": write_jpeg, ".png": write_noise, ".tif": write_noise, ".mha": write_noise, ".nrrd": write_noise,
    ".nii": write_volume, ".nii.gz": write_volume,
}  # fmt: skip


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("fraction", [0.5, 0.95])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, suffix: str, fraction: float) -> None:
    path = tmp_path / f"cut{suffix}"
    WRITERS[suffix](path)
    read_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(InputError, match=r"can't be read, it may be damaged or cut off: \S+") as caught:
        read_image(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_compressed_volume_that_lacks_voxels_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "whole.nii")
    content = (tmp_path / "whole.nii").read_bytes()
    with gzip.open(tmp_path / "short.nii.gz", "wb") as stream:
        stream.write(content[:-100])
    with pytest.raises(InputError, match=r"short\.nii\.gz can't be read.*100 of \d+ bytes are missing"):
        read_image(tmp_path / "short.nii.gz")


@pytest.mark.parametrize("suffix", [*WRITERS, ".jpeg", ".tiff", ".ome.tif", ".xyz", ""])
@pytest.mark.parametrize("content", [b"", b"These are only words.\n" * 20])
def test_what_is_no_image_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"words{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"image .*words\S* can't be read, it may be damaged or cut off: \S+"):
        read_image(path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_missing_file_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match=rf"nowhere{suffix} does not exist"):
        read_image(tmp_path / f"nowhere{suffix}")
    with pytest.raises(InputError, match="a folder without a DICOM series"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".mha", ".nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_counted(tmp_path: Path, suffix: str, value: float) -> None:
    values = noise(1, HEIGHT, WIDTH, dtype="float32")
    values[0, 3, 4:7] = value
    write_image(tmp_path / f"bad{suffix}", values)
    with pytest.raises(InputError, match=rf"bad\{suffix} has 3 pixels that are NaN or infinite"):
        read_image(tmp_path / f"bad{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".mha"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 100), (100, 31)])
def test_an_image_too_small_is_refused_with_its_size(tmp_path: Path, suffix: str, height: int, width: int) -> None:
    write_image(tmp_path / f"tiny{suffix}", np.full((1, height, width), 9, np.uint8))
    with pytest.raises(InputError, match=rf"tiny\{suffix} is {width} x {height} pixels; sides below 32"):
        read_image(tmp_path / f"tiny{suffix}")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1)])
def test_a_single_line_keeps_its_axes_when_written(tmp_path: Path, height: int, width: int) -> None:
    for channels, mode in ((1, "L"), (3, "RGB")):
        write_image(tmp_path / "a.png", noise(channels, height, width))
        with Image.open(tmp_path / "a.png") as picture:
            assert (picture.mode, picture.size) == (mode, (width, height))


def test_a_stack_of_colour_planes_is_refused_with_its_axes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(4, HEIGHT, WIDTH, 3), photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif has axes .* of \(4, 37, 44, 3\)"):
        read_image(tmp_path / "a.tif")


def test_complex_pixels_and_series_of_volumes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "wave.tif", noise(HEIGHT, WIDTH, dtype="float32").astype(np.complex64))
    with pytest.raises(InputError, match=r"wave\.tif holds complex64 pixels"):
        read_image(tmp_path / "wave.tif")
    itk.imwrite(itk.image_from_array(np.zeros((2, 4, 5, 6), np.float32)), str(tmp_path / "film.mha"))
    with pytest.raises(InputError, match=r"film\.mha has 4 dimensions \(2, 4, 5, 6\)"):
        read_image(tmp_path / "film.mha")


@pytest.mark.parametrize("dtype", ["uint16", "uint64", "int16", "float32"])
def test_tiff_with_the_other_byte_order(tmp_path: Path, dtype: str) -> None:
    values = np.abs(1000 * noise(HEIGHT, WIDTH, dtype="float64")).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=">")
    check(read_image(tmp_path / "a.tif"), values[None], tmp_path / "a.tif")


@pytest.mark.parametrize("truncated", [True, False])
def test_pillows_settings_are_left_as_they_were(
    tmp_path: Path, truncated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_jpeg(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (3, 200, 220)  # larger than the guard allows
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a\.jpg can't be read"):
        read_image(tmp_path / "a.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is truncated
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xyz", r"a\.xyz: can't write '\.xyz'; choose one of \.png"),
        ("no/a.png", "can't be written, there is no folder"),
        ("no/a.mha", "can't be written, there is no folder"),
    ],
)
def test_places_and_forms_that_can_not_be_written_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_image(tmp_path / name, noise(1, HEIGHT, WIDTH))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    for name in ("a.png", "a.nii.gz"):
        (tmp_path / name).write_text("old")
        with pytest.raises(InputError, match=name):
            write_image(tmp_path / name, np.zeros((3, HEIGHT, WIDTH), np.complex64))
        assert (tmp_path / name).read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a.nii.gz"}

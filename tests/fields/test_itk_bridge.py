"""Fields on disk and in ITK: the same geometry for images, points, files and networks."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from custom_components.common.errors import InputError
from custom_components.fields import (
    affine_to_ddf,
    apply_matrix,
    compose,
    displacement_image,
    displacement_transform,
    identity_grid,
    image_matrix,
    image_to_ddf,
    image_vectors,
    index_to_physical,
    invert,
    read_displacement,
    read_transform,
    resample,
    sample_at,
    spacing_origin_direction,
    transform_points,
    warp,
    write_displacement,
    write_transform,
)

SPATIAL = [(31, 38), (15, 17, 18)]


def turned(spatial: tuple[int, ...], degrees: float, field: torch.Tensor) -> torch.Tensor:
    """A turn of the last two axes about the centre, then ``field``."""
    angle, centre = np.deg2rad(degrees), (np.array(spatial) - 1) / 2
    linear = np.eye(len(spatial))
    linear[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return compose(affine_to_ddf(np.c_[linear, centre - linear @ centre], spatial, torch.float64), field)


def blob(spatial: tuple[int, ...], centre: np.ndarray, sigma: float) -> np.ndarray:
    """(1, *spatial) Gaussian of height 255."""
    offset = np.indices(spatial) - centre.reshape(-1, *(1,) * len(spatial))
    return np.asarray(255 * np.exp(-(offset**2).sum(0) / (2 * sigma**2)))[None]


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    return np.array([(axis * image).sum() / image.sum() for axis in np.indices(image.shape)])


def inside(ddf: torch.Tensor, spatial: tuple[int, ...]) -> np.ndarray:
    """Where the field leads to a position between the voxel centres of the moving grid."""
    positions = (identity_grid(ddf.shape[2:], dtype=ddf.dtype) + ddf[0]).numpy()
    return np.all([(p >= 0) & (p <= n - 1) for p, n in zip(positions, spatial, strict=True)], axis=0)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_vectors_lead_from_itks_fixed_voxel_to_itks_moving_voxel(spatial, oblique, smooth_field) -> None:
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 1), oblique(dimensions, 2)
    ddf = smooth_field(spatial)
    image = displacement_image(ddf, fixed, moving)
    assert image.GetSize() == spatial[::-1]
    np.testing.assert_allclose(image_matrix(image), fixed, atol=1e-9)
    other = itk.image_from_array(np.zeros(spatial, np.float32))
    spacing, origin, direction = spacing_origin_direction(moving)
    other.SetSpacing(spacing.tolist())
    other.SetOrigin(origin.tolist())
    other.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
    for voxel in [(0,) * dimensions, (3, 7, 2)[:dimensions], tuple(n - 1 for n in spatial)]:
        here = [int(i) for i in reversed(voxel)]
        there = itk.ContinuousIndex[itk.D, dimensions]()
        for axis, step in enumerate(ddf[0][(slice(None), *voxel)].tolist()):
            there.SetElement(dimensions - 1 - axis, voxel[axis] + step)
        wanted = np.subtract(
            tuple(other.TransformContinuousIndexToPhysicalPoint(there)),
            tuple(image.TransformIndexToPhysicalPoint(here)),
        )
        np.testing.assert_allclose(tuple(image.GetPixel(here)), wanted, atol=1e-4)


def test_a_step_down_the_rows_is_a_step_along_y() -> None:
    ddf = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    image = displacement_image(ddf, index_to_physical((0.5, 3.0)), index_to_physical((0.5, 3.0)))
    np.testing.assert_allclose(image_vectors(image), np.broadcast_to([0, 6], (4, 5, 2)), atol=1e-6)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_the_field_comes_back_on_its_own_grid(spatial, oblique, smooth_field) -> None:
    fixed, moving = oblique(len(spatial), 1), oblique(len(spatial), 2)
    ddf = smooth_field(spatial)
    back = image_to_ddf(displacement_image(ddf, fixed, moving), fixed, moving, spatial)
    assert back.dtype == torch.float32
    torch.testing.assert_close(back.double(), ddf, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_the_field_serves_other_grids_of_the_same_space(spatial, oblique) -> None:
    """Half as many voxels of double size, same field of view: the physical map must stay."""
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 1), oblique(dimensions, 2)
    matrix = np.eye(dimensions, dimensions + 1) + 0.1 * np.random.default_rng(0).normal(
        size=(dimensions, dimensions + 1)
    )
    image = displacement_image(affine_to_ddf(matrix, spatial, torch.float64), fixed, moving)
    coarse = np.diag([*[2.0] * dimensions, 1.0])
    coarse[:-1, -1] = 0.5
    small = tuple(n // 2 for n in spatial)
    found = image_to_ddf(image, fixed @ coarse, moving @ coarse, small)
    full = np.vstack([matrix, [*[0] * dimensions, 1]])
    wanted = affine_to_ddf(np.linalg.inv(coarse) @ full @ coarse, small, torch.float64)
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_itk_and_monai_warp_alike(spatial, oblique, smooth_image, smooth_field) -> None:
    """Both sides read 0..255 grey levels through one field, with different spacings, directions and origins."""
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 3), oblique(dimensions, 4, scale=1.7)
    picture = smooth_image(spatial)
    ddf = turned(spatial, 20, smooth_field(spatial, amplitude=2))
    by_monai = warp(picture, ddf)[0].numpy()
    by_itk = resample(picture[0].numpy(), moving, displacement_image(ddf, fixed, moving), spatial, fixed)
    compared = inside(ddf, spatial)
    assert 0.5 < compared.mean() < 1
    assert np.ptp(picture.numpy()) > 150
    assert np.abs(by_itk - by_monai)[:, compared].max() < 0.01


@pytest.mark.parametrize(("spatial", "sigma"), [((61, 66), 2.0), ((29, 31, 30), 1.8)])
def test_points_go_where_the_image_goes_in_both_directions(spatial, sigma, oblique, smooth_field) -> None:
    """A blob's centre in the warped image is where the landmark is carried, though the pixel sizes differ."""
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 5), oblique(dimensions, 6, scale=3.1)
    # a blob's centre of mass follows its centre only where the field hardly bends over the blob
    ddf = turned(spatial, 12, smooth_field(spatial, amplitude=2, sigma=20))
    inverse, residual = invert(ddf, iterations=200, tolerance=1e-7)
    to_moving, to_fixed = displacement_image(ddf, fixed, moving), displacement_image(inverse, moving, fixed)
    centre = (np.array(spatial) - 1) / 2
    for offset in (np.zeros(dimensions), np.array([5.3, -6.7, 3.4])[:dimensions]):
        start = centre + offset
        for field, image, here, there in ((ddf, to_fixed, moving, fixed), (inverse, to_moving, fixed, moving)):
            # the image is pulled through the field of one direction, the point is carried by the other one's image
            back = to_moving if image is to_fixed else to_fixed
            pulled = resample(blob(spatial, start, sigma), here, back, spatial, there)
            carried = apply_matrix(np.linalg.inv(there), transform_points(image, apply_matrix(here, start[None])))[0]
            assert np.linalg.norm(centre_of_mass(pulled[0]) - carried) < 0.05
            returned = carried + sample_at(field, torch.from_numpy(carried)[None])[0].numpy()
            assert np.linalg.norm(returned - start) < 0.05
    middle = (0, 0, *[slice(8, -8)] * dimensions)
    assert residual[middle].max() < 0.01


@pytest.mark.parametrize("spatial", SPATIAL)
def test_carried_points_are_itks_inside_and_keep_the_border_value_outside(spatial, oblique, smooth_field) -> None:
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 7), oblique(dimensions, 8)
    image = displacement_image(smooth_field(spatial), fixed, moving)
    rng = np.random.default_rng(0)
    index = rng.uniform(0, np.array(spatial) - 1, size=(50, dimensions))
    points = apply_matrix(fixed, index)
    transform = displacement_transform(image)
    wanted = [tuple(transform.TransformPoint(point.tolist())) for point in points]
    np.testing.assert_allclose(transform_points(image, points), wanted, atol=1e-6)

    beyond = index.copy()
    beyond[:, 0] = spatial[0] + rng.uniform(0, 30, 50)
    edge = beyond.copy()
    edge[:, 0] = spatial[0] - 1
    shift = [transform_points(image, p) - p for p in (apply_matrix(fixed, beyond), apply_matrix(fixed, edge))]
    np.testing.assert_allclose(*shift, atol=1e-9)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_displacement_files_go_round(tmp_path: Path, spatial, suffix, oblique, smooth_field) -> None:
    fixed, moving = oblique(len(spatial), 1), oblique(len(spatial), 2)
    image = displacement_image(smooth_field(spatial), fixed, moving)
    path = tmp_path / f"field{suffix}"
    write_displacement(path, image)
    back = read_displacement(path)
    np.testing.assert_allclose(image_vectors(back), image_vectors(image), atol=1e-5)
    np.testing.assert_allclose(itk.array_from_image(itk.imread(str(path))), image_vectors(image), atol=1e-5)
    np.testing.assert_allclose(image_matrix(back), fixed, atol=1e-4 if suffix == ".nii.gz" else 1e-9)
    ddf = image_to_ddf(back, fixed, moving, spatial)
    torch.testing.assert_close(ddf.double(), smooth_field(spatial), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fields_of_double_vectors_are_read_as_well(tmp_path: Path, dimensions) -> None:
    vectors = np.random.default_rng(0).normal(size=(*(4, 5, 6)[:dimensions], dimensions))
    itk.imwrite(itk.image_from_array(vectors, is_vector=True), str(tmp_path / "field.mha"))
    found = image_vectors(read_displacement(tmp_path / "field.mha"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors, atol=1e-6)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_transform_files_go_round(tmp_path: Path, spatial, suffix, oblique, smooth_field) -> None:
    dimensions = len(spatial)
    fixed = oblique(dimensions, 1)
    image = displacement_image(smooth_field(spatial), fixed, oblique(dimensions, 2))
    path = tmp_path / f"field{suffix}"
    write_transform(path, image)
    transform = read_transform(path)
    assert transform.GetName() == "DisplacementFieldTransform"
    by_itk = itk.transformread(str(path))[0]
    index = np.random.default_rng(1).uniform(0, np.array(spatial) - 1, size=(20, dimensions))
    points = apply_matrix(fixed, index)
    found = [tuple(transform.TransformPoint(point.tolist())) for point in points]
    same = [tuple(by_itk.TransformPoint(point.tolist())) for point in points]
    np.testing.assert_allclose(found, same, atol=1e-9)
    np.testing.assert_allclose(found, transform_points(image, points), atol=1e-4)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampling_agrees_with_scipy(spatial, order, oblique, smooth_image, smooth_field) -> None:
    dimensions = len(spatial)
    fixed, moving = oblique(dimensions, 1), oblique(dimensions, 2)
    ddf = smooth_field(spatial, amplitude=2.5)
    picture = smooth_image(spatial)[0].numpy()
    found = resample(picture, moving, displacement_image(ddf, fixed, moving), spatial, fixed, order)
    positions = np.indices(spatial) + ddf[0].numpy()
    wanted = map_coordinates(picture[0], positions, order=order, mode="mirror")
    away_from_ties = np.all(np.abs(positions % 1 - 0.5) > 1e-3, axis=0) if order == 0 else True
    compared = inside(ddf, spatial) & away_from_ties
    assert compared.mean() > 0.5
    np.testing.assert_allclose(found[0][compared], wanted[compared], atol=0.01)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", "bool"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_whole_voxel_shift_is_exact_in_every_type(dtype, order) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2 if dtype == "bool" else 120, size=(3, 12, 14)).astype(dtype)
    flat = index_to_physical((0.25, 0.5))
    ddf = torch.tensor([2.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 12, 14)
    found = resample(values, flat, displacement_image(ddf, flat, flat), (12, 14), flat, order)
    assert found.dtype == values.dtype
    inner = (slice(None), slice(0, 10), slice(3, 14))
    np.testing.assert_allclose(found[inner].astype(float), values[:, 2:, :-3].astype(float), atol=1e-3)


def test_large_integers_and_the_ends_of_a_type_survive() -> None:
    flat, still = index_to_physical((1.0, 1.0)), torch.zeros(1, 2, 8, 8)
    labels = np.full((1, 8, 8), 2**24 + 1, np.int32)
    image = displacement_image(still, flat, flat)
    np.testing.assert_array_equal(resample(labels, flat, image, (8, 8), flat, 0), labels)
    edge = np.zeros((1, 8, 8), np.uint8)
    edge[..., 4:] = 255  # a cubic spline overshoots here, which must not wrap round
    half = displacement_image(torch.full((1, 2, 8, 8), 0.5), flat, flat)
    found = resample(edge, flat, half, (8, 8), flat, 3)[0, :-1, :-1]
    assert found[:, :3].max() < 60
    assert found[:, 4:].min() > 200


def test_where_the_moving_image_does_not_reach_each_channel_has_its_default() -> None:
    flat = index_to_physical((1.0, 1.0))
    ddf = torch.zeros(1, 2, 10, 10)
    ddf[:, 1] = 4
    values = np.full((3, 10, 10), 7, np.uint8)
    image = displacement_image(ddf, flat, flat)
    found = resample(values, flat, image, (10, 10), flat, default_value=(255, 0, 30))
    assert (found[..., :6] == 7).all()
    assert found[..., 6:].reshape(3, -1).tolist() == [[v] * 40 for v in (255, 0, 30)]
    assert (resample(values, flat, image, (10, 10), flat)[..., 6:] == 0).all()


def test_a_coarse_field_still_moves_the_border_of_a_fine_grid() -> None:
    """Border pixels of the fine grid lie half a coarse voxel beyond the field's last centre."""
    fine, factor = index_to_physical((1.0, 1.0)), 4
    coarse = index_to_physical((factor, factor), ((factor - 1) / 2,) * 2)
    ddf = torch.tensor([0.0, 0.5]).view(1, 2, 1, 1).expand(1, 2, 6, 6)  # 2 fine pixels
    values = np.random.default_rng(0).uniform(0, 255, (1, 24, 24))
    found = resample(values, fine, displacement_image(ddf, coarse, coarse), (24, 24), fine)
    np.testing.assert_allclose(found[0, :, :22], values[0, :, 2:], atol=1e-3)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_a_grid_larger_than_the_field_has_its_border_values(spatial, smooth_image, smooth_field) -> None:
    """ITK alone would not move what lies beyond the field; images must move there as points do."""
    dimensions = len(spatial)
    flat = index_to_physical((1.0,) * dimensions)
    small = index_to_physical((1.0,) * dimensions, (4.0,) * dimensions)
    ddf = smooth_field(tuple(n - 8 for n in spatial), amplitude=2.5)
    image = displacement_image(ddf, small, small)
    picture = smooth_image(spatial)[0].numpy()
    found = resample(picture, flat, image, spatial, flat)
    voxels = np.indices(spatial).reshape(dimensions, -1).T.astype(np.float64)
    positions = transform_points(image, voxels[:, ::-1])[:, ::-1].T.reshape(dimensions, *spatial)
    compared = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(positions, spatial, strict=True)], axis=0)
    wanted = map_coordinates(picture[0], positions, order=1)
    np.testing.assert_allclose(found[0][compared], wanted[compared], atol=0.01)


def test_a_constant_image_stays_constant_and_no_points_stay_none(smooth_field) -> None:
    flat = index_to_physical((2.0, 2.0))
    image = displacement_image(smooth_field((20, 21), amplitude=3), flat, flat)
    found = resample(np.full((2, 20, 21), 200, np.uint8), flat, image, (20, 21), flat, default_value=200)
    assert (found == 200).all()
    assert transform_points(image, np.zeros((0, 2))).shape == (0, 2)


def test_wrong_fields_and_orders_are_refused() -> None:
    flat = index_to_physical((1.0, 1.0))
    with pytest.raises(InputError, match="a batch of 2"):
        displacement_image(torch.zeros(2, 2, 4, 4), flat, flat)
    image = displacement_image(torch.zeros(1, 2, 4, 4), flat, flat)
    with pytest.raises(InputError, match="0, 1 or 3, got 2"):
        resample(np.zeros((1, 4, 4)), flat, image, (4, 4), flat, order=2)
    with pytest.raises(InputError, match=r"2-D grid needs an image \(C, \*spatial\), got \(4, 4\)"):
        resample(np.zeros((4, 4)), flat, image, (4, 4), flat)


def test_wrong_files_are_refused_by_name(tmp_path: Path) -> None:
    for read in (read_displacement, read_transform):
        with pytest.raises(InputError, match=r"nowhere\.mha does not exist"):
            read(tmp_path / "nowhere.mha")
        (tmp_path / "text.mha").write_text("no field")
        with pytest.raises(InputError, match=r"text\.mha is not readable"):
            read(tmp_path / "text.mha")
    itk.imwrite(itk.image_from_array(np.zeros((4, 5), np.float32)), str(tmp_path / "grey.mha"))
    with pytest.raises(InputError, match=r"grey\.mha is not a displacement field: 1 components in 2-D"):
        read_displacement(tmp_path / "grey.mha")


@pytest.mark.parametrize("name", ["field.xyz", "no/field.mha", "no/field.h5"])
def test_places_that_can_not_be_written_are_refused_by_name(tmp_path: Path, name) -> None:
    flat = index_to_physical((1.0, 1.0))
    image = displacement_image(torch.zeros(1, 2, 4, 4), flat, flat)
    for write in (write_displacement, write_transform):
        with pytest.raises(InputError, match=r"field\.\w+ can't be written"):
            write(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []

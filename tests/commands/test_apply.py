"""Carrying images, points and GeoJSON over with a stored field, against a similarity transform known in closed form."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from custom_components.commands.apply import apply, main
from custom_components.common.errors import InputError
from custom_components.fields import displacement_image, index_to_physical, write_displacement
from custom_components.pairs import full_stem, read_geojson, read_image, read_points, write_image, write_points

FIXED, MOVING = (96, 120), (104, 112)
ANGLE, SCALE = np.deg2rad(7), 1.05
TURN = SCALE * np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])  # row, col
OFFSET = np.array([4.0, -6.0])
FIXED_POINTS = np.array([[40.0, 50.0], [60.25, 30.5], [30.0, 70.0], [55.0, 61.0]])


def to_moving(points: np.ndarray) -> np.ndarray:
    """Fixed pixels (N, 2) row, col -> moving pixels."""
    return points @ TURN.T + OFFSET


def to_fixed(points: np.ndarray) -> np.ndarray:
    return (points - OFFSET) @ np.linalg.inv(TURN).T


def scene(points: np.ndarray) -> np.ndarray:
    """A smooth picture, (..., 2) row, col -> value, that is defined everywhere."""
    return 120 + 60 * np.sin(points[..., 0] / 11) * np.cos(points[..., 1] / 13)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A result folder with the two fields on half-resolution grids, and its metrics.json."""
    folder = tmp_path_factory.mktemp("result")
    grid = index_to_physical([2.0, 2.0], [-9.5, -9.5])  # x, y: ten pixels of padding around
    spatial = (64, 72)
    index = np.stack(np.indices(spatial), -1).astype(np.float64)
    place = index * 2 - 9.5
    for name, function in (("displacement", to_moving), ("inverse_displacement", to_fixed)):
        ddf = torch.from_numpy(np.moveaxis((function(place) + 9.5) / 2 - index, -1, 0))[None]
        write_displacement(folder / f"{name}.mha", displacement_image(ddf, grid, grid))
    plain = index_to_physical([1.0, 1.0]).tolist()
    metrics = {
        "id": "p", "status": "ok", "unit": "pixel", "moving_pixel_size": None, "fixed_pixel_size": None,
        "moving_grid": {"shape": MOVING, "index_to_physical": plain},
        "fixed_grid": {"shape": FIXED, "index_to_physical": plain},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def pixels(shape: tuple[int, int]) -> np.ndarray:
    return np.stack(np.indices(shape), -1).astype(np.float64)


def inside(points: np.ndarray, shape: tuple[int, int], rim: float = 2) -> np.ndarray:
    return ((points >= rim) & (points <= np.array(shape) - 1 - rim)).all(axis=-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("direction", "source", "target", "pulled"),
    [("moving_to_fixed", MOVING, FIXED, to_moving), ("fixed_to_moving", FIXED, MOVING, to_fixed)],
)
def test_image_agrees_with_the_closed_form(result, tmp_path, direction, source, target, pulled, dtype):
    factor = 100 if dtype == np.uint16 else 1
    image = np.stack([scene(pixels(source)) * factor, np.full(source, 7)])
    image = (image.round() if np.issubdtype(dtype, np.integer) else image).astype(dtype)
    write_image(tmp_path / "other.tif", image)
    written = apply(
        str(result / "displacement.mha"), image=str(tmp_path / "other.tif"), direction=direction,
        output=str(tmp_path / "carried.tif"), order=3,
    )  # fmt: skip
    found = read_image(written)
    assert (found.meta["dtype"], tuple(found.shape)) == (np.dtype(dtype).name, (2, *target))
    places = pulled(pixels(target))
    good = inside(places, source, 4)
    assert good.mean() > 0.5
    error = np.abs(found.numpy()[0] - scene(places) * factor)[good]
    # whole numbers are rounded in the file and in the result, and the cubic spline between them is off by a little
    assert error.max() < 0.2 + 0.01 * factor + np.issubdtype(dtype, np.integer)
    assert (found.numpy()[1] == 7).all()


def test_labels_keep_their_values(result, tmp_path):
    labels = np.where(pixels(MOVING)[..., 0] > 50, 9, 4).astype(np.uint8)[None]
    write_image(tmp_path / "labels.png", labels)
    written = apply(
        str(result / "displacement.mha"), image=str(tmp_path / "labels.png"), output=str(tmp_path / "out.png"), order=0
    )
    found = read_image(written).numpy()[0]
    assert set(np.unique(found)) <= {0, 4, 9}
    places = to_moving(pixels(FIXED))
    sure = inside(places, MOVING) & (np.abs(places[..., 0] - 50.5) > 1)
    assert (found[sure] == np.where(places[..., 0] > 50.5, 9, 4)[sure]).all()


@pytest.mark.parametrize("field", ["displacement.mha", "inverse_displacement.mha"])
@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
def test_points_agree_with_the_closed_form_from_either_field(result, tmp_path, field, direction):
    start, goal = (to_moving(FIXED_POINTS), FIXED_POINTS)
    if direction == "fixed_to_moving":
        start, goal = goal, start
    write_points(tmp_path / "cells.csv", start, ["c7", "c8", "c2", "c1"])
    written = apply(
        str(result / field), points=str(tmp_path / "cells.csv"), direction=direction, output=str(tmp_path / "o.csv")
    )
    np.testing.assert_allclose(read_points(written), goal, atol=1e-3)
    assert [line.split(",")[0] for line in Path(written).read_text().splitlines()] == ["", "c7", "c8", "c2", "c1"]


@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
def test_geojson_agrees_with_the_closed_form_and_keeps_what_it_says(result, tmp_path, direction):
    start, goal = (to_moving(FIXED_POINTS), FIXED_POINTS)
    if direction == "fixed_to_moving":
        start, goal = goal, start
    # QuPath's coordinates begin at the outer corner of the first pixel, whose centre is (0.5, 0.5)
    ring = (start[[0, 1, 2, 0], ::-1] + 0.5).tolist()
    feature = {
        "type": "Feature", "id": "f1", "properties": {"classification": {"name": "Tumour"}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }  # fmt: skip
    (tmp_path / "marks.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    written = apply(
        str(result / "displacement.mha"), geojson=str(tmp_path / "marks.geojson"), direction=direction,
        output=str(tmp_path / "o.geojson"),
    )  # fmt: skip
    (moved,) = read_geojson(written)["features"]
    assert (moved["id"], moved["properties"]) == ("f1", feature["properties"])
    ends = np.array(moved["geometry"]["coordinates"][0])[:, ::-1] - 0.5
    # a similarity keeps lines straight: no points are put between the corners
    np.testing.assert_allclose(ends, goal[[0, 1, 2, 0]], atol=2e-3)
    assert (ends[0] == ends[-1]).all()


def test_points_keep_their_other_columns_and_units_of_both_images(result, tmp_path):
    folder = shutil.copytree(result, tmp_path / "copy")
    metrics = json.loads((folder / "metrics.json").read_text())
    sizes = {"moving_pixel_size": [0.5, 0.5], "fixed_pixel_size": [0.25, 0.25]}
    (folder / "metrics.json").write_text(json.dumps({**metrics, **sizes}))
    (row, column), (to_row, to_column) = to_moving(FIXED_POINTS)[0], FIXED_POINTS[0]
    (tmp_path / "cells.tsv").write_text(
        "Class\tCentroid X µm\tCentroid Y µm\tArea µm^2\n"
        f"Tumour\t{(column + 0.5) * 0.5}\t{(row + 0.5) * 0.5}\t31.70\n", encoding="utf-8",
    )  # fmt: skip
    written = apply(str(folder / "displacement.mha"), points=str(tmp_path / "cells.tsv"))
    assert written == str(folder / "warped_cells.tsv")
    header, cells = Path(written).read_text(encoding="utf-8").splitlines()
    assert header == "Class\tCentroid X µm\tCentroid Y µm\tArea µm^2"
    name, x, y, area = cells.split("\t")
    assert (name, area) == ("Tumour", "31.70")
    np.testing.assert_allclose([float(x), float(y)], [(to_column + 0.5) * 0.25, (to_row + 0.5) * 0.25], atol=1e-3)


def test_micrometres_without_a_pixel_size_are_refused(result, tmp_path):
    write_points(tmp_path / "cells.csv", FIXED_POINTS)
    with pytest.raises(InputError, match="the file of the moving image states no pixel size"):
        apply(str(result / "displacement.mha"), points=str(tmp_path / "cells.csv"), unit="micrometre")


def test_what_is_odd_is_said_on_stderr(result, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.geojson").write_text('{"type": "Point", "coordinates": [5000, 5]}')
    arguments = ["--field", str(result / "displacement.mha"), "--geojson", str(tmp_path / "a.geojson")]
    monkeypatch.setattr(sys, "argv", ["apply", *arguments, "--output", str(tmp_path / "b.geojson")])
    main()
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "b.geojson")
    assert "note: 1 of 1 objects reach beyond the moving image (112 x 104 pixels): are they of this image" in err


def test_there_and_back_is_where_it_was(result, tmp_path):
    write_points(tmp_path / "a.csv", FIXED_POINTS)
    there = apply(
        str(result / "displacement.mha"), points=str(tmp_path / "a.csv"), direction="fixed_to_moving",
        output=str(tmp_path / "b.csv"),
    )  # fmt: skip
    back = apply(str(result / "displacement.mha"), points=there, output=str(tmp_path / "c.csv"))
    np.testing.assert_allclose(read_points(back), FIXED_POINTS, atol=1e-3)


def test_result_lies_beside_the_field_unless_told_otherwise(result, tmp_path):
    folder = shutil.copytree(result, tmp_path / "copy")
    write_points(tmp_path / "cells.csv", FIXED_POINTS)
    write_image(tmp_path / "other.jpg", np.full((3, *MOVING), 90, np.uint8))
    field = str(folder / "displacement.mha")
    assert apply(field, points=str(tmp_path / "cells.csv")) == str(folder / "warped_cells.csv")
    assert apply(field, image=str(tmp_path / "other.jpg")) == str(folder / "warped_other.png")
    assert (folder / "warped_other.png").is_file()


def test_files_with_a_suffix_of_two_parts_keep_it(result, tmp_path):
    folder = shutil.copytree(result, tmp_path / "copy")
    write_image(tmp_path / "IHC.ome.tif", np.full((3, *MOVING), 90, np.uint8))
    (tmp_path / "m.geojson.gz").write_bytes(gzip.compress(b'{"type": "FeatureCollection", "features": []}'))
    assert apply(str(folder), image=str(tmp_path / "IHC.ome.tif")) == str(folder / "warped_IHC.ome.tif")
    assert apply(str(folder), geojson=str(tmp_path / "m.geojson.gz")) == str(folder / "warped_m.geojson.gz")


def two_stacks(file: Path) -> np.ndarray:
    """(series, Z, C, H, W) written as the images of an OME-TIFF, where no two planes are alike."""
    picture = scene(pixels(MOVING))
    stacks = np.stack([picture * factor for factor in range(1, 13)]).reshape(2, 3, 2, *MOVING).astype(np.uint16)
    with tifffile.TiffWriter(file, ome=True) as writer:
        for name, stack in zip(("first", "second"), stacks, strict=True):
            metadata = {"axes": "ZCYX", "Name": name, "Channel": {"Name": ["CD3", "DAPI"]}}
            writer.write(stack, photometric="minisblack", metadata=metadata)
    return stacks


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"plane": 2}, (0, 2, slice(None))),
        ({"series": "second", "plane": 0}, (1, 0, slice(None))),
        ({"series": 1, "plane": 1, "channel": "dapi"}, (1, 1, slice(1, 2))),
        ({"channel": 0, "plane": 0}, (0, 0, slice(0, 1))),
    ],
)
def test_the_plane_the_series_and_the_channel_that_are_named_are_warped(
    result, tmp_path, monkeypatch, options, chosen, large
):
    stacks = two_stacks(tmp_path / "stack.ome.tif")
    write_image(tmp_path / "plain.ome.tif", stacks[chosen])
    if large:  # by blocks
        monkeypatch.setattr("custom_components.pairs.slides.LARGE", 1000)
    expected = apply(str(result), image=str(tmp_path / "plain.ome.tif"), output=str(tmp_path / "expected.ome.tif"))
    written = apply(str(result), image=str(tmp_path / "stack.ome.tif"), output=str(tmp_path / "out.ome.tif"), **options)
    found = read_image(written)
    np.testing.assert_array_equal(found.numpy(), read_image(expected).numpy())
    names = ("CD3", "DAPI")[chosen[-1]]
    assert found.meta["layout"].names == names


def test_a_stack_without_a_plane_is_refused_and_the_option_is_named(result, tmp_path):
    two_stacks(tmp_path / "stack.ome.tif")
    with pytest.raises(InputError, match=r"is a stack of 3 Z planes .* \(of apply --plane\)"):
        apply(str(result), image=str(tmp_path / "stack.ome.tif"))
    with pytest.raises(InputError, match="has channels 0 to 1: CD3, DAPI; asked for 'CD8'"):
        apply(str(result), image=str(tmp_path / "stack.ome.tif"), plane=0, channel="CD8")


def test_the_registered_file_is_read_as_it_was_registered(result, tmp_path):
    folder, file = shutil.copytree(result, tmp_path / "copy"), tmp_path / "stack.ome.tif"
    stacks = two_stacks(file)
    metrics = json.loads((folder / "metrics.json").read_text())
    run = {"inputs": {"moving": {"path": str(file)}}, "reading": {"moving_series": 1, "moving_plane": "max"}}
    (folder / "metrics.json").write_text(json.dumps({**metrics, "moving": str(file), "run": run}))
    write_image(tmp_path / "plain.ome.tif", stacks[1].max(axis=0))
    expected = read_image(apply(str(folder), image=str(tmp_path / "plain.ome.tif"))).numpy()
    found = read_image(apply(str(folder), image=str(file))).numpy()
    np.testing.assert_array_equal(found, expected)
    other = read_image(apply(str(folder), image=str(file), plane=0, output=str(tmp_path / "other.ome.tif"))).numpy()
    assert (other != expected).any()


@pytest.mark.parametrize("option", ["channel", "series", "plane"])
def test_options_of_images_are_refused_without_one(result, tmp_path, option):
    write_points(tmp_path / "a.csv", FIXED_POINTS)
    with pytest.raises(InputError, match="--channel, --series and --plane are of an image"):
        apply(str(result), points=str(tmp_path / "a.csv"), **{option: 0})


@pytest.mark.parametrize(("given", "version"), [(None, "0.4"), (0.5, "0.5"), ("0.4", "0.4")])
def test_an_image_becomes_an_ome_zarr(result, tmp_path, given, version):
    zarr = pytest.importorskip("zarr")
    image = np.stack([scene(pixels(MOVING)), np.full(MOVING, 7)]).astype(np.uint16)
    write_image(tmp_path / "other.tif", image)
    output, again = tmp_path / "out.ome.zarr", {"overwrite": True, "zarr_version": given}
    plain = apply(str(result), image=str(tmp_path / "other.tif"), output=str(tmp_path / "plain.tif"))
    for _ in range(2):
        assert apply(str(result), image=str(tmp_path / "other.tif"), output=str(output), **again) == str(output)
    group = zarr.open_group(str(output), mode="r")
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    np.testing.assert_array_equal(group["0"][...], read_image(plain).numpy())
    with pytest.raises(InputError, match=r"version 0\.4 or 0\.5, got '2'"):
        apply(str(result), image=str(tmp_path / "other.tif"), output=str(tmp_path / "b.ome.zarr"), zarr_version=2)


@pytest.mark.parametrize("suffix", ["tif", "ome.tif", "ome.zarr", "nii.gz", "geojson.gz", "tar.gz", "OME.TIFF"])
def test_dots_in_a_name_belong_to_it(suffix):
    assert [full_stem(f"slides/A.{number}.{suffix}") for number in (1, 2)] == ["A.1", "A.2"]


def test_neither_another_result_nor_an_input_is_written_over(result, tmp_path):
    folder = shutil.copytree(result, tmp_path / "copy")
    field = str(folder / "displacement.mha")
    for number in (1, 2):
        write_image(tmp_path / f"A.{number}.tif", np.full((1, *MOVING), number, np.uint8))
        assert apply(field, image=str(tmp_path / f"A.{number}.tif")) == str(folder / f"warped_A.{number}.tif")
    write_points(tmp_path / "cells.csv", FIXED_POINTS)
    cells, image = str(tmp_path / "cells.csv"), str(tmp_path / "A.1.tif")
    apply(field, points=cells)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for given in ({"points": cells}, {"image": image}, {"points": cells, "output": image}):
        with pytest.raises(InputError, match=r"exists already; .*--overwrite"):
            apply(field, **given)
    for taken in (cells, field, str(folder / "inverse_displacement.mha"), str(folder / "metrics.json")):
        with pytest.raises(InputError, match="is an input"):
            apply(field, points=cells, output=taken, overwrite=True)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    write_points(cells, FIXED_POINTS + 1)
    carried = Path(apply(field, points=cells, overwrite=True))
    assert carried.read_bytes() != before[carried]


def test_the_folder_of_a_pair_is_taken_as_well_as_its_field(result, tmp_path):
    write_points(tmp_path / "cells.csv", to_moving(FIXED_POINTS))
    carried = [
        apply(str(field), points=str(tmp_path / "cells.csv"), output=str(tmp_path / f"{number}.csv"))
        for number, field in enumerate((result, result / "displacement.mha"))
    ]
    assert Path(carried[0]).read_bytes() == Path(carried[1]).read_bytes()
    shutil.copytree(result, tmp_path / "out" / "p")
    with pytest.raises(InputError, match=r"holds no metrics\.json but the results of the pair p; give .*/p$"):
        apply(str(tmp_path / "out"), points=str(tmp_path / "cells.csv"))


def test_command_line_prints_what_it_wrote(result, tmp_path, monkeypatch, capsys):
    write_points(tmp_path / "cells.csv", to_moving(FIXED_POINTS))
    output = tmp_path / "carried.csv"
    arguments = ["--field", str(result / "displacement.mha"), "--points", str(tmp_path / "cells.csv")]
    monkeypatch.setattr(sys, "argv", ["apply", *arguments, "--output", str(output)])
    main()
    assert capsys.readouterr().out.strip() == str(output)
    np.testing.assert_allclose(read_points(output), FIXED_POINTS, atol=1e-3)


def test_command_line_gives_one_line_for_a_wrong_file(result, tmp_path, monkeypatch):
    arguments = ["--field", str(result / "displacement.mha"), "--points", str(tmp_path / "gone.csv")]
    monkeypatch.setattr(sys, "argv", ["apply", *arguments])
    with pytest.raises(SystemExit, match=r"^error: landmarks .*gone\.csv do not exist$"):
        main()


@pytest.mark.parametrize("given", [{}, {"image": "a.png", "points": "b.csv"}, {"points": "b.csv", "geojson": "c"}])
def test_exactly_one_thing_is_carried(result, given):
    with pytest.raises(InputError, match="exactly one of --image, --points, --geojson"):
        apply(str(result / "displacement.mha"), **given)


def test_unknown_direction_and_order_are_refused(result, tmp_path):
    field = str(result / "displacement.mha")
    with pytest.raises(InputError, match="moving_to_fixed or fixed_to_moving, got 'backwards'"):
        apply(field, points="p.csv", direction="backwards")
    write_image(tmp_path / "other.png", np.full((3, *MOVING), 90, np.uint8))
    with pytest.raises(InputError, match="order"):
        apply(field, image=str(tmp_path / "other.png"), order=2)


def test_image_of_another_size_is_refused_with_both_sizes(result, tmp_path):
    write_image(tmp_path / "small.png", np.full((3, 50, 60), 90, np.uint8))
    with pytest.raises(InputError, match=r"small\.png is 60 x 50 pixels, .* moving image has 112 x 104"):
        apply(str(result / "displacement.mha"), image=str(tmp_path / "small.png"))


def test_volume_is_refused_in_place_of_an_image(result, tmp_path):
    write_image(tmp_path / "volume.mha", np.zeros((1, 4, 50, 60), np.uint8))
    with pytest.raises(InputError, match=r"volume\.mha is 60 x 50 x 4 pixels"):
        apply(str(result / "displacement.mha"), image=str(tmp_path / "volume.mha"))


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("displacement.mha", r"displacement\.mha does not exist"),
        ("inverse_displacement.mha", r"inverse_displacement\.mha does not exist"),
        ("metrics.json", r"metrics\.json does not exist; keep it beside"),
    ],
)
def test_each_missing_file_of_a_result_is_named(result, tmp_path, absent, message):
    folder = shutil.copytree(result, tmp_path / "copy")
    (folder / absent).unlink()
    write_points(tmp_path / "cells.csv", FIXED_POINTS)
    direction = "fixed_to_moving" if absent == "displacement.mha" else "moving_to_fixed"
    with pytest.raises(InputError, match=message):
        apply(str(folder / "displacement.mha"), points=str(tmp_path / "cells.csv"), direction=direction)


def test_mistyped_folder_is_told_by_the_field_and_not_by_its_neighbour(tmp_path):
    with pytest.raises(InputError, match=r"typo/inverse_displacement\.mha does not exist"):
        apply(str(tmp_path / "typo" / "displacement.mha"), points="cells.csv")


def test_result_of_a_failed_pair_is_refused(result, tmp_path):
    folder = shutil.copytree(result, tmp_path / "copy")
    (folder / "metrics.json").write_text('{"status": "failed", "reason": "too few matches"}')
    with pytest.raises(InputError, match=r"the pair was not registered \(too few matches\); register it again"):
        apply(str(folder / "displacement.mha"), points="cells.csv")
    (folder / "metrics.json").write_text('{"status": "ok"}')
    with pytest.raises(InputError, match="holds no size of the moving image; register the pair again"):
        apply(str(folder / "displacement.mha"), points="cells.csv")


def test_output_that_cannot_be_written_is_named(result, tmp_path):
    write_points(tmp_path / "cells.csv", FIXED_POINTS)
    with pytest.raises(InputError, match=r"nowhere/o\.csv: can't be written"):
        apply(
            str(result / "displacement.mha"), points=str(tmp_path / "cells.csv"),
            output=str(tmp_path / "nowhere" / "o.csv"),
        )  # fmt: skip
    assert not (tmp_path / "nowhere").exists()


def test_applying_a_field_imports_no_more_than_it_needs() -> None:
    # each of these takes seconds and tens to hundreds of megabytes
    heavy = ["monai", "kornia", "sklearn", "matplotlib", "ignite", "skimage"]
    program = f"import sys, custom_components.commands.apply; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

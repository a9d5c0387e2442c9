"""Slides by the commands of a user: registered at a coarse level, refined at a finer one, carried over."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.bundle import run
from skimage import data, transform

from custom_components.commands.apply import apply
from custom_components.fields import displacement_image, grid_change, identity_grid, index_to_physical, transform_points
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import ArraySlide, open_slide, read_points, slides, write_points
from custom_components.slides.pyramid import PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, warp_blocks
from custom_components.transforms import dictionary

SIDE = 1200
PIXEL_SIZE = (0.5, 0.5)
MATRIX = index_to_physical(PIXEL_SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """fixed.ome.tif, moving.ome.tif with levels and pixel size, and landmarks of both in level-0 pixels."""
    folder = tmp_path_factory.mktemp("slides")
    tissue = transform.resize(data.immunohistochemistry(), (SIDE, SIDE), order=3)
    tissue = (tissue * 255).clip(0, 255).astype(np.uint8)
    coarse = MATRIX @ grid_change((60, 60), (SIDE, SIDE))
    centred = identity_grid((60, 60)) - 29.5
    bend = torch.stack([0.04 * centred[1] + 0.4 * torch.sin(centred[1] / 6), -0.04 * centred[0] + 0.8])
    field = displacement_image(bend[None], coarse, coarse)  # moving -> fixed, on the moving grid
    still = displacement_image(torch.zeros(1, 2, 2, 2), MATRIX, MATRIX)
    for name, displacement in (("fixed", still), ("moving", field)):
        slide = ArraySlide(folder / name, tissue, PIXEL_SIZE)
        writer = PyramidWriter(
            folder / f"{name}.ome.tif", (SIDE, SIDE), 3, np.uint8, "deflate", pixel_size=PIXEL_SIZE, recipe=[1]
        )
        warp = SlideWarp(slide, 0, FieldBlocks(displacement, MATRIX, MATRIX), 1, (240.0,) * 3)
        assert list(warp_blocks(warp, writer, 1))
        writer.finish()
    moving = np.random.default_rng(0).uniform(250, SIDE - 250, (40, 2))
    fixed = transform_points(field, moving[:, ::-1] * PIXEL_SIZE)[:, ::-1] / PIXEL_SIZE
    write_points(folder / "moving.csv", moving)
    write_points(folder / "fixed.csv", fixed)
    return folder


def error_in(folder, truth) -> float:
    """Mean landmark error, pixels of level 0."""
    return float(np.linalg.norm(read_points(folder / "warped_landmarks.csv") - truth, axis=1).mean())


@pytest.mark.slow
def test_slides_are_registered_coarsely_refined_and_carried_over(folder, tmp_path, repository, monkeypatch):
    monkeypatch.chdir(repository)
    monkeypatch.setattr(slides, "LARGE", 1000)
    monkeypatch.setattr(dictionary, "SHOWN", 256)
    files = {
        "id": "a b", "moving": f"{folder}/moving.ome.tif", "fixed": f"{folder}/fixed.ome.tif",
        "moving_landmarks": f"{folder}/moving.csv", "fixed_landmarks": f"{folder}/fixed.csv",
    }  # fmt: skip
    configs = [f"bundles/patch_nonrigid/configs/{name}.yaml" for name in ("inference", "refine")]
    run(config_file=configs[0], output_dir=str(tmp_path / "coarse"), working_size=256, **files)
    metrics = json.loads((tmp_path / "coarse" / "a b" / "metrics.json").read_text())
    assert metrics["fixed_grid"]["shape"] == [SIDE, SIDE]
    assert metrics["unit"] == "micrometre"
    with open_slide(tmp_path / "coarse" / "a b" / "warped.ome.tif") as slide:
        assert slide.levels[0] == (300, 300)  # the level that was read
    truth = read_points(folder / "fixed.csv")
    coarse = error_in(tmp_path / "coarse" / "a b", truth)
    assert coarse < 8  # less than two working pixels

    run(config_file=configs, output_dir=str(tmp_path / "fine"), results=str(tmp_path / "coarse"), working_size=256,
        level=1, window_size=512, window_overlap=128, **files)  # fmt: skip
    assert error_in(tmp_path / "fine" / "a b", truth) < coarse

    field = str(tmp_path / "fine" / "a b" / "displacement.mha")
    written = apply(field, image=f"{folder}/moving.ome.tif", compression="deflate", threads=1)
    with open_slide(written) as slide, open_slide(folder / "fixed.ome.tif") as fixed:
        assert slide.levels == fixed.levels
        assert slide.pixel_size == pytest.approx(PIXEL_SIZE)
        parts = [s.read(0, 400, 400, 400, 400).astype(float).mean(axis=2).ravel() for s in (slide, fixed)]
    assert np.corrcoef(*parts)[0, 1] > 0.9

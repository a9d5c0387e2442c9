"""Two images and a field that is nearly right: the windows take the rest away, where they are asked to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from skimage import data
from torch import Tensor

from custom_components.common.errors import InputError, RegistrationError
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.fields import Grid, displacement_image, identity_grid, resample, smooth, write_displacement
from custom_components.inferers import Chain, Estimate, FlowRefinement
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.writer import write_registration
from custom_components.pairs import Pair, write_image
from custom_components.refinement import SlideRefinement, StoredField

SHAPE = (512, 512)


def known_shift() -> Tensor:
    """(1, 2, H, W) of some pixels, smooth."""
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 2, *SHAPE))).float()
    bend = smooth(noise, 40.0)
    return 2.5 * bend / bend.abs().max()


class Still:
    """A step that finds nothing to move."""

    def __call__(self, images, estimate):
        return estimate


class Refusing:
    """A step that finds no matches."""

    def __call__(self, images, estimate):
        raise RegistrationError("no consistent alignment")


class Wrong:
    """A step that moves a window away."""

    def __call__(self, images, estimate):
        return replace(estimate, ddf=torch.full_like(estimate.ddf, 9.0))


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    fixed = np.moveaxis(data.immunohistochemistry(), -1, 0)
    field = displacement_image(known_shift(), np.eye(3), np.eye(3))
    moving = resample(fixed, np.eye(3), field, SHAPE, np.eye(3), 1, [235.0] * 3)
    write_image(folder / "fixed.png", fixed)
    write_image(folder / "moving.png", moving)
    return Pair("a", folder / "moving.png", folder / "fixed.png")


@pytest.fixture(scope="module")
def prepared(pair):
    parser = ConfigParser()
    parser.read_config("bundles/patch_nonrigid/configs/inference.yaml")
    parser.update({"working_size": 256})
    return parser.get_parsed_content("preprocessing")({"pair": pair})


@pytest.fixture
def images(prepared):
    return to_pair_images(prepared, torch.device("cpu"))


def error_of(ddf: Tensor, images, box=(slice(40, 250), slice(40, 250))) -> float:
    """Median distance between a field and the truth, working voxels, in a part of the working grid."""
    # fixed(x) is moving(x + u(x)) where u undoes the known shift; of small smooth shifts that is nearly their negative
    scale = 0.5
    small = torch.nn.functional.interpolate(known_shift(), (256, 256), mode="area") * scale
    truth = torch.zeros_like(ddf)
    margin = [(side - 256) // 2 for side in images.shape]
    truth[..., margin[0] : margin[0] + 256, margin[1] : margin[1] + 256] = -small
    return float((ddf - truth).norm(dim=1)[0][box].median())


def test_windows_find_what_the_field_misses(images):
    start = Estimate.identity(images.shape)
    step = SlideRefinement([FlowRefinement()], level=0, size=256, overlap=64)
    found = step(images, start)
    assert error_of(found.ddf, images) < 0.4 * error_of(start.ddf, images)
    details = found.stages[-1].details
    assert details["refined"] == details["windows"] == 9
    assert details["level"] == 0
    assert details["mean_gain_in_similarity"] > 0


def test_only_the_region_is_touched(images):
    start = Estimate.identity(images.shape)
    found = SlideRefinement([FlowRefinement()], level=0, size=128, overlap=32, region=[0, 0, 100, 100])(images, start)
    still = found.ddf[0].norm(dim=0) < 0.02
    assert still[160:, 160:].all()
    assert not still[40:60, 40:60].all()
    assert found.stages[-1].details["windows"] == 4


@pytest.mark.parametrize(("step", "outcome"), [(Wrong(), "not better"), (Refusing(), "no matches")])
def test_a_window_that_gets_no_better_stays_as_it_was(step, outcome, images):
    start = Estimate.identity(images.shape)
    found = SlideRefinement([step], level=1, size=256, overlap=64)(images, start)
    assert found.ddf.abs().max() < 1e-3
    assert found.stages[-1].details[outcome] == found.stages[-1].details["windows"] > 0


def test_the_level_is_the_coarsest_with_twice_the_working_pixels(images):
    found = SlideRefinement([Still()], size=256, overlap=64)(images, Estimate.identity(images.shape))
    assert found.stages[-1].details["level"] == 0


def test_a_region_without_tissue_is_an_error(images):
    step = SlideRefinement([Still()], level=0, size=64, overlap=16, region=[5000, 5000, 10, 10])
    with pytest.raises(InputError, match=r"fixed\.png: no window with tissue"):
        step(images, Estimate.identity(images.shape))


def test_a_wrong_region_is_said_of_the_pair(images):
    with pytest.raises(InputError, match=r"\[x, y, width, height\]"):
        SlideRefinement([Still()], region=[1, 2, 3])(images, Estimate.identity(images.shape))
    with pytest.raises(InputError, match=r"nowhere\.geojson"):
        SlideRefinement([Still()], regions="nowhere.geojson")(images, Estimate.identity(images.shape))


def test_images_that_were_not_read_can_not_be_refined(images):
    with pytest.raises(InputError, match="read from files"):
        SlideRefinement([Still()])(replace(images, origin=None), Estimate.identity(images.shape))


@pytest.mark.parametrize("wrong", [{"overlap": 0}, {"overlap": 600}, {"level": -1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError):
        SlideRefinement([Still()], **wrong)


@pytest.fixture(scope="module")
def results(pair, prepared, tmp_path_factory):
    """Output folder of a run that found half of the shift."""
    folder = tmp_path_factory.mktemp("results")

    class Half:
        def __call__(self, images, estimate):
            grid = identity_grid(images.shape)
            return replace(estimate, ddf=torch.stack([0.002 * grid[1], 0 * grid[0] + 0.5])[None])

    registration = Chain([Half()])(to_pair_images(prepared, torch.device("cpu")))
    write_registration(registration, PreparedPair.of(prepared, pair), Output(folder, report=False))
    return folder


def test_a_stored_field_is_the_one_that_was_written(results, images):
    found = StoredField(results)(images, Estimate.identity(images.shape))
    grid = identity_grid(images.shape)
    torch.testing.assert_close(found.ddf, torch.stack([0.002 * grid[1], 0 * grid[0] + 0.5])[None], atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.affine, [[1, 0.002, 0], [0, 1, 0.5], [0, 0, 1]], atol=1e-4)


def test_a_stored_field_of_another_pair_is_refused(results, images, tmp_path):
    origin = images.origin
    with pytest.raises(InputError, match="give --results"):
        StoredField(None)(images, Estimate.identity(images.shape))
    with pytest.raises(InputError, match="register the pair first"):
        StoredField(tmp_path)(images, Estimate.identity(images.shape))
    with pytest.raises(InputError, match="counts in pixels"):
        StoredField(results)(
            replace(images, origin=replace(origin, unit="micrometre")), Estimate.identity(images.shape)
        )
    other = origin.fixed.clone()
    other.meta = {**origin.fixed.meta, "file_grid": Grid.of_pixels((10, 20))}
    with pytest.raises(InputError, match=r"fixed image of 512 x 512 pixels; .*fixed\.png has 20 x 10"):
        StoredField(results)(replace(images, origin=replace(origin, fixed=other)), Estimate.identity(images.shape))


def test_a_pair_that_failed_before_says_why(images, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.json").write_text('{"status": "failed", "reason": "too few matches"}')
    write_displacement(tmp_path / "a" / "displacement.mha", displacement_image(known_shift(), np.eye(3), np.eye(3)))
    with pytest.raises(InputError, match="too few matches"):
        StoredField(tmp_path)(images, Estimate.identity(images.shape))

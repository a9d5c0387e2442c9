"""Every bundle registers and trains on a device that is not the CPU, from the shipped configs, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from monai.bundle import run
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter
from skimage import data

from custom_components.fields import index_to_physical
from custom_components.pairs import write_image, write_points
from tests.devices.pretended import NAME

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = {
    "histology_registration": {"rotation_step": 180.0, "min_matches": 8},
    "hybrid_matching": {"rotation_step": 180.0, "min_matches": 8},
    "joint_saliency": {"rotation_step": 180.0},
    "keypoint_guided": {"rotation_step": 180.0, "min_matches": 8, "sizes": [128]},
    "patch_nonrigid": {"rotation_step": 180.0, "min_matches": 8},
    "semantic_similarity": {},
}
EXTRACTOR = "bundles/semantic_similarity/models/sections_autoencoder.pt"
SECTIONS = {"working_size": 160}


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    yield
    set_determinism(None)  # what trainings switch on


def markdown_table(folder: Path, spatial: tuple[int, ...]) -> Path:
    """Two real sections, or textures of three dimensions, a few voxels apart, with landmarks and label maps."""
    suffix = ".png" if len(spatial) == 2 else ".nii.gz"
    matrix = index_to_physical([1.0] * len(spatial))
    if len(spatial) == 2:
        whole = data.immunohistochemistry()
        rows, columns = np.indices(spatial)
        oval = ((rows / spatial[0] - 0.5) / 0.44) ** 2 + ((columns / spatial[1] - 0.5) / 0.4) ** 2 < 1
    for number in range(2):
        if len(spatial) == 2:
            cut = whole[100 + 2 * number : 100 + 2 * number + spatial[0], 90 : 90 + spatial[1]]
            image = np.where(np.roll(oval, number, 0)[..., None], cut, 255).transpose(2, 0, 1)
            labels = 1 + oval
        else:
            noise = gaussian_filter(np.random.default_rng(0).normal(size=spatial), 3)
            noise = np.roll((noise - noise.min()) / np.ptp(noise), number, axis=-1)
            image, labels = 255 * noise[None], 1 + (noise > 0.5)
        write_image(folder / f"image{number}{suffix}", image.astype(np.uint8), matrix)
        write_image(folder / f"labels{number}{suffix}", labels.astype(np.uint8)[None], matrix)
        write_points(folder / f"marks{number}.csv", np.array([[60.0, 70.0], [80.0, 75.0 + number], [90.0, 60.0]]))
    marks = ",marks{0}.csv,marks{1}.csv" if len(spatial) == 2 else ",,"
    row = "{0}{1},image{0}" + suffix + ",image{1}" + suffix + ",labels{0}" + suffix + ",labels{1}" + suffix + marks
    header = "id,moving,fixed,moving_labels,fixed_labels,moving_landmarks,fixed_landmarks"
    (folder / "pairs.csv").write_text("\n".join([header, row.format(0, 1), row.format(1, 0)]))
    return folder / "pairs.csv"


@pytest.fixture
def sections(tmp_path: Path) -> Path:
    """See ``markdown_table``."""
    return markdown_table(tmp_path, (160, 144))


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """See ``markdown_table``."""
    return markdown_table(tmp_path, (32, 40, 40))


def configs_of(bundle: str, *names: str) -> list[str]:
    return [f"bundles/{bundle}/configs/{name}.yaml" for name in names]


def registered(table: Path, bundle: str, *names: str, **options: Any) -> list[dict[str, Any]]:
    """metrics.json of the table's pairs after a run on the device, whose name comes as text from the command line."""
    out = table.parent / "out"
    chosen = {"pairs": str(table), "output_dir": str(out), "device": f"{NAME}:0", **options}
    run(config_file=configs_of(bundle, *names), **chosen)
    found = [json.loads(file.read_text()) for file in sorted(out.glob("*/metrics.json"))]
    assert [metrics["reason"] for metrics in found if metrics["status"] == "failed"] == []
    assert len(found) == 2
    return found


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_a_bundle_registers_sections_on_the_device(device, sections, bundle):
    for metrics in registered(sections, bundle, "inference", **SECTIONS, **BUNDLES[bundle]):
        assert set(metrics["dice"]) == {"1", "2"}
        assert metrics["landmarks"]["count"] == 3
        assert (sections.parent / "out" / metrics["id"] / "report.html").exists()


VARIANTS = {
    "instance optimisation": ("hybrid_matching", ["evaluate"], {"optimise": True, "min_matches": 8}),
    "COTR": ("hybrid_matching", ["inference", "cotr"], {"min_matches": 8}),
    "affine network": ("patch_nonrigid", ["evaluate"], {"matching": False}),
    "matching first": ("keypoint_guided", ["evaluate"], {"matching": True, "min_matches": 8, "sizes": [128]}),
    "sections": ("joint_saliency", ["inference", "sections"], {"align": True, "min_matches": 8}),
    "refining": ("joint_saliency", ["inference", "refine"], {"align": True, "min_matches": 8}),
    "optical flow": ("joint_saliency", ["evaluate", "dis"], {}),
    "evaluation": ("semantic_similarity", ["evaluate", "disturbed"], {"noise": 0.1, "minimum_jacobian": 0.1}),
    "joint saliency's evaluation": ("joint_saliency", ["evaluate"], {"minimum_jacobian": 0.1}),
    "demons": ("joint_saliency", ["evaluate", "demons"], {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_variant_of_a_bundle_works_on_the_device(device, sections, variant):
    bundle, names, options = VARIANTS[variant]
    registered(sections, bundle, *names, **SECTIONS, **options)


def test_volumes_are_registered_on_the_device(device, volumes):
    weights = {"weights": "bundles/semantic_similarity/models/volume.pt", "channels": [8, 16, 32]}
    registered(volumes, "semantic_similarity", "inference", spatial_dims=3, report=False, **weights)


@pytest.mark.slow
def test_volumes_pass_joint_saliency_on_the_device(device, volumes):
    registered(volumes, "joint_saliency", "inference", spatial_dims=3, weights="$None")


@pytest.mark.slow
@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_a_bundle_does_without_double_precision(single_precision_device, sections, bundle):
    registered(sections, bundle, "inference", **SECTIONS, **BUNDLES[bundle])


@pytest.mark.slow
def test_windows_are_refined_on_the_device(device, sections):
    options = {**SECTIONS, "rotation_step": 180.0, "min_matches": 8}
    registered(sections, "patch_nonrigid", "inference", **options)
    first = sections.parent / "out"
    first.rename(sections.parent / "first")
    more = {"results": str(sections.parent / "first"), "window_size": 96, "window_overlap": 32, "level": 0}
    registered(sections, "patch_nonrigid", "inference", "refine", **options, **more)


SMALL = {"max_epochs": 1, "seed": 0}
TINY = {"items": 2, "num_workers": 0, "batch_size": 1}
FEATURES = {"items": 2, "num_workers": 0, "batch_size": 1, "patch_size": 32, "channels": [4, 8]}
TRAININGS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "cotr": (
        "hybrid_matching",
        ["train_cotr"],
        {**TINY, **SECTIONS, "side": 32, "points": 8, "scales": [0.5], "amplitude": 2.0},
    ),
    "cotr on real pairs": (
        "hybrid_matching",
        ["train_cotr", "finetune_cotr"],
        {**TINY, **SECTIONS, "points": 8, "side": 64, "init_weights": "bundles/hybrid_matching/models/cotr.pt"},
    ),
    "saliency": (
        "joint_saliency",
        ["train"],
        {**TINY, "patch_size": 32, "weighting": "mismatch", "records": "images", "epe_weight": 1.0},
    ),
    "saliency in volumes": ("joint_saliency", ["train"], {**TINY, "spatial_dims": 3, "similarity": "mse"}),
    "saliency refines": ("joint_saliency", ["train", "train_refine"], {**TINY, **SECTIONS, "patch_size": 64}),
    "known fields": (
        "keypoint_guided", ["pretrain"], {**TINY, **SECTIONS, "patch_size": 64, "scales": [1.0], "amp": False}
    ),
    "guided": (
        "keypoint_guided",
        ["train"],
        {
            **SECTIONS, "stage": "d_pcg", "max_points": 50, "amp": False,
            "init_weights": "bundles/keypoint_guided/models/pretrained.pt",
        },
    ),
    "patches of known fields": ("patch_nonrigid", ["pretrain"], {**TINY, **SECTIONS, "patch_size": 96}),
    "patches": (
        "patch_nonrigid",
        ["train"],
        {**SECTIONS, "scales": [0.5, 1.0], "iterations": [1, 1], "patch_size": [96, 96], "init_weights": "$None"},
    ),
    "affine": ("patch_nonrigid", ["train_affine"], {**SECTIONS, "num_workers": 0, "size": 64}),
    "autoencoder": ("semantic_similarity", ["train_autoencoder"], FEATURES),
    "autoencoder of sections": ("semantic_similarity", ["train_autoencoder", "sections"], {**FEATURES, **SECTIONS}),
    "segmentation": ("semantic_similarity", ["train_segmentation"], {**FEATURES, "classes": 3}),
    "deep similarity": (
        "semantic_similarity",
        ["train"],
        {**FEATURES, "extractor": EXTRACTOR, "supervision": 0.5, "classes": 3, "extract_before_transform": True},
    ),
    "mutual information": ("semantic_similarity", ["train"], {**FEATURES, "similarity": "nmi", "diffeomorphic": True}),
    "mutual information of volumes": (
        "semantic_similarity", ["train"], {**FEATURES, "patch_size": 16, "similarity": "nmi", "spatial_dims": 3}
    ),
}  # fmt: skip
FAST = ("deep similarity", "mutual information", "patches", "autoencoder")


def trained(table: Path, bundle: str, *names: str, **options: Any) -> Path:
    """The folder of a training on the device, whose weights and curve are there."""
    root = table.parent / "mine"
    run(
        config_file=configs_of(bundle, *names), pairs=str(table), bundle_root=str(root), device=f"{NAME}:0",
        **{**SMALL, **options},
    )  # fmt: skip
    assert list(root.rglob("*.pt"))
    assert list(root.rglob("curve.csv"))
    return root


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in TRAININGS]
)
def test_a_training_works_on_the_device(device, tmp_path, name):
    bundle, configs, options = TRAININGS[name]
    table = markdown_table(tmp_path, (160, 144) if options.get("spatial_dims", 2) == 2 else (32, 32, 32))
    trained(table, bundle, *configs, **options)
    trained(table, bundle, *configs, **{**options, "max_epochs": 2})  # taken up from its checkpoint


def test_every_training_config_is_run_here():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("bundles/*/configs/*.yaml")
        if "train" in path.stem or "finetune" in path.stem
    }
    run_here = {path for bundle, names, _ in TRAININGS.values() for path in configs_of(bundle, *names)}
    assert {path for path in found if "multi_gpu" not in path} <= run_here


def test_every_config_with_a_device_checks_it_first():
    for path in ROOT.glob("bundles/*/configs/*.yaml"):
        config = yaml.safe_load(path.read_text())
        if "device" in config and "run" in config:
            assert config["initialize"][0] == {
                "_target_": "custom_components.engines.check_device", "device": "@device"
            }, path  # fmt: skip


@pytest.mark.parametrize("name", ["cuda:7", "mps", "gpu"])
@pytest.mark.parametrize("config", ["inference", "train"])
def test_a_device_that_is_not_there_is_said_in_one_line(sections, config, name):
    with pytest.raises(SystemExit, match=f"error: device '{name}' is not available here"):
        run(config_file=configs_of("semantic_similarity", config), pairs=str(sections), device=name)


def test_the_cpu_may_be_named_on_the_command_line(sections, tmp_path):
    run(
        config_file=configs_of("semantic_similarity", "inference"), pairs=str(sections), output_dir=str(tmp_path / "o"),
        device="cpu", report=False,
    )  # fmt: skip
    assert json.loads((tmp_path / "o/01/metrics.json").read_text())["status"] != "failed"


@pytest.mark.slow
def test_pictures_and_evaluations_work_on_the_device(device, sections):
    given = {"pairs": str(sections), "device": f"{NAME}:0"}
    run(config_file=configs_of("joint_saliency", "plot"), to=str(sections.parent / "saliency.png"), number=1, **given)
    assert (sections.parent / "saliency.png").exists()
    for kind, classes in (("autoencoder", {}), ("segmentation", {"classes": 3})):
        root = trained(sections, "semantic_similarity", f"train_{kind}", **FEATURES, **classes)
        run(
            config_file=configs_of("semantic_similarity", f"evaluate_{kind}"), channels=FEATURES["channels"], **given,
            weights=str(root / f"models/{kind}.pt"), output_dir=str(sections.parent / kind), **classes,
        )  # fmt: skip
        assert (sections.parent / kind / "metrics.csv").exists()

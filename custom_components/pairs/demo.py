"""A pair with a known answer from the real immunohistochemistry image inside scikit-image's wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage import color, data

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, compose, invert, sample, sample_at
from custom_components.fields.sampling import identity_grid
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.geojson import write_geojson
from custom_components.pairs.landmarks import write_points
from custom_components.pairs.table import Pair, read_pairs
from custom_components.pairs.writing import write_image

TABLE = """id,moving,fixed,moving_landmarks,fixed_landmarks,moving_annotations
demo,moving.png,fixed.png,moving_landmarks.csv,fixed_landmarks.csv,moving_annotations.geojson
"""
NOTE = """Demo pair: half real, half made.
fixed.png is a real immunohistochemistry image (scikit-image's data.immunohistochemistry(): colon, DAB and
haematoxylin). moving.png is made from it: only its haematoxylin, by colour deconvolution, turned by
{rotation} degrees and bent by a smooth random field (seed {seed}, largest shift {largest:.1f} pixels without the
rotation). The landmarks are a regular grid on the tissue, carried over by that known deformation; the
annotation is a circle carried over the same way. pairs.csv names all of them.
"""


def haematoxylin_only(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """RGB (H, W, 3) -> RGB of the haematoxylin alone (Ruifrok and Johnston's colour deconvolution)."""
    stains = color.rgb2hed(image)
    stains[..., 1:] = 0
    return np.asarray((color.hed2rgb(stains) * 255).round().clip(0, 255), dtype=np.uint8)


def smooth_field(shape: tuple[int, int], largest: float, smoothness: float, seed: int) -> torch.Tensor:
    """(1, 2, H, W) random field, Gaussian-smoothed, whose largest component is ``largest`` voxels."""
    noise = np.random.default_rng(seed).standard_normal((2, *shape))
    field = ndimage.gaussian_filter(noise, (0, smoothness, smoothness), mode="reflect")
    return torch.from_numpy(field / np.abs(field).max() * largest)[None]


def write_demo_pair(folder: str | Path, seed: int = 0, rotation: float = 25.0, largest: float = 12.0) -> Pair:
    """Write the pair, landmarks, an annotation, a table and a note that says what is real; returns the pair.

    Args:
        folder: made if absent.
        seed: of the smooth field.
        rotation: degrees.
        largest: pixels, of the smooth field.

    Raises:
        InputError: the folder holds something else than an earlier demo pair.
    """
    root = Path(folder)
    note = root / "README.txt"
    if root.exists() and any(root.iterdir()) and not (note.is_file() and note.read_text().startswith(NOTE[:40])):
        raise InputError(f"{root} holds no earlier demo pair and is not written over; choose another output_dir")
    root.mkdir(parents=True, exist_ok=True)
    real = data.immunohistochemistry()
    height, width = real.shape[:2]
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = (np.array([height, width]) - 1) / 2
    matrix = np.column_stack([turn, centre - turn @ centre])
    # moving grid -> real image: the moving image is read there
    truth = compose(
        affine_to_ddf(matrix, (height, width), torch.float64),
        smooth_field((height, width), largest, 60.0, seed),
    )
    rendering = torch.from_numpy(np.moveaxis(haematoxylin_only(real), -1, 0).astype(np.float64))[None]
    positions = identity_grid((height, width), dtype=torch.float64) + truth
    outside = ((positions < 0) | (positions > torch.tensor([height - 1, width - 1]).view(1, 2, 1, 1))).any(1)
    moving = sample(rendering, positions)
    moving[:, :, outside[0]] = 255.0  # glass
    write_image(root / "fixed.png", np.moveaxis(real, -1, 0))
    write_image(root / "moving.png", moving[0].round().clamp(0, 255).to(torch.uint8).numpy())

    inverse, residual = invert(truth, iterations=200, tolerance=1e-6)
    rows, columns = np.meshgrid(np.linspace(90, 420, 9), np.linspace(90, 420, 9), indexing="ij")
    fixed = torch.from_numpy(np.stack([rows.ravel(), columns.ravel()], axis=1))
    exact = sample_at(residual.expand(-1, 2, -1, -1), fixed).amax(dim=1) < 0.01
    fixed = fixed[exact]
    write_points(root / "fixed_landmarks.csv", fixed.numpy())
    write_points(root / "moving_landmarks.csv", (fixed + sample_at(inverse, fixed)).numpy())

    angles = np.linspace(0, 2 * np.pi, 49)
    circle = torch.from_numpy(np.stack([256 + 60 * np.sin(angles), 256 + 60 * np.cos(angles)], axis=1))
    ring = ((circle + sample_at(inverse, circle)).flip(1) + 0.5).tolist()  # QuPath begins at the outer corner
    feature = {
        "type": "Feature", "id": "demo-region", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "name": "region of the demo"},
    }  # fmt: skip
    write_geojson(root / "moving_annotations.geojson", {"type": "FeatureCollection", "features": [feature]})
    (root / "README.txt").write_text(NOTE.format(rotation=rotation, seed=seed, largest=largest))
    with atomic_path(root / "pairs.csv") as partial:
        partial.write_text(TABLE)
    return read_pairs(root / "pairs.csv")[0]

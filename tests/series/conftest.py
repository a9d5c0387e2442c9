"""Series whose truth is known: affine views of one real section, sizes odd and all different."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage import data

from custom_components.fields import apply_matrix
from custom_components.pairs import write_image, write_points

GLASS = 240
# a registration without matches that takes a fraction of a second
CONFIG = """
imports: ["$import torch"]
device: "$torch.device('cpu')"
channel: null
working_size: 320
micrometres_per_pixel: null
margin: 16
report: false
output_ext: null
least_size: 256
preprocessing: "%bundles/hybrid_matching/configs/inference.yaml::preprocessing"
inferer:
  _target_: custom_components.inferers.Chain
  steps:
    - _target_: custom_components.inferers.OpticalFlow
      least_size: "@least_size"
"""


def scene() -> np.ndarray:
    """(3, 320, 320) a real section on glass."""
    image = np.full((3, 320, 320), GLASS, np.uint8)
    image[:, 40:280, 40:280] = np.moveaxis(data.immunohistochemistry(), -1, 0)[:, 100:340, 100:340]
    return image


def view(degrees: float, shift: tuple[float, float]) -> np.ndarray:
    """(3, 3) pixels of a section -> pixels of the scene: a turn about its middle, then a shift."""
    angle, matrix = np.deg2rad(degrees), np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = np.full(2, 159.5)
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle + shift
    return matrix


@dataclass(frozen=True)
class Known:
    """A series on disk.

    Attributes:
        table: of its sections.
        config: that registers a pair in no time.
        views: (3, 3) pixels of each section -> pixels of the scene.
        marks: (N, 2) pixels of the scene.
    """

    table: Path
    config: Path
    views: dict[str, np.ndarray]
    marks: np.ndarray

    @property
    def root(self) -> Path:
        return self.table.parent

    def places(self, name: str) -> np.ndarray:
        """The landmarks in a section, pixels."""
        return apply_matrix(np.linalg.inv(self.views[name]), self.marks)

    def between(self, start: str, end: str, points: np.ndarray) -> np.ndarray:
        """Pixels of one section -> pixels of another."""
        return apply_matrix(np.linalg.inv(self.views[end]) @ self.views[start], points)


def write_series(root: Path, blank: str | None = None) -> Known:
    """Four sections a to d, each turned and shifted against the next, and one without tissue perhaps."""
    views = {"a": view(-2.5, (-3, 2)), "b": view(-1, (0, 0)), "c": view(1, (3, -2)), "d": view(2.5, (5, 1))}
    shapes = {"a": (311, 320), "b": (320, 313), "c": (317, 319), "d": (320, 309)}
    marks = np.stack(np.meshgrid(np.linspace(80, 240, 5), np.linspace(80, 240, 5), indexing="ij"), -1).reshape(-1, 2)
    known = Known(root / "sections.csv", root / "fast.yaml", views, marks)
    image, rows = scene(), []
    for name, matrix in views.items():
        places = apply_matrix(matrix, np.indices(shapes[name]).reshape(2, -1).T).T
        section = [map_coordinates(c.astype(float), places, order=1, cval=GLASS).reshape(shapes[name]) for c in image]
        write_image(root / f"{name}.png", np.stack(section).round().astype(np.uint8))
        write_points(root / f"{name}.csv", known.places(name))
        rows.append(f"{name},{name}.png,{name}.csv")
    if blank is not None:
        write_image(root / "blank.png", np.full((3, 300, 310), GLASS, np.uint8))
        rows.insert(["a", "b", "c", "d"].index(blank), "blank,blank.png,")
    # GeoJSON counts from the outer corner of the first pixel, landmarks from its centre
    corner = (known.places("d")[[0, 4, 24, 0]][:, ::-1] + 0.5).tolist()
    feature = {"type": "Feature", "id": "f", "properties": {"name": "x"},
               "geometry": {"type": "Polygon", "coordinates": [corner]}}  # fmt: skip
    (root / "d.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    lines = [f"{row},{'d.geojson' if row.startswith('d,') else ''}" for row in rows]
    known.table.write_text("\n".join(["id,image,landmarks,annotations", *lines]))
    known.config.write_text(CONFIG)
    return known


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The series with an empty section between b and c; not to be written into."""
    return write_series(tmp_path_factory.mktemp("known"), blank="c")


@pytest.fixture(autouse=True)
def _from_the_root(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)

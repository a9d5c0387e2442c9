"""Images of a folder by kind, in pages."""

from __future__ import annotations

import numpy as np
import pytest

from custom_components.pairs import slides, write_image
from custom_components.serving import RequestError, list_images


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "LARGE", 1000)
    for name, side in (("small.png", 8), ("small.tif", 16), ("large.tif", 40)):
        write_image(tmp_path / name, np.zeros((3, side, side), np.uint8))
    (tmp_path / "scan.svs").write_bytes(b"x" * 7)
    (tmp_path / "head.nii.gz").write_bytes(b"x")
    (tmp_path / "broken.tif").write_bytes(b"x")
    return [(file.name, file) for file in tmp_path.iterdir()]


def test_each_kind_is_told_apart(images):
    kinds = {image["id"]: image["kind"] for image in list_images(images)["images"]}
    assert kinds == {
        "small.png": "picture", "small.tif": "picture", "large.tif": "slide", "scan.svs": "slide",
        "head.nii.gz": "volume", "broken.tif": "picture",
    }  # fmt: skip
    assert list_images(images, "slide")["images"][1] == {"id": "scan.svs", "kind": "slide", "form": "svs", "bytes": 7}


def test_pages_follow_each_other(images):
    first = list_images(images, "picture", 0, 2)
    second = list_images(images, "picture", first["next"], 2)
    assert [image["id"] for image in (*first["images"], *second["images"])] == ["broken.tif", "small.png", "small.tif"]
    assert (first["total"], second["next"]) == (3, None)


@pytest.mark.parametrize("wrong", [{"kind": "film"}, {"start": -1}, {"limit": 0}, {"limit": 100_000}])
def test_no_other_kinds_or_pages(images, wrong):
    with pytest.raises(RequestError):
        list_images(images, **wrong)

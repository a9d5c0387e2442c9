"""Pairs with a known displacement and a known defect, to measure what damaged tissue costs a registration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from custom_components.common.arrays import SIDES
from custom_components.common.errors import InputError
from custom_components.datasets.writing import MAKER, write_table
from custom_components.fields import identity_grid, jacobian_determinant, sample
from custom_components.pairs import full_stem, read_image, select_pairs, write_image, write_points
from custom_components.pairs.marking import check_set_folder, mark_set
from custom_components.transforms.defects import KINDS, RandomDefect
from custom_components.transforms.grey import stain_independent_grey
from custom_components.transforms.known_pairs import bent
from custom_components.transforms.synthetic_warp import RandomField
from custom_components.transforms.working import shrink, working_scale

LEAST = 0.4  # of an area, what a warp must leave of it; near zero there are creases that nobody has seen
WARP, DEFECT, LANDMARKS = range(3)  # each its own stream of chance, so that a clean set has the same warps


def synthetic_pairs(
    pairs: str,
    to: str,
    status: str = "evaluation",
    kinds: str | Sequence[str] = KINDS,
    amplitude: float = 5.0,
    points: int = 100,
    images: int | None = None,
    seed: int = 0,
    working_size: int | None = None,
    size: Sequence[float] = (0.12, 0.3),
    grids: Sequence[int] = (6, 8, 12),
) -> str:
    """Every image of a pair table, bent by a known warp, and one of the two spoiled by a defect.

    The image is the moving one, in grey with its background black. Written are ``images/``, ``landmarks/`` (ANHIR's
    form), ``defects/ID.tif`` (255 where a defect of either image lies on the fixed grid) and ``pairs.csv`` with the
    columns ``defect``, ``kind`` and ``status`` beside the usual. Landmarks may lie in a defect.

    Args:
        pairs: the table; each of its files is taken once.
        to: folder, made if absent.
        status: of the table, only rows with this status; the new rows have it too.
        kinds: of ``RandomDefect``, one or several separated by commas, taken in turn, half of them in the moving image;
            "" gives a clean set with the same warps and landmarks.
        amplitude: voxels, mean length of a warp's displacements; less where such a warp would nearly fold.
        points: landmarks a pair, at most, on the content and preferably its edges.
        images: take so many of the images, evenly spread over the table; None takes all.
        seed: of warps, defects and landmarks; each pair also depends on its place in the set.
        working_size: pixels of an image's longer side, larger ones are shrunk to it; None keeps their size.
        size: range of the width of defects, see ``RandomDefect``.
        grids: of the warps, see ``RandomField``; with fewer points small images can be bent further.

    Returns:
        How many pairs there are.

    Raises:
        InputError: the table or an image is wrong, shows nothing, or has no two dimensions; a kind is unknown.
    """
    names = [name.strip() for name in (kinds.split(",") if isinstance(kinds, str) else kinds) if name.strip()]
    defects = [RandomDefect((name,), size) for name in names]
    table = select_pairs(pairs, status=status)
    files = list(dict.fromkeys(file for pair in table for file in (pair.moving, pair.fixed)))
    if images is not None:
        if images < 1:
            raise InputError(f"images is how many to take, at least 1, got {images}")
        chosen = np.linspace(0, len(files) - 1, min(images, len(files))).round().astype(int)
        files = [files[index] for index in chosen]
    folder = Path(to)
    check_set_folder(folder, ("images", "landmarks", "defects", "pairs.csv"), MAKER)
    mark_set(folder, MAKER)
    for kind in ("images", "landmarks", *(("defects",) if defects else ())):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    rows = []
    for index, file in enumerate(files):
        grey = _grey(file, working_size)
        ddf = _warp((grey.shape[2], grey.shape[3]), amplitude, grids, np.random.RandomState([seed, index, WARP]))
        fixed, valid = bent(grey, ddf)
        name = f"{index:03d}_{full_stem(file)}"
        row = {"id": name}
        found = _landmarks(fixed, valid, points, np.random.RandomState([seed, index, LANDMARKS]))
        if not len(found):
            raise InputError(f"image {file} shows nothing that landmarks could lie on; leave its rows out of {pairs}")
        shift = ddf[0, :, found[:, 0], found[:, 1]].T.double().numpy()
        pair, spots = {"moving": grey, "fixed": fixed}, {"moving": found + shift, "fixed": found.astype(np.float64)}
        row |= {side: f"images/{name}_{side}.tif" for side in SIDES}
        row |= {f"{side}_landmarks": f"landmarks/{name}_{side}.csv" for side in SIDES}
        row |= {"defect": "", "kind": ""}
        if defects:
            defect = defects[index % len(defects)]
            defect.set_random_state(state=np.random.RandomState([seed, index, DEFECT]))
            side = SIDES[(index + index // len(defects)) % 2]  # so that every kind comes in both
            pair[side], mask, kind = defect(pair[side])
            row |= {"defect": f"defects/{name}.tif", "kind": kind}
            mask = footprint(mask, ddf) if side == "moving" else mask
            write_image(folder / row["defect"], _bytes(mask))
        for side in SIDES:
            write_image(folder / row[side], _bytes(pair[side]))
            write_points(folder / row[f"{side}_landmarks"], spots[side])
        rows.append(row | {"status": status})
    return write_table(rows, folder / "pairs.csv")


def footprint(mask: Tensor, ddf: Tensor) -> Tensor:
    """(1, 1, H, W) 0 or 1, where the warped moving image takes anything from ``mask``.

    Args:
        mask: (1, 1, H, W) on the moving grid.
        ddf: (1, 2, H, W), voxels, fixed -> moving.
    """
    return (sample(mask, identity_grid(mask.shape[2:])[None] + ddf, "zeros") > 1e-6).float()


def _grey(file: Path, working_size: int | None) -> Tensor:
    """(1, 1, H, W) in [0, 1], what stands out from the background bright."""
    image = read_image(file)
    if image.ndim != 3:
        raise InputError(f"{file}: {image.ndim - 1}-D image; known warps are made of 2-D images")
    grey = torch.from_numpy(stain_independent_grey(image.numpy(), clip_limit=0))[None]
    if working_size is not None:
        scale = working_scale([(grey.shape[1], grey.shape[2])], [None], working_size, None)[0]
        grey = shrink(grey, scale)
    return grey[None]


def _warp(shape: tuple[int, int], amplitude: float, grids: Sequence[int], rng: np.random.RandomState) -> Tensor:
    """(1, 2, H, W) voxels, that nowhere shrinks areas below ``LEAST``."""
    field = RandomField(grids=grids)
    field.set_random_state(state=rng)
    ddf = field(max(shape))[:, :, : shape[0], : shape[1]]
    # the drawn size varies from nothing on; a measurement needs warps of one size
    ddf = ddf * (amplitude / max(float(ddf.norm(dim=1).mean()), 1e-6))
    while float(jacobian_determinant(ddf).min()) < LEAST:
        ddf = 0.9 * ddf
    return ddf


def _landmarks(fixed: Tensor, valid: Tensor, count: int, rng: np.random.RandomState) -> npt.NDArray[np.int64]:
    """(N, 2) row, col of different voxels where ``valid`` is 1, edges first."""
    slope = torch.stack(torch.gradient(fixed[0, 0])).norm(dim=0).numpy()
    places = np.argwhere(valid[0, 0].numpy() > 0)
    steep = slope[places[:, 0], places[:, 1]]
    order = rng.permutation(len(places))
    edge = steep[order] > np.median(steep) if len(places) else np.zeros(0, dtype=bool)
    return np.concatenate([places[order[edge]], places[order[~edge]]])[:count]


def _bytes(image: Tensor) -> npt.NDArray[np.uint8]:
    """(1, H, W)."""
    return (image[0] * 255).round().byte().numpy()

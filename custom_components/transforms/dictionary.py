"""The preparation of a pair as MONAI dictionary transforms; every image is a MetaTensor (C, *spatial), rows first.

Keys: ``pair`` holds the ``Pair``; ``moving`` and ``fixed`` the images as read; ``working_moving`` and ``working_fixed``
the grey working images (1, *spatial), 0..1; ``mask_moving`` and ``mask_fixed`` the tissue on the same grids;
``labels_moving`` and ``labels_fixed`` their classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from scipy.ndimage import affine_transform, gaussian_filter

from custom_components.common.arrays import SIDES
from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.pairs import (
    Pair,
    check_pair,
    file_pixel_size,
    is_large,
    open_slide,
    read_image,
)
from custom_components.pairs.channels import as_matched
from custom_components.pairs.kinds import kind_warning
from custom_components.pairs.reading import Reading
from custom_components.pairs.volume_points import read_volume_points
from custom_components.transforms.background import without_fill
from custom_components.transforms.grey import stain_independent_grey, tissue_mask, to_luminance
from custom_components.transforms.working import as_float, common_shape, pad_to, shrink, to_tensor, working_scale

Data = dict[Hashable, Any]
SQUARE = 0.02  # relative difference of a pixel's sides that counts as none
SHOWN = 1800  # pixels of a slide's longest side, for the pictures of the report


class ReadPaird(Transform):
    """Read both images of ``data["pair"]`` into ``moving`` and ``fixed``.

    The physical unit is the pixel of the file, the micrometre when both files state their pixel size, or the millimetre
    where both have medical formats, which count in it.

    Args:
        channel: of multi-channel images, match on this one, by name or number; a pair's own goes first. None takes that
            of the nuclei where the file names it, else the mean of all. Colours are no channels.
        volumes: also take a pair of 3-D images, with landmarks; annotations have two dimensions.
        working_size: of the longest side; of large slides no more is read than this needs, but at least ``SHOWN``.
        micrometres_per_pixel: the same in place of ``working_size``. None of both reads every image whole.
        trained_on: kind of image that the method's weights were trained on, see ``pairs.kinds``; images that are
            plainly of another get a note. None has none.
    """

    def __init__(
        self,
        channel: str | int | None = None,
        volumes: bool = False,
        working_size: int | None = None,
        micrometres_per_pixel: float | None = None,
        trained_on: str | None = None,
    ) -> None:
        self.trained_on = trained_on
        self.channel = channel
        self.volumes = volumes
        self.working_size = working_size
        self.micrometres_per_pixel = micrometres_per_pixel

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Add ``moving``, ``fixed``, ``unit`` and ``notes``: what a user should know of how the images were read."""
        pair: Pair = data["pair"]
        check_pair(pair)
        images = {side: self._read(getattr(pair, side), getattr(pair, f"{side}_reading")) for side in SIDES}
        for side, image in images.items():
            if image.ndim != 3 and not self.volumes:
                raise InputError(f"{getattr(pair, side)}: {image.ndim - 1}-D image; this bundle registers 2-D sections")
        if len({image.ndim for image in images.values()}) > 1:
            raise InputError(f"{pair.moving} and {pair.fixed} have different numbers of dimensions")
        if images["fixed"].ndim == 4:
            self._check_attached(pair)
        metric = all(image.meta["pixel_size"] is not None for image in images.values())
        medical = all(image.meta["file_grid"].unit == "millimetre" for image in images.values())
        unit = "millimetre" if medical else "micrometre" if metric else "pixel"
        notes = [f"{side}: {note}" for side, image in images.items() for note in image.meta.get("notes", ())]
        measured = {side: _measured(image, unit) for side, image in images.items()}
        if self.trained_on is not None:
            told = {kind_warning(image, f"the {side} image", self.trained_on) for side, image in measured.items()}
            notes += sorted(told - {""})
        return dict(data) | measured | {"unit": unit, "notes": tuple(notes)}

    def _read(self, file: Path, reading: Reading) -> MetaTensor:
        if reading.channel is None:
            reading = replace(reading, channel=self.channel)
        longest: float | None = self.working_size
        if self.micrometres_per_pixel is not None and is_large(file, reading):
            with open_slide(file, reading) as slide:
                # without a pixel size WorkingSized says what is wrong
                size = max(slide.pixel_size or (self.micrometres_per_pixel,) * 2)
                longest = max(slide.levels[0]) * size / self.micrometres_per_pixel
        return read_image(file, longest=longest and max(longest, SHOWN), reading=reading)

    @staticmethod
    def _check_attached(pair: Pair) -> None:
        for file in (pair.moving_annotations, pair.fixed_annotations):
            if file is not None:
                raise InputError(f"{file}: annotations are of sections; volumes have landmarks and label maps")
        for file in (pair.moving_landmarks, pair.fixed_landmarks):
            if file is not None:
                read_volume_points(file, pair.point_space)


def _measured(image: MetaTensor, unit: str) -> MetaTensor:
    """The image with its grids in ``unit``, which is of both images of a pair."""
    grids = {name: image.meta[name] for name in ("file_grid", "read_grid")}
    if unit != grids["file_grid"].unit:
        size = file_pixel_size(image) if unit == "micrometre" else None
        # physical coordinates are x, y[, z]
        grids = {name: grid.in_unit(unit, 1.0 if size is None else size[::-1]) for name, grid in grids.items()}
    return Grid.on(grids["read_grid"], image, {**image.meta, **grids})


class StainGreyd(MapTransform):
    """Stain-independent grey of ``keys`` into ``working_<key>``, tissue mask into ``mask_<key>``.

    Args:
        keys: images (C, H, W).
        clip_limit: see ``stain_independent_grey``.
        tiles: see ``stain_independent_grey``.
    """

    def __init__(self, keys: KeysCollection, clip_limit: float = 2.0, tiles: int = 8) -> None:
        super().__init__(keys)
        self.clip_limit = clip_limit
        self.tiles = tiles

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Expect the images already at working size in ``working_<key>``, colour and all."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[f"working_{key}"]
            array, note = without_fill(image.numpy(), to_luminance(image.numpy()))
            if note:
                result["notes"] = (*result.get("notes", ()), f"{key}: {note}")
            mask = tissue_mask(array, name=str(image.meta.get("filename", key)))
            grey = stain_independent_grey(array, self.clip_limit, self.tiles)
            grid = Grid.of(image)
            result[f"working_{key}"] = grid.on(to_tensor(grey), image.meta)
            result[f"mask_{key}"] = grid.on(to_tensor(mask), image.meta)
        return result


class GreyScaled(MapTransform):
    """Grey of any modality: luminance, scaled by percentiles, into ``working_<key>``; all voxels into ``mask_<key>``.

    Args:
        keys: images (C, *spatial).
        low: per cent of the voxels that become 0.
        high: per cent above which all become 1.
        background_value: grey value of the file that is background, such as 0 around a skull-stripped brain; these
            voxels are not
            in the mask and percentiles are taken without them. None takes all voxels.
    """

    def __init__(
        self, keys: KeysCollection, low: float = 0.5, high: float = 99.5, background_value: float | None = None
    ) -> None:
        super().__init__(keys)
        self.low = low
        self.high = high
        self.background_value = background_value

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Expect the images already at working size in ``working_<key>``.

        Raises:
            InputError: an image has no contrast, or is background alone.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[f"working_{key}"]
            grey = to_luminance(image.numpy())
            mask = np.ones_like(grey, dtype=bool) if self.background_value is None else grey != self.background_value
            values = grey[mask]
            bottom, top = np.percentile(values, (self.low, self.high)) if len(values) else (0.0, 0.0)
            if top <= bottom:
                raise InputError(f"{image.meta.get('filename', key)}: the image has no contrast")
            scaled = np.clip((grey - bottom) / (top - bottom), 0, 1) * mask
            grid = Grid.of(image)
            result[f"working_{key}"] = grid.on(to_tensor(scaled), image.meta)
            result[f"mask_{key}"] = grid.on(to_tensor(mask), image.meta)
        return result


class OntoFixedd(Transform):
    """Resample the moving working image and its mask onto the fixed one's grid, through physical space.

    For methods that take two images on one grid: what the headers say of orientation, spacing, obliqueness and field of
    view is then done before they start; both keep what lies in their common field of view alone. Files that don't state
    where they lie are left as they are.

    Args:
        least_overlap: share of the smaller field of view that must lie in the other.
    """

    def __init__(self, least_overlap: float = 0.25) -> None:
        self.least_overlap = least_overlap

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Expect ``working_<side>`` and ``mask_<side>`` of both.

        Raises:
            InputError: the fields of view lie apart.
        """
        result = dict(data)
        moving, fixed = (Grid.of(result[f"working_{side}"]) for side in SIDES)
        if moving.same_space(fixed) or not (moving.known and fixed.known):
            return result
        overlap = max(moving.overlap(fixed), fixed.overlap(moving))
        if overlap < self.least_overlap:
            names = " and ".join(str(result[f"working_{side}"].meta.get("filename", side)) for side in SIDES)
            apart = float(np.linalg.norm(moving.corners.mean(axis=0) - fixed.corners.mean(axis=0)))
            raise InputError(
                f"{names} lie apart by their headers: only {overlap:.0%} of the smaller field of view is in the other, "
                f"the centres are {apart:.0f} mm from each other. If they do show the same, align their headers first"
            )
        seen = resampled(np.ones_like(result["mask_moving"].numpy()), moving, fixed) > 0.999
        for name in ("working_moving", "mask_moving"):
            result[name] = fixed.on(resampled(result[name].numpy(), moving, fixed) * seen, result[name].meta)
        # where the moving image ends a network would pull in tissue from afar; shown neither, it moves nothing there
        for name in ("working_fixed", "mask_fixed"):
            result[name] = fixed.on(result[name].numpy() * seen, result[name].meta)
        return result


def resampled(image: np.ndarray[Any, Any], grid: Grid, onto: Grid) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(C, *spatial) from one grid onto another, linear, zero outside, free of aliasing where the other is coarser."""
    step = onto.to(grid)
    # voxels of the image that a voxel of the other grid is wide, along each axis of the image
    widths = np.abs(step[:-1, :-1]).max(axis=1)
    sigma = np.where(widths > 1.05, np.sqrt(np.maximum(widths**2 - 1, 0)) / 2, 0)
    parts = [
        affine_transform(gaussian_filter(part, sigma), step, output_shape=onto.shape, order=1, output=np.float32)
        for part in image.astype(np.float32)
    ]
    return np.stack(parts)


class WorkingSized(MapTransform):
    """Shrink ``keys`` together to the working resolution, into ``working_<key>``; pixels of sections become square.

    Args:
        keys: images (C, H, W) of one pair.
        working_size: see ``working_scale``.
        micrometres_per_pixel: see ``working_scale``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        working_size: int | None = 1024,
        micrometres_per_pixel: float | None = None,
    ) -> None:
        super().__init__(keys)
        self.working_size = working_size if micrometres_per_pixel is None else None
        self.micrometres_per_pixel = micrometres_per_pixel

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Add the shrunk images."""
        result = dict(data)
        images = [result[key] for key in self.key_iterator(result)]
        # of the files: slides may have been read at levels that differ
        shapes = [image.meta["file_grid"].shape for image in images]
        sizes = [file_pixel_size(image) for image in images]
        scales = working_scale(shapes, sizes, self.working_size, self.micrometres_per_pixel)
        squares = [_squaring(image) for image in images]
        if all(size is not None for size in sizes) and min(square.min() for square in squares) < 1:
            # squaring makes one image coarser, and two of different coarseness would not be found to agree
            coarse = [max(size) / scale for size, scale in zip(sizes, scales, strict=True) if size is not None]
            scales = [scale * step / max(coarse) for scale, step in zip(scales, coarse, strict=True)]
        for key, image, scale, square in zip(self.key_iterator(result), images, scales, squares, strict=True):
            grid, file = Grid.of(image), image.meta["file_grid"]
            # by the volume of a pixel: rotations and crops that a config puts before this don't change it
            read = float(np.prod(grid.spacing / file.spacing)) ** (1 / len(grid.shape))
            factors = min(1.0, scale * read) * square
            matched = torch.from_numpy(as_matched(image.numpy(), image.meta["layout"], image.meta["channel"]))
            result[f"working_{key}"] = grid.shrunk(factors).on(shrink(as_float(matched), factors), image.meta)
        return result


def _squaring(image: MetaTensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(D,) factors <= 1 that make the pixels of a section square: a rotation of other pixels would be no rotation."""
    grid, size = Grid.of(image), image.meta["pixel_size"]
    if len(grid.shape) == 2 and size is not None:
        # where the unit is the pixel, its sides are still known
        stretch = np.array(size) / image.meta["read_grid"].spacing
        grid = grid.in_unit(grid.unit, stretch[::-1])
    sides = grid.spacing / grid.spacing.max()
    return sides if len(sides) == 2 and sides.min() < 1 - SQUARE else np.ones(len(sides))


class CommonPadd(MapTransform):
    """Pad ``working_<key>`` and ``mask_<key>`` of ``keys`` to one size, each centred, zeros around.

    Args:
        keys: names of the images.
        margin: see ``common_shape``.
        multiple: see ``common_shape``.
    """

    def __init__(self, keys: KeysCollection, margin: int = 16, multiple: int = 32) -> None:
        super().__init__(keys)
        self.margin = margin
        self.multiple = multiple

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Replace the images by the padded ones."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        shape = common_shape([tuple(result[f"working_{k}"].shape[1:]) for k in keys], self.margin, self.multiple)
        for key in keys:
            for name in (f"working_{key}", f"mask_{key}"):
                image = result[name]
                result[name] = Grid.of(image).padded(shape).on(pad_to(as_float(image), shape), image.meta)
        return result

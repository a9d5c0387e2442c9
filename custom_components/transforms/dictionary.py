"""The preparation of a pair as MONAI dictionary transforms; every image is a MetaTensor (C, *spatial), rows first.

Keys: ``pair`` holds the ``Pair``; ``moving`` and ``fixed`` the images as read; ``working_moving`` and ``working_fixed``
the grey working images (1, *spatial), 0..1; ``mask_moving`` and ``mask_fixed`` the tissue on the same grids;
``labels_moving`` and ``labels_fixed`` their classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from scipy.ndimage import affine_transform

from custom_components.errors import InputError
from custom_components.fields import index_to_physical
from custom_components.pairs import Pair, check_pair, file_pixel_size, is_large, open_slide, read_image, suffix_of
from custom_components.pairs.formats import MEDICAL
from custom_components.transforms.grey import stain_independent_grey, tissue_mask, to_luminance
from custom_components.transforms.working import as_float, common_shape, pad_to, shrink, working_scale

Data = dict[Hashable, Any]
SIDES = ("moving", "fixed")
SHOWN = 1800  # pixels of a slide's longest side, for the pictures of the report


class ReadPaird(Transform):
    """Read both images of ``data["pair"]`` into ``moving`` and ``fixed``.

    The physical unit is the pixel of the file, the micrometre when both files state their pixel size, or the millimetre
    where both have medical formats, which count in it.

    Args:
        channel: take this channel alone (multi-channel fluorescence); None takes all.
        volumes: also take a pair of 3-D images; landmarks and annotations have two dimensions.
        working_size: of the longest side; of large slides no more is read than this needs, but at least ``SHOWN``.
        micrometres_per_pixel: the same in place of ``working_size``. None of both reads every image whole.
    """

    def __init__(
        self,
        channel: int | None = None,
        volumes: bool = False,
        working_size: int | None = None,
        micrometres_per_pixel: float | None = None,
    ) -> None:
        self.channel = channel
        self.volumes = volumes
        self.working_size = working_size
        self.micrometres_per_pixel = micrometres_per_pixel

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Add ``moving``, ``fixed`` and ``unit``."""
        pair: Pair = data["pair"]
        check_pair(pair)
        images = {side: self._read(getattr(pair, side)) for side in SIDES}
        for side, image in images.items():
            if image.ndim != 3 and not self.volumes:
                raise InputError(f"{getattr(pair, side)}: {image.ndim - 1}-D image; this bundle registers 2-D sections")
        if len({image.ndim for image in images.values()}) > 1:
            raise InputError(f"{pair.moving} and {pair.fixed} have different numbers of dimensions")
        if images["fixed"].ndim == 4:
            self._check_attached(pair)
        metric = all(image.meta["pixel_size"] is not None for image in images.values())
        if metric:
            for image in images.values():
                rows, columns = file_pixel_size(image) or (1.0, 1.0)
                to_file = np.linalg.inv(image.meta["file_to_physical"]) @ image.meta["index_to_physical"]
                image.meta["file_to_physical"] = index_to_physical((columns, rows))
                image.meta["index_to_physical"] = image.meta["file_to_physical"] @ to_file
        medical = all(suffix_of(getattr(pair, side)) in MEDICAL for side in SIDES)
        unit = "millimetre" if medical else "micrometre" if metric else "pixel"
        return dict(data) | images | {"unit": unit}

    def _read(self, file: Path) -> MetaTensor:
        longest: float | None = self.working_size
        if self.micrometres_per_pixel is not None and is_large(file):
            with open_slide(file) as slide:
                # without a pixel size WorkingSized says what is wrong
                size = max(slide.pixel_size or (self.micrometres_per_pixel,) * 2)
                longest = max(slide.levels[0]) * size / self.micrometres_per_pixel
        return read_image(file, channel=self.channel, longest=longest and max(longest, SHOWN))

    @staticmethod
    def _check_attached(pair: Pair) -> None:
        for file in (pair.moving_landmarks, pair.fixed_landmarks, pair.moving_annotations):
            if file is not None:
                raise InputError(f"{file}: landmarks and annotations of volumes can't be carried, only label maps")


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
            array = image.numpy()
            mask = tissue_mask(array, name=str(image.meta.get("filename", key)))
            grey = stain_independent_grey(array, self.clip_limit, self.tiles)
            result[f"working_{key}"] = MetaTensor(as_float(_tensor(grey)), meta=image.meta)
            result[f"mask_{key}"] = MetaTensor(as_float(_tensor(mask)), meta=image.meta)
        return result


class GreyScaled(MapTransform):
    """Grey of any modality: luminance, scaled by percentiles, into ``working_<key>``; all voxels into ``mask_<key>``.

    Args:
        keys: images (C, *spatial).
        low: per cent of the voxels that become 0.
        high: per cent above which all become 1.
        black: grey value of the file that is background, such as 0 around a skull-stripped brain; these voxels are not
            in the mask and percentiles are taken without them. None takes all voxels.
    """

    def __init__(self, keys: KeysCollection, low: float = 0.5, high: float = 99.5, black: float | None = None) -> None:
        super().__init__(keys)
        self.low = low
        self.high = high
        self.black = black

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Expect the images already at working size in ``working_<key>``.

        Raises:
            InputError: an image has no contrast, or is background alone.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[f"working_{key}"]
            grey = to_luminance(image.numpy())
            mask = np.ones_like(grey, dtype=bool) if self.black is None else grey != self.black
            values = grey[mask]
            bottom, top = np.percentile(values, (self.low, self.high)) if len(values) else (0.0, 0.0)
            if top <= bottom:
                raise InputError(f"{image.meta.get('filename', key)}: the image has no contrast")
            scaled = np.clip((grey - bottom) / (top - bottom), 0, 1) * mask
            result[f"working_{key}"] = MetaTensor(as_float(_tensor(scaled)), meta=image.meta)
            result[f"mask_{key}"] = MetaTensor(as_float(_tensor(mask)), meta=image.meta)
        return result


class ReadLabels(MapTransform):
    """Read the pair's label maps onto the working grids, into ``labels_<key>`` (1, *spatial), nearest label.

    Args:
        keys: names of the images; a pair without a label map is left as it is.
        values: labels of the file in the order of the classes, the first for background; others become background.
            None keeps the labels.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int] | None = None) -> None:
        super().__init__(keys)
        self.values = None if values is None else tuple(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Expect ``pair`` and, on its final grid, ``working_<key>``.

        Raises:
            InputError: a label map is wrong, or lies on another grid than its image.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            file = getattr(result["pair"], f"{key}_labels")
            if file is None:
                continue
            labels, image = read_image(file), result[key]
            if labels.shape[1:] != image.shape[1:]:
                sizes = f"{tuple(labels.shape[1:])} and {tuple(image.shape[1:])}"
                raise InputError(f"labels {file} and their image have different sizes: {sizes}")
            found = labels[0].numpy()
            if self.values is not None:
                found = sum(index * (found == value) for index, value in enumerate(self.values))
            working = result[f"working_{key}"]
            step = np.linalg.inv(image.meta["index_to_physical"]) @ working.meta["index_to_physical"]
            onto = affine_transform(found, step, output_shape=tuple(working.shape[1:]), order=0, output=np.float32)
            result[f"labels_{key}"] = MetaTensor(as_float(_tensor(onto)), meta=working.meta)
        return result


class WorkingSized(MapTransform):
    """Shrink ``keys`` together to the working resolution, into ``working_<key>``.

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
        shapes = [tuple(image.meta["file_shape"]) for image in images]
        sizes = [file_pixel_size(image) for image in images]
        scales = working_scale(shapes, sizes, self.working_size, self.micrometres_per_pixel)
        for key, image, shape, scale in zip(self.key_iterator(result), images, shapes, scales, strict=True):
            left = min(1.0, scale * max(shape) / max(image.shape[1:]))
            small, matrix = shrink(as_float(image), image.meta["index_to_physical"], left)
            result[f"working_{key}"] = MetaTensor(small, meta={**image.meta, "index_to_physical": matrix})
        return result


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
                padded, matrix = pad_to(as_float(image), image.meta["index_to_physical"], shape)
                result[name] = MetaTensor(padded, meta={**image.meta, "index_to_physical": matrix})
        return result


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    return MetaTensor(np.ascontiguousarray(array[None], dtype=np.float32))

"""The preparation of a pair as MONAI dictionary transforms; every image is a MetaTensor (C, H, W), rows first.

Keys: ``pair`` holds the ``Pair``; ``moving`` and ``fixed`` the images as read; ``working_moving`` and ``working_fixed``
the grey working images (1, H, W), 0..1; ``mask_moving`` and ``mask_fixed`` the tissue on the same grids.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from custom_components.errors import InputError
from custom_components.fields import index_to_physical
from custom_components.pairs import Pair, check_pair, read_image
from custom_components.transforms.grey import stain_independent_grey, tissue_mask
from custom_components.transforms.working import as_float, common_shape, pad_to, shrink, working_scale

Data = dict[Hashable, Any]
SIDES = ("moving", "fixed")


class ReadPaird(Transform):
    """Read both images of ``data["pair"]`` into ``moving`` and ``fixed``.

    The physical unit is the pixel of the file, or the micrometre when both files state their pixel size.

    Args:
        channel: take this channel alone (multi-channel fluorescence); None takes all.
    """

    def __init__(self, channel: int | None = None) -> None:
        self.channel = channel

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Add ``moving``, ``fixed`` and ``unit``."""
        pair: Pair = data["pair"]
        check_pair(pair)
        images = {side: read_image(getattr(pair, side), channel=self.channel) for side in SIDES}
        for side, image in images.items():
            if image.ndim != 3:
                raise InputError(f"{getattr(pair, side)}: {image.ndim - 1}-D image; this bundle registers 2-D sections")
        metric = all(image.meta["pixel_size"] is not None for image in images.values())
        if metric:
            for image in images.values():
                rows, columns = image.meta["pixel_size"]
                image.meta["index_to_physical"] = index_to_physical((columns, rows))
        unit = "micrometre" if metric else "pixel"
        return dict(data) | images | {"unit": unit}


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
        scales = working_scale(
            [tuple(image.shape[1:]) for image in images],
            [image.meta["pixel_size"] for image in images],
            self.working_size,
            self.micrometres_per_pixel,
        )
        for key, image, scale in zip(self.key_iterator(result), images, scales, strict=True):
            small, matrix = shrink(as_float(image), image.meta["index_to_physical"], scale)
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

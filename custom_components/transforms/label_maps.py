"""Label maps and masks of a pair, brought onto the working grids as MONAI dictionary transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import affine_transform

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.pairs import read_labels
from custom_components.transforms.working import as_float, to_tensor

Data = dict[Hashable, Any]


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
            InputError: a label map is wrong, or does not belong to its image, see ``read_labels``.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            file = getattr(result["pair"], f"{key}_labels")
            if file is None:
                continue
            labels, grid = read_labels(file, result[key].meta["file_grid"])
            found = labels[0]
            if self.values is not None:
                found = sum(index * (found == value) for index, value in enumerate(self.values))
            result[f"labels_{key}"] = _onto_working(found, grid, result[f"working_{key}"])
        return result


def _onto_working(labels: np.ndarray[Any, Any], grid: Grid, working: MetaTensor) -> MetaTensor:
    """(1, *spatial) labels of a file by the nearest pixel on the working image's grid; 0 beyond them."""
    target = Grid.of(working)
    onto = affine_transform(labels, target.to(grid), output_shape=target.shape, order=0, output=np.float32)
    return target.on(to_tensor(onto), working.meta)


class GivenMaskd(MapTransform):
    """Nothing outside of a pair's own masks (label maps, 0 outside) takes part: neither matches nor similarity.

    ``<key>_mask`` of the pair, where it has one, cuts ``mask_<key>`` and ``working_<key>``.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Zero what lies outside.

        Raises:
            InputError: a mask can't be read, has another size than its image, or leaves nothing of it.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            file = getattr(result["pair"], f"{key}_mask")
            if file is None:
                continue
            given, grid = read_labels(file, result[key].meta["file_grid"])
            onto = _onto_working(given[0] > 0, grid, result[f"working_{key}"])
            if not bool((onto * result[f"mask_{key}"]).any()):
                raise InputError(f"{file}: the mask leaves nothing of the tissue; it is to be 0 where nothing counts")
            for name in (f"working_{key}", f"mask_{key}"):
                image = result[name]
                result[name] = Grid.of(image).on(as_float(image) * as_float(onto), image.meta)
        return result

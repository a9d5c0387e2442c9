"""What the parts of a global-to-local network do, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from torch import Tensor

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.experiments.figures import picture_rows
from custom_components.fields import warp
from custom_components.networks import GlobalToLocal
from custom_components.pairs import atomic_path, select_pairs
from custom_components.pairs.overwriting import check_output_file

TITLES = ("moving", "fixed", "coarse", "joint saliency", "refined", "difference before", "coarse", "refined")
Picture = npt.NDArray[np.float32]


class SaliencyPictures:
    """A row of pictures a pair: images, the moving one after each stage, joint saliency, and the differences left.

    Args:
        pairs: pair table of 2-D images.
        network: with joint saliency.
        preprocessing: from ``{"pair": Pair}`` to the keys of ``transforms.dictionary``.
        to: the PNG to write.
        status: of the table, only rows with this status.
        ids: of the pairs, a list or divided by commas; None takes the first ``number``.
        number: see ``ids``.
        device: of the network.
        overwrite: replace the PNG where it is there already.

    Raises:
        InputError: the network has no joint saliency.
    """

    def __init__(
        self,
        pairs: str,
        network: torch.nn.Module,
        preprocessing: Callable[[dict[Any, Any]], Mapping[Any, Any]],
        to: str,
        status: str | None = None,
        ids: Sequence[str] | str | None = None,
        number: int = 4,
        device: str | torch.device = "cpu",
        overwrite: bool | str = False,
    ) -> None:
        if not isinstance(network, GlobalToLocal) or not network.salient:
            raise InputError("pictures of joint saliency need a network with it: stages forward or backward")
        self.pairs = pairs
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocessing = preprocessing
        self.to = Path(to)
        self.status = status
        names = ids.split(",") if isinstance(ids, str) else ids
        self.ids = None if names is None else [str(name).strip() for name in names]
        self.number = number
        self.overwrite = booleans.parse_bool(overwrite, "overwrite")

    @torch.no_grad()
    def run(self) -> Path:
        """Write the picture.

        Raises:
            InputError: a pair is wrong, none has one of the ids, or the file is there already.
        """
        chosen = select_pairs(self.pairs, status=self.status)
        read = [file for pair in chosen for file in (pair.moving, pair.fixed)]
        check_output_file(self.to, (self.pairs, *read), self.overwrite)
        known = {pair.id: pair for pair in chosen}
        absent = [name for name in self.ids or () if name not in known]
        if absent:
            raise InputError(f"{self.pairs} has no pair '{absent[0]}'")
        shown = chosen[: self.number] if self.ids is None else [known[name] for name in self.ids]
        rows = []
        for pair in shown:
            images = to_pair_images(dict(self.preprocessing({"pair": pair})), self.device)
            refined, coarse, joint = self.network.stages(torch.cat([images.moving, images.fixed], dim=1))
            warped = [warp(images.moving, ddf, padding_mode="border") for ddf in (coarse, refined)]
            left = [(image - images.fixed).abs() for image in (images.moving, *warped)]
            greys = [_grey(image) for image in (images.moving, images.fixed, warped[0])]
            rows.append([*greys, _glowing(joint), _grey(warped[1]), *(_grey(image) for image in left)])
        figure = picture_rows(rows, [TITLES, *[[""] * len(TITLES)] * (len(rows) - 1)])
        self.to.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.to) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
        print(f"{self.to}: {len(rows)} pairs")
        return self.to


def _grey(image: Tensor) -> Picture:
    """(1, 1, H, W) in 0..1 -> (H, W, 3), so that all pictures have one scale."""
    return np.repeat(image[0, 0].clamp(0, 1).cpu().numpy()[..., None], 3, axis=2).astype(np.float32)


def _glowing(image: Tensor) -> Picture:
    """(1, 1, H, W) -> (H, W, 3), black at 0 and white at the greatest value."""
    values = (image[0, 0] / image.amax().clamp(min=1e-6)).sqrt().cpu().numpy()  # the root: small values show too
    return np.asarray(colormaps["inferno"](values)[..., :3], dtype=np.float32)

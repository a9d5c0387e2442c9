"""Windows of two registered slides, registered once more at higher resolution.

A window of the fixed slide and the part of the moving slide that the field so far brings there are read at the wanted
level, only the tiles that they need; further steps register the two, and the windows' fields, fading into each other,
are composed with the field so far. A window that gets less similar by it, or whose tissue can't be matched, stays as
it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import Grid, compose, displacement_image, nonrigid_part, sample, warp
from custom_components.inferers.flow_refinement import local_similarity
from custom_components.inferers.patches import Patch, plan_patches
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages, PairOrigin, Step
from custom_components.refinement.slide_windows import SlideWindows
from custom_components.refinement.windows import BlendedField, Box, parse_box, read_boxes, wanted
from custom_components.slides.native import open_image

FINER = 2  # how many times as many pixels a side as the working image has, where no level is asked for


@dataclass(frozen=True)
class Windows:
    """What the windows of one pair are read from.

    Attributes:
        fixed: grey of the fixed slide.
        moving: grey of the moving slide, carried over by the field so far.
        fixed_mask: (1, 1, H, W) tissue on the working grid.
        moving_mask: the same of the moving slide, carried over.
        to_working: (3, 3) from a window grid's pixels to working voxels.
        size: pixels of a window.
    """

    fixed: SlideWindows
    moving: SlideWindows
    fixed_mask: Tensor
    moving_mask: Tensor
    to_working: Matrix
    size: int

    def masks(self, patch: Patch) -> list[Tensor]:
        """(1, 1, size, size) each: tissue of moving and fixed."""
        pixels = torch.arange(self.size)
        places = [
            (float(self.to_working[k, k]) * (pixels + patch.start[k]) + float(self.to_working[k, 2])) for k in range(2)
        ]
        grid = torch.stack(torch.meshgrid(*places, indexing="ij"))[None].float()
        return [sample(mask.cpu(), grid, "zeros") for mask in (self.moving_mask, self.fixed_mask)]

    def images(self, patch: Patch, masks: Sequence[Tensor], device: torch.device) -> PairImages:
        """The window as a pair of its own."""
        row, column = patch.start
        greys = [side.grey(row, column, self.size, self.size) for side in (self.moving, self.fixed)]
        moving, fixed = (torch.from_numpy(grey)[None, None].to(device) for grey in greys)
        return PairImages(moving, fixed, masks[0].to(device), masks[1].to(device))


class SlideRefinement:
    """Refines the field so far in windows of the slides; the field keeps the working grid.

    Args:
        steps: what registers a window, from no displacement on.
        level: of the windows: 0 is the fixed slide's full resolution, each further one half of it. None takes the
            coarsest with twice the working image's pixels a side.
        region: x, y, width, height in pixels of the fixed slide: windows elsewhere are left as they are.
        regions: GeoJSON of the fixed slide, whose objects' bounding boxes are such regions too.
        size: pixels of a window.
        overlap: pixels that neighbouring windows share, over which they fade into each other.
        least_tissue: share of a window below which it is left out.
        minimum_jacobian: the residual is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.

    Raises:
        InputError: a size, overlap or level that can't be.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        level: int | None = None,
        region: Sequence[float] | None = None,
        regions: str | Path | None = None,
        size: int = 1024,
        overlap: int = 256,
        least_tissue: float = 0.02,
        minimum_jacobian: float | None = 0.1,
        name: str = "slide refinement",
    ) -> None:
        if not 0 < overlap <= size // 2:
            raise InputError(f"windows of {size} pixels overlap by 1 to {size // 2}, got {overlap}")
        if level is not None and level < 0:
            raise InputError(f"level is 0 or more, got {level}")
        self.steps = list(steps)
        self.level = level
        self.region = region
        self.regions = regions
        self.size = size
        self.overlap = overlap
        self.least_tissue = least_tissue
        self.minimum_jacobian = minimum_jacobian
        self.name = name

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``.

        Raises:
            InputError: the images were not read from files, are volumes, no window shows tissue, or a region is wrong.
        """
        start = perf_counter()
        origin = images.origin
        if origin is None or len(images.shape) != 2:
            raise InputError("windows are refined of 2-D images that were read from files")
        boxes = self._boxes()
        file, level = origin.fixed.meta["file_grid"], self._level(images, origin)
        grid = file.averaged(1 << level)
        to_file = grid.to(file)
        patches = plan_patches(grid.shape, self.size, self.size - self.overlap)
        with ExitStack() as stack:
            windows = self._open(images, origin, estimate, grid, stack)
            blended = BlendedField(images.shape, windows.to_working, self.size, self.overlap)
            outcomes: Counter[str] = Counter()
            gains, moves = list[float](), list[float]()
            for patch in tqdm(patches, unit="window", desc=origin.pair.id, leave=False):
                field = None
                masks = windows.masks(patch)
                if not wanted(patch, self.size, to_file, boxes):
                    outcome = "elsewhere"
                elif float((masks[0] * masks[1]).mean()) < self.least_tissue:
                    outcome = "empty"
                else:
                    field, outcome, gain = self._refined(windows.images(patch, masks, images.fixed.device))
                    gains.append(gain)
                if field is not None:
                    moves.append(float(field.norm(dim=1)[masks[1][0] > 0.5].median()))
                outcomes[outcome] += 1
                blended.add(patch, field)
        if not gains:
            raise InputError(f"{origin.pair.fixed}: no window with tissue of both slides lies in what is to be refined")
        ddf = compose(estimate.ddf, blended.field().to(estimate.ddf))
        details = {
            "level": level,
            "windows": len(gains),
            **{name: outcomes[name] for name in ("refined", "not better", "no matches")},
            "median_move_window_pixels": float(np.median(moves)) if moves else 0.0,
            "mean_gain_in_similarity": float(np.mean(gains)),
            "similarity": local_similarity(images, ddf),
        }
        residual = nonrigid_part(estimate.affine, ddf)
        return with_residual(estimate, residual, images, self.minimum_jacobian, self.name, start, details)

    def _boxes(self) -> list[Box] | None:
        if self.region is None and self.regions is None:
            return None
        return ([] if self.region is None else [parse_box(self.region)]) + (
            [] if self.regions is None else read_boxes(self.regions)
        )

    def _level(self, images: PairImages, origin: PairOrigin) -> int:
        if self.level is not None:
            return self.level
        finer = max(origin.fixed.meta["file_grid"].shape) / (FINER * max(images.shape))
        return max(int(np.log2(max(finer, 1))), 0)

    def _open(
        self, images: PairImages, origin: PairOrigin, estimate: Estimate, grid: Grid, stack: ExitStack
    ) -> Windows:
        # two voxels a side are enough of a field that does not move
        still = displacement_image(torch.zeros(1, 2, 2, 2), grid.matrix, grid.matrix)
        found = displacement_image(estimate.ddf, origin.fixed_grid.matrix, origin.moving_grid.matrix)

        def side(name: str, displacement: Any) -> SlideWindows:
            image = getattr(origin, name)
            file, reading = (getattr(origin.pair, key) for key in (name, f"{name}_reading"))
            slide = stack.enter_context(open_image(file, image, reading))
            return SlideWindows(slide, image, displacement, grid)

        return Windows(
            side("fixed", still),
            side("moving", found),
            images.fixed_mask,
            warp(images.moving_mask, estimate.ddf),
            grid.to(origin.fixed_grid),
            self.size,
        )

    def _refined(self, window: PairImages) -> tuple[Tensor | None, str, float]:
        """A window's field, what became of it, and the gain in similarity."""
        estimate = Estimate.identity(window.shape, window.fixed.device)
        before = local_similarity(window, estimate.ddf)
        try:
            for step in self.steps:
                estimate = step(window, estimate)
        except RegistrationError:
            return None, "no matches", 0.0
        gain = local_similarity(window, estimate.ddf) - before
        return (estimate.ddf, "refined", gain) if gain > 0 else (None, "not better", 0.0)

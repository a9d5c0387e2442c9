"""Windows of a slide on another image's grid, at any resolution, reading only the tiles that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.meta_tensor import MetaTensor

from custom_components.common.arrays import Array
from custom_components.fields import Grid
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import Slide
from custom_components.pairs.channels import as_matched
from custom_components.pairs.slides import block_mean
from custom_components.slides.native import native_array, rim_median
from custom_components.slides.slide_warp import SlideWarp
from custom_components.slides.warp_file import source_level
from custom_components.transforms.grey import GreyRange, stain_independent_grey


class SlideWindows:
    """Grey windows of a slide, carried over by a displacement while they are read.

    Args:
        slide: open.
        image: the slide as read for the registration; its grey values and rim are those of the windows.
        displacement: displacement image, target -> slide.
        grid: of the target at the resolution that is wanted.
        clip_limit: see ``stain_independent_grey``.
        tiles: likewise.
    """

    def __init__(
        self,
        slide: Slide,
        image: MetaTensor,
        displacement: Any,
        grid: Grid,
        clip_limit: float = 2.0,
        tiles: int = 8,
    ) -> None:
        array = native_array(image)
        file = image.meta["file_grid"]
        level = source_level(slide, file, grid)
        source = file.level(slide.levels[level])
        # where the slide has no level of this resolution, pixels of a finer grid are averaged in squares
        self.factor = max(1, int(np.min(grid.spacing / source.spacing) + 0.01))
        self.layout, self.channel = image.meta["layout"], image.meta["channel"]
        field = FieldBlocks(displacement, grid.finer(self.factor).matrix, source.matrix)
        self.warp = SlideWarp(slide, level, field, 1, rim_median(array))
        self.span = GreyRange.of(as_matched(array, self.layout, self.channel))
        self.clip_limit = clip_limit
        self.tiles = tiles

    def colours(self, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, channels) in the slide's dtype, from a first pixel of the grid on."""
        size = [self.factor * number for number in (row, column, height, width)]
        return block_mean(self.warp.block(*size), self.factor)

    def grey(self, row: int, column: int, height: int, width: int) -> npt.NDArray[np.float32]:
        """(height, width) in [0, 1], tissue bright on black, as in the working image."""
        colours = np.moveaxis(self.colours(row, column, height, width), -1, 0)
        colours = as_matched(colours, self.layout, self.channel)
        return stain_independent_grey(colours, self.clip_limit, self.tiles, self.span)

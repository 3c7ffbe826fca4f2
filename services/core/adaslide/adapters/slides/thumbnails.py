"""A whole slide made small, from the nearest larger level, in bounded memory."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.slide import SourceLevel

UNREADABLE_GREY = 128
"""Stands where the source cannot be read: far from any glass, so that nothing takes it for background."""

_BLOCK_SIDE, _LEAST_SIDE = 2048, 256
"""Blocks are read whole, in px of the level; one that cannot be read is halved down to the least."""


def thumbnail(levels: Sequence[SourceLevel], read: Callable[[Region, int], Pixels], max_side: int) -> Pixels:
    """The slide, its longer side ``max_side`` px, or as large as it is if that is less.

    Averages whole pixels, block by block. What raises `SlideCorrupt` is `UNREADABLE_GREY`; the error
    is raised when nothing can be read.
    """
    if max_side < 1:
        raise ValueError(f"a thumbnail of {max_side} px")
    level = max(
        (i for i, one in enumerate(levels) if i == 0 or _longer(one.size) >= max_side),
        key=lambda i: levels[i].downsample,
    )
    size = levels[level].size
    factor = max(1, _longer(size) // max_side)
    shrunk = size.shrunk(factor)
    small: Pixels = np.full((shrunk.height, shrunk.width, 3), UNREADABLE_GREY, np.uint8)
    whole = Region(0, 0, size.width, size.height)
    error: SlideCorrupt | None = None
    readable = False
    step = _BLOCK_SIDE // factor * factor or factor
    blocks = [
        Region(x, y, step, step) for y in range(0, size.height, step) for x in range(0, size.width, step)
    ]
    while blocks:
        block = blocks.pop()
        region = block.intersection(whole)
        if region is None:
            continue
        try:
            pixels = shrink(read(region, level), factor)
        except SlideCorrupt as corrupt:
            error = corrupt
            half = -(-block.width // (2 * factor)) * factor
            if block.width > max(_LEAST_SIDE, factor):
                blocks += [Region(block.x + x, block.y + y, half, half) for x in (0, half) for y in (0, half)]
            continue
        readable = True
        top, left = block.y // factor, block.x // factor
        small[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    if error is not None and not readable:
        raise error
    longer = _longer(shrunk)
    if longer <= max_side:
        return small
    target = Size(
        max(1, round(shrunk.width * max_side / longer)), max(1, round(shrunk.height * max_side / longer))
    )
    return np.asarray(Image.fromarray(small).resize((target.width, target.height), Image.Resampling.BOX))


def _longer(size: Size) -> int:
    return max(size.width, size.height)

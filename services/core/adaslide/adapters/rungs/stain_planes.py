"""The planes that a codec is given in place of red, green and blue: nuclei first.

A codec spends most of its bytes on luma, which BT.601 makes of green for the greater part. Haematoxylin,
which stains nuclei, absorbs red light, and eosin hardly does (Ruifrok & Johnston 2001): nuclei stand out in
the red of a slide. Luma is therefore made of red here: ``Y = 0.85 R + 0.10 G + 0.05 B``, with the
differences ``V = (G - Y) / 1.8`` and ``U = (B - Y) / 1.9`` to it, both + 128. Integers in 1/65536, so that
every reader gives the same pixels (docs/package-format.md section 3.3).
"""

import numpy as np
import numpy.typing as npt

from adaslide.domain.pixels import Pixels

LUMA = (55705, 6554, 3277)
"""Of red, green and blue in Y; a grey pixel stays as it is."""
V_OF_GREEN, U_OF_BLUE = 36409, 34493
"""1 / 1.8 and 1 / 1.9."""
GREEN_OF_V, BLUE_OF_U = 117965, 124518
RED_OF_V, RED_OF_U = -13878, -7325
MIDDLE = 128

_Ints = npt.NDArray[np.int32]


def to_planes(pixels: Pixels) -> Pixels:
    """(h, w, 3) uint8 of red, green and blue as V, Y and U: the identity matrix takes red for Cr, green for
    luma and blue for Cb."""
    red, green, blue = _wide(pixels)
    red *= LUMA[0]
    red += LUMA[1] * green
    red += LUMA[2] * blue
    luma = _rounded(red)
    for plane, factor in ((green, V_OF_GREEN), (blue, U_OF_BLUE)):
        plane -= luma
        plane *= factor
        _rounded(plane)
        plane += MIDDLE
    return _narrow(green, luma, blue)


def from_planes(planes: Pixels) -> Pixels:
    """The (h, w, 3) pixels of `to_planes`, to within 2 grey levels."""
    v, luma, u = _wide(planes)
    v -= MIDDLE
    u -= MIDDLE
    red = RED_OF_V * v
    red += RED_OF_U * u
    v *= GREEN_OF_V
    u *= BLUE_OF_U
    for plane in (red, v, u):
        _rounded(plane)
        plane += luma
    return _narrow(red, v, u)


def _wide(image: Pixels) -> tuple[_Ints, _Ints, _Ints]:
    first, second, third = (image[..., place].astype(np.int32) for place in range(3))
    return first, second, third


def _rounded(values: _Ints) -> _Ints:
    """``values`` in 1/65536 to the nearest integer, halves up, in place."""
    values += 1 << 15
    values >>= 16
    return values


def _narrow(*planes: _Ints) -> Pixels:
    """Overwrites ``planes``."""
    result = np.empty((*planes[0].shape, 3), np.uint8)
    for place, plane in enumerate(planes):
        result[..., place] = np.clip(plane, 0, 255, out=plane)
    return result

"""Chapter 16: the number of bytes of an image, or None for what cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, ask, exercise

_INT = 2**31 - 1  # the largest C int
_MOST = 2**63 - 1  # PTRDIFF_MAX, the largest block
_CHANNELS = (1, 3, 4)

# The typical ones first: the first that is wrong is the hint.
_IMAGES = (
    *((1, 1, 1), (3, 2, 1), (640, 480, 3), (1920, 1080, 4)),
    *((30_000, 30_000, 3), (40_000, 30_000, 4), (65_536, 65_536, 1)),
    *((_INT, 1, 1), (1, _INT, 4), (_INT, 2, 3)),
    *((_INT, _INT, 1), (_INT - 1, _INT, 1), (94_906_267, 94_906_267, 1)),
    *((_INT, _MOST // channels // _INT, channels) for channels in (3, 4)),
    *((_MOST // channels // _INT, _INT, channels) for channels in (3, 4)),
)
_TOO_LARGE = (
    *((_INT, _INT, 3), (_INT, _INT, 4)),
    *((_INT, _MOST // channels // _INT + 1, channels) for channels in (3, 4)),
)
_NO_INT = ((2**31, 1, 1), (1, 2**31, 1), (2**32, 1, 4), (1, 2**32 + 1, 3), (2**64 + 1, 1, 1))
_NO_SIZE = (
    *((0, 10, 3), (10, 0, 3), (0, 0, 1)),
    *((-1, 10, 1), (10, -1, 4), (-4, -3, 4), (-_INT - 1, 1, 1)),
)
_NO_CHANNELS = tuple((10, 10, channels) for channels in (0, 2, 5, -1, -3, 6, 257, 2**32 + 1))


@exercise("image-size")
def image_size(answer: Callable[..., object]) -> Verdict:
    """Check ``image_bytes(width, height, channels)``: the bytes of an image, or None."""
    for image in _IMAGES:
        _fits(answer, *image)
    for image in _NO_SIZE:
        _refused(answer, *image, why="An image is at least one pixel wide and one high.")
    for image in _NO_CHANNELS:
        _refused(answer, *image, why="An image has 1, 3 or 4 channels.")
    for image in _NO_INT:
        _refused(
            answer,
            *image,
            why="The library takes width and height as a C `int`, which ends at 2**31 - 1. The "
            "product alone does not tell.",
        )
    for image in _TOO_LARGE:
        _refused(
            answer,
            *image,
            why="Width and height fit, and the product does not: no block is larger than "
            "2**63 - 1 bytes, `PTRDIFF_MAX`.",
        )
    refused = len(_NO_SIZE) + len(_NO_CHANNELS) + len(_NO_INT) + len(_TOO_LARGE)
    return Right(
        f"{len(_IMAGES)} images have their exact size, the largest only just. {refused} others "
        "were refused before anybody multiplied in C."
    )


def _shown(*image: int) -> str:
    return f"image_bytes({', '.join(map(_number, image))})"


def _number(number: int) -> str:
    """Write a number so that a limit can be recognised."""
    for power in (31, 32, 64):
        rest = abs(number) - (1 << power)
        if number > 0 and abs(rest) <= 1:
            return f"2**{power}" + (f" {'-' if rest < 0 else '+'} 1" if rest else "")
    return str(number)


def _fits(answer: Callable[..., object], width: int, height: int, channels: int) -> None:
    """Hint unless the image's size is right."""
    shown, right = _shown(width, height, channels), width * height * channels
    result = ask(answer, width, height, channels, shown=shown)
    if type(result) is int and result == right:
        return
    if result is None:
        raise Hint(
            f"`{shown}` returned nothing, and it is an image: its size, {right:,}, is no more "
            f"than 2**63 - 1, and neither side is above 2**31 - 1."
        )
    raise Hint(f"`{shown}` should be {right:,}{_why(result, right, width * height)}")


def _why(result: Any, right: int, pixels: int) -> str:
    """Go on after the right number: what was returned and what that is."""
    if isinstance(result, float):
        return (
            f", an int, and is the float {result!r}. A float has 53 bits for its digits, a size "
            "needs up to 63."
        )
    if type(result) is not int:
        return f", an int, and is {result!r}."
    said = f" and is {result:,}."
    for bits in (32, 64):
        if result == right % 2**bits:
            return (
                f"{said} That is what is left of it in {bits} bits. A block of that size can be "
                "had, and the pixels would be written far beyond its end."
            )
        if result == (right + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1):
            return f"{said} That is what a signed number of {bits} bits makes of it."
    if result == 0:
        return f"{said} An image has bytes."
    if result == pixels:
        return f"{said} That is the number of pixels. Each has a byte for each channel."
    if right > 2**53 and abs(result - right) <= right >> 52:
        return (
            f"{said} That is close. Was it a float on the way? Python's ints are exact, floats "
            "are not above 2**53."
        )
    return said


def _refused(
    answer: Callable[..., object], width: int, height: int, channels: int, *, why: str
) -> None:
    """Hint unless None comes back."""
    shown = _shown(width, height, channels)
    try:
        result = ask(answer, width, height, channels, shown=shown)
    except Hint as hint:
        raise Hint(f"{hint}\n`None` is the answer for what cannot be an image. {why}") from hint
    if result is None:
        return
    if type(result) is int and result == 0:
        why += " And 0 is a number of bytes: `malloc(0)` is no error."
    elif result is False or (type(result) is int and result == -1):
        why += " And the sign for that is `None` here."
    value = f"{result:,}" if type(result) is int else repr(result)
    raise Hint(f"`{shown}` should be `None`, and is {value}. {why}")

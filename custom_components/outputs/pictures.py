"""The report's pictures: functions from images, fields and points to RGB arrays (H, W, 3) uint8."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from custom_components.transforms.grey import stretch

RGB = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
GREEN, RED, BLUE, ORANGE = (23, 138, 78), (205, 50, 50), (38, 99, 200), (230, 126, 20)


def to_rgb(image: npt.NDArray[Any]) -> RGB:
    """(C, H, W) of any dtype -> RGB; 8-bit RGB as it is, everything else stretched from the first channel."""
    if image.shape[0] == 3 and image.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))
    grey = image if image.shape[0] == 3 else image[:1].repeat(3, axis=0)
    return np.ascontiguousarray(np.moveaxis((stretch(grey.astype(np.float32)) * 255).astype(np.uint8), 0, -1))


def fit(image: RGB, longest: int = 900) -> RGB:
    """Shrink (never enlarge) so that the longest side is at most ``longest``."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def jpeg(image: RGB, quality: int = 80) -> bytes:
    """The picture as a JPEG file."""
    ok, buffer = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"a picture of {image.shape} can't be encoded")
    return bytes(buffer.tobytes())


def data_uri(image: RGB, quality: int = 80) -> str:
    """JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image, quality)).decode()


def checkerboard(first: RGB, second: RGB, tiles: int = 10) -> RGB:
    """Two pictures of one size in alternating squares."""
    side = max(1, max(first.shape[:2]) // tiles)
    rows, columns = np.indices(first.shape[:2]) // side
    return np.where(((rows + columns) % 2 == 0)[..., None], first, second)


def two_colour(fixed_grey: npt.NDArray[np.float32], warped_grey: npt.NDArray[np.float32]) -> RGB:
    """Fixed in green, warped in magenta on white: where both lie over each other the tissue is grey."""
    fixed, warped = (1 - np.clip(g, 0, 1) for g in (fixed_grey, warped_grey))
    return (np.stack([fixed, warped, fixed], axis=-1) * 255).astype(np.uint8)


def deformation_grid(background: RGB, displacement: npt.NDArray[np.float64], lines: int = 26) -> RGB:
    """A regular grid drawn where the field takes it.

    Args:
        background: (H, W, 3).
        displacement: (2, H, W) row, col in pixels of ``background``, fixed -> moving with its global affine taken out.
        lines: along the longer side.
    """
    canvas = (255 - (255 - background.astype(np.float32)) * 0.35).astype(np.uint8)
    height, width = background.shape[:2]
    step = max(4, max(height, width) // lines)
    for fixed_axis, count in ((0, height), (1, width)):
        for position in range(step // 2, count, step):
            other = np.arange(0, width if fixed_axis == 0 else height, 3)
            rows, columns = (
                (np.full_like(other, position), other)
                if fixed_axis == 0
                else (other, np.full_like(other, position))
            )
            shift = displacement[:, rows, columns]
            line = np.stack([columns + shift[1], rows + shift[0]], axis=1).round().astype(np.int32)
            cv2.polylines(canvas, [line], False, BLUE, 1, cv2.LINE_AA)
    return canvas


def matches_picture(
    left: RGB, right: RGB, kept: tuple[Points, Points], dropped: tuple[Points, Points], most: int = 250
) -> RGB:
    """Both pictures side by side with lines between matched points (row, col), dropped in red under kept in green."""
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, left.shape[1] + right.shape[1] + 12, 3), 255, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], left.shape[1] + 12 :] = right
    offset = left.shape[1] + 12
    generator = np.random.default_rng(0)
    for (a, b), colour in ((dropped, RED), (kept, GREEN)):
        for i in sorted(generator.permutation(len(a))[:most]):
            start, end = (round(a[i, 1]), round(a[i, 0])), (round(b[i, 1]) + offset, round(b[i, 0]))
            cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
            for centre in (start, end):
                cv2.circle(canvas, centre, 2, colour, -1, cv2.LINE_AA)
    return canvas


def jacobian_picture(background: RGB, determinant: npt.NDArray[np.float64]) -> RGB:
    """What happened to the moving tissue's area, over a pale background: blue shrunk, orange stretched, red folded.

    Args:
        background: (H, W, 3).
        determinant: (H, W) of the field fixed -> moving: 2 says that two moving pixels share one fixed pixel, so the
            tissue was shrunk to half.
    """
    change = np.clip(-np.log2(np.clip(determinant, 0.25, 4)), -1, 1)[..., None]
    pale = 255 - (255 - background.astype(np.float32)) * 0.4
    colour = np.where(change > 0, np.array(ORANGE, np.float32), np.array(BLUE, np.float32))
    picture = pale * (1 - 0.8 * np.abs(change)) + colour * 0.8 * np.abs(change)
    picture[determinant <= 0] = RED
    return picture.astype(np.uint8)


def landmark_picture(fixed: RGB, before: Points, after: Points, truth: Points) -> RGB:
    """Fixed picture with each true landmark (ring), the start (red) and the result (green) joined to it."""
    canvas = (255 - (255 - fixed.astype(np.float32)) * 0.6).astype(np.uint8)
    for start, end, true in zip(before, after, truth, strict=True):
        goal = (round(true[1]), round(true[0]))
        for point, colour in ((start, RED), (end, GREEN)):
            cv2.line(canvas, (round(point[1]), round(point[0])), goal, colour, 1, cv2.LINE_AA)
        cv2.circle(canvas, (round(end[1]), round(end[0])), 3, GREEN, -1, cv2.LINE_AA)
        cv2.circle(canvas, goal, 5, (20, 20, 20), 1, cv2.LINE_AA)
    return canvas

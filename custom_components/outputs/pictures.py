"""The report's pictures: functions from images, fields and points to RGB arrays (H, W, 3) uint8."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from custom_components.common.arrays import Points
from custom_components.transforms.grey import between

RGB = npt.NDArray[np.uint8]
GREEN, RED, BLUE, ORANGE = (23, 138, 78), (205, 50, 50), (38, 99, 200), (230, 126, 20)
INK = (20, 20, 20)


def contrast(image: npt.NDArray[Any]) -> tuple[float, float] | None:
    """What of (C, H, W) is shown black and white; None for 8-bit RGB, which is shown as it is."""
    if image.shape[0] == 3 and image.dtype == np.uint8:
        return None
    bottom, top = np.percentile((image if image.shape[0] == 3 else image[:1]).astype(np.float32), (0.5, 99.5))
    return float(bottom), float(top)


def to_rgb(image: npt.NDArray[Any], limits: tuple[float, float] | None = None) -> RGB:
    """(C, H, W) of any dtype -> RGB; 8-bit RGB as it is, everything else stretched from the first channel.

    Args:
        image: (C, H, W).
        limits: see ``contrast``, of the whole that the image is a part of; None takes its own.
    """
    limits = limits or contrast(image)
    if limits is None:
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))
    grey = image if image.shape[0] == 3 else image[:1].repeat(3, axis=0)
    return np.ascontiguousarray(np.moveaxis((between(grey.astype(np.float32), *limits) * 255).astype(np.uint8), 0, -1))


def shrink_to(image: RGB, longest: int = 900) -> RGB:
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


def data_uri(image: RGB, quality: int = 85) -> str:
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


def pale(picture: RGB, strength: float) -> RGB:
    """The picture faded towards white; ``strength`` 1 leaves it, 0 makes it white."""
    return (255 - (255 - picture.astype(np.float32)) * strength).astype(np.uint8)


def deformation_grid(background: RGB, displacement: npt.NDArray[np.float64], lines: int = 26) -> RGB:
    """A square grid drawn on the moving tissue, as it looks after warping.

    Args:
        background: (H, W, 3), the fixed picture.
        displacement: (2, H, W) row, col in pixels of ``background``, fixed -> moving without its global affine.
        lines: along the longer side.
    """
    step = max(6.0, max(background.shape[:2]) / lines)
    ink = np.zeros(background.shape[:2])
    for axis, start in enumerate(np.indices(background.shape[:2])):
        place = start + displacement[axis]
        distance = np.abs((place + step / 2) % step - step / 2)
        # over the gradient, so that lines keep their width where the tissue is stretched or pressed
        slope = np.hypot(*np.gradient(place)).clip(0.05)
        ink = np.maximum(ink, np.clip(1.4 - distance / slope, 0, 1))
    canvas = pale(background, 0.4).astype(np.float64)
    return (canvas + ink[..., None] * (np.array(BLUE) - canvas)).astype(np.uint8)


def evenly_spaced(points: Points, count: int) -> npt.NDArray[np.intp]:
    """Indices of at most ``count`` points (N, 2), each as far as possible from those before."""
    chosen = [0] if len(points) else []
    distance = np.full(len(points), np.inf)
    while chosen and len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen, dtype=np.intp)


def _dot(picture: RGB, point: npt.NDArray[np.float64], colour: tuple[int, int, int], radius: int) -> None:
    """Filled circle at a (row, col) point, drawn to a fraction of a pixel."""
    centre = (round(float(point[1]) * 16), round(float(point[0]) * 16))
    cv2.circle(picture, centre, radius * 16, colour, -1, cv2.LINE_AA, 4)


def matches_picture(
    left: RGB, right: RGB, kept: tuple[Points, Points], dropped: tuple[Points, Points], lines: int = 36
) -> RGB:
    """Both pictures side by side; every match a dot in both, and lines between some of them.

    Args:
        left: (H, W, 3), the moving picture.
        right: (H, W, 3), the fixed picture.
        kept: (moving, fixed) points (N, 2) row, col of the pictures, drawn in green.
        dropped: the same of the rejected ones, drawn in red under the green.
        lines: kept pairs that are joined, spread over the tissue; of the dropped ones a third as many.
    """
    gap = 16
    offset = np.array([0.0, left.shape[1] + gap])
    canvas = np.full((max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1] + gap, 3), 255, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = pale(left, 0.55)
    canvas[: right.shape[0], left.shape[1] + gap :] = pale(right, 0.55)
    for (moving, fixed), colour, radius in ((dropped, RED, 1), (kept, GREEN, 2)):
        for point in (*moving, *(fixed + offset)):
            _dot(canvas, point, colour, radius)
    for (moving, fixed), colour, count in ((dropped, RED, lines // 3), (kept, GREEN, lines)):
        for i in evenly_spaced(fixed, count):
            start, end = moving[i], fixed[i] + offset
            here, there = ((round(float(p[1])), round(float(p[0]))) for p in (start, end))
            cv2.line(canvas, here, there, colour, 1, cv2.LINE_AA)
            for point in (start, end):
                _dot(canvas, point, (255, 255, 255), 5)
                _dot(canvas, point, colour, 4)
    return canvas


def area_picture(background: RGB, determinant: npt.NDArray[np.float64]) -> RGB:
    """What warping did to the area of the moving tissue: blue shrunk, orange stretched, red folded over.

    Args:
        background: (H, W, 3), the fixed picture.
        determinant: (H, W) Jacobian determinant of the field fixed -> moving. Where it is 2, two pixels of tissue
            are pressed into one, so the colours go by its inverse.
    """
    change = np.clip(-np.log2(np.clip(determinant, 0.25, 4)), -1, 1)[..., None]
    colour = np.where(change > 0, np.array(ORANGE, np.float32), np.array(BLUE, np.float32))
    picture = pale(background, 0.4) * (1 - 0.8 * np.abs(change)) + colour * 0.8 * np.abs(change)
    picture[determinant <= 0] = RED
    return np.asarray(picture, dtype=np.uint8)


def landmark_picture(fixed: RGB, before: Points, after: Points, truth: Points) -> RGB:
    """Fixed picture with each true landmark (ring), the start (red) and the result (green) joined to it."""
    canvas = pale(fixed, 0.5)
    for start, end, true in zip(before, after, truth, strict=True):
        goal = (round(float(true[1])), round(float(true[0])))
        for point, colour in ((start, RED), (end, GREEN)):
            cv2.line(canvas, (round(float(point[1])), round(float(point[0]))), goal, colour, 1, cv2.LINE_AA)
            _dot(canvas, point, colour, 3)
        cv2.circle(canvas, goal, 6, INK, 1, cv2.LINE_AA)
    return canvas


def error_chart(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], unit: str) -> RGB:
    """Share of landmarks whose error lies below a given one, before and after registration.

    Args:
        before: (N,) errors.
        after: (N,) errors.
        unit: of both, for the axis.
    """
    figure = Figure(figsize=(6.4, 3.6), dpi=140, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    end = 1.02 * max(before.max(), after.max(), 1e-6)
    fraction = np.minimum(np.arange(len(before) + 2), len(before)) / len(before) * 100
    for errors, colour, name in ((before, RED, "before"), (after, GREEN, "after")):
        hexadecimal = "#{:02x}{:02x}{:02x}".format(*colour)
        axes.step(np.r_[0.0, np.sort(errors), end], fraction, where="post", color=hexadecimal, label=name, linewidth=2)
    axes.set(xlabel=f"error, {unit}", ylabel="landmarks with a smaller error, %", xlim=(0, end), ylim=(0, 102))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])

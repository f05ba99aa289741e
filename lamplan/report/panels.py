"""Side-by-side pictures with captions, the frames of a report's videos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CAPTION_PX = 18
GAP_PX = 4
INK, PAPER = (32, 36, 42), (255, 255, 255)


def side_by_side(panels: Mapping[str, np.ndarray], footer: str = "", height: int = 192) -> np.ndarray:
    """One picture (H', W', 3) uint8 of captioned panels {caption: image (H, W, 3) uint8}, each scaled to `height` px.

    Both sides of the picture are even, as H.264 asks.
    """
    images = [Image.fromarray(panel).resize((round(height * panel.shape[1] / panel.shape[0]), height)) for panel in panels.values()]
    width = sum(image.width for image in images) + GAP_PX * (len(images) - 1)
    total = CAPTION_PX + height + CAPTION_PX
    canvas = Image.new("RGB", (width + width % 2, total + total % 2), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    left = 0
    for caption, image in zip(panels, images, strict=True):
        canvas.paste(image, (left, CAPTION_PX))
        draw.text((left + 2, 2), caption, fill=INK, font=font)
        left += image.width + GAP_PX
    draw.text((2, CAPTION_PX + height + 2), footer, fill=INK, font=font)
    return np.asarray(canvas)


def nearest_frames(predicted: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Index (K,) into a bank of features (M, P, D) of the one nearest to each predicted feature (K, P, D), by squared distance.

    This shows what a prediction means without a decoder: the real frame that looks most like it to the model.
    """
    queries, keys = predicted.reshape(len(predicted), -1), bank.reshape(len(bank), -1)
    squared = (keys**2).sum(axis=1)[None, :] - 2.0 * queries @ keys.T
    return np.argmin(squared, axis=1)

"""Reading single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lamplan.errors import DataError


def read_image(path: str | Path) -> np.ndarray:
    """uint8 (H, W, 3) of a PNG, JPEG or any other still image that Pillow reads."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"no image at {path}.") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); give a PNG or JPEG.") from None

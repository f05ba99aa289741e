"""Reading single images."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lamplan.errors import DataError

# A larger picture than 8192 x 8192 in a log is a damaged or hostile header.
MAX_PIXELS = 2**26
# How Pillow names colour and grey pictures; depth, of 16 bits or more, is no picture that a camera shows.
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")


def read_image(path: str | Path) -> np.ndarray:
    """uint8 (H, W, 3) of a PNG, JPEG or any other still image that Pillow reads, upright as its EXIF says; DataError for one whose values
    are no colours or greys."""
    try:
        with Image.open(path) as image:
            if image.mode not in MODES:
                raise ValueError(f"its pixels are of kind {image.mode}")
            # A phone writes how it was held beside the picture instead of turning it.
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"no image at {path}.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); give a PNG or JPEG of 8 bits a colour.") from None


def decode_image(content: bytes, where: str) -> np.ndarray:
    """uint8 (H, W, 3) of an encoded JPEG or PNG out of a log; `where` names it in the DataError for what is no such picture."""
    try:
        # No other formats: some of Pillow's readers start programs.
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS or image.mode not in MODES:
                raise ValueError(f"it claims {image.width} x {image.height} pixels of kind {image.mode}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, EOFError, MemoryError,
            struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = "neither JPEG nor PNG" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{where} cannot be decoded as an image ({reason}); the log is damaged.") from None

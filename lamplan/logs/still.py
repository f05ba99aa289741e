"""`decode_image`: a JPEG or PNG inside a log."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from lamplan.errors import DataError

# A larger picture than 8192 x 8192 in a robot log is a damaged or hostile one.
MAX_PIXELS = 2**26
MODES = ("RGB", "RGBA", "L", "P", "1")


def decode_image(data: bytes, where: str) -> np.ndarray:
    """uint8 (H, W, 3) of an encoded image; DataError when it is damaged, of another format or no colour or grey picture."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS or image.mode not in MODES:
                raise DataError(f"{where} is no picture that can be used: {image.width} x {image.height} pixels of kind {image.mode}.")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{where} cannot be decoded as JPEG or PNG ({error}); the log is damaged.") from None

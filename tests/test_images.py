"""Reading still images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamplan.errors import DataError
from lamplan.images import decode_image, read_image


def test_any_still_image_becomes_rgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    assert np.array_equal(read_image(tmp_path / "colour.png"), pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), pixels[..., :1].repeat(3, axis=-1))


def test_a_picture_stands_as_it_was_taken(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn a quarter clockwise to show it"
    Image.fromarray(pixels).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    found = read_image(tmp_path / "phone.jpg")
    assert found.shape == (32, 16, 3) and found[:, 9:].min() > 200 and found[:, :7].max() < 50


@pytest.mark.parametrize(("content", "sentence"), [(None, "no image at"), (b"", "cannot be read as an image"),
                                                   (b"not an image", "cannot be read as an image")])
def test_what_is_no_image_gets_a_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_image(path)


def test_a_picture_of_more_than_8_bits_is_refused_and_never_clipped(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"its pixels are of kind I.*\); give a PNG or JPEG of 8 bits a colour"):
        read_image(path)
    with pytest.raises(DataError, match="pixels of kind I"):
        decode_image(path.read_bytes(), "step 3")


def test_a_truncated_image_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(path)

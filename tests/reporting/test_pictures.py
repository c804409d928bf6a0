import base64
import io

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.reporting.pictures import Pictures, UnreadablePictureError, data_uri
from retrieval_bench.settings.protocol import Protocol


def decoded(uri: str) -> Image.Image:
    head, body = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.fixture
def ramp(tmp_path):
    """400 x 300, red grows with x and green with y, half as fast."""
    x, y = np.meshgrid(np.arange(400) // 2, np.arange(300) // 2)
    path = tmp_path / "ramp.png"
    Image.fromarray(np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)).save(path)
    return str(path)


def test_thumbnails_keep_the_aspect_ratio(ramp, tmp_path):
    assert decoded(Pictures(tmp_path, Protocol()).thumbnail(ramp, 120)).size == (120, 90)


def test_a_relative_path_is_looked_for_in_the_run_folder(ramp, tmp_path):
    assert Pictures(tmp_path, Protocol()).read("ramp.png")[1] == (400, 300)


@pytest.mark.parametrize(("rounding", "corner"), [("round", (11, 20)), ("truncate", (10, 20))])
def test_a_crop_begins_where_the_protocol_rounds_to(ramp, tmp_path, rounding, corner):
    crop = Pictures(tmp_path, Protocol(crop_rounding=rounding)).crop(ramp, (10.6, 20.4, 110.6, 90.4))
    assert crop.getpixel((0, 0)) == (corner[0] // 2, corner[1] // 2, 0)
    assert crop.size == (100, 70)


def test_the_box_lands_where_it_belongs(ramp, tmp_path):
    pictures = Pictures(tmp_path, Protocol())
    plain = np.asarray(decoded(pictures.boxed(ramp, None, 200)), int)
    boxed = np.asarray(decoded(pictures.boxed(ramp, (100, 60, 300, 240), 200)), int)
    rows, columns = np.nonzero(np.abs(plain - boxed).max(-1) > 60)
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - [50, 30, 149, 119]).max() <= 2
    assert np.abs(plain - boxed)[60:90, 70:130].max() < 20


@pytest.mark.parametrize(("rule", "size"), [("ignore", (400, 300)), ("apply", (300, 400))])
def test_exif_orientation_follows_the_protocol(tmp_path, rule, size):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 300)).save(path, exif=exif)
    picture, whole = Pictures(tmp_path, Protocol(exif=rule)).read(str(path), 100)
    assert whole == size
    assert picture.size == (size[0] // 4, size[1] // 4)


def test_missing_and_broken_files_say_so(ramp, tmp_path):
    pictures = Pictures(tmp_path, Protocol())
    with pytest.raises(UnreadablePictureError, match="gone"):
        pictures.thumbnail(str(tmp_path / "nowhere.jpg"), 120)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadablePictureError, match="unreadable"):
        pictures.thumbnail(str(broken), 120)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (50, 40)).save(path)
    assert decoded(Pictures(tmp_path, Protocol()).thumbnail(str(path), 120)).mode == "RGB"


def test_data_uri_is_a_jpeg():
    assert decoded(data_uri(Image.new("RGB", (7, 5)))).format == "JPEG"

"""Every kind of file gives the right pixels or an error that names it."""

import io
import os
import pickle
import re
import struct
import time
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from retrieval_bench.data.reading import ImageError, probe_size, read_image
from retrieval_bench.settings.errors import InputError


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth 48 x 64 RGB picture."""
    y, x = np.mgrid[:48, :64]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=-1).astype(np.uint8)


def cv2_rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 90},
        {"quality": 60, "subsampling": "4:2:0"},
        {"quality": 95, "subsampling": "4:4:4"},
        {"quality": 75, "progressive": True},
        {"quality": 80, "mode": "L"},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(64, 48), (61, 37)], ids=str)
def test_jpeg_pixels_equal_those_of_opencv(tmp_path, picture, options, size):
    options = dict(options)
    noise = np.random.default_rng(0).integers(0, 60, picture.shape)
    image = Image.fromarray((picture // 2 + noise).astype(np.uint8)).resize(size).convert(options.pop("mode", "RGB"))
    image.save(tmp_path / "a.jpg", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), cv2_rgb(tmp_path / "a.jpg"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_rule_is_that_of_pillow_or_of_opencv(tmp_path, picture, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, exif=exif, quality=95)
    ignored, applied = read_image(path), read_image(path, exif="apply")
    np.testing.assert_array_equal(ignored, np.asarray(Image.open(path)))
    np.testing.assert_array_equal(applied, cv2_rgb(path))
    assert (applied.shape == ignored.shape) == (orientation < 5)
    assert probe_size(path) == ignored.shape[1::-1]
    assert probe_size(path, exif="apply") == applied.shape[1::-1]


@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 40, b"Exif\0\0MM"])
def test_unparsable_exif_is_ignored(tmp_path, picture, block):
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=95, exif=block)
    plain = read_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", exif="apply"), plain)
    assert probe_size(tmp_path / "a.jpg", exif="apply") == (64, 48)


def test_result_is_writable_contiguous_uint8(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    pixels = read_image(str(tmp_path / "a.png"))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, picture)


def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path, picture):
    grey = picture[..., 0]
    for name in ("a.png", "a.tif"):
        Image.fromarray((grey.astype(np.uint16) << 8) + 77).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.stack([grey] * 3, axis=-1))
    (tmp_path / "a.pgm").write_bytes(b"P5 64 48 65535\n" + (grey.astype(">u2") * 256 + 9).astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.pgm")[..., 1], grey)


def test_sixteen_bit_colour_keeps_the_high_byte(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), (picture[:, :, ::-1].astype(np.uint16) << 8) + 200)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)


def test_floats_between_0_and_1_scale_to_255(tmp_path, picture):
    Image.fromarray(picture[..., 1].astype(np.float32) / 255).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 2], picture[..., 1])


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, np.inf])
def test_other_floats_are_an_error(tmp_path, value):
    Image.fromarray(np.array([[0.5, value]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif.*0\.\.1"):
        read_image(tmp_path / "a.tif")


def test_32_bit_integers_are_an_error(tmp_path):
    Image.fromarray(np.array([[5, 70000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif.*32-bit"):
        read_image(tmp_path / "a.tif")


def test_alpha_is_dropped_without_compositing(tmp_path, picture):
    alpha = np.zeros((48, 64, 1), np.uint8)
    Image.fromarray(np.concatenate([picture, alpha], axis=-1)).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), picture)
    Image.fromarray(np.concatenate([picture[..., :1], alpha], axis=-1)).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), np.stack([picture[..., 0]] * 3, axis=-1))


def test_palette_bilevel_cmyk_and_webp_load(tmp_path, picture):
    image = Image.fromarray(picture)
    palette = image.quantize(256)
    palette.save(tmp_path / "p.png", transparency=3)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    image.convert("1").save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png"))) == {0, 255}
    image.convert("CMYK").save(tmp_path / "c.jpg", quality=98)
    assert np.abs(read_image(tmp_path / "c.jpg").astype(int) - picture).mean() < 6
    image.save(tmp_path / "w.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "w.webp"), picture)


def test_of_an_animation_the_first_frame_counts(tmp_path, picture):
    first = Image.fromarray(picture).quantize(64)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")] * 2, optimize=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), np.asarray(first.convert("RGB")))


def test_content_decides_not_the_extension(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), picture)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_is_an_error_unless_tolerated(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(1, 255, (120, 160, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    whole = read_image(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    for _ in range(2):
        with pytest.raises(ImageError, match=re.escape(str(path))):
            read_image(path)
        tolerated = read_image(path, tolerate_truncated=True)
        assert tolerated.shape == whole.shape
        np.testing.assert_array_equal(tolerated[:32], whole[:32])
        assert (tolerated[-1] == tolerated[-1, 0]).all()
    path.write_bytes(path.read_bytes()[:30])
    for tolerate in (False, True):
        with pytest.raises(ImageError, match=re.escape(str(path))):
            read_image(path, tolerate_truncated=tolerate)


def bomb(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(20000, 20000))
    start = time.perf_counter()
    for read in (read_image, probe_size):
        with pytest.raises(ImageError, match=r"bomb\.png.*pixels"):
            read(path)
    assert time.perf_counter() - start < 1


def test_pixel_limit_is_a_setting_and_pillows_warning_is_none(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png.*3,072 pixels.*100"):
        read_image(tmp_path / "a.png", max_pixels=100)
    (tmp_path / "large.png").write_bytes(bomb(11000, 9000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe_size(tmp_path / "large.png") == (11000, 9000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"just text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_no_image_is_an_error(tmp_path, content, says):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, probe_size):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_is_no_file_is_an_error(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, says in {
        "folder.jpg": "folder",
        "a.jpg": "loop",
        "dangling.jpg": "no such file",
        "missing.jpg": "no such file",
        "pipe.jpg": "not a regular file",
    }.items():
        with pytest.raises(ImageError, match=f"{re.escape(str(tmp_path / name))}.*{says}"):
            read_image(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission_is_an_error(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError, match=r"a\.png.*permission"):
        read_image(tmp_path / "a.png")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageError("x.jpg", "the file is empty")))
    assert isinstance(error, InputError)
    assert (str(error), error.path, error.reason) == ("x.jpg: the file is empty", Path("x.jpg"), "the file is empty")


@pytest.mark.parametrize("seed", range(20))
def test_damage_never_raises_anything_else(tmp_path, seed, picture):
    rng = np.random.default_rng(seed)
    kind = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"][seed % 6]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place in rng.integers(4, min(len(content), 400), 12):
        content[place] = rng.integers(256)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    results = []
    for _ in range(2):
        try:
            results.append(read_image(path, max_pixels=1_000_000).tobytes())
        except ImageError as error:
            results.append(str(error))
    assert results[0] == results[1]
    assert isinstance(results[0], bytes) or str(path) in results[0]


REFERENCE = (141.1, 141.0, 154.2)
LOADED = {
    "ok_reference.png": ((320, 240), REFERENCE, 1.5),
    "ok_reference.jpg": ((320, 240), REFERENCE, 1.5),
    "rgb_16bit.png": ((320, 240), REFERENCE, 1.5),
    "gray_16bit.png": ((320, 240), (142.5,) * 3, 1.5),
    "float32.tif": ((320, 240), (142.5,) * 3, 1.5),
    "cmyk.jpg": ((320, 240), REFERENCE, 6),
    "gray.jpg": ((320, 240), (142.5,) * 3, 1.5),
    "gray_alpha.png": ((320, 240), (142.5,) * 3, 1.5),
    "rgba.png": ((320, 240), REFERENCE, 1.5),
    "palette_transparent.png": ((320, 240), (140.8, 140.8, 154.4), 1.5),
    "bilevel_1bit.png": ((320, 240), (212.1,) * 3, 1.5),
    "progressive.jpg": ((320, 240), REFERENCE, 1.5),
    "lossy.webp": ((320, 240), REFERENCE, 1.5),
    "plain.bmp": ((320, 240), REFERENCE, 1.5),
    "exif_orientation_6.jpg": ((96, 64), None, 0),
    "exif_orientation_6_upright.png": ((64, 96), None, 0),
    "exif_garbage.jpg": ((320, 240), REFERENCE, 1.5),
    "animated.gif": ((160, 120), (143.6, 143.6, 156.5), 1.5),
    "one_pixel.png": ((1, 1), (200, 100, 50), 1.5),
    "one_pixel.jpg": ((1, 1), (200, 100, 50), 1.5),
    "elongated_4000x8.jpg": ((4000, 8), None, 0),
    "elongated_8x4000.jpg": ((8, 4000), None, 0),
    "png_named.jpg": ((320, 240), REFERENCE, 1.5),
    "all_black.png": ((320, 240), (0, 0, 0), 0),
    "constant_gray.png": ((320, 240), (128,) * 3, 0),
    "name with spaces.jpg": ((320, 240), REFERENCE, 1.5),
    "unicode_café_建物.jpg": ((320, 240), REFERENCE, 1.5),
    "UPPER_EXT.JPG": ((320, 240), REFERENCE, 1.5),
    "two.dots.name.jpg": ((320, 240), REFERENCE, 1.5),
    "-leading-dash.jpg": ((320, 240), REFERENCE, 1.5),
    "comma,in,name.jpg": ((320, 240), REFERENCE, 1.5),
}
REFUSED = {
    "truncated_60pct.jpg",
    "truncated_header.jpg",
    "truncated.png",
    "zero_byte.jpg",
    "text_named.jpg",
    "html_error_page.jpg",
    "bomb_20000x20000.png",
    "directory_named.jpg",
}
EITHER = {"corrupt_middle.jpg": 40.0, "bad_crc.png": 1.5}
SLOW = {"large_11000x9000.png"}


def test_the_collection_of_bad_images_meets_its_fate(shared):
    folder = shared("data", "bad_images")
    assert {path.name for path in folder.iterdir()} - {"README.md"} == {*LOADED, *REFUSED, *EITHER, *SLOW}
    for name, (size, mean, tolerance) in LOADED.items():
        for pixels in (read_image(folder / name), read_image(folder / name, tolerate_truncated=True)):
            assert pixels.shape == (size[1], size[0], 3), name
            if mean is not None:
                np.testing.assert_allclose(pixels.mean((0, 1)), mean, atol=tolerance + 0.05, err_msg=name)
        assert probe_size(folder / name) == size, name
    assert set(np.unique(read_image(folder / "bilevel_1bit.png"))) == {0, 255}
    for name in REFUSED:
        with pytest.raises(ImageError, match=re.escape(str(folder / name))):
            read_image(folder / name)
    for name, tolerance in EITHER.items():
        mean = (74.0, 75.1, 114.8) if name == "corrupt_middle.jpg" else REFERENCE
        first, second = read_image(folder / name), read_image(folder / name)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first.mean((0, 1)), mean, atol=tolerance + 0.05)
    jpg, png = (read_image(folder / f"truncated{end}", tolerate_truncated=True) for end in ("_60pct.jpg", ".png"))
    np.testing.assert_allclose(jpg.mean((0, 1)), (127.0, 132.0, 147.4), atol=1.55)
    np.testing.assert_allclose(png.mean((0, 1)), (60.7, 66.5, 81.7), atol=1.55)
    with pytest.raises(ImageError):
        read_image(folder / "truncated_header.jpg", tolerate_truncated=True)
    upright = read_image(folder / "exif_orientation_6.jpg", exif="apply").astype(int)
    assert np.abs(upright - read_image(folder / "exif_orientation_6_upright.png")).mean() < 6


@pytest.mark.slow
def test_the_large_image_of_the_collection_loads(shared):
    pixels = read_image(shared("data", "bad_images") / "large_11000x9000.png")
    assert pixels.shape == (9000, 11000, 3)
    assert not pixels.any()

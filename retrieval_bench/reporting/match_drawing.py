"""Matched keypoints of a verified pair, drawn: the query crop beside the database image, lines between partners."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageEnhance

Point = tuple[float, float]

_HEIGHT = 200
_WIDEST = 560
_GAP = 8
_OVERSAMPLING = 2
_LINE_WIDTH = 3
_BRIGHTNESS = 0.72
_LINE = (255, 226, 64)


def draw_matches(
    query: Image.Image,
    database: Image.Image,
    query_points: Sequence[Point],
    database_points: Sequence[Point],
    most: int = 40,
) -> Image.Image:
    """Both pictures at one height with a line for each match.

    Args:
        query: the query crop at full size; `query_points` (M, 2) are x, y in its pixels.
        database: the whole database image; `database_points` (M, 2) are x, y in its pixels.
        most: lines drawn; of more matches, so many are taken evenly from the list.

    Returns:
        RGB, at most 560 pixels wide and 200 high.

    Raises:
        ValueError: not as many query points as database points.
    """
    pairs = list(zip(query_points, database_points, strict=True))
    if len(pairs) > most:
        pairs = [pairs[i * len(pairs) // most] for i in range(most)]
    aspects = query.width / query.height + database.width / database.height
    height = max(1, round(_OVERSAMPLING * min(_HEIGHT, (_WIDEST - _GAP) / aspects)))
    left, left_scale = _fitted(query, height)
    right, right_scale = _fitted(database, height)
    start_of_right = left.width + _GAP * _OVERSAMPLING
    canvas = Image.new("RGB", (start_of_right + right.width, height), "black")
    # Darkened pictures under light lines: the lines read in grey and on any photograph.
    for picture, offset in ((left, 0), (right, start_of_right)):
        canvas.paste(ImageEnhance.Brightness(picture).enhance(_BRIGHTNESS), (offset, 0))
    draw = ImageDraw.Draw(canvas)
    ends = [(_placed(a, left_scale, 0), _placed(b, right_scale, start_of_right)) for a, b in pairs]
    for start, end in ends:
        draw.line((start, end), fill=_LINE, width=_LINE_WIDTH)
    radius = 2.5 * _OVERSAMPLING
    for x, y in (point for pair in ends for point in pair):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="white", outline="black", width=2)
    size = max(1, canvas.width // _OVERSAMPLING), max(1, canvas.height // _OVERSAMPLING)
    return canvas.resize(size, Image.Resampling.LANCZOS)


def _fitted(picture: Image.Image, height: int) -> tuple[Image.Image, tuple[float, float]]:
    size = max(1, round(picture.width * height / picture.height)), height
    fitted = picture.resize(size, Image.Resampling.BICUBIC)
    return fitted, (size[0] / picture.width, size[1] / picture.height)


def _placed(point: Point, scale: tuple[float, float], offset: int) -> Point:
    # A keypoint is the centre of a pixel, a drawing coordinate its corner.
    return (point[0] + 0.5) * scale[0] + offset, (point[1] + 0.5) * scale[1]

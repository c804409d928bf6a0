"""Protocols that several methods share."""

from retrieval_bench.settings.protocol import Protocol


def pycls_protocol(scales: tuple[float, ...], scale_resize: str = "size") -> Protocol:
    """How the pycls descendants read images (DELG-PyTorch, DOLG, CVNet, SENet, SuperGlobal, CFCD).

    ``cv2.imread``: whole size, BGR, EXIF orientation applied; queries cut to their boxes, truncated to whole pixels,
    before anything else.

    Args:
        scales: of the image pyramid.
        scale_resize: as in `Protocol`.
    """
    return Protocol(
        exif="apply",
        crop_rounding="truncate",
        image_size=None,
        resize="none",
        query_size="full",
        channel_order="bgr",
        scales=scales,
        scale_resize=scale_resize,  # type: ignore[arg-type]
    )

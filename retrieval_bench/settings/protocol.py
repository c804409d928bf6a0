"""How an image becomes a descriptor: the protocol that belongs to a method's weights."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Protocol(BaseModel):
    """The reading, cropping, resizing, normalising and merging that a checkpoint was published with.

    It belongs to the method, because it came with its weights; datasets only give files and boxes. Mean, deviation and
    channel order give way to what other weights expect that the backbone starts from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exif: Literal["ignore", "apply"] = Field(
        default="ignore", description="PIL-based code ignores the EXIF orientation, cv2.imread applies it"
    )
    crop_rounding: Literal["round", "truncate"] = Field(
        default="round", description="query box to whole pixels: half to even (PIL crop) or towards zero (int())"
    )
    image_size: int | None = Field(
        default=1024, ge=1, description="longest side in pixels after resizing; null leaves the size alone"
    )
    resize: Literal["thumbnail-lanczos", "bilinear-antialias", "none"] = Field(
        default="thumbnail-lanczos", description="kernel of the size limit; all of them only ever shrink"
    )
    query_size: Literal["object-scale", "full"] = Field(
        default="object-scale",
        description="object-scale: a crop is limited to image_size * longest(crop) / longest(whole image)",
    )
    channel_order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = Field(default=(0.485, 0.456, 0.406), description="in RGB order, for [0, 1]")
    std: tuple[float, float, float] = Field(default=(0.229, 0.224, 0.225), description="in RGB order, for [0, 1]")
    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1, description="image pyramid of the descriptor")
    scale_resize: Literal["scale-factor", "size", "truncate", "truncate-antialias", "cv2-area"] = Field(
        default="size",
        description="bilinear without antialias unless it says otherwise; 'size' rounds h*s and w*s half to even as "
        "cv2.resize callers do, 'truncate' takes int(h*s), 'scale-factor' keeps the sampling grid of "
        "F.interpolate(scale_factor=s), 'cv2-area' is cv2.resize(fx=s) of whole grey levels, INTER_AREA below 1",
    )
    merge: Literal["mean", "power-mean", "max", "raw-mean", "shifted-power"] = Field(
        default="mean",
        description="of unit descriptors of the scales: mean, power mean or maximum; of descriptors that are not "
        "normalised: mean, or power mean above their minimum",
    )
    merge_exponent: float | None = Field(default=None, gt=0, description="of power means; null: the pooling's p")
    small_side: int = Field(default=1, ge=1, description="scales at which a side is shorter are left out")
    small_target: int = Field(
        default=1, ge=1, description="where no scale is left, the image is enlarged until both sides have this length"
    )

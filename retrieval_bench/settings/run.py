"""What a run is: one typed object, from YAML files and ``section.key=value`` overrides."""

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, field_validator

from retrieval_bench.settings.recipe import Recipe


class PartSettings(BaseModel):
    """A part by name; every other key is an option of that part, checked where the part is built."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="constants")

    name: str | None = Field(default=None, description="null keeps the method's own")

    @property
    def options(self) -> dict[str, Any]:
        """The part's options."""
        return dict(self.model_extra or {})

    def given(self) -> dict[str, Any] | None:
        """What the user gave, or None where it is nothing."""
        part = {"name": self.name} if self.name is not None else {}
        return {**part, **self.options} or None


class DatasetSettings(PartSettings):
    """A dataset by name, with its options."""

    name: str | None = "synthetic"
    root: Path | None = Field(default=None, description="its folder; null: <data folder>/<name>")


_NULLABLE: dict[str, Any] = {
    name: (Optional[field.annotation], Field(default=None, description=field.description))  # noqa: UP045
    for name, field in Recipe.model_fields.items()
}
RecipeOverrides = create_model("RecipeOverrides", __config__=ConfigDict(extra="forbid"), **_NULLABLE)
"""Every key of a recipe, null where the recipe's value stands."""


class TrainSettings(RecipeOverrides):  # type: ignore[valid-type, misc]
    """Whether and how the method is trained before it is evaluated."""

    enabled: bool | None = Field(default=None, description="null: train unless weights are given")
    recipe: str = Field(default="base", description="one of the method's recipes; keys of a recipe override it")
    cache_images: bool = Field(default=True, description="keep decoded training images in memory where they fit")
    stored_features: bool | None = Field(
        default=None,
        description="train and evaluate on stored feature maps of the frozen backbone, one centre view per training "
        "image; null: where freeze=backbone, the method can and views=random was not asked for",
    )
    feature_dtype: Literal["float32", "float16"] = Field(
        default="float32", description="of stored feature maps; float32 keeps every bit, float16 halves the store"
    )
    start_images: int | None = Field(
        default=None,
        ge=0,
        description="the most training images from which a pooling starts that begins from data (netvlad 500, how with "
        "dim 5000); null: as many as it asks for; 0: it starts at random",
    )
    validation_share: float = Field(default=0.05, ge=0, lt=1, description="of each training class, held out")
    validate_every: int = Field(default=1, ge=1, description="epochs between two validations")


class ExtractSettings(BaseModel):
    """How descriptors are computed. None keeps the method's published protocol."""

    model_config = ConfigDict(extra="forbid")

    scales: tuple[float, ...] | None = Field(
        default=None, min_length=1, description="image pyramid of the descriptor; overrides the protocol's"
    )
    image_size: int | None = Field(default=None, ge=1, description="longest side; overrides the protocol's")
    merge: Literal["mean", "power-mean", "max", "raw-mean", "shifted-power"] | None = Field(
        default=None, description="how descriptors of the scales are merged; overrides the protocol's"
    )
    batch_size: int = Field(default=16, ge=1, description="the most images of like shape that are described together")
    dtype: Literal["float16", "float32"] = Field(default="float32", description="of stored descriptors")
    on_error: Literal["error", "skip"] = Field(default="error", description="the fate of an image that cannot be read")


class WhiteningSettings(BaseModel):
    """Whitening of finished descriptors, after the scales are merged and before the search."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["none", "pca", "learned", "file"] = Field(
        default="none", description="pca, or learned from matching pairs; both learnt on training images"
    )
    dim: int | None = Field(default=None, ge=1, description="dimensions kept; null: all")
    images: int = Field(default=1000, ge=2, description="training images that it is learnt on, drawn by the seed")
    path: Path | None = Field(default=None, description="of kind 'file': a whitening saved by an earlier run")


class SearchSettings(BaseModel):
    """How the database is searched."""

    model_config = ConfigDict(extra="forbid")

    backend: str = Field(default="torch", description="torch, or faiss where it is installed; both are exact")
    k: int | None = Field(default=None, ge=1, description="rows ranked per query; null: all")


class EvaluateSettings(BaseModel):
    """How certain the figures are."""

    model_config = ConfigDict(extra="forbid")

    resamples: int = Field(default=2000, ge=0, description="of the bootstrap interval; 0 leaves it out")


class RuntimeSettings(BaseModel):
    """Where a run computes."""

    model_config = ConfigDict(extra="forbid")

    accelerator: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="auto: a GPU where there is one")
    devices: int = Field(default=1, ge=1, description="that a training uses, each with a process of its own")
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        default="auto", description="auto: bf16-mixed on a GPU that has it, else 16-mixed; float32 on a CPU"
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="loader processes; null: half the cores, at most 2, in training and none in extraction",
    )


def _absolute(file: Path) -> Path:
    """The same file from wherever the settings are read again."""
    return file.expanduser().absolute()


class RunSettings(BaseModel):
    """Everything that decides a run."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    method: str = Field(default="gem", description="as in `list methods`; commands want it named")
    title: str | None = Field(default=None, description="how tables call the run; null: method and swapped parts")
    dataset: DatasetSettings = Field(default=DatasetSettings(), description="as in `list datasets`")
    backbone: PartSettings = Field(default=PartSettings(), description="as in `list backbones`; null: the method's own")
    pooling: PartSettings = Field(default=PartSettings(), description="as in `list poolings`; null: the method's own")
    loss: PartSettings = Field(default=PartSettings(), description="as in `list losses`; null: the method's own")
    rerank: PartSettings = Field(default=PartSettings(), description="re-ranker, as in `list rerankers`; null: none")
    model: dict[str, Any] = Field(default_factory=dict, description="options of the method, such as dim")
    weights: Path | None = Field(default=None, description="a checkpoint of ours or in the authors' format")
    train: TrainSettings = TrainSettings()
    extract: ExtractSettings = ExtractSettings()
    whitening: WhiteningSettings = WhiteningSettings()
    search: SearchSettings = SearchSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    seed: int = Field(default=0, ge=0, description="of everything that is drawn at random")
    runs: Path = Field(default=Path("runs"), description="where run folders go")
    plugins: list[Annotated[Path, AfterValidator(_absolute)]] = Field(
        default_factory=list, description="Python files that register parts"
    )

    @field_validator("plugins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value

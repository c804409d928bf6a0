"""The protocol card: what a reader must know about a figure before comparing it with another."""

from pydantic import BaseModel, ConfigDict, Field

from retrieval_bench.settings.protocol import Protocol

COMPARABLE = ("dataset", "images", "ground_truth_digest", "protocol", "whitening", "tie_rule", "truncated_at")
"""Fields in which two cards must agree for their mAP to stand in one column without a remark."""


class ProtocolCard(BaseModel):
    """How the figures of one record were made."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    images: str = Field(description="release of the images, such as 'blurred faces (2022)' or 'synthetic, seed 0'")
    dataset_facts: dict[str, str] = Field(default_factory=dict)
    ground_truth_digest: str = Field(description="sha256 of the canonical ground truth with its image lists")
    queries: int
    database: int
    protocol: Protocol
    normalisation: str = Field(
        default="the method",
        description="who says the protocol's mean, deviation and channel order: the method, or what its backbone "
        "started from",
    )
    query_crop: str = Field(description="whether and how queries are cut to their boxes")
    whitening: str = Field(default="none", description="what it was learnt on, or none")
    search: str = Field(description="backend and metric, such as 'exact inner product (torch)'")
    tie_rule: str = "equal scores: smaller database row first"
    truncated_at: int | None = Field(default=None, description="only that many rows were ranked; null: all")
    reranking: str = Field(default="none", description="re-ranker and its settings")
    reranked: int = Field(default=0, description="candidates re-ranked per query")
    ground_truth_in_candidates: bool = Field(default=False, description="ground truth chose what was re-ranked")
    train_set: str = Field(description="what the weights were trained on")
    training: str = Field(default="", description="what learnt in this run, and on which views of the images")
    weights: str = Field(description="'trained in this run', or the file's name and format")
    weights_digest: str = Field(description="sha256 over the model's tensors")
    implementation: str = Field(default="re-implementation", description="how far the code is the authors'")
    warnings: list[str] = Field(default_factory=list, description="leaks, tuning on the test, skipped images")

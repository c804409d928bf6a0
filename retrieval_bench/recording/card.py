"""The protocol card of a run."""

import hashlib
import json

from retrieval_bench.extraction.digest import model_digest
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.swapping import swapped_parts
from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import RetrievalDataset


def ground_truth_digest(dataset: RetrievalDataset) -> str:
    """sha256 over image names, boxes and labels, in canonical JSON."""
    content = {
        "queries": list(dataset.queries.names),
        "database": list(dataset.database.names),
        "boxes": [None if box is None else [float(side) for side in box] for box in dataset.queries.boxes],
        "labels": [
            {level: sorted(int(row) for row in entry.get(level, [])) for level in ("easy", "hard", "junk")}
            for entry in dataset.ground_truth
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def protocol_card(
    settings: RunSettings,
    dataset: RetrievalDataset,
    model: RetrievalModule,
    *,
    ranked: int,
    whitening: str = "none",
    reranking: str = "none",
    reranked: int = 0,
    ground_truth_in_candidates: bool = False,
    training: str = "",
    warnings: list[str],
) -> ProtocolCard:
    """The card of a run.

    Args:
        settings, dataset, model: of the run.
        ranked: database rows ranked per query.
        whitening: of finished descriptors.
        reranking, reranked, ground_truth_in_candidates: of the second stage.
        training: what learnt, on which views.
        warnings: what a reader has to know.
    """
    protocol = model.protocol
    boxed = sum(box is not None for box in dataset.queries.boxes)
    rounding = {"round": "rounded to whole pixels", "truncate": "truncated to whole pixels"}[protocol.crop_rounding]
    backend = {"torch": "exact inner product (torch)"}.get(settings.search.backend, settings.search.backend)
    return ProtocolCard(
        dataset=dataset.name,
        images=dataset.facts.get("images", str(dataset.root.name)),
        dataset_facts={key: value for key, value in dataset.facts.items() if key != "images"},
        ground_truth_digest=ground_truth_digest(dataset),
        queries=len(dataset.queries),
        database=len(dataset.database),
        protocol=protocol,
        normalisation=model.normalisation_source,
        query_crop=f"{boxed} of {len(dataset.queries)} queries cut to their boxes, {rounding}" if boxed else "none",
        whitening=whitening,
        search=backend,
        truncated_at=None if ranked == len(dataset.database) else ranked,
        reranking=reranking,
        reranked=reranked,
        ground_truth_in_candidates=ground_truth_in_candidates,
        train_set=model.trained_on,
        training=training,
        weights=_weights(settings, model.weights_source),
        weights_digest=model_digest(model),
        implementation=_implementation(model),
        warnings=warnings,
    )


def _implementation(model: RetrievalModule) -> str:
    """How far the code is the authors', with the parts that are not."""
    swapped = ", ".join(f"{kind} {name}" for kind, name in swapped_parts(model).items())
    return f"{model.card.implementation}; here with {swapped}" if swapped else model.card.implementation


def _weights(settings: RunSettings, source: str) -> str:
    """Where the weights came from; of weights that were trained further, the file too."""
    start = settings.weights
    return source if start is None or start.name in source else f"{start.name}, {source}"

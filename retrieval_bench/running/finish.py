"""The last step of a run: everything that its folder keeps."""

import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from retrieval_bench.evaluation import Result
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.swapping import PARTS, changed_options, swapped_parts
from retrieval_bench.recording.card import protocol_card
from retrieval_bench.recording.figures import per_query_table, stage
from retrieval_bench.recording.gallery import Verify, gallery
from retrieval_bench.recording.parts import part_options, plugin_files
from retrieval_bench.recording.provenance import provenance
from retrieval_bench.running.frozen import training_note
from retrieval_bench.running.rankings import write_rankings
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.options import part_with, value_text
from retrieval_bench.settings.record import RunRecord
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.whole_file import whole_file, write_text
from retrieval_bench.training.fit import Trained
from retrieval_bench.values.dataset import RetrievalDataset
from retrieval_bench.values.ranking import LevelRankings


def make_record(
    state: RunState,
    model: RetrievalModule,
    dataset: RetrievalDataset,
    trained: Trained | None,
    results: Mapping[str, Result],
    ranked: int,
) -> RunRecord:
    """The record of a run.

    Args:
        state: costs and warnings.
        model, dataset: as used.
        trained: the training, if there was one.
        results: by stage, ``global`` first.
        ranked: database rows ranked per query.
    """
    settings = state.settings
    state.cost("parameters", sum(p.numel() for p in model.parameters()) / 1e6, "million")
    state.cost("peak memory", _peak_mebibytes(), "MiB")
    if torch.cuda.is_available():
        state.cost("peak GPU memory", torch.cuda.max_memory_allocated() / 2**20, "MiB")
    parts = _names(model)
    swapped = swapped_parts(model)
    reranker = settings.rerank.name
    warnings = [*state.warnings]
    if overlap := dataset.facts.get("train/test overlap"):
        warnings.append(f"training and test overlap: {overlap}")
    if state.ground_truth_used:
        warnings.append("ground truth chose which candidates were re-ranked")
    options = ", ".join(f"{key}={value}" for key, value in settings.rerank.options.items())
    return RunRecord(
        run_id=state.folder.name,
        title=settings.title or run_title(model, swapped, settings),
        method=settings.method,
        parts=parts
        | {kind: name for kind, name in swapped.items() if kind == "batch attention"}
        | ({} if reranker is None else {"re-ranker": reranker}),
        part_options=part_options(settings, model),
        plugin_files=plugin_files(settings, model),
        dataset=dataset.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stages=[
            stage(name, result, dataset.query_groups, settings.evaluate.resamples, settings.seed)
            for name, result in results.items()
        ],
        costs=state.costs,
        card=protocol_card(
            settings,
            dataset,
            model,
            ranked=ranked,
            whitening=state.whitening,
            reranking="none" if reranker is None else f"{reranker} ({options or 'defaults'})",
            reranked=state.reranked,
            ground_truth_in_candidates=state.ground_truth_used,
            training=training_note(settings, model, trained),
            warnings=warnings,
        ),
        provenance=provenance(settings.seed, str(model.device.type), state.content, state.commit),
        published=[figure for figure in model.card.published if figure.dataset == dataset.name],
        validation=[] if trained is None else trained.history,
    )


def write_run(
    folder: Path,
    record: RunRecord,
    dataset: RetrievalDataset,
    stages: Mapping[str, LevelRankings],
    results: Mapping[str, Result],
    verify: Verify | None,
) -> None:
    """Write the per-query table, the rankings and the gallery, then the record, which makes the run a finished one."""
    table = per_query_table(dataset.queries.names, dataset.query_groups, results)
    with whole_file(folder / "per_query.parquet") as partial:
        table.to_parquet(partial, index=False)

    write_rankings(folder, stages)
    last, first = stages[list(stages)[-1]].medium, stages["global"].medium
    drawn = gallery(dataset, last, first if len(stages) > 1 else None, verify)
    write_text(folder / "gallery.json", drawn.model_dump_json())
    record.write(folder)


def run_title(model: RetrievalModule, swapped: Mapping[str, str], settings: RunSettings) -> str:
    """Method and backbone, and what is not the method's own, came it from the user or with the weights.

    A number that was learnt, such as an exponent, is no option that somebody chose unless it was set.
    """
    chosen = {kind for kind, part in (("pooling", settings.pooling), ("loss", settings.loss)) if part.name is not None}
    tensors = model.state_dict()

    def learnt(kind: str, key: str) -> bool:
        return f"{kind}.{key}" in tensors and key not in getattr(settings, kind).options

    options = {
        kind: {key: value_text(value) for key, value in changed.items() if not learnt(kind, key)}
        for kind, changed in changed_options(model).items()
    }
    named = _names(model) | dict(swapped)
    told = [
        f"{kind} {part_with(named[kind], options.get(kind, {}))}"
        for kind in ("pooling", "loss", "batch attention")
        # Presets set options of the method's own loss: they are in the record, and in no title.
        if kind in chosen or kind in swapped or (kind == "pooling" and kind in options)
    ]
    return ", ".join([f"{model.card.title} {named['backbone']}", *told])


def _names(model: RetrievalModule) -> dict[str, str]:
    return {kind: str(model.settings[kind]["name"]) for kind in PARTS}


def _peak_mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

"""What is known of a run before the checkpoint is there that it starts from."""

from collections.abc import Mapping

from retrieval_bench.settings.loading import merge
from retrieval_bench.settings.run import PartSettings, RunSettings, WhiteningSettings
from retrieval_bench.studies.plan import Planned, waiting


def foreseen(run: Planned, first: Mapping[str, Planned]) -> RunSettings | None:
    """Settings that are right or wrong as those of the run are, as far as that can be told without its checkpoint.

    The parts of weights that are yet to be trained are those of the run that trains them. A re-ranker or a whitening
    that waits for a checkpoint is left out.

    Args:
        run: of a study.
        first: the runs that others start from, by name.

    Returns:
        the settings; None where the weights come from another method, which says nothing of the parts.
    """
    settings = run.settings
    changed: dict[str, object] = {}
    if waiting(settings.rerank.model_dump()):
        changed["rerank"] = PartSettings()
    if waiting(settings.whitening.model_dump(mode="json")):
        changed["whitening"] = WhiteningSettings()
    if waiting(settings.backbone.options):
        kept = {key: value for key, value in settings.backbone.model_dump().items() if not waiting(value)}
        changed["backbone"] = PartSettings.model_validate(kept)
    name = waiting(str(settings.weights))
    if name is None:
        return settings.model_copy(update=changed)
    start = first[name].settings
    if start.method != settings.method:
        return None
    for kind in ("backbone", "pooling", "loss", "model"):
        values = {kind: _plain(start, kind)}
        merge(values, {kind: _plain(settings, kind)})
        changed[kind] = values[kind] if kind == "model" else PartSettings.model_validate(values[kind])
    enabled = False if settings.train.enabled is None else settings.train.enabled
    train = settings.train.model_copy(update={"enabled": enabled})
    return settings.model_copy(update={**changed, "weights": None, "train": train})


def _plain(settings: RunSettings, kind: str) -> dict[str, object]:
    part = getattr(settings, kind)
    return dict(part if isinstance(part, dict) else part.given() or {})

"""The parts of a run in words, and runs told apart that differ in these only."""

from collections import defaultdict
from collections.abc import Sequence

from retrieval_bench.reporting.cells import NOTHING
from retrieval_bench.reporting.comparability import DIGEST_LETTERS, shown
from retrieval_bench.settings.options import part_with
from retrieval_bench.settings.record import RunRecord


def parts_of(record: RunRecord) -> dict[str, str]:
    """Kind -> name of every part of a run, its method and dataset among them."""
    return {"method": record.method, "dataset": record.dataset, **record.parts}


def part_text(record: RunRecord, kind: str) -> str:
    """A part with the options that are not its defaults, and its file where it is the user's own."""
    text = part_with(parts_of(record)[kind], record.part_options.get(kind, {}))
    file = record.plugin_files.get(kind)
    if file is None:
        return text
    digest = f", sha256 {shown(file.sha256)}" if file.sha256 else ""
    return f"{text} from {file.file} (plug-in{digest})"


def distinct_titles(records: Sequence[RunRecord]) -> list[str]:
    """The titles of runs, in their order; of equal ones, each says in which options, own files or seed its run differs.

    Runs that differ in nothing of this, but in how they were trained, say which run they are.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.dataset, record.title].append(record)
    titles = []
    for record in records:
        facts = [_facts(other) for other in groups[record.dataset, record.title]]
        keys = dict.fromkeys(key for fact in facts for key in fact)
        differing = [key for key in keys if len({fact.get(key) for fact in facts}) > 1]
        said = ", ".join(f"{key} {_facts(record).get(key, 'default')}" for key in differing)
        titles.append(f"{record.title} [{said}]" if said else record.title)
    runs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record, title in zip(records, titles, strict=True):
        runs[record.dataset, title].add(record.run_id)
    return [
        f"{title} (run {record.run_id})" if len(runs[record.dataset, title]) > 1 else title
        for record, title in zip(records, titles, strict=True)
    ]


def _facts(record: RunRecord) -> dict[str, str]:
    options = {f"{kind} {key}": value for kind, values in record.part_options.items() for key, value in values.items()}
    digests = {
        f"{kind} code": file.sha256[:DIGEST_LETTERS] for kind, file in record.plugin_files.items() if file.sha256
    }
    return {"seed": record.provenance.get("seed", NOTHING)} | options | digests

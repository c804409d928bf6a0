"""The protocol card in words: what a reader must know before comparing the figure."""

from retrieval_bench.reporting.cells import Cell, Column, Table
from retrieval_bench.reporting.comparability import DIGEST_LETTERS, shown
from retrieval_bench.reporting.part_lines import part_text, parts_of
from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.record import RunRecord

_PROTOCOL_WORDS = {
    "exif": "EXIF orientation",
    "crop_rounding": "query box to whole pixels",
    "image_size": "longest side (px)",
    "resize": "resizing kernel",
    "query_size": "size of a query crop",
    "channel_order": "channel order",
    "mean": "normalisation mean",
    "std": "normalisation deviation",
    "scales": "scales",
    "scale_resize": "resizing of scales",
    "merge": "merging of scales",
    "merge_exponent": "exponent of the merging",
    "small_side": "scales left out below a side of (px)",
    "small_target": "small images enlarged to a side of (px)",
}


def compact_card(record: RunRecord) -> Table:
    """The lines that move mAP most, for the console."""
    card, protocol = record.card, record.card.protocol
    reranking = f"{card.reranking}, {card.reranked} candidates" if card.reranked else card.reranking
    return _table(
        [
            ("images", f"{card.dataset}: {card.images}"),
            ("ground truth", f"{shown(card.ground_truth_digest)}; {card.queries} queries, {card.database} database"),
            ("query crop", card.query_crop),
            ("pixel values", str(Normalisation.of(protocol, card.normalisation))),
            ("size", f"{_size(protocol)}; query crops: {protocol.query_size}"),
            ("scales", f"{shown(protocol.scales)}; {protocol.merge}"),
            ("whitening", card.whitening),
            ("search", f"{card.search}; {_cut(card)}"),
            ("re-ranking", reranking),
            *((kind, part_text(record, kind)) for kind in _told_parts(record)),
            ("training set", card.train_set),
            *([("training", card.training)] if card.training else []),
            ("weights", f"{card.weights} ({shown(card.weights_digest)})"),
            ("implementation", card.implementation),
        ]
    )


def full_card(record: RunRecord) -> Table:
    """Every field of the card, digests whole."""
    card = record.card
    protocol = [
        (_PROTOCOL_WORDS.get(name, name.replace("_", " ")), shown(getattr(card.protocol, name)))
        for name in Protocol.model_fields
    ]
    if card.protocol.image_size is None:
        protocol = [(word, "as it is" if word == _PROTOCOL_WORDS["image_size"] else text) for word, text in protocol]
    return _table(
        [
            ("dataset", card.dataset),
            ("images", card.images),
            *((name.replace("_", " "), text) for name, text in card.dataset_facts.items()),
            ("ground truth (sha256)", card.ground_truth_digest),
            ("queries", str(card.queries)),
            ("database", str(card.database)),
            ("query crop", card.query_crop),
            *protocol,
            ("normalisation from", card.normalisation),
            ("whitening", card.whitening),
            ("search", card.search),
            ("ties", card.tie_rule),
            ("ranked rows", "all" if card.truncated_at is None else f"the first {card.truncated_at}"),
            ("re-ranking", card.reranking),
            ("candidates re-ranked", str(card.reranked)),
            ("ground truth chose candidates", shown(card.ground_truth_in_candidates)),
            ("training set", card.train_set),
            *([("training", card.training)] if card.training else []),
            ("weights", card.weights),
            ("weights (sha256)", card.weights_digest),
            ("implementation", card.implementation),
        ]
    )


def provenance_table(record: RunRecord) -> Table:
    """Where and with what the run was made, and of which parts, with their options and own files."""
    made = [("run", record.run_id), ("created", record.created)]
    parts = [(kind, part_text(record, kind)) for kind in parts_of(record)]
    rows = tuple((Cell(label), Cell(text)) for label, text in [*made, *parts, *record.provenance.items()])
    return Table("Provenance", (Column("", numeric=False), Column("", numeric=False)), rows)


def protocol_line(card: ProtocolCard) -> str:
    """What a figure must not be quoted without, in one line: images, ground truth, sizes, scales, whitening, search."""
    protocol = card.protocol
    return (
        f"Protocol: {card.dataset} ({card.images}; ground truth {card.ground_truth_digest[:DIGEST_LETTERS]}), "
        f"{card.queries} queries, {card.database} database images; query crop: {card.query_crop}; {_size(protocol)}, "
        f"query crops {protocol.query_size}; scales {shown(protocol.scales)}, merged by {protocol.merge}; whitening: "
        f"{card.whitening}; {_cut(card)}; {card.tie_rule}."
    )


def _size(protocol: Protocol) -> str:
    return "whole size" if protocol.image_size is None else f"longest side {protocol.image_size} px, {protocol.resize}"


def _cut(card: ProtocolCard) -> str:
    return "all rows ranked" if card.truncated_at is None else f"only the first {card.truncated_at} rows ranked"


def _told_parts(record: RunRecord) -> list[str]:
    """The parts of which the console tells: all that a method stands on, and what else has options or is a plug-in."""
    known = [*record.part_options, *record.plugin_files]
    return [kind for kind in parts_of(record) if kind in record.parts or kind in known]


def _table(rows: list[tuple[str, str]]) -> Table:
    columns = (Column("", numeric=False), Column("", numeric=False))
    return Table("Protocol card", columns, tuple((Cell(label), Cell(text)) for label, text in rows))

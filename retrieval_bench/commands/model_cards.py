"""The cards of what has to be built to be described: methods and backbones. Nothing is downloaded."""

from collections import defaultdict
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.backbones import BACKBONES, Backbone, create_backbone
from retrieval_bench.backbones.storage import without_storage
from retrieval_bench.backbones.timm_adapter import TimmBackbone
from retrieval_bench.commands.cards import Facts, facts_of, file_of, print_facts, print_head, print_options
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS, create_model
from retrieval_bench.reporting.terminal import PROSE, print_table
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.options import default_text, options_of, paragraphs
from retrieval_bench.settings.record import Published

MOST_STAGES = 6


def print_method(console: Console, name: str) -> None:
    """Print a method: paper, code, protocol, parts, recipes, options and what is published.

    Raises:
        InputError: there is no such method.
    """
    part: Any = METHODS.get(name)
    card = part.card
    print_head(console, name, "method", [f"{card.title}. {' '.join(paragraphs(part.__doc__)[:1])}"])
    facts: Facts = [("paper", card.paper), ("code", card.code), ("here", card.implementation)]
    facts += _built_facts(without_storage(lambda: create_model(name)))
    for recipe, values in part.recipes.items():
        changed = ", ".join(
            f"{key}={default_text(value)}" for key, value in values.model_dump(exclude_defaults=True).items()
        )
        facts.append(("recipes", f"{recipe}: {changed or 'the common values'}"))
    facts += [("reads", f"checkpoints of {', '.join(part.loads_from)}")] if part.loads_from else []
    print_facts(console, [*facts, ("file", file_of(part))])
    given = {*KINDS["method"].given, "backbone", "pooling", "loss"}
    print_options(console, options_of(part, given), "model")
    print_published(console, card.published)


def print_published(console: Console, figures: tuple[Published, ...]) -> None:
    """Print the authors' figures, a row per variant and stage."""
    if not figures:
        return
    columns = sorted({(one.dataset, one.level) for one in figures}, key=lambda pair: (pair[1] != "medium", pair))
    rows: dict[tuple[str, str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for one in figures:
        rows[one.variant, one.stage, one.source][one.dataset, one.level] = one.map
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("published mAP", max_width=PROSE // 2)
    table.add_column("source", max_width=PROSE // 2)
    for dataset, level in columns:
        table.add_column(f"{dataset}\n{level}", justify="right", no_wrap=True)
    for (variant, stage, source), values in rows.items():
        title = variant if stage == "global" else f"{variant}, {stage}"
        cells = [f"{100 * values[column]:.1f}" if column in values else "" for column in columns]
        table.add_row(Text(title), Text(source), *cells)
    console.print()
    print_table(console, table, indent=2)


def print_backbone(console: Console, name: str) -> None:
    """Print a backbone: its stages with channels and strides, tokens and parameters.

    Raises:
        InputError: there is no such backbone, or it gives no feature maps.
    """
    built = _all_stages(name)
    own = name in BACKBONES.names()
    part: Any = BACKBONES.get(name) if own else None
    texts = paragraphs(part.__doc__)[:1] if own else ["A timm model without its classifier."]
    print_head(console, name, "backbone", texts)
    stages = list(zip(built.strides, built.channels, strict=True))
    facts: Facts = [
        ("stages", f"{place - len(stages)}: stride {stride}, {channels} channels")
        for place, (stride, channels) in enumerate(stages)
    ]
    if len(stages) == MOST_STAGES:
        facts.append(("stages", "and earlier ones"))
    facts.append(("tokens", f"{_token_channels(name)} channels" if _token_channels(name) else "none"))
    facts.append(("parameters", f"{sum(one.numel() for one in built.parameters()) / 1e6:.1f} million"))
    if not own and isinstance(built, TimmBackbone):
        facts += _timm_facts(name)
        facts.append(("they expect", str(built.expected())))
    print_facts(console, facts + (facts_of("backbone", part) if own else []))
    options = options_of(part, KINDS["backbone"].given) if own else options_of(create_backbone, _GIVEN)
    print_options(console, options, "backbone")


_GIVEN = {"name", "out_stages", "tokens"}


def _built_facts(model: RetrievalModule) -> Facts:
    parts = {kind: model.settings[kind] for kind in ("backbone", "pooling", "loss")}
    protocol = model.protocol
    scales = ", ".join(f"{scale:.4g}" for scale in protocol.scales)
    size = "whole images" if protocol.image_size is None else f"longest side {protocol.image_size}"
    return [
        *(("parts", f"{kind}: {_part_text(part)}") for kind, part in parts.items()),
        ("protocol", f"{size}, scales {scales}, merged by {protocol.merge}, {protocol.channel_order}"),
        ("descriptor", f"{model.descriptor_dim} dimensions"),
        ("parameters", f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f} million, without a classifier"),
    ]


def _part_text(part: dict[str, Any]) -> str:
    options = ", ".join(f"{key}={default_text(value)}" for key, value in part.items() if key != "name")
    return f"{part['name']} ({options})" if options else str(part["name"])


def _stages(name: str, count: int, *, tokens: bool = False) -> Backbone:
    stages = tuple(range(-count, 0))
    return without_storage(lambda: create_backbone(name, out_stages=stages, tokens=tokens))


def _all_stages(name: str) -> Backbone:
    built = _stages(name, 1)
    for count in range(2, MOST_STAGES + 1):
        try:
            built = _stages(name, count)
        except InputError:
            break
    return built


def _token_channels(name: str) -> int | None:
    try:
        return _stages(name, 1, tokens=True).token_channels
    except InputError:
        return None


def _timm_facts(name: str) -> Facts:
    import timm

    architecture = name.partition(".")[0]
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    config = timm.get_pretrained_cfg(name)
    facts: Facts = []
    if config is not None and config.input_size:
        facts.append(("trained at", f"{config.input_size[1]} x {config.input_size[2]} pixels"))
    facts.append(("weights", ", ".join(tags) or "timm has none"))
    return facts

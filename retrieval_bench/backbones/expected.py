"""What timm's weights expect of pixel values, as their configuration says."""

from collections.abc import Mapping
from typing import Any

import timm
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from retrieval_bench.settings.normalisation import Normalisation


def of_config(config: Mapping[str, Any], source: str) -> Normalisation:
    """Read a configuration: of a built model, or ``config.json`` on the hub. All of timm's weights are for RGB.

    Raises:
        InputError: a mean or deviation that is not three numbers.
    """
    # timm, too, takes ImageNet's where a configuration says nothing.
    given = {
        "mean": config.get("mean") or IMAGENET_DEFAULT_MEAN,
        "std": config.get("std") or IMAGENET_DEFAULT_STD,
        "channel_order": "rgb",
    }
    return Normalisation.read(given, source, source)


def of_model(name: str, config: Mapping[str, Any], *, from_file: bool) -> Normalisation:
    """Of the weights that timm has for a model.

    Args:
        name: as it was asked for; without a pretrained tag timm's default one counts.
        config: timm's, of the built model.
        from_file: whether the weights come from a file, so that without a tag they may be those of any.
    """
    architecture, tag = str(config.get("architecture") or name), config.get("tag")
    source = f"timm's configuration of {architecture}{f'.{tag}' if tag else ''}"
    if from_file and name == architecture and not _agree(architecture):
        source += f", a guess: tags of {architecture} differ; name that of the file, or set backbone.normalisation"
    return of_config(config, source)


def _agree(architecture: str) -> bool:
    """Whether all weights that timm has for an architecture expect the same."""
    configs = (timm.get_pretrained_cfg(name) for name in timm.list_pretrained(f"{architecture}.*"))
    return len({(tuple(config.mean), tuple(config.std)) for config in configs if config is not None}) < 2

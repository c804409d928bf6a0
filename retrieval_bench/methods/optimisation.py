"""A recipe's optimiser and learning-rate schedule."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from retrieval_bench.settings.recipe import Recipe


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Trainable parameters with their weight decay and learning-rate factor.

    ``decay="weights"`` exempts one-dimensional parameters and biases (SpCa ``add_weight_decay``). A
    ``pooling_lr_factor`` other than 1 takes the pooling's parameters out of decay and scales their rate (cirtorch);
    ``batch_attention_lr_factor`` scales the rate alone.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        exempt = recipe.decay == "weights" and (parameter.ndim <= 1 or name.endswith(".bias"))
        pooled = recipe.pooling_lr_factor != 1 and ".pooling." in f".{name}"
        attending = ".batch_attention." in f".{name}"
        factor = recipe.pooling_lr_factor if pooled else recipe.batch_attention_lr_factor if attending else 1.0
        decay = 0.0 if exempt or pooled else recipe.weight_decay
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr": recipe.lr * factor}
        for (decay, factor), parameters in groups.items()
    ]


def learning_rate(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """The rate at step 0 .. steps-1, as a fraction of ``recipe.lr``.

    ``warmup-cosine`` is SpCa's ``WarmupCos_Scheduler``: W warm-up steps on a line that includes both ends, then a half
    cosine whose first value is again the base rate. ``epoch-cosine`` is DELG-PyTorch's: constant within an epoch, with
    a factor rising from 0.1 to 1 over the warm-up epochs. ``exponential`` is cirtorch's: gamma^(epoch + 1).
    """
    per_epoch = max(1, steps // max(1, recipe.epochs))
    warmup = min(round(recipe.warmup_epochs * per_epoch), steps)
    start, end = recipe.warmup_lr / recipe.lr, recipe.final_lr / recipe.lr

    def warmup_cosine(step: int) -> float:
        if step < warmup:
            return start + (1 - start) * (step / (warmup - 1) if warmup > 1 else 0.0)
        done = (step - warmup) / max(1, steps - warmup)
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def epoch_cosine(step: int) -> float:
        epoch = step // per_epoch
        rate = 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / max(1, recipe.epochs))))
        if epoch < recipe.warmup_epochs:
            rising = epoch / recipe.warmup_epochs
            rate *= 0.1 * (1 - rising) + rising
        return rate

    schedules: dict[str, Callable[[int], float]] = {
        "warmup-cosine": warmup_cosine,
        "epoch-cosine": epoch_cosine,
        "exponential": lambda step: recipe.gamma ** (step // per_epoch + 1),
        "linear": lambda step: 1 + (end - 1) * min(1.0, step / max(1, steps)),
        "constant": lambda step: 1.0,
    }
    return schedules[recipe.schedule]


def configure(model: nn.Module, recipe: Recipe, steps: int) -> dict[str, Any]:
    """Optimiser and per-step schedule in Lightning's form."""
    groups = parameter_groups(model, recipe)
    optimiser: torch.optim.Optimizer
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(
            groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0
        )
    elif recipe.optimiser == "adam":
        optimiser = torch.optim.Adam(groups, recipe.lr)
    else:
        optimiser = torch.optim.AdamW(groups, recipe.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate(recipe, steps))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

"""A backbone that stays as it is while what stands on it learns."""

from torch import nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Take the parameters that the recipe freezes out of training, in place: no gradients, no optimiser state.

    Raises:
        InputError: a model without a part called ``backbone``, or one of which nothing is left to learn.
    """
    if recipe.freeze == "none":
        return
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"train.freeze=backbone: {type(model).__name__} has no part called backbone; set freeze=none")
    backbone.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            "train.freeze=backbone leaves nothing to learn: neither pooling nor projection nor loss has parameters; "
            "set train.enabled=false, or freeze=none"
        )


def hold(model: nn.Module, recipe: Recipe) -> None:
    """Keep what the recipe freezes in evaluation mode: batch statistics, stochastic depth and dropout are off there."""
    backbone = getattr(model, "backbone", None)
    if recipe.freeze == "backbone" and isinstance(backbone, nn.Module):
        backbone.eval()


def hold_statistics(model: nn.Module, recipe: Recipe) -> None:
    """Keep all running statistics in evaluation mode where the recipe says so; the affine parameters still learn."""
    if recipe.freeze_batchnorm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

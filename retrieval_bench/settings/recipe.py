"""How a method is trained: optimiser, schedule and augmentation as one typed object."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """A training recipe. The defaults are the common base recipe: SpCa's loop with the values of its parent code.

    Source: Zy-Zhang/SpCa ``spca_train.py`` for the loop; MCC-WH/Token ``experiment.sh`` for the values, which SpCa does
    not publish (512 px, batch 128, 30 epochs, 5 of warm-up from 1e-4, SGD 0.01, weight decay 1e-4).
    """

    model_config = ConfigDict(extra="forbid")

    stage: int = Field(default=1, ge=1, description="of a method that trains in several stages: which one this is")
    then: str | None = Field(default=None, description="recipe of the stage that follows; null: none")
    sampler: Literal["shuffle", "class-balanced", "hard-negatives", "hard-tuples", "hard-triplets"] = Field(
        default="shuffle",
        description="which images make a batch; hard-negatives: class-balanced, with classes that the model confuses, "
        "mined again and again; hard-tuples and hard-triplets are mined by the model before their stage",
    )
    instances: int = Field(
        default=2, ge=1, description="images of each class in a batch of class-balanced or hard-negatives"
    )
    mine_every: int = Field(default=1, ge=1, description="epochs between two minings of hard-negatives")
    tuple_size: int = Field(default=8, ge=3, description="anchor, positive and negatives of one hard tuple")
    hard_share: tuple[float, float] = Field(
        default=(0.0, 1.0), description="of hard negatives among those of hard-triplets, in the first and last epoch"
    )
    epochs: int = Field(default=30, ge=0, description="passes over the training images")
    batch_size: int = Field(default=128, ge=1, description="of one process and one step")
    accumulate: int = Field(default=1, ge=1, description="batches per optimiser step; their gradients are averaged")
    image_size: int = Field(default=512, ge=16, description="side of the square training crop in pixels")
    optimiser: Literal["sgd", "adam", "adamw"] = Field(default="sgd", description="what takes the steps")
    lr: float = Field(default=0.01, gt=0, description="learning rate, after the warm-up")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(default=True, description="Nesterov momentum, of sgd")
    weight_decay: float = Field(default=1e-4, ge=0, description="on the parameters that `decay` names")
    decay: Literal["weights", "all"] = Field(
        default="weights", description="weights: parameters of one dimension and biases are exempt; all: none is"
    )
    batch_attention_lr_factor: float = Field(
        default=1.0, gt=0, description="on the loss's batch attention; 0.1 in BatchFormer's long-tail code"
    )
    pooling_lr_factor: float = Field(default=1.0, gt=0, description="on the parameters of the pooling head, undecayed")
    schedule: Literal["warmup-cosine", "epoch-cosine", "exponential", "linear", "constant"] = Field(
        default="warmup-cosine", description="of the learning rate; the two cosines begin with a warm-up"
    )
    warmup_epochs: float = Field(default=5, ge=0, description="in which the learning rate rises")
    warmup_lr: float = Field(
        default=1e-4, ge=0, description="learning rate with which the warm-up of warmup-cosine begins"
    )
    final_lr: float = Field(default=0.0, ge=0, description="learning rate with which warmup-cosine and linear end")
    gamma: float = Field(default=0.99, gt=0, le=1, description="of the exponential schedule, per epoch")
    clip_norm: float = Field(default=0.0, ge=0, description="global gradient norm; 0 is off")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the weights' moving average per step; 0 is off")
    freeze: Literal["none", "backbone"] = Field(
        default="none",
        description="backbone: its parameters and running statistics stay as they are; only what stands on it learns",
    )
    freeze_batchnorm: bool = Field(default=False, description="running statistics fixed, as in GeM's recipe")
    views: Literal["random", "centre"] = Field(
        default="random",
        description="of training images: random crop, flip, jitter and lighting; or the centre crop of validation",
    )
    crop_scale: tuple[float, float] = Field(default=(0.2, 1.0), description="area of the random resized crop")
    crop_ratio: tuple[float, float] = Field(default=(3 / 4, 4 / 3), description="aspect ratio of that crop")
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: float = Field(default=0.8, ge=0, le=1, description="probability of colour jitter")
    jitter_strength: tuple[float, float, float, float] = Field(
        default=(0.4, 0.4, 0.2, 0.1), description="brightness, contrast, saturation, hue"
    )
    lighting: float = Field(default=0.0, ge=0, description="deviation of the PCA lighting of pycls; 0 is off")

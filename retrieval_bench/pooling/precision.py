"""The precision in which poolings compute."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are. Powers and norms overflow in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

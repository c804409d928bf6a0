"""Modules outside of eager Python: compiled, exported, and as ONNX."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

import torch
from torch import Tensor, nn

from retrieval_bench.contracts.expectations import require, require_close

ONNX = ("onnx", "onnxscript", "onnxruntime")


def require_same_compiled(module: nn.Module, inputs: tuple[Tensor, ...], backend: str) -> None:
    """``torch.compile`` gives the values and gradients of eager mode.

    Args:
        backend: of the compiler; ``eager`` captures the graph and runs it as it is, ``aot_eager`` captures that of the
            gradients too, ``inductor`` generates code.

    Raises:
        SkipTest: the machine has no compiler for that code.
    """
    torch.compiler.reset()
    try:
        plain, slopes = _with_gradients(module, inputs)
        values, compiled_slopes = _with_gradients(torch.compile(module, backend=backend), inputs)
    except Exception as error:
        if any(word in f"{type(error).__name__} {error}" for word in ("InvalidCxxCompiler", "TritonMissing")):
            raise SkipTest("torch.compile needs a C++ compiler, such as g++, which this machine has not") from error
        raise
    finally:
        torch.compiler.reset()
    require_close(values, plain, f"compiled ({backend}) and eager values")
    for number, (one, other) in enumerate(zip(compiled_slopes, slopes, strict=True)):
        require_close(one, other, f"compiled ({backend}) and eager gradients of input {number}", rtol=1e-4, atol=1e-5)


@torch.no_grad()
def require_same_exported(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """``torch.export`` captures the module whole, and what it captures gives the values of eager mode."""
    with _silent():
        exported = torch.export.export(module, inputs).module()
    require_close(exported(*inputs), module(*inputs), "exported and eager values")


@torch.no_grad()
def require_same_in_onnx(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """ONNX Runtime gives the values of eager mode, to the last digits of float32.

    Raises:
        SkipTest: a package that writes or runs ONNX is not installed.
    """
    missing = [name for name in ONNX if find_spec(name) is None]
    if missing:
        raise SkipTest(f"{', '.join(missing)} not installed: pip install {' '.join(missing)}")
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, _silent():
        path = Path(folder) / "part.onnx"
        torch.onnx.export(module, inputs, path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        entries = session.get_inputs()
        require(len(entries) == len(inputs), f"the ONNX graph takes {len(entries)} inputs, the module {len(inputs)}")
        given = {entry.name: value.numpy() for entry, value in zip(entries, inputs, strict=True)}
        found = torch.from_numpy(session.run(None, given)[0])
    require_close(found, module(*inputs), "ONNX and eager values", rtol=1e-4, atol=1e-5)


def _with_gradients(module: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """Values, and gradients of each floating input of their weighted sum."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    values = module(*leaves)
    weights = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).view_as(values)
    slopes = torch.autograd.grad((values * weights).sum(), leaves, allow_unused=True)
    return values.detach(), [
        torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(leaves, slopes, strict=True)
    ]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Exporters report their steps, and whole graphs where they fail, on standard output and error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)

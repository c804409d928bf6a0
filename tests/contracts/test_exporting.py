"""Compiled, exported and ONNX modules against eager ones; what is missing on a machine is said."""

import sys
from types import SimpleNamespace
from unittest import SkipTest

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.contracts import exporting
from retrieval_bench.contracts.expectations import Broken

MAPS = (torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)),)


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.mean(dim=(2, 3))


class Unlike(nn.Module):
    """Another value where it is captured."""

    def forward(self, feature_map: Tensor) -> Tensor:
        captured = torch.compiler.is_compiling() or torch.compiler.is_exporting()
        return feature_map.mean(dim=(2, 3)) + (1 if captured else 0)


def test_a_module_that_stays_itself():
    exporting.require_same_exported(Mean(), MAPS)
    exporting.require_same_compiled(Mean(), MAPS, "aot_eager")


def test_a_module_that_does_not():
    with pytest.raises(Broken, match="exported and eager values: they differ by 1 "):
        exporting.require_same_exported(Unlike(), MAPS)
    with pytest.raises(Broken, match=r"compiled \(aot_eager\) and eager values: they differ by 1 "):
        exporting.require_same_compiled(Unlike(), MAPS, "aot_eager")


def test_a_machine_without_a_compiler(monkeypatch):
    class InvalidCxxCompilerError(Exception):
        pass

    def refuse(*_, **__):
        raise InvalidCxxCompilerError("No working C++ compiler found: InvalidCxxCompiler")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(SkipTest, match="needs a C\\+\\+ compiler"):
        exporting.require_same_compiled(Mean(), MAPS, "inductor")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name != "onnx" else object())
    with pytest.raises(SkipTest, match="onnxscript, onnxruntime not installed: pip install onnxscript onnxruntime"):
        exporting.require_same_in_onnx(Mean(), MAPS)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_what_the_runtime_gives_is_compared(error, monkeypatch):
    """With stand-ins for the exporter and the runtime: what is handed on, and what is made of the answer."""
    written = []

    class Session:
        def __init__(self, path, providers):
            assert path == str(written[0])

        def get_inputs(self):
            return [SimpleNamespace(name="feature_map")]

        def run(self, outputs, given):
            return [given["feature_map"].mean(axis=(2, 3)) + error]

    monkeypatch.setattr(exporting, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.onnx, "export", lambda module, inputs, path, **_: written.append(path))
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    if error:
        with pytest.raises(Broken, match="ONNX and eager values: they differ by 1 "):
            exporting.require_same_in_onnx(Mean(), MAPS)
    else:
        exporting.require_same_in_onnx(Mean(), MAPS)

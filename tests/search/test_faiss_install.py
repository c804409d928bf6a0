"""Installations of faiss that work and that do not, told from fake distributions."""

import importlib
import subprocess
import sys
import types

import pytest

from retrieval_bench.search.faiss_install import import_faiss, installed_distributions
from retrieval_bench.settings.errors import InputError


def install(folder, name, version):
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The only folder in which distributions are looked for."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def importing(monkeypatch, outcome):
    def import_module(name):
        assert name == "faiss"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_the_installed_faiss_is_whole():
    assert len(installed_distributions()) == 1
    assert import_faiss().IndexFlatIP(3).d == 3


def test_names_of_distributions(place):
    for name in ("faiss-gpu-cu12", "Faiss_CPU", "faiss-plugin", "numpy"):
        install(place, name, "1.2")
    assert installed_distributions() == {"faiss-cpu": "1.2", "faiss-gpu-cu12": "1.2"}


def test_two_distributions_are_named_even_if_they_import(place, monkeypatch):
    install(place, "faiss-cpu", "1.11.0")
    install(place, "faiss-gpu", "1.15.1")
    importing(monkeypatch, types.SimpleNamespace(IndexFlatIP=object))
    with pytest.raises(InputError, match=r"faiss-cpu 1\.11\.0 and faiss-gpu 1\.15\.1 are both installed") as error:
        import_faiss()
    assert "pip uninstall -y faiss-cpu faiss-gpu`" in str(error.value)


def test_none_is_installed(place, monkeypatch):
    importing(monkeypatch, ModuleNotFoundError("No module named 'faiss'"))
    with pytest.raises(InputError, match="not installed; run `pip install faiss-gpu` on Linux"):
        import_faiss()


@pytest.mark.parametrize("outcome", [ImportError("libcublas.so.12 not found"), types.SimpleNamespace()])
def test_one_that_does_not_import(place, monkeypatch, outcome):
    install(place, "faiss-gpu", "1.15.1")
    importing(monkeypatch, outcome)
    with pytest.raises(InputError, match=r"faiss-gpu 1\.15\.1 is installed but does not import") as error:
        import_faiss()
    assert "--force-reinstall faiss-gpu`" in str(error.value)
    assert "\n" not in str(error.value)


def test_faiss_is_imported_only_when_asked_for():
    code = "import sys, retrieval_bench.search; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

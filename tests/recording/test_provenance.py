"""What has to be the same for a rerun."""

import re
import subprocess
import sys

import torch

from retrieval_bench.recording import provenance as module
from retrieval_bench.recording.content import Content
from retrieval_bench.recording.provenance import provenance

ALWAYS = {"command", "commit", "python", "retrieval-bench", "torch", "numpy", "system", "cores", "device", "seed"}


def test_keys(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/retrieval-bench", "bench", "delg", "title=a b"])
    found = provenance(7, "cpu")
    assert set(found) >= ALWAYS
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["seed"] == "7"
    assert found["device"] == "cpu"
    assert found["torch"].startswith(torch.__version__.partition("+")[0])
    assert found["command"] == "retrieval-bench bench delg 'title=a b'"
    assert re.fullmatch(r"[0-9a-f]{12}(\+changes)?|not a checkout", found["commit"])


def test_one_faiss_is_named():
    found = provenance(0, "cpu")
    assert len({"faiss-gpu", "faiss-cpu"} & set(found)) == 1


def answers(monkeypatch, changes: str) -> None:
    def run(arguments, **options):
        out = "0123456789ab\n" if "rev-parse" in arguments else changes if "status" in arguments else ""
        return subprocess.CompletedProcess(arguments, 0, out, "")

    monkeypatch.setattr(module.subprocess, "run", run)


def test_a_commit_with_changes_says_so(monkeypatch):
    answers(monkeypatch, "")
    assert provenance(0, "cpu")["commit"] == "0123456789ab"
    answers(monkeypatch, " M cli.py\n")
    assert provenance(0, "cpu")["commit"] == "0123456789ab+changes"


def test_a_copy_inside_another_checkout_has_no_commit(monkeypatch, tmp_path):
    copy = tmp_path / "site-packages" / "retrieval_bench" / "recording" / "provenance.py"
    copy.parent.mkdir(parents=True)
    copy.write_text("")
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "c"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(module, "__file__", str(copy))
    assert provenance(0, "cpu")["commit"] == "not a checkout"
    subprocess.run(["git", "add", "site-packages"], cwd=tmp_path, check=True)
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "d"], cwd=tmp_path, check=True
    )
    assert re.fullmatch(r"[0-9a-f]{12}", provenance(0, "cpu")["commit"])
    (tmp_path / "script.py").write_text("")
    assert "+" not in provenance(0, "cpu")["commit"]
    (copy.parent / "new_part.py").write_text("")
    assert provenance(0, "cpu")["commit"].endswith("+changes")


def test_the_commit_is_that_of_the_beginning():
    assert provenance(0, "cpu", code="0123456789ab")["commit"] == "0123456789ab"


def test_a_package_that_python_runs_is_named(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/retrieval_bench/__main__.py", "bench", "gem"])
    assert provenance(0, "cpu")["command"] == "python -m retrieval_bench bench gem"


def test_without_git(monkeypatch):
    def absent(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", absent)
    assert provenance(0, "cpu")["commit"] == "not a checkout"


def test_the_content_of_files_and_dataset_is_kept():
    found = provenance(0, "cpu", Content({"weights": "ab", "backbone.weights": "cd"}, "ef"))
    assert (found["weights sha256"], found["backbone.weights sha256"]) == ("ab", "cd")
    assert found["dataset sha256"] == "ef"
    assert not [key for key in provenance(0, "cpu") if "sha256" in key]

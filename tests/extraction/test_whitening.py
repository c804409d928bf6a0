"""Whitening against cirtorch's numbers and against what whitening means."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity_case import load

from retrieval_bench.extraction.whitening import Whitening, learn_pca_whitening, learn_whitening
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "gem" / "whitening")
X = torch.from_numpy(CASE.inputs[CASE.settings["X"]]).double().T
TEST = torch.from_numpy(CASE.inputs[CASE.settings["T"]]).double().T
QUERIES, POSITIVES = (CASE.inputs[CASE.settings[key]] for key in ("q", "p"))


def learn(kind: str) -> Whitening:
    return learn_whitening(X, QUERIES, POSITIVES) if kind == "learned" else learn_pca_whitening(X)


@pytest.mark.parametrize("dim", CASE.settings["dims"])
@pytest.mark.parametrize("kind", ["learned", "pca"])
def test_equals_cirtorch(kind: str, dim: int) -> None:
    whitening = learn(kind)
    whitened = whitening.apply(TEST, dim).numpy()
    np.testing.assert_allclose(whitening.mean.numpy(), CASE.outputs[f"mean.{kind}"][:, 0], **CASE.tolerance)
    np.testing.assert_allclose(whitened @ whitened.T, CASE.outputs[f"gram.{kind}.{dim}"], **CASE.tolerance)
    np.testing.assert_allclose(np.abs(whitened.T), CASE.outputs[f"abs.{kind}.{dim}"], **CASE.tolerance)


def test_pca_whitening_makes_unit_covariance() -> None:
    whitening = learn_pca_whitening(X)
    projected = (X - whitening.mean) @ whitening.projection.T
    torch.testing.assert_close(projected.T @ projected / len(X), torch.eye(X.shape[1]).double(), atol=1e-9, rtol=0)


def test_learned_whitening_makes_pair_differences_white() -> None:
    whitening = learn("learned")
    difference = (X[QUERIES.astype(int)] - X[POSITIVES.astype(int)]) @ whitening.projection.T
    torch.testing.assert_close(
        difference.T @ difference / len(difference), torch.eye(X.shape[1]).double(), atol=1e-8, rtol=0
    )
    spread = ((X - whitening.mean) @ whitening.projection.T).square().sum(dim=0)
    assert (spread.diff() <= 1e-6).all()


def test_rank_deficient_descriptors_whiten_to_their_span() -> None:
    flat = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double() @ torch.ones(3, 3).double().triu()
    flat = torch.cat([flat, flat.sum(dim=1, keepdim=True)], dim=1)
    assert learn_pca_whitening(flat).projection.shape == (3, 4)
    rows = torch.arange(25)
    assert torch.isfinite(learn_whitening(flat, rows, rows + 25).apply(flat)).all()


def test_apply_returns_float32_and_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whitening = learn("pca")
    whole = whitening.apply(X.half().numpy())
    monkeypatch.setattr("retrieval_bench.extraction.whitening.CHUNK", 7)
    torch.testing.assert_close(whitening.apply(X.half().numpy()), whole)
    assert whole.dtype == torch.float32


def test_save_and_load(tmp_path: Path) -> None:
    whitening = learn_whitening(X, QUERIES, POSITIVES, learnt_on="sfm120k")
    whitening.save(tmp_path / "whitening.safetensors")
    again = Whitening.load(tmp_path / "whitening.safetensors")
    assert torch.equal(again.mean, whitening.mean)
    assert torch.equal(again.projection, whitening.projection)
    assert (again.learnt_on, again.count) == ("sfm120k", len(QUERIES))
    assert [path.name for path in tmp_path.iterdir()] == ["whitening.safetensors"]


def test_load_refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="no readable safetensors"):
        Whitening.load(tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match="no whitening file"):
        Whitening.load(tmp_path / "absent.safetensors")


def test_wrong_input_is_named() -> None:
    whitening = learn("pca")
    with pytest.raises(InputError, match=r"\(N, 32\)"):
        whitening.apply(X[:, :5])
    with pytest.raises(InputError, match=r"1 \.\. 32"):
        whitening.apply(X, 33)
    with pytest.raises(InputError, match="rows 0 to 300"):
        learn_whitening(X, [0, 1], [2, 300])
    with pytest.raises(InputError, match="pairs"):
        learn_whitening(X, [], [])
    with pytest.raises(InputError, match="finite"):
        learn_pca_whitening(X * float("nan"))
    with pytest.raises(InputError, match="all equal"):
        learn_pca_whitening(torch.ones(5, 4))

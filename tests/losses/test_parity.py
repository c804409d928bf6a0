"""Losses against the published codes' own numbers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from parity_case import ParityCase, load
from torch import Tensor

from retrieval_bench.losses.arcface import ArcFace
from retrieval_bench.losses.contrastive import contrastive_tuple_loss
from retrieval_bench.losses.curricularface import CurricularFace
from retrieval_bench.losses.triplet import triplet_tuple_loss

PARITY = Path(__file__).parents[1] / "parity"
SPCA = load(PARITY / "spca" / "arcface")
TUPLES = load(PARITY / "gem" / "losses")
TUPLE_LOSSES = [(kind, margin) for kind, margins in TUPLES.settings["margins"].items() for margin in margins]


def tensor(case: ParityCase, key: str) -> Tensor:
    return torch.from_numpy(case.outputs[key])


def spca_batch() -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.from_numpy(SPCA.state_dict["weight"])
    noise, labels, multiplier = (
        torch.from_numpy(SPCA.inputs[SPCA.settings[k]]) for k in ("noise", "label", "multiplier")
    )
    labels = labels.long()
    return weight, noise + weight[labels] * multiplier[:, None], labels


# The fourth is curricular: tests/methods/spca/test_parity.py.
VARIANTS = [variant for variant in SPCA.settings["variants"] if variant["kind"] == "arcface"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant["name"])
def test_spca_arcface(variant: dict) -> None:
    weight, features, labels = spca_batch()
    features.requires_grad_()
    loss = ArcFace(weight.shape[1], len(weight), margin=variant["m"], scale=variant["s"])
    loss.load_state_dict({"weight": weight}, strict=False)
    logits = loss.logits(features, labels)
    value = F.cross_entropy(logits, labels)
    value.backward()
    name = variant["name"]
    torch.testing.assert_close(logits.detach(), tensor(SPCA, f"logits.{name}"), **SPCA.tolerance)
    torch.testing.assert_close(value.detach(), tensor(SPCA, f"loss.{name}"), **SPCA.tolerance)
    torch.testing.assert_close(features.grad, tensor(SPCA, f"grad_features.{name}"), **SPCA.tolerance)


def test_token_arcface_on_both_sides_of_the_last_angle() -> None:
    case = load(PARITY / "token" / "arcface")
    settings = case.settings
    features = tensor(case, "features_used").requires_grad_()
    labels = torch.from_numpy(case.inputs[f"{settings['input_prefix']}labels"]).long()
    loss = ArcFace(
        settings["in_features"],
        settings["classes"],
        margin=settings["margin"],
        scale=settings["scale"],
        clamp=settings["eps"],
    )
    loss.load_state_dict({"weight": torch.from_numpy(case.state_dict["weight"])}, strict=False)
    logits = loss.logits(features, labels)
    value = F.cross_entropy(logits, labels)
    value.backward()
    for name, actual in (("logits", logits.detach()), ("loss", value.detach()[None]), ("grad_features", features.grad)):
        torch.testing.assert_close(actual, tensor(case, name), **case.tolerance)


def test_curricularface_over_two_steps() -> None:
    case = load(PARITY / "curricularface" / "two_steps")
    settings = case.settings
    loss = CurricularFace(settings["in_features"], settings["classes"], margin=settings["m"], scale=settings["s"])
    loss.load_state_dict(
        {"weight": torch.from_numpy(case.state_dict["kernel"]).T, "t": torch.from_numpy(case.state_dict["t"])}
    )
    for step, (x, y) in enumerate(zip(settings["embeddings"], settings["labels"], strict=True)):
        descriptors = torch.from_numpy(case.inputs[x]).requires_grad_()
        labels = torch.from_numpy(case.inputs[y]).long()
        loss.zero_grad()
        plain = loss.logits(descriptors)
        logits = loss.logits(descriptors, labels)
        value = F.cross_entropy(logits, labels)
        value.backward()
        for name, actual in (
            ("plain_cosine_times_s", plain.detach()),
            ("logits", logits.detach()),
            ("t", loss.t),
            ("loss", value.detach()),
            ("grad_embedding", descriptors.grad),
            ("grad_kernel", loss.weight.grad.T),
        ):
            torch.testing.assert_close(actual, tensor(case, f"step{step}_{name}"), **case.tolerance)


def test_delg_pytorch_classifier_is_curricularface() -> None:
    case = load(PARITY / "delg" / "forward_r50")
    settings = case.settings
    loss = CurricularFace(settings["reduction_dim"], settings["num_classes"], settings["margin"], settings["scale"])
    loss.load_state_dict({key: torch.from_numpy(case.state_dict[f"desc_cls.{key}"]) for key in ("weight", "t")})
    labels = torch.from_numpy(case.inputs[settings["labels_key"]]).long()
    feature = tensor(case, "global_feature")
    start = loss.t.clone()
    logits = loss.eval().logits(feature, labels)
    torch.testing.assert_close(logits.detach(), tensor(case, "global_logits"), **case.tolerance)
    torch.testing.assert_close(loss.t, tensor(case, "t_after"), **case.tolerance)
    loss.t.copy_(start)
    torch.testing.assert_close(loss(feature, labels).detach(), tensor(case, "desc_loss")[0], **case.tolerance)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(("kind", "margin"), TUPLE_LOSSES)
def test_cirtorch_tuple_losses(kind: str, margin: float, name: str) -> None:
    columns = torch.from_numpy(TUPLES.inputs[f"loss/{name}"])
    unit = (columns / columns.norm(dim=0, keepdim=True)).requires_grad_()
    tuples = unit.T.reshape(TUPLES.settings["queries"], 2 + TUPLES.settings["negatives"], -1)
    value = (contrastive_tuple_loss if kind == "contrastive" else triplet_tuple_loss)(tuples, margin)
    value.backward()
    torch.testing.assert_close(value.detach(), tensor(TUPLES, f"{kind}_{margin}.{name}"), **TUPLES.tolerance)
    torch.testing.assert_close(unit.grad, tensor(TUPLES, f"grad_{kind}_{margin}.{name}"), **TUPLES.tolerance)

"""SpCa equals Zy-Zhang/SpCa: the branch, every fuser, and whole networks through the public door."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, tensors, write

import retrieval_bench as rb
from retrieval_bench.losses.curricularface import CurricularFace
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.naming import renamed
from retrieval_bench.methods.spca.checkpoint import BRANCH, fuser_name
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.pooling.spca.context import SpatialContext, proximity
from retrieval_bench.pooling.spca.fusers import FUSERS

CASES = Path(__file__).parents[2] / "parity" / "spca"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")


def published(case: ParityCase, folder: Path) -> RetrievalModule:
    file = write(folder / "epoch29.pth", case.state_dict, "state_dict", epoch=29, optim={"param_groups": []})
    model = rb.create_model("spca", backbone=case.settings["backbone"], weights=file)
    file.unlink()
    return model


def described_by(model: RetrievalModule) -> dict[str, object]:
    keys = ("dim", "codebook_size", "local_dim", "fuser", "powers", "num_classes")
    return {key: model.settings[key] for key in keys}


def sizes_of(case: ParityCase) -> dict[str, object]:
    names = ("outputdim", "K", "local_dim", "combine", "multi", "classes")
    ours = ("dim", "codebook_size", "local_dim", "fuser", "powers", "num_classes")
    return {key: case.settings[name] for key, name in zip(ours, names, strict=True)}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """The network that `r50_cro_eval` and `r50_cro_multiscale` have in common."""
    case = load(CASES / "r50_cro_eval")
    return case, published(case, tmp_path_factory.mktemp("cro"))


@pytest.fixture(params=["r50_cro_eval", "r50_cat_eval"])
def evaluated(request, tmp_path):
    if request.param == "r50_cro_eval":
        return request.getfixturevalue("crossed")
    case = load(CASES / request.param)
    return case, published(case, tmp_path)


def test_descriptor_and_maps(evaluated):
    case, model = evaluated
    assert described_by(model) == sizes_of(case)
    assert model.unused_weights == {}
    assert model.absent_weights == ()
    assert float(model.pooling.p) == 3
    (normalised,) = case.inputs.values()
    images = raw_images(normalised, MEAN, STD)
    with torch.no_grad():
        visual = model.backbone(model.normalise(images))[-1]
        maps = model.context(visual)
        fused = model.fuser(visual, maps.context)
    for name, actual in (
        ("backbone_channel_mean", visual.mean(1)),
        ("backbone_first16", visual[:, :16]),
        ("spatial_context", maps.context),
        ("token_assignment", maps.assignment),
        ("fused_channel_mean", fused.mean(1)),
        ("fused_first16", fused[:, :16]),
        ("descriptor", model.describe(images, scales=(1.0,))),
    ):
        assert_allclose(actual, case.outputs[name], **case.tolerance, err_msg=name)


@pytest.fixture(scope="module")
def scaled(crossed):
    case = load(CASES / "r50_cro_multiscale")
    assert case.state_dict.keys() == crossed[0].state_dict.keys()
    assert all((value == crossed[0].state_dict[key]).all() for key, value in case.state_dict.items())
    return case, crossed[1]


@pytest.mark.parametrize("name", ["wide", "narrow", "small"])
def test_scales(name, scaled):
    case, model = scaled
    assert described_by(model) == sizes_of(case)
    image = raw_images(case.inputs[f"spca_ms/{name}"], MEAN, STD)
    single = model.describe(image, scales=(1.0,))[0]
    assert_allclose(single, case.outputs[f"ss.{name}"], **case.tolerance)
    merged = model.describe(image, scales=case.settings["scales"])[0]
    assert_allclose(merged, case.outputs[f"ms.{name}"], **case.tolerance)


def test_train_step(tmp_path):
    case = load(CASES / "r50_cro_train")
    model = published(case, tmp_path).train()
    assert described_by(model) == sizes_of(case)
    images = raw_images(case.inputs["spca/x_train"], MEAN, STD)
    labels = torch.from_numpy(case.inputs["spca/labels"])
    losses = model.losses(images, labels)
    losses["loss"].backward()
    assert_allclose(losses["loss"].item(), case.outputs["loss"].item(), **case.tolerance)
    parameters = dict(model.named_parameters())
    for ours, theirs in {
        "context.prior": "pos_branch.pi",
        "context.variance": "pos_branch.cov",
        "projection.bias": "whiten.bias",
        "fuser.norm.weight": "fuser.ln.weight",
    }.items():
        assert_allclose(parameters[ours].grad, case.outputs[f"grad.{theirs}"], **case.tolerance, err_msg=ours)
    assert_allclose(model.backbone.body.bn1.running_mean, case.outputs["running_mean.block1"], **case.tolerance)
    with torch.no_grad():
        logits = model.loss.logits(model.embed(model.normalise(images)), labels)
    assert_allclose(logits, case.outputs["logits"], **case.tolerance)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_branch_alone(name):
    case = load(CASES / "layer")
    settings = case.settings
    branch = SpatialContext(settings["inputdim"], settings["K"], settings["local_dim"], settings["multi"], 2)
    branch.load_state_dict(renamed(tensors(case.state_dict), BRANCH))
    feature_map = torch.from_numpy(case.inputs[f"spca_layer/{name}"])
    with torch.no_grad():
        maps = branch(feature_map)
    assert_allclose(maps.context, case.outputs[f"context.{name}"], **case.tolerance)
    assert_allclose(maps.assignment, case.outputs[f"assign.{name}"], **case.tolerance)
    nearness = proximity(*feature_map.shape[-2:], CPU)
    for power in range(settings["multi"]):
        expected = case.outputs[f"distance.{name}.{power}"]
        assert_allclose(torch.linalg.matrix_power(nearness, power + 2), expected, **case.tolerance)


@pytest.mark.parametrize("kind", FUSERS)
def test_a_fuser_alone(kind):
    case = load(CASES / "fusers")
    settings = case.settings
    visual = torch.from_numpy(case.inputs[settings["visual_orth" if kind == "orth" else "visual"]])
    context = torch.from_numpy(case.inputs[settings["context"]])
    fuser = FUSERS[kind](visual.shape[1], settings["inputdim"], heads=8)
    state = {
        key.removeprefix(f"{kind}."): value
        for key, value in tensors(case.state_dict).items()
        if key.startswith(f"{kind}.")
    }
    fuser.load_state_dict({fuser_name(key, kind): value for key, value in state.items()})
    with torch.no_grad():
        fused = fuser(generalised_mean(visual, 3.0) if kind == "orth" else visual, context)
    stored = fused[:, ::7] if kind == "had" else fused
    assert_allclose(stored, case.outputs[kind], **case.tolerance)


def test_the_unused_margin_is_curricularface():
    """``ArcFace_Delg`` keeps its constants in float16; the difference lies within the case's tolerance."""
    case = load(CASES / "arcface")
    (variant,) = (variant for variant in case.settings["variants"] if variant["kind"] == "arcface_delg")
    weight = torch.from_numpy(case.state_dict["weight"])
    noise, labels, multiplier = (
        torch.from_numpy(case.inputs[case.settings[key]]) for key in ("noise", "label", "multiplier")
    )
    labels = labels.long()
    features = (noise + weight[labels] * multiplier[:, None]).requires_grad_()
    loss = CurricularFace(weight.shape[1], len(weight), margin=variant["m"], scale=variant["s"])
    loss.load_state_dict({"weight": weight, "t": torch.zeros(1)})
    logits = loss.logits(features, labels)
    value = F.cross_entropy(logits, labels)
    value.backward()
    for name, actual in (
        ("logits", logits.detach()),
        ("loss", value.detach()),
        ("grad_features", features.grad),
        ("t", loss.t),
    ):
        assert_allclose(actual, case.outputs[f"{name}.{variant['name']}"], **case.tolerance, err_msg=name)

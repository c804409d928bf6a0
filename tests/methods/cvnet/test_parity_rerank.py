"""CVNet-Rerank equals sungonce/CVNet: maps, correlation, blocks, scores, through the public doors."""

from pathlib import Path

import torch
from numpy.testing import assert_allclose, assert_array_equal
from parity_case import load
from published_file import raw_images, tensors, write

import retrieval_bench as rb
from retrieval_bench.methods.cvnet.correlation import correlate
from retrieval_bench.methods.cvnet.matcher import Matcher, matcher_key
from retrieval_bench.values.ranking import Ranking

CASES = Path(__file__).parents[2] / "parity" / "cvnet_rerank"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(case, name):
    """RGB images in [0, 1] from network input, which is BGR."""
    return raw_images(case.inputs[case.settings[name]][:, ::-1].copy(), MEAN, STD)


def published(name, folder):
    """A case and the model of its weights, which come in a file as the authors publish it."""
    case = load(CASES / name)
    file = write(folder / "CVPR2022_CVNet_R50.pyth", case.state_dict, "model_state")
    model = rb.create_model("cvnet", backbone=f"resnet{case.settings['depth']}", weights=file)
    assert (model.unused_weights, model.absent_weights) == ({}, ())
    return case, model


def check_network(case, matcher, query, key):
    """Correlation, blocks and logits of ``(B, C, h, w)`` maps against the case."""
    with torch.inference_mode():
        one, other = matcher.pyramid(query), matcher.pyramid(key)
        correlation = correlate(one.flatten(3), other).unflatten(1, one.shape[-2:]).permute(0, 3, 1, 2, 4, 5)
        logits = matcher.logits(one, other)
        volumes = [matcher.layers[0](one, other)]
        for layer in matcher.layers[1:]:
            volumes.append(layer(volumes[-1]))
    assert_array_equal(correlation.shape, case.outputs["correlation_shape"])
    assert_allclose(correlation.mean((4, 5)), case.outputs["correlation_mean_over_key"], **case.tolerance)
    assert_allclose(correlation.mean((2, 3)), case.outputs["correlation_mean_over_query"], **case.tolerance)
    sample = correlation[:, :, ::4, ::4, ::4, ::4]
    assert_allclose(sample, case.outputs["correlation_strided"], **case.tolerance)
    for number, last in enumerate((0, 2, 5, 8), start=1):
        block = volumes[last].permute(0, 5, 1, 2, 3, 4)
        assert_array_equal(block.shape, case.outputs[f"block{number}_shape"])
        assert_allclose(block.mean((2, 3, 4, 5)), case.outputs[f"block{number}_mean"], **case.tolerance)
        assert_allclose(block[..., 0, 0, 0, 0], case.outputs[f"block{number}_corner"], **case.tolerance)
    assert_allclose(logits, case.outputs["logits"], **case.tolerance)


def check_maps(case, query, key):
    assert_array_equal(query.shape, case.outputs["query_featuremap_shape"])
    assert_allclose(query.mean(1), case.outputs["query_featuremap_channel_mean"], **case.tolerance)
    assert_allclose(query[:, :8], case.outputs["query_featuremap_first_8"], **case.tolerance)
    assert_allclose(key[:, :8], case.outputs["key_featuremap_first_8"], **case.tolerance)


def test_a_pair_of_different_sizes(tmp_path):
    case, model = published("r50_pair", tmp_path)
    query, key = images(case, "query"), images(case, "key")
    assert_allclose(model.match(query, key), case.outputs["score_forward"], **case.tolerance)
    assert_allclose(model.match(query, key)[0], case.outputs["score_pair"], **case.tolerance)
    assert_allclose(model.match(key, query)[0], case.outputs["score_pair_swapped"], **case.tolerance)
    maps = model.feature_maps(query), model.feature_maps(key)
    check_maps(case, *maps)
    check_network(case, model.matcher, *maps)


def test_a_batch_of_pairs(tmp_path):
    case, model = published("r50_batch", tmp_path)
    query, key = images(case, "query"), images(case, "key")
    assert_allclose(model.match(query, key), case.outputs["score_forward"], **case.tolerance)
    maps = model.feature_maps(query), model.feature_maps(key)
    check_maps(case, *maps)
    check_network(case, model.matcher, *maps)


def test_given_maps_through_the_re_ranker():
    case = load(CASES / "featuremaps")
    matcher = Matcher(1024)
    matcher.load_state_dict({matcher_key(key): value for key, value in tensors(case.state_dict).items()})
    query, key = (torch.from_numpy(case.inputs[case.settings[f"{side}_featuremap"]]) for side in ("query", "key"))
    ranking = Ranking(torch.tensor([[1, 0], [0, 1]]), torch.zeros(2, 2))
    maps = [query[0], key[0]]
    result = rb.rerank("cvnet", ranking, query=maps, database=maps, model=matcher, mix=1.0)
    found = torch.zeros(2, 2).scatter_(1, result.indices, result.scores)
    assert_allclose(found[0, 1], case.outputs["score"], **case.tolerance)
    assert_allclose(found[1, 0], case.outputs["score_swapped"], **case.tolerance)
    assert_allclose(found[0, 0], case.outputs["score_self"], **case.tolerance)
    check_network(case, matcher, query, key)

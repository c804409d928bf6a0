"""Settings from layers: files below overrides, with errors that name the key."""

from pathlib import Path

import pytest

from retrieval_bench.settings import loading
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import (
    dump,
    given_values,
    layered,
    load_settings,
    merge,
    parse_override,
    read_yaml,
    validate,
)
from retrieval_bench.settings.places import config_folder
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.studies.definition import read_study

CONFIGS = Path(__file__).parents[2] / "configs"
PRESETS = {
    "methods/delg.yaml": "method: delg\nrerank:\n  name: geometric\n  top_k: 100\ntrain:\n  epochs: 7\n",
    "methods/gem.yaml": "method: gem\npooling:\n  name: gem\n  p: 2.5\n",
    "datasets/synthetic.yaml": (
        "dataset:\n  name: synthetic\n  seed: 3\ntrain:\n  epochs: 9\n"
        "from_scratch:\n  backbone: resnet18\n  model:\n    dim: 512\n  train:\n    lr: 5e-2\n"
    ),
}


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """Presets of the test's own."""
    for name, content in PRESETS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(loading, "config_folder", lambda: tmp_path)
    return tmp_path


def saved(folder: Path, content: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(content)
    return path


def test_without_anything_it_is_gem_on_synthetic():
    settings = load_settings()
    assert (settings.method, settings.dataset.name, settings.weights) == ("gem", "synthetic", None)


def test_layers_lie_over_each_other_in_order(presets):
    assert load_settings(["method=delg", "dataset=folder"]).train.epochs == 7
    assert load_settings(["method=delg"]).train.epochs == 9
    file = saved(presets, "method: delg\ntrain:\n  epochs: 11\n  lr: 0.5\n")
    assert load_settings(config=file).train.epochs == 11
    settings = load_settings(["train.epochs=13"], config=file)
    assert (settings.train.epochs, settings.train.lr) == (13, 0.5)


def test_a_later_override_wins(presets):
    assert load_settings(["seed=1", "seed=2"]).seed == 2


def test_the_method_and_dataset_of_a_file_choose_the_presets(presets):
    settings = load_settings(config=saved(presets, "method: delg\n"))
    assert settings.rerank.name == "geometric"
    assert settings.dataset.options == {"seed": 3}
    assert load_settings(["method=gem"], config=saved(presets, "method: delg\n")).rerank.name is None


@pytest.mark.parametrize("text", ["pooling=rgem", "pooling.name=rgem"])
def test_a_part_by_its_name(presets, text):
    assert load_settings([text]).pooling.given() == {"name": "rgem"}


@pytest.mark.parametrize("text", ["rerank=none", "rerank=null", "rerank="])
def test_a_part_is_left_out(presets, text):
    rerank = load_settings(["method=delg", text]).rerank
    assert rerank.name is None
    assert rerank.options == {}


def test_another_part_drops_the_options_of_the_one_below(presets):
    assert load_settings(["pooling=mac"]).pooling.options == {}
    assert load_settings(["method=delg", "rerank=other"]).rerank.options == {}


def test_the_same_part_keeps_the_options_below(presets):
    assert load_settings(["pooling=gem", "pooling.eps=0.5"]).pooling.options == {"p": 2.5, "eps": 0.5}
    assert load_settings(["pooling.p=4"]).pooling.given() == {"name": "gem", "p": 4}


def test_an_option_that_stands_before_the_name_of_its_part_is_not_lost(presets):
    assert load_settings(["method=delg", "rerank.top_k=50", "rerank=geometric"]).rerank.options == {"top_k": 50}


def test_from_scratch_applies_without_weights_only(presets):
    fresh = load_settings()
    assert fresh.backbone.name == "resnet18"
    assert fresh.model == {"dim": 512}
    assert fresh.train.lr == 0.05
    loaded = load_settings(["weights=some.pth"])
    assert loaded.backbone.name is None
    assert loaded.model == {}
    assert loaded.train.lr is None
    assert loaded.dataset.options == {"seed": 3}


def test_a_method_may_need_something_else_from_scratch(presets):
    file = presets / "datasets" / "synthetic.yaml"
    extra = "  methods:\n    large:\n      backbone: {name: resnet34, depth: 3}\n      train: {lr: 1e-3}\n"
    file.write_text(file.read_text() + extra)
    settings = load_settings(["method=large"])
    assert (settings.backbone.name, settings.backbone.options) == ("resnet34", {"depth": 3})
    assert (settings.train.lr, settings.model) == (1e-3, {"dim": 512})
    assert load_settings(["method=other"]).backbone.name == "resnet18"
    assert load_settings(["method=large", "weights=a.pth"]).backbone.name is None
    assert load_settings(["method=large", "backbone=vit"]).backbone.options == {}


def test_from_scratch_lies_below_what_is_given(presets):
    settings = load_settings(["backbone=resnet34", "model.dim=64"])
    assert (settings.backbone.name, settings.model["dim"]) == ("resnet34", 64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.lr=1e-3", 1e-3),
        ("train.lr=-1E+2", -100.0),
        ("train.lr=.5e-2", 0.005),
        ("train.lr=0.25", 0.25),
        ("train.lr=2", 2),
        ("train.lr=1_000", 1000),
        ("train.nesterov=false", False),
        ("train.lr=null", None),
        ("train.lr=", None),
        ("train.crop_scale=[0.1, 1]", [0.1, 1]),
        ("train.recipe=published-tf", "published-tf"),
        ("train.recipe=a=b", "a=b"),
        ("train.recipe=e5", "e5"),
        ("train.recipe=[unclosed", "[unclosed"),
    ],
)
def test_values_of_overrides(text, expected):
    key = text.partition("=")[0].split(".")[1]
    parsed = parse_override(text)["train"][key]
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize("text", ["train.epochs", "=5", "train.=5", ".epochs=5", "train..epochs=5", ""])
def test_what_is_no_setting_says_how_to_write_one(text):
    with pytest.raises(InputError, match=r"is no setting; write section\.key=value"):
        load_settings([text])


def test_exponents_in_a_file_are_numbers(tmp_path):
    file = saved(tmp_path, "train:\n  lr: 1e-3\npooling:\n  name: gem\n  eps: 1e-6\nmodel:\n  threshold: 2E3\n")
    settings = load_settings(config=file)
    assert settings.train.lr == 1e-3
    assert settings.pooling.options["eps"] == 1e-6
    assert settings.model["threshold"] == 2000.0


def test_exponents_in_a_list_are_numbers():
    assert load_settings(["model.local_scales=[1e-1, 1]"]).model["local_scales"] == [0.1, 1]


def test_later_overrides_are_laid_over_the_others():
    given = ["pooling=rgem", "pooling.p=2", "seed=1"]
    assert load_settings(given, later=["pooling=gem"]).pooling.given() == {"name": "gem"}
    assert load_settings(given, later=["pooling.p=3"]).pooling.given() == {"name": "rgem", "p": 3}
    assert load_settings(given, later=["seed=2"]).seed == 2
    assert given_values(given, later=["seed=2"]) == {"pooling": {"name": "rgem", "p": 2}, "seed": 2}


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("methd=gem", "method"),
        ("datset=folder", "dataset"),
        ("train.epoch=3", "train.epochs"),
        ("train.weight_decy=3", "train.weight_decay"),
        ("extract.imagesize=3", "extract.image_size"),
        ("search.backnd=faiss", "search.backend"),
        ("evaluate.resample=3", "evaluate.resamples"),
        ("runtime.worker=3", "runtime.workers"),
    ],
)
def test_an_unknown_key_gives_the_nearest_with_its_section(text, near):
    with pytest.raises(InputError, match=rf"unknown setting '{text.partition('=')[0]}'; did you mean '{near}'\?"):
        load_settings([text])


@pytest.mark.parametrize(
    "text",
    [
        "train.epochs=many",
        "train.epochs=2.5",
        "train.crop_scale=[0.1]",
        "extract.scales=1.0",
        "extract.dtype=float64",
        "search.k=0",
        "seed=-1",
        "train=5",
        "dataset=5",
        "runs=5",
        "runs.deep=5",
        "train.recipe.deep=5",
        "model=5",
    ],
)
def test_a_wrong_type_names_its_key_in_one_line(text):
    key = text.partition("=")[0].split(".")[0]
    with pytest.raises(InputError, match=rf"setting {key}\S*=") as caught:
        load_settings([text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runs.x=1", "setting runs.x=1 is wrong: nothing stands below runs; write runs=VALUE"),
        ("runs=5", "setting runs=5 is wrong: a path is expected"),
        ("train=5", "setting train=5 is wrong: train is a section; write train.NAME=VALUE"),
    ],
)
def test_a_setting_in_the_place_of_a_section_and_the_reverse(text, said):
    with pytest.raises(InputError) as caught:
        load_settings([text])
    assert str(caught.value) == said


def test_one_plugin_needs_no_list(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "run.yaml").write_text("plugins: my_pooling.py\n")
    assert load_settings(config=folder / "run.yaml").plugins == [folder / "my_pooling.py"]
    assert load_settings(["plugins=my_pooling.py"]).plugins == [Path.cwd() / "my_pooling.py"]
    assert validate({"plugins": tmp_path / "mine.py"}).plugins == [tmp_path / "mine.py"]


def test_an_unknown_key_in_a_file(tmp_path):
    with pytest.raises(InputError, match=r"'train\.epoch'; did you mean 'train\.epochs'"):
        load_settings(config=saved(tmp_path, "train:\n  epoch: 3\n"))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no settings file at .*absent\.yaml"):
        load_settings(config=tmp_path / "absent.yaml")


@pytest.mark.parametrize("content", ["train: [1, 2", "train:\n\t- 1", "a: b: c"])
def test_malformed_yaml_names_the_file_in_one_line(tmp_path, content):
    with pytest.raises(InputError, match=r"given\.yaml is not valid YAML") as caught:
        load_settings(config=saved(tmp_path, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "hello\n", "5\n"])
def test_a_file_that_is_no_mapping(tmp_path, content):
    with pytest.raises(InputError, match="must hold a mapping"):
        load_settings(config=saved(tmp_path, content))


def test_a_file_that_is_no_text(tmp_path):
    file = tmp_path / "given.yaml"
    file.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"given\.yaml"):
        load_settings(config=file)


def test_yaml_does_not_run_code(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(InputError, match="not valid YAML"):
        load_settings(config=saved(tmp_path, f"method: !!python/object/apply:pathlib.Path.touch ['{marker}']\n"))
    assert not marker.exists()


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_settings(config=saved(tmp_path, "")) == load_settings()


def test_merge_leaves_the_upper_layer_alone():
    base, layer = {"train": {"lr": 1}}, {"train": {"epochs": 2}, "pooling": {"name": "gem"}}
    merge(base, layer)
    base["pooling"]["p"] = 3
    assert base["train"] == {"lr": 1, "epochs": 2}
    assert layer == {"train": {"epochs": 2}, "pooling": {"name": "gem"}}


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["method=delg"],
        ["method=delg", "rerank=none"],
        ["method=delg", "rerank.top_k=5", "model.local_scales=[0.5, 1]", "weights=some/file.pth"],
        ["dataset=folder", "dataset.root=pictures", "dataset.table=a.csv", "plugins=[a.py, b.py]"],
        ["pooling=mac", "train.lr=1e-3", "extract.scales=[0.5, 1.0]", "title='müsli: a, b'"],
        ["backbone=none", "train.epochs=null", "model.dim=null"],
        ["pooling=gem", "pooling.p=.inf"],
    ],
    ids=" ".join,
)
def test_what_is_dumped_is_read_back_equal(tmp_path, overrides):
    settings = load_settings(overrides)
    again = load_settings(config=saved(tmp_path, dump(settings)))
    assert again == settings
    assert dump(again) == dump(settings)


def test_plain_values_and_files_mean_the_same(tmp_path):
    values = {"method": "delg", "pooling": "mac", "train": {"epochs": 3}}
    assert layered(values) == load_settings(["method=delg", "pooling=mac", "train.epochs=3"])
    assert values == {"method": "delg", "pooling": "mac", "train": {"epochs": 3}}


def test_the_presets_are_found():
    assert config_folder() == CONFIGS


def files() -> list[Path]:
    return sorted(CONFIGS.rglob("*.yaml"))


def test_there_are_presets():
    assert len(files()) >= 3


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_file_of_configs_loads(path):
    if path.parent.name == "studies":
        assert read_study(path).name
        return
    content = read_yaml(path)
    content.pop("from_scratch", None)
    assert isinstance(layered(content), RunSettings)
    if path.parent.name == "methods":
        assert content["method"] == path.stem
    if path.parent.name == "datasets":
        assert content["dataset"]["name"] == path.stem


def test_plugins_of_a_yaml_file_stand_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mine.yaml").write_text("plugins: [my_gem.py, /else/where.py]\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(config=Path("study/mine.yaml")).plugins == [folder / "my_gem.py", Path("/else/where.py")]
    assert load_settings(["plugins=[my_gem.py]"], Path("study/mine.yaml")).plugins == [tmp_path / "my_gem.py"]


def test_dumped_plugins_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(["plugins=[my_gem.py]"])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "config.yaml").write_text(dump(settings))
    assert load_settings(config=tmp_path / "runs" / "config.yaml").plugins == [tmp_path / "my_gem.py"]

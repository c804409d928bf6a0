"""Exit codes and messages of the command line: one clear line for each mistake, no traceback, nothing half-written."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_landmarks import TINY, TRAINED, make_landmarks

from retrieval_bench.cli import call, parsed
from retrieval_bench.settings.plugins import module_name
from retrieval_bench.settings.registry import forget


def refused(capsys, *words: str) -> str:
    """The one line that a wrong input gives."""
    assert call(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in " ".join(lines)
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    return errors[0]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for label in ("bridge", "tower"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bench", "delgg"], "did you mean 'delg'"),
        (["bench", "gem", "trian.epochs=2"], "did you mean 'train'"),
        (["bench", "gem", "train.epocs=2"], "did you mean 'train.epochs'"),
        (["bench", "gem", "train.epochs=many"], "train.epochs='many'"),
        (["bench", "gem", "epochs"], "section.key=value"),
        (["bench", "gem", "trian.epochs=2"], "`retrieval-bench list settings` shows all"),
        (
            ["bench"],
            "no METHOD: name one, such as gem, or give a --config FILE that does; `retrieval-bench list methods`",
        ),
        (["train", "pooling=mac"], "no METHOD"),
        (["extract"], "no METHOD"),
        (["evaluate"], "no METHOD"),
        (["bench", "method="], "no METHOD"),
        (["bench", "gem", "dataset=roxford"], "did you mean 'roxford5k'"),
        (["bench", "gem", "weights=nowhere.pth"], "no weight file at nowhere.pth"),
        (["bench", "gem", "rerank=geometrik"], "did you mean 'geometric'"),
        (["bench", "--config", "nowhere.yaml"], "no settings file at nowhere.yaml"),
        (["bench", "gem", "--plugin", "nowhere.py"], "no plug-in file at nowhere.py"),
        (["bench", "gem", "--plugin", "."], "is a folder; --plugin and plugins take a Python file"),
        (["bench", "gem", "epochs=1"], "did you mean 'train.epochs'"),
        (["bench", "gem", "FREEZE=backbone"], "on the command line write train.freeze=backbone"),
        (["bench", "gem", "loss.margin=28.6"], "28.6 degrees are"),
        (["bench", "gem", "rerank=geometric", "rerank.top=3"], "unknown option of re-ranker 'geometric' 'top'"),
        (["evaluate", "nowhere"], "unknown method 'nowhere'"),
        (["report", "nowhere"], "no record.json in nowhere"),
        (["list", "backbones", "--filter", "nothing*"], "none of the backbones matches"),
        (["data", "verify", "roxford5k", "--root", "nowhere"], "gnd_roxford5k.pkl"),
        (["weights", "inspect", "nowhere.pth"], "no weight file at nowhere.pth"),
        (["weights", "convert", "nowhere.pth", "out.safetensors"], "no weight file at nowhere.pth"),
        (["weights", "convert", "nowhere.pth", "out.pth"], "must end in .safetensors"),
    ],
)
def test_a_wrong_input_is_one_line_and_exit_code_2(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.recipe=bse", "did you mean 'base'"),
        ("pooling=gme", "did you mean 'gem'"),
        ("pooling.leanable=false", "did you mean 'learnable'"),
        ("loss=arcfase", "did you mean 'arcface'"),
        ("backbone=resnet19", "did you mean 'resnet18'"),
        ("backbone.pretraned=true", "pretraned"),
        ("model.dims=3", "did you mean 'dim'"),
        ("dataset.label_colum=x", "did you mean 'label_column'"),
        ("rerank=geometric", "has not; use delg"),
        ("search.backend=fais", "did you mean 'faiss'"),
        ("search.k=100", "larger than the database of 4 images"),
        ("train.enabled=true", "no training images"),
    ],
)
def test_wrong_parts_and_options(setting, says, capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    words = ("bench", "gem", "dataset=folder", f"dataset.root={pictures}", "backbone=resnet10t", "model.dim=16")
    assert says in refused(capsys, *words, "train.enabled=false", "runtime.workers=0", setting)
    assert not list(tmp_path.glob("runs/*/*/*"))


def test_a_broken_image_names_itself(capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    (pictures / "tower" / "2.jpg").write_text("<html>")
    words = ("bench", "gem", "dataset=folder", f"dataset.root={pictures}", "backbone=resnet10t", "model.dim=16")
    assert "2.jpg" in refused(capsys, *words, "train.enabled=false", "runtime.workers=0")


def test_descriptors_that_are_no_numbers_are_refused(capsys, tmp_path, monkeypatch, pictures):
    import retrieval_bench as rb

    monkeypatch.chdir(tmp_path)
    model = rb.create_model("gem", backbone="resnet10t", dim=16)
    torch.nn.init.constant_(model.projection.bias, float("nan"))
    state = {"state_dict": model.state_dict(), "retrieval_bench": model.own_entry()}
    torch.save(state, "nan.ckpt")
    words = ("bench", "gem", "dataset=folder", f"dataset.root={pictures}", "weights=nan.ckpt", "runtime.workers=0")
    assert "finite" in refused(capsys, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["gem", "--plugin", "p.py", "seed=1", "pooling=mac"],
        ["gem", "seed=1", "--plugin", "p.py", "pooling=mac"],
        ["--plugin", "p.py", "gem", "seed=1", "pooling=mac"],
        ["gem", "seed=1", "pooling=mac", "--plugin", "p.py"],
    ],
)
def test_options_and_settings_come_in_any_order(words):
    arguments = parsed(["bench", *words])
    assert (arguments.method, arguments.settings) == ("gem", ["seed=1", "pooling=mac"])
    assert arguments.plugin == [Path("p.py")]


@pytest.mark.parametrize("words", [["seed=1"], ["--plugin", "p.py", "seed=1"], ["seed=1", "--config", "mine.yaml"]])
@pytest.mark.parametrize("command", ["bench", "train", "extract", "evaluate"])
def test_a_setting_is_no_method(command, words):
    arguments = parsed([command, *words])
    assert (arguments.method, arguments.settings) == (None, ["seed=1"])


def test_a_run_folder_may_have_an_equals_sign(tmp_path):
    folder = tmp_path / "p=4"
    folder.mkdir()
    assert parsed(["evaluate", str(folder)]).method == str(folder)


def test_help_tells_of_finished_runs_and_of_settings(capsys):
    assert call(["bench", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "One that is finished is made again" in told
    assert "`retrieval-bench list settings`" in told
    assert call(["compare", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "METHOD[:key=value[,key=value]...]" in told
    assert "gem:pooling=my_gem,pooling.p=4" in told


def test_a_plugin_brings_a_pooling(capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from retrieval_bench.pooling import Pooling, register_pooling\n\n\n"
        "@register_pooling('my_mean')\nclass MyMean(Pooling):\n"
        "    def __init__(self, in_channels: int, gain: float = 1.0):\n        super().__init__()\n"
        "        self.out_channels = in_channels\n        self.gain = gain\n\n"
        "    def forward(self, feature_map):\n        return self.gain * feature_map.mean((2, 3))\n"
    )
    words = ("bench", "gem", "--plugin", "mine.py", "dataset=folder", f"dataset.root={pictures}", "pooling=my_mean")
    small = ("backbone=resnet10t", "model.dim=16", "train.enabled=false", "runtime.workers=0")
    assert call([*words, *small, "pooling.gain=2"]) == 0
    assert "pooling my_mean" in capsys.readouterr().out
    assert "did you mean 'gain'" in refused(capsys, *words, *small, "pooling.gian=2")


PLUGIN = """
from retrieval_bench.pooling import Pooling, register_pooling


@register_pooling("mine")
class Mine(Pooling):
    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map):
        {body}
"""
ADVICE = "see retrieval-bench check pooling mine --plugin mine.py"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (
            "return feature_map.mean((2, 3), keepdim=True)",
            2,
            f"error: pooling 'mine' (mine.py) gave (2, 512, 1, 1), not (2, 512); {ADVICE}",
        ),
        (
            "return feature_map.mean((2, 3)) @ feature_map",
            1,
            f" (mine.py, line 12; {ADVICE}) (--debug shows the traceback)",
        ),
    ],
)
def test_a_fault_in_a_plugin_is_traced_to_it(body, code, said, capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN.format(body=body))
    words = ("bench", "gem", "--plugin", "mine.py", "dataset=folder", f"dataset.root={pictures}", "pooling=mine")
    small = ("backbone=resnet10t", "model.dim=16", "train.enabled=false", "extract.batch_size=2", "runtime.workers=0")
    try:
        assert call([*words, *small]) == code
    finally:
        forget(module_name(tmp_path / "mine.py"))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.endswith(said)
    assert last.startswith("error: " if code == 2 else "failed: RuntimeError: ")


def test_an_unknown_option_is_exit_code_2(capsys):
    assert call(["list", "methods", "--nothing"]) == 2
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    from retrieval_bench.settings.errors import InputError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        call(["bench", "delgg", "--debug"])


def test_a_failure_of_ours_is_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr("retrieval_bench.commands.doctor.doctor", lambda arguments: 1 / 0)
    assert call(["doctor"]) == 1
    assert capsys.readouterr().err == "failed: ZeroDivisionError: division by zero (--debug shows the traceback)\n"


def test_bench_evaluate_and_report_on_own_pictures(capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    words = ("bench", "gem", "dataset=folder", f"dataset.root={pictures}", "backbone=resnet10t", "model.dim=16")
    assert call([*words, "train.enabled=false", "runtime.workers=0", "extract.image_size=32"]) == 0
    assert "mAP" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "folder" / "gem").iterdir()
    assert call(["evaluate", str(folder)]) == 0
    assert "global: Result(mAP" in capsys.readouterr().out
    (folder / "report.html").unlink()
    assert call(["report"]) == 0
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("kind", ["methods", "poolings", "losses", "rerankers", "datasets"])
def test_list_names_every_part(kind, capsys):
    import retrieval_bench as rb

    assert call(["list", kind]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in getattr(rb, f"list_{kind}")())


def test_weights_are_inspected_and_converted(capsys, tmp_path):
    import retrieval_bench as rb

    model = rb.create_model("gem", backbone="resnet10t", dim=16)
    source = tmp_path / "own.ckpt"
    torch.save({"state_dict": model.state_dict(), "retrieval_bench": model.own_entry()}, source)
    assert call(["weights", "inspect", "--tensors", str(source)]) == 0
    assert "projection.weight (16, 512)" in capsys.readouterr().out
    target = tmp_path / "own.safetensors"
    assert call(["weights", "convert", str(source), str(target), "--method", "gem"]) == 0
    images = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rb.create_model("gem", weights=target).describe(images), model.describe(images))


def test_doctor_finds_this_environment_in_order(capsys):
    assert call(["doctor"]) == 0
    assert "no problems found" in capsys.readouterr().out


def test_help_is_quick_and_loads_no_torch():
    code = "import sys; from retrieval_bench.cli import parser; parser().format_help(); print('torch' in sys.modules)"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
        assert done.stdout.strip() == "False"
    assert min(times) < 0.5


def test_make_help_names_every_target():
    root = Path(__file__).parents[1]
    shown = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    targets = ("setup", "bench", "compare", "train", "extract", "evaluate", "report", "data", "test", "lint", "clean")
    assert all(f"make {target} " in shown for target in targets)


@pytest.fixture
def landmarks(tmp_path):
    return make_landmarks(tmp_path / "landmarks")


def forget_plugins() -> None:
    from retrieval_bench.settings.registry import forget

    for name in [name for name in sys.modules if name.startswith("retrieval_bench_plugin_")]:
        forget(name)
        del sys.modules[name]


@pytest.fixture
def own_parts(tmp_path, monkeypatch):
    """A folder of the user's, in which parts may be made."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget_plugins()


def test_a_pooling_a_loss_and_a_reranker_of_the_users_own_in_one_table(capsys, own_parts, landmarks):
    for kind, name in (("pooling", "my_gem"), ("loss", "my_loss"), ("reranker", "my_expansion")):
        assert call(["new", kind, name]) == 0
    chosen = ("pooling=my_gem", "pooling.sharpness=2", "loss=my_loss", "rerank=my_expansion", "rerank.top_k=4")
    plugins = ("plugins=[my_gem.py]", "--plugin", "my_loss.py", "--plugin", "my_expansion.py")
    capsys.readouterr()
    assert call(["bench", "gem", *TINY, *TRAINED, f"dataset.root={landmarks}", *chosen, *plugins]) == 0
    shown = capsys.readouterr().out
    assert "pooling my_gem (sharpness=2), loss my_loss" in shown
    assert "my_expansion" in shown
    (folder,) = (own_parts / "runs" / "folder" / "gem").iterdir()
    record = json.loads((folder / "record.json").read_text())
    assert record["parts"] == {
        "backbone": "resnet10t", "pooling": "my_gem", "loss": "my_loss", "re-ranker": "my_expansion",
    }  # fmt: skip
    assert [stage["name"] for stage in record["stages"]] == ["global", "reranked"]
    assert record["title"] == "GeM resnet10t, pooling my_gem (sharpness=2), loss my_loss"
    assert record["part_options"]["pooling"] == {"sharpness": "2"}
    assert record["part_options"]["re-ranker"] == {"top_k": "4"}
    files = {kind: file["file"] for kind, file in record["plugin_files"].items()}
    assert files == {"pooling": "my_gem.py", "loss": "my_loss.py", "re-ranker": "my_expansion.py"}
    digest = hashlib.sha256((own_parts / "my_gem.py").read_bytes()).hexdigest()
    said = f"my_gem (sharpness=2) from my_gem.py (plug-in, sha256 {digest[:12]}…)"
    assert said in shown
    assert said in (folder / "report.html").read_text()
    # The run's own settings find the files from anywhere.
    assert str(own_parts / "my_gem.py") in (folder / "config.yaml").read_text()
    forget_plugins()
    assert call(["evaluate", str(folder)]) == 0


def test_an_edited_part_is_measured_anew(capsys, own_parts, landmarks):
    assert call(["new", "pooling", "my_gem"]) == 0
    words = ("compare", "--methods", "gem", *TINY, f"dataset.root={landmarks}", "train.enabled=false",
             "pooling=my_gem", "--plugin", "my_gem.py")  # fmt: skip

    def records() -> list[dict[str, object]]:
        assert call(list(words)) == 0
        found = sorted((own_parts / "runs" / "folder" / "gem").glob("*/record.json"))
        return [json.loads(path.read_text()) for path in found]

    assert len(records()) == len(records()) == 1
    file = own_parts / "my_gem.py"
    source = file.read_text()
    file.write_text(source.replace("return weighted", "# the same, told at length\n        return weighted"))
    assert len(records()) == 1
    file.write_text(source.replace("self.p, self.weights", "7 * self.p, self.weights"))
    assert len(records()) == 2
    costs = [{cost["name"] for cost in record["costs"]} for record in records()]
    assert all("extraction" in names for names in costs), "descriptors of the older self were used again"


def test_a_plugin_that_takes_a_built_in_name_names_both_files(capsys, own_parts, pictures):
    assert call(["new", "pooling", "my_gem"]) == 0
    file = own_parts / "my_gem.py"
    file.write_text(file.read_text().replace('"my_gem"', '"gem"'))
    message = refused(capsys, "bench", "gem", "--plugin", "my_gem.py", "dataset=folder", f"dataset.root={pictures}")
    assert "pooling/gem.py" in message
    assert "my_gem.py" in message


def test_two_plugins_of_one_name_are_both_named(capsys, own_parts):
    assert call(["new", "pooling", "my_gem", "--into", "one"]) == 0
    assert call(["new", "pooling", "my_gem", "--into", "two"]) == 0
    message = refused(capsys, "list", "poolings", "--plugin", "one/my_gem.py", "--plugin", "two/my_gem.py")
    assert "one/my_gem.py" in message
    assert "two/my_gem.py" in message


def test_a_typo_in_an_option_of_the_users_own(capsys, own_parts, pictures):
    assert call(["new", "pooling", "my_gem"]) == 0
    words = ("bench", "gem", "--plugin", "my_gem.py", "dataset=folder", f"dataset.root={pictures}", "pooling=my_gem",
             "backbone=resnet10t", "train.enabled=false", "runtime.workers=0")  # fmt: skip
    assert "did you mean 'sharpness'" in refused(capsys, *words, "pooling.sharpnes=2")
    assert "did you mean 'mean'" in refused(capsys, *words, "pooling.strength=meen")


def test_an_installed_plugin_that_fails_is_named_and_the_rest_goes_on(capsys, monkeypatch):
    from importlib.metadata import EntryPoint

    from retrieval_bench.settings import plugins

    entries = [EntryPoint("bad", "no_such_package_here.parts", plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    assert call(["list", "poolings"]) == 0
    told = capsys.readouterr()
    assert "bad (no_such_package_here.parts)" in told.err
    assert "gem" in told.out


def test_data_of_a_plugin(capsys, own_parts):
    assert call(["new", "dataset", "my_set"]) == 0
    Path("images").mkdir()
    for number in range(2):
        Image.fromarray(np.full((24, 32, 3), 100 * number, dtype=np.uint8)).save(f"images/{number}.png")
    truth = {"database": ["0.png"], "queries": [{"image": "1.png", "easy": ["0.png"]}]}
    Path("images/ground_truth.json").write_text(json.dumps(truth))
    assert call(["data", "list", "--plugin", "my_set.py"]) == 0
    assert "my_set" in capsys.readouterr().out
    assert call(["data", "verify", "my_set", "--root", "images", "--plugin", "my_set.py"]) == 0
    assert "1 queries, 1 database images" in capsys.readouterr().out


def test_a_study_can_be_listed_without_running():
    assert parsed(["study", "mine.yaml", "--dry-run"]).dry_run


@pytest.mark.parametrize(
    ("words", "settings"),
    [("bench", True), ("compare", True), ("study", True), ("doctor", False), ("report", False), ("check", False)],
)
def test_help_speaks_of_settings_where_there_are_some_and_fits_a_terminal(words, settings, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert call([words, "--help"]) == 0
    told = capsys.readouterr().out
    assert ("Settings are given as section.key=value" in told) == settings
    assert all(len(line) <= 80 for line in told.splitlines() if not line.lstrip().startswith("{"))
    assert "Exit codes" in told

"""The command line: parses, calls, prints. Nothing here loads torch before a command needs it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from retrieval_bench import __version__
from retrieval_bench.settings.errors import InputError, one_line

CODES = "Exit codes: 0 done, 1 the run failed, 2 the input was wrong."

EPILOG = f"""\
Settings are given as section.key=value, a part by its name:
  retrieval-bench bench delg pooling=gem pooling.p=4 train.epochs=5 seed=1
`retrieval-bench list settings` shows all of them with type and default.
{CODES}
"""

OPTIONS_EPILOG = f"""\
Options are given without a section; `retrieval-bench list` shows them:
  retrieval-bench {{example}}
{CODES}
"""

WEIGHTS_EPILOG = f"""\
  retrieval-bench weights inspect model_epoch_0100.pyth
  retrieval-bench weights convert model_epoch_0100.pyth delg.safetensors
Files are read without running code. A converted file loads as
weights=delg.safetensors.
{CODES}
"""

LISTED = ("methods", "poolings", "losses", "batch_attentions", "backbones", "rerankers", "datasets", "settings")
KINDS = ("pooling", "loss", "batch_attention", "method", "reranker", "dataset", "backbone")

BENCH_MORE = """
A run that was interrupted goes on where it stopped. One that is finished is
made again, in a new folder; `compare` and `study` show finished runs and do
not repeat them.
"""

COMPARE_MORE = """
An entry of --methods is METHOD[:key=value[,key=value]...], with settings of its
own that come after the common ones:
  retrieval-bench compare --plugin my_gem.py \\
      --methods "gem gem:pooling=my_gem,pooling.p=4 delg" train.epochs=5
Commas and spaces within [] and {} belong to a value. Finished runs are shown
and not repeated; all others are checked before the first begins. If one fails,
the table shows the others. A page with the table, costs and protocol cards, and
the table as LaTeX, Markdown and CSV, go to runs/comparisons.
"""

Command = Callable[[argparse.Namespace], None]


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    # Threads that spin while they wait starve everything else on a machine of few cores: 3 to 5 times slower on two.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(call(sys.argv[1:] if words is None else words))


def call(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = parsed(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        module, _, function = arguments.command.partition(":")
        command: Command = getattr(import_module(f"retrieval_bench.commands.{module}"), function)
        command(arguments)
    except InputError as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if arguments.debug:
            raise
        from retrieval_bench.settings.faults import blamed

        place = f" ({line})" if (line := blamed(error)) else ""
        print(f"failed: {one_line(error)}{place} (--debug shows the traceback)", file=sys.stderr)
        return 1
    return 0


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line. Options may stand before, between and after settings, which argparse refuses."""
    top = parser()
    arguments, rest = top.parse_known_args(words)
    if rest and (not hasattr(arguments, "settings") or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if hasattr(arguments, "settings") and _is_setting(getattr(arguments, "method", None)):
        arguments.settings = [arguments.method, *arguments.settings]
        arguments.method = None
    if rest and getattr(arguments, "method", "") is None and "=" not in rest[0]:
        arguments.method = rest.pop(0)
    if rest:
        arguments.settings = [*arguments.settings, *rest]
    return arguments


def _is_setting(word: str | None) -> bool:
    """Whether what stands in the place of a method is a setting, as it may where a file names the method."""
    return word is not None and "=" in word and not Path(word).exists()


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show tracebacks")
    shared.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file that registers parts; may be repeated",
    )

    top = argparse.ArgumentParser(
        prog="retrieval-bench",
        description="Instance image retrieval methods, side by side.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: str, text: str, parent: argparse._SubParsersAction = commands, more: str = ""
    ) -> argparse.ArgumentParser:
        made = parent.add_parser(
            name, help=text, description=f"{text}\n{more}".strip(), parents=[shared], epilog=CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.set_defaults(command=command)
        return made

    def settings(made: argparse.ArgumentParser) -> None:
        made.epilog = EPILOG
        made.add_argument("settings", nargs="*", metavar="key=value", help="settings that override the presets")
        made.add_argument("--config", type=Path, metavar="FILE", help="YAML with settings, such as a run's config.yaml")

    for name, text in (
        ("bench", "train, extract, search, re-rank, evaluate and report"),
        ("train", "train only, and write a checkpoint"),
        ("extract", "describe queries and database into stores on disk"),
    ):
        made = add(name, f"runs:{name}", text, more=BENCH_MORE if name == "bench" else "")
        made.add_argument("method", nargs="?", metavar="METHOD", help="see `list methods`; may stand in --config")
        settings(made)

    made = add("evaluate", "runs:evaluate", "score a run's ranking again, or evaluate given weights without training")
    made.add_argument("method", nargs="?", metavar="METHOD|RUN", help="a method, with weights=FILE, or a run folder")
    settings(made)

    made = add(
        "compare", "compare:compare", "several methods under one set of settings, side by side", more=COMPARE_MORE
    )
    made.add_argument(
        "--methods",
        default="gem delg",
        metavar='"M1 M2"',
        help="what to compare: METHOD[:key=value[,key=value]...] ...",
    )
    settings(made)

    made = add("report", "runs:report", "print records and write their pages again; unfinished runs are left out")
    made.add_argument("runs", nargs="*", metavar="RUN", help="run folders; none: the latest run")
    made.add_argument(
        "--into", type=Path, metavar="FOLDER", help="keep the comparison of several RUNs there: page, LaTeX, CSV"
    )

    made = add("list", "parts:list_parts", "the parts there are, or the settings")
    made.add_argument("kind", choices=LISTED)
    made.add_argument("--filter", metavar="PATTERN", help="such as 'conv*' or 'train.*'")
    made.add_argument("--card", metavar="NAME", help="one part in full: what it is, its source, every option")

    made = add("new", "new:new_part", "write a working part and its test, to be changed into your own")
    made.add_argument("kind", choices=KINDS)
    made.add_argument("name", metavar="NAME", help="lower case, such as my_gem")
    made.add_argument(
        "--into",
        type=Path,
        metavar="FOLDER",
        help="where the files go: any folder, or the folder of the package with parts of that kind; default: here",
    )

    made = add("check", "check:check_part", "the checks that every built-in part passes, on one part")
    made.add_argument("kind", choices=KINDS)
    made.epilog = OPTIONS_EPILOG.format(example="check pooling gem p=4")
    made.add_argument("name", metavar="NAME", help="as in `list`")
    made.add_argument("settings", nargs="*", metavar="option=value", help="options of the part")
    made.add_argument("--fast", action="store_true", help="without generated code and ONNX, which take a minute")

    made = add("study", "study:study", "a grid of runs from a YAML file; finished runs are not repeated")
    made.epilog = EPILOG
    made.add_argument("file", type=Path, metavar="FILE", help="see `configs/studies`")
    made.add_argument("--workers", type=int, default=1, metavar="N", help="processes, or devices")
    made.add_argument("--engine", choices=("local", "ray", "slurm"), default="local", help="what runs them")
    made.add_argument("--dry-run", action="store_true", help="list what would run, and run nothing")
    made.add_argument(
        "--skip-misfits", action="store_true", help="go on without the rows that cannot be made; the table names them"
    )
    made.add_argument("settings", nargs="*", metavar="key=value", help="settings that override every run's")

    weights_text = "weight files: ours, and those in the formats in which methods are published"
    weights = commands.add_parser(
        "weights", help=weights_text, description=weights_text, epilog=WEIGHTS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(metavar="ACTION", required=True)  # fmt: skip
    for name, text in (
        ("inspect", "what a weight file is, which methods read it, and what becomes of each of its tensors"),
        ("convert", "write a weight file as our own safetensors file, with where it came from"),
    ):
        made = add(name, f"weights:{name}_weights", text, weights)
        made.epilog = WEIGHTS_EPILOG
        made.add_argument("file", type=Path, metavar="FILE", help="a torch file (.pth, .pyth, .ckpt) or .safetensors")
        if name == "inspect":
            made.add_argument("--tensors", action="store_true", help="list every tensor with its shape and its place")
        else:
            made.add_argument("output", type=Path, metavar="OUT", help="a new file that ends in .safetensors")
        made.add_argument("--method", metavar="NAME", help="read it as this method, where several recognise it")

    data = commands.add_parser("data", help="datasets", description="datasets", epilog=CODES).add_subparsers(
        metavar="ACTION", required=True
    )
    add("list", "data:list_datasets", "the datasets there are", data)
    for name, text in (
        ("plan", "what `prepare` would fetch"),
        ("prepare", "fetch, unpack and check a dataset, or build the embedded one"),
        ("verify", "check a dataset's files"),
    ):
        made = add(name, f"data:{name}", text, data)
        made.epilog = OPTIONS_EPILOG.format(example=f"data {name} synthetic distractors=50")
        made.add_argument("name", metavar="DATASET", help="as in `list datasets`")
        made.add_argument("--root", type=Path, metavar="FOLDER", help="its folder")
        made.add_argument("settings", nargs="*", metavar="option=value", help="options of the dataset")

    add("doctor", "doctor:doctor", "what this machine has, and what is wrong with it")
    return top

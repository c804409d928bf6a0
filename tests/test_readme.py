"""What README shows is what works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_bench.cli import parsed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip() for kind, text in BLOCKS if kind == "bash" for line in text.splitlines() if line
]


def test_the_pooling_of_the_readme_passes_its_checks(tmp_path):
    source = next(text for kind, text in BLOCKS if kind == "python" and "@register_pooling" in text)
    file = tmp_path / "mean_max.py"
    file.write_text(source, encoding="utf-8")
    command = ["check", "pooling", "mean_max", "--plugin", str(file), "--fast"]
    done = subprocess.run([sys.executable, "-m", "retrieval_bench", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.startswith("make ")])
def test_targets_exist(command):
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert command.split()[1] in targets


@pytest.mark.parametrize("command", [one for one in COMMANDS if "retrieval-bench " in one])
def test_commands_parse(command):
    assert parsed(shlex.split(command.partition("retrieval-bench ")[2]))

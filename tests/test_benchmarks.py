"""The benchmarks run; the page of measured figures is the one that its files make."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import show
from common.project import ROOT


def test_the_page_shows_the_files():
    assert (show.RESULTS / "README.md").read_text(encoding="utf-8") == show.page()
    assert show.page().count("\n## ") == len(list(show.RESULTS.glob("*.json")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recorded", "within"),
    [("mlm", "mlm-mbert", []), ("finetune", "finetune", ["ner_es", "screening_nl"]), ("tokenise", "tokenise", [])],
)
def test_a_benchmark_writes_what_is_recorded(tmp_path, name, recorded, within):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--rounds=1", f"--json={tmp_path / 'it.json'}"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}, check=True)
    found, before = (json.loads(path.read_text()) for path in (tmp_path / "it.json", show.RESULTS / f"{recorded}.json"))
    assert set(found) == set(before) - {"note"}
    for task in within:
        assert set(found[task]) == set(before[task])

"""Fixtures that tests share: a small project with its own notebooks, run through the real front door."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
PLACE = "study #1"  # a folder's name that shells and YAML read in other ways

settings.register_profile("steady", deadline=None)  # no example fails for the machine's being busy
settings.load_profile("steady")

SETTINGS = '''
"""A stand-in for the profiles: five stages over four notebooks."""

import os
from types import SimpleNamespace

from runner.profile import Stage

FIT = {"gpu": 1, "cpus_per_task": 2, "slurm_partition": "gpus", "constraint": "a100&nvlink"}


def load(profile, sets):
    values = {"length": 10, "colour": "blue"} | dict(item.split("=") for item in sets)
    values["length"] = int(values["length"])
    run, cut, scores = {"run": "mini"}, "corpora/statistics.csv", "results/metrics.csv"
    arms = ["x", "y"] + ["z"] * bool(values.get("z"))
    fits = [f"models/{arm}/training.csv" for arm in arms]
    stages = [
        Stage("01_first", "01_first", run | {"length": values["length"]}, [], [cut], resources={"mem_mb": 500}),
        *(
            Stage(f"02_fit-{arm}", "02_fit", run | {"arm": arm}, [cut], [fit], {"pause": 0}, 0, FIT)
            for arm, fit in zip(arms, fits)
        ),
        Stage("03_join", "03_join", run | {"arms": arms}, fits, [scores]),
        Stage("04_draw", "04_draw", run | {"colour": values["colour"]}, [scores], ["results/claims.json"]),
    ]
    if values.get("partition"):
        stages[0].resources["slurm_partition"] = values["partition"]
    declared = {"stated": {}, "rule": {}, "family": [], "confidence": 0.95, "draws": 500}
    dump = {"description": "mini", "seed": 1, "claims": declared, **values}
    return SimpleNamespace(
        run="mini", name="mini", description="A mini run.", synthetic=True, stages=lambda: stages,
        cluster=SimpleNamespace(cores=2),
        check_parts=lambda: None, check_own=lambda: None, parts=lambda: [], model_dump=lambda **_: dump,
    )
'''

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""

# name -> (parameters cell, body). Every notebook appends to a journal, so that a test can count its executions.
NOTEBOOKS = {
    "01_first": ('run = "mini"\nlength = 10', 'made = write("corpora/statistics.csv", "n\\n%d\\n" % length)'),
    "02_fit": (
        'run = "mini"\narm = "x"\npause = 0',
        'made = write("models/%s/training.csv" % arm, "loss\\n1\\n")',
    ),
    "03_join": (
        'run = "mini"\narms = ["x"]',
        'made = write("results/metrics.csv", "task,test,language,arm,seed,split,label,metric,value\\n"'
        ' "t,t,ro,x,1,test,all,f1,0.5\\n")',
    ),
    "04_draw": (
        'run = "mini"\ncolour = "blue"',
        'made = write("results/claims.json", \'{"claims": [], "synthetic": true}\')',
    ),
}

BODY = """
# %% [markdown]
# Write the product.

# %%
import os
from helpers.scribe import write
journal = open(os.environ.get("JOURNAL", os.devnull), "a")
print(os.environ.get("HELPERS_STAGE"), file=journal, flush=True)
{body}
"""

SCRIBE = '''
"""Writes a product of the mini run."""

from common.project import RUNS, write_atomically


def write(product, text):
    """Write `text`."""
    write_atomically(RUNS / "mini" / product, text)
    return product
'''


class Project:
    """A copy of the spine with small notebooks, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.run_folder = folder / "runs" / "mini"
        self.journal = folder / "journal"
        (folder / "notebooks").mkdir(parents=True)
        (folder / "profiles").mkdir()
        shutil.copy(ROOT / "profiles" / "claims.yaml", folder / "profiles")
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (folder / "src" / "runner" / "settings.py").write_text(SETTINGS)
        (folder / "src" / "helpers" / "scribe.py").write_text(SCRIBE)
        shutil.copytree(ROOT / "paper", folder / "paper", ignore=shutil.ignore_patterns("*.pdf"))
        shutil.copy(ROOT / "Snakefile", folder)
        for name, (parameters, body) in NOTEBOOKS.items():
            self.write_notebook(name, parameters, body)

    def write_notebook(self, name: str, parameters: str, body: str, rest: str = BODY) -> None:
        """Write notebooks/<name>.py; the front door makes its .ipynb."""
        text = f'{HEADER}\n# %% [markdown]\n# # {name}\n\n# %% tags=["parameters"]\n{parameters}\n'
        file = self.root / "notebooks" / f"{name}.py"
        file.write_text(text + rest.format(body=body))
        later = file.stat().st_mtime + 5
        os.utime(file, (later, later))

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HELPERS_")}
        return kept | {"PYTHONPATH": str(self.root / "src"), "JOURNAL": str(self.journal)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "runner.front_door", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the front door as the leader of a process group of its own, which heeds Ctrl-C.

        What a shell starts in the background, such as these tests, does not, and hands that on.
        """
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            text=True,
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env=self.environment(), text=True, capture_output=True, timeout=120
        )

    def executed(self) -> list[str]:
        """The stages executed since the last call."""
        lines = self.journal.read_text().split() if self.journal.exists() else []
        self.journal.unlink(missing_ok=True)
        return lines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first: each stays in one process (`--dist loadfile`), and the last one should be short."""
    slowest = ("test_smoke", "test_stages", "test_slurm", "test_bootstrap", "test_kills")
    items.sort(key=lambda item: slowest.index(item.path.stem) if item.path.stem in slowest else len(slowest))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A mini project that nothing has run in."""
    return Project(tmp_path / PLACE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A mini project after a complete run; tests that use it leave it complete."""
    project = Project(tmp_path_factory.mktemp("finished") / PLACE)
    done = project.run("mini")
    assert done.returncode == 0, done.stdout + done.stderr
    project.first = done
    return project


def copied(folder: Path) -> Path:
    """A copy of what git holds, without products of earlier runs."""
    for name in ("src", "notebooks", "profiles", "data", "paper", "teaching"):
        ignored = shutil.ignore_patterns("__pycache__", "cache", ".ipynb_checkpoints", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the project, which the tests of one file share."""
    return copied(tmp_path_factory.mktemp("reader"))


@pytest.fixture
def float32(monkeypatch):
    """Training and prediction in float32, whatever the processor has: for values that are compared closely."""
    from accelerate.state import AcceleratorState  # here, as most tests need no torch

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)

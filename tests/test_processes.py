"""Fits at a time give what one after the other does, and end with the one that asked; what a stage ran on is told."""

import operator
import subprocess
import sys
import time

import killed
import pandas as pd
import psutil
import pytest

from common import project
from engine import processes
from evidence import tables
from helpers import finetuning
from runner import machine

VALUES = {"tests": ["ner_es"], "length": 48, "overlap": 8, "epochs": 1, "patience": 1, "batch_rows": 8, "share": 0.5}
VALUES |= {"learning_rate": 1e-3, "warmup_share": 0.1, "negatives_per_positive": 0.0}


def test_calls_are_answered_in_order_and_an_error_is_the_callers():
    calls = [(6, 3), (6, 2), (6, 1)]
    assert processes.at_once(operator.floordiv, calls, 1) == processes.at_once(operator.floordiv, calls, 2) == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        processes.at_once(operator.floordiv, [(1, 1), (1, 0)], 2)


def test_fits_at_a_time_give_what_one_after_the_other_does(tmp_path):
    killed.main(tmp_path, 4)
    found = []
    for fits in (1, 2):
        table = finetuning.all_fits(tmp_path, "ner_es", ["arm"], [2, 3], {}, **VALUES, **killed.SPEED | {"fits": fits})
        place = tables.predictions(tmp_path, "ner_es", 0.5) / "arm"
        found.append([list(table["seed"]), [(place / f"seed-{seed}.parquet").read_bytes() for seed in (2, 3)]])
        for note in place.glob("*.json"):
            note.unlink()  # the fit is then made again
    assert found[0] == found[1]
    assert found[0][0] == [2, 3]


IN_THE_BACKGROUND = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # as a script starts what ends on &


@pytest.mark.parametrize(
    ("code", "count"),
    [  # two that work, their server and its tracker; one that works and its tracker
        ("from engine import processes; processes.at_once(time.sleep, [(99,), (99,)], 2)", 4),
        ("from benchmarks import paired; paired.Apart().ask(time.sleep, 99)", 2),
        (f"{IN_THE_BACKGROUND}; from engine import processes; processes.together(time.sleep, 2, 99)", 3),
    ],
)
def test_no_process_outlives_the_one_that_asked(code, count):
    asking = subprocess.Popen([sys.executable, "-c", f"import time; {code}"], cwd=project.ROOT)
    begun, children = time.monotonic(), []
    while len(children) < count and time.monotonic() - begun < 60:
        time.sleep(0.2)
        children = psutil.Process(asking.pid).children(recursive=True)
    assert len(children) == count
    asking.kill()
    asking.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert alive == [] and len(gone) == count


@pytest.fixture
def places(tmp_path):
    for number in range(3):
        (tmp_path / f"gpus/0000:0{number}:00.0").mkdir(parents=True)
        (tmp_path / f"gpus/0000:0{number}:00.0/information").write_text("Model: \t\t NVIDIA X1\nIRQ:   \t\t 1\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Core X\nflags\t\t: avx avx512_bf16\n")
    return tmp_path / "gpus", tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("torch", "visible", "precision", "told"),
    [
        ("2.13.0", None, "", "3 x NVIDIA X1, torch 2.13.0"),
        ("2.13.0", "1", "", "1 x NVIDIA X1, torch 2.13.0"),
        ("2.13.0", "0,1", "", "2 x NVIDIA X1, torch 2.13.0"),
        ("2.13.0", "", "", "Core X, 2 cores, bfloat16, torch 2.13.0"),
        ("2.13.0+cpu", None, "", "Core X, 2 cores, bfloat16, torch 2.13.0+cpu"),
        ("2.13.0+cpu", None, "no", "Core X, 2 cores, float32, torch 2.13.0+cpu"),
    ],
)
def test_a_device_is_told_as_it_is_used(places, monkeypatch, torch, visible, precision, told):
    monkeypatch.setattr(machine, "version", lambda name: torch)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.device(*places) == told


def test_two_processes_fit_what_one_does(tmp_path, float32, monkeypatch):
    """Without dropout, of which each draws its own: the same looks, scores and entities, early stopping included."""
    monkeypatch.setitem(killed.SCRATCH, "config", killed.WIDTH)
    killed.main(tmp_path, 4)
    found, values = [], VALUES | {"epochs": 4, "patience": 1, "share": 1.0, "learning_rate": 3e-3}
    for count in (1, 2):
        speed = killed.SPEED | {"processes": count}
        table = finetuning.all_fits(tmp_path, "ner_es", ["arm"], [1], {}, **values, **speed)
        place = tables.predictions(tmp_path, "ner_es") / "arm"
        rows = pd.read_parquet(place / "seed-1.parquet").query("kind == 'predicted'")
        found.append((table.loc[table["arm"] == "arm"].iloc[0], rows))
        (place / "seed-1.json").unlink()
    (one, entities), (two, same) = found
    assert one[["looks", "best_look"]].tolist() == two[["looks", "best_look"]].tolist()
    assert one["dev_score"] == pytest.approx(two["dev_score"], abs=0.02)
    agree = pd.merge(entities, same, how="inner")
    assert len(agree) > 0.95 * len(entities) > 20 and abs(len(entities) - len(same)) < 0.05 * len(entities)


@pytest.mark.parametrize(("fits", "count"), [(1, 2), (3, 1)])
def test_fits_side_by_side_are_trained_by_one_process_each(tmp_path, monkeypatch, fits, count):
    killed.write_texts(tmp_path)
    asked = []

    def together(function, count, *arguments, **named):
        asked.append(count)
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "together", together)
    values = VALUES | killed.SPEED | {"fits": fits, "processes": 2}
    with pytest.raises(KeyboardInterrupt):
        finetuning._once(tmp_path, "ner_es", "arm", "arm", 1, finetuning._fit_ner, False, **values)
    assert asked == [count]

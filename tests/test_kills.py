"""kill -9 at random moments of pre-training and fine-tuning: the end is the same, bit for bit. KILLS=20 for more."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("KILLS", "3"))
STEPS = 60 + 40 * KILLS
RESULTS = ("models/arm/model.safetensors", "models/arm/training.csv", "predictions/ner_es/arm/seed-1.parquet")


def begun(folder):
    """The training, once its imports are over."""
    script = [sys.executable, Path(__file__).with_name("killed.py"), folder, str(STEPS)]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.strip() == "ready":
            return process
    pytest.fail(f"the training did not start: exit status {process.wait()}")


def results(folder):
    return [(folder / name).read_bytes() for name in RESULTS]


def test_kills_at_random_moments_change_no_bit(tmp_path):
    process = begun(tmp_path / "whole")
    began = time.monotonic()
    assert process.wait() == 0, process.stdout.read()
    whole = time.monotonic() - began
    generator, checkpoints = random.Random(KILLS), tmp_path / "killed/checkpoints"
    for kill in range(KILLS):
        part = "arm" if kill < KILLS // 2 else "fits/ner_es"  # pre-training, then fine-tuning
        process = begun(tmp_path / "killed")
        while not any((checkpoints / part).rglob("step-*")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.005)
        time.sleep(generator.uniform(0, whole / 2 / KILLS))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()
    assert begun(tmp_path / "killed").wait() == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")

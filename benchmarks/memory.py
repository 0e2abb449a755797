"""Memory and pace of preparing and training on little and on much text: both should stay where they are.

    python -m benchmarks.memory [--quick] [--json FILE]

Each amount has a process of its own, which writes its peak of resident memory after every part: tokenising and packing
the text, reading every row once in training order, and a few hundred steps of training. Whether pace stays is asked
within one process and in turn, as a machine's own pace does not: of preparing, after each quarter of the text, beside
the same text prepared by itself at that moment; of training with rows from all of the text and from a quarter of it.
The text is the project's synthetic one, said over until there is enough.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import paired
from benchmarks.mlm import SHAPES, WARM_UP, Bench
from engine import tokens
from helpers.packing import Mixture
from texts import synthetic

GENERATED = 50  # megabytes of text that are made; more is the same again
STEPS = 200
QUARTERS = 4


def made(megabytes: int) -> list[str]:
    """Synthetic texts, so much of them."""
    found, left = [], megabytes * 10**6
    for document in synthetic.documents("biomedical", "es", 1):
        found.append(document.text)
        if (left := left - len(document.text.encode())) <= 0:
            break
    return found


class Whole(Mixture):
    """A mixture of one store, of which `count` rows are read, from all over it or over its first `share`."""

    def __init__(self, store: tokens.Rows, tokenizer: Any, count: int, share: float = 1.0) -> None:
        self.stores, self.length, self.tokenizer = [store], store.length, tokenizer
        self.starts = [0]
        self.order = tokens.Order([int(share * len(store))], [1.0], count, 1)


def measure(megabytes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Pace and peak memory of each part for so much text; in `rounds` what is set beside each other."""
    shape = SHAPES["small"] | {"learn": 0}
    bench, length, rows = Bench(shape, 2), shape["length"], shape["rows"]
    found: dict[str, Any] = {"text_mb": megabytes}

    def note(part: str, began: float, count: float, unit: str) -> None:
        pace = count / (time.perf_counter() - began)
        found[part] = {unit: pace, "peak_rss_mb": paired.peak_rss_mb()}
        print(f"{megabytes:>6} MB  {part:<10} {pace:>14,.1f} {unit}  peak {paired.peak_rss_mb():,} MB", flush=True)

    bench.train(bench.model(), bench.rows[: rows * 5], 1)  # what a first training always takes
    said, seconds, beside = made(GENERATED), list[float](), list[float]()

    def texts() -> Iterator[str]:
        for number in range(times := megabytes // GENERATED):
            began = time.perf_counter()
            yield from said
            seconds.append(time.perf_counter() - began)
            if (number + 1) * QUARTERS // times > number * QUARTERS // times:
                beside.append(alone(said, bench, folder) / seconds[-1])

    store = tokens.pack(texts(), bench.tokenizer, length, 10**12, folder / "rows.arrow")
    note("preparing", time.perf_counter() - sum(seconds), megabytes, "mb_per_s")
    found["preparing_late_to_alone"] = beside
    began, mixture = time.perf_counter(), Whole(store, bench.tokenizer, len(store))
    for begin in range(0, len(mixture.order), 512):
        mixture.read(np.arange(begin, min(begin + 512, len(mixture.order))))
    note("reading", began, len(mixture.order) * length, "tokens_per_s")
    began = time.perf_counter()
    bench.train_on(bench.model(), Whole(store, bench.tokenizer, STEPS * rows), 1)
    note("training", began, STEPS * rows * length, "tokens_per_s")

    def side(share: float) -> paired.Side:
        return lambda number: pace(bench, Whole(store, bench.tokenizer, STEPS * rows, share))

    turns = paired.in_turn({"rows of all the text": side(1.0), "rows of a quarter": side(1 / QUARTERS)}, rounds)
    found["training_all_to_quarter"] = paired.ratio(*turns.values())
    return found


def alone(said: list[str], bench: Bench, folder: Path) -> float:
    """Seconds that preparing some texts takes by itself."""
    began = time.perf_counter()
    tokens.pack(said, bench.tokenizer, bench.shape["length"], 10**12, folder / "alone.arrow").path.unlink()
    return time.perf_counter() - began


def pace(bench: Bench, mixture: Whole) -> float:
    """Tokens a second of training on a mixture."""
    stamps = bench.train_on(bench.model(), mixture, 1)
    return (STEPS - WARM_UP) * bench.shape["rows"] * mixture.length / (stamps[-1] - stamps[WARM_UP])


def main() -> None:
    """Measure each amount in a process of its own, print and write."""
    if sys.argv[1:2] == ["--one"]:
        with tempfile.TemporaryDirectory() as place:
            megabytes, rounds, told = sys.argv[2:]
            Path(told).write_text(json.dumps(measure(int(megabytes), int(rounds), Path(place))))
        return
    asked = paired.options(__doc__.splitlines()[0])
    amounts, found = ([50, 200] if asked.quick else [1000, 4000]), []
    rounds = str(asked.rounds or (1 if asked.quick else 3))
    with tempfile.TemporaryDirectory() as place:
        for megabytes in amounts:
            told = Path(place) / f"{megabytes}.json"
            one = [sys.executable, "-m", "benchmarks.memory", "--one", str(megabytes), rounds, str(told)]
            subprocess.run(one, check=True)
            found.append(json.loads(told.read_text()))
    parts = ("preparing", "reading", "training")
    peaks = {part: found[1][part]["peak_rss_mb"] / found[0][part]["peak_rss_mb"] for part in parts}
    paired.finish({"amounts": found, "ratio_peak_rss": peaks}, asked.json)


if __name__ == "__main__":
    main()

"""Tokenising and packing a text: ours beside the usual `datasets.map` with `group_texts`, MB of text a second.

    python -m benchmarks.tokenise [--quick] [--json FILE]

The usual route is that of transformers' language-modelling examples: map the tokenizer over batches in as many
processes as there are cores, then concatenate and cut in a second map. Both start from the same JSON-lines file and end
with rows in an Arrow file.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import paired
from engine import tokens
from helpers import models
from texts import synthetic
from texts.documents import read_jsonl, write_jsonl

LENGTH = 64


def group_texts(examples: dict[str, list]) -> dict[str, list]:
    """Concatenate lists of pieces and cut them into rows of `LENGTH`."""
    whole = list(itertools.chain.from_iterable(examples["input_ids"]))
    total = len(whole) // LENGTH * LENGTH
    return {"input_ids": [whole[i : i + LENGTH] for i in range(0, total, LENGTH)]}


def write(source: Path, megabytes: int) -> list[str]:
    """Write so much text, and return the first texts of it."""
    documents, left = [], megabytes * 10**6
    for document in synthetic.documents("biomedical", "es", 1):
        documents.append(document)
        left -= len(document.text.encode())
        if left <= 0:
            break
    write_jsonl(source, documents)
    return [document.text for document in documents[:20000]]


def ours(source: Path, tokenizer: Any, place: Path) -> float:
    """Seconds of our route."""
    began = time.perf_counter()
    texts = (document.text for document in read_jsonl(source))
    tokens.pack(texts, tokenizer, LENGTH, 10**9, place / "ours.arrow")
    return time.perf_counter() - began


def mapped(source: Path, tokenizer: Any, place: Path) -> float:
    """Seconds of the usual route, in as many processes as there are cores."""
    from datasets import load_dataset

    began, cores = time.perf_counter(), os.cpu_count()
    data = load_dataset("json", data_files=str(source), split="train", cache_dir=str(place))
    cut = data.map(
        lambda rows: tokenizer(rows["text"], return_attention_mask=False, return_token_type_ids=False),
        batched=True,
        num_proc=cores,
        remove_columns=data.column_names,
    )
    cut.map(group_texts, batched=True, num_proc=cores)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and write."""
    asked = paired.options(__doc__.splitlines()[0])
    megabytes = 8 if asked.quick else 40
    with tempfile.TemporaryDirectory() as folder, paired.Apart() as engine, paired.Apart() as usual:
        source = Path(folder) / "text.jsonl"
        texts = write(source, megabytes)
        tokenizer = models.train_tokenizer(texts, 8000)

        def side(process: paired.Apart, route: Callable[..., float]) -> paired.Side:
            def measured(number: int) -> float:
                place = Path(folder) / f"{route.__name__}-{number}"
                return megabytes / process.ask(route, source, tokenizer, place)

            return measured

        sides = {"ours": side(engine, ours), "datasets.map": side(usual, mapped)}
        found = paired.in_turn(sides, asked.rounds or (3 if asked.quick else 5), "MB")
        memory = engine.ask(paired.peak_rss_mb)
    one = paired.ratio(found["ours"], found["datasets.map"])
    result = {"ratio": one["median"], "spread": [one["min"], one["max"]], "peak_rss_mb": memory}
    result["mb_per_s"] = {name: statistics.median(values) for name, values in found.items()}
    paired.finish(result, asked.json)


if __name__ == "__main__":
    from benchmarks import tokenise  # datasets sends functions of __main__ to its processes with all that it imports

    tokenise.main()

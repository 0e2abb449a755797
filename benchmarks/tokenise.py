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


def main() -> None:
    """Measure, print and write."""
    asked = paired.options(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory() as folder:
        source, size = Path(folder) / "text.jsonl", (8 if asked.quick else 40) * 10**6
        documents, left = [], size
        for document in synthetic.documents("biomedical", "es", 1):
            documents.append(document)
            left -= len(document.text.encode())
            if left <= 0:
                break
        write_jsonl(source, documents)
        tokenizer = models.train_tokenizer((d.text for d in documents[:20000]), 8000)

        def ours(number: int) -> float:
            began = time.perf_counter()
            texts = (document.text for document in read_jsonl(source))
            tokens.pack(texts, tokenizer, LENGTH, 10**9, Path(folder) / f"ours-{number}.arrow")
            return size / 1e6 / (time.perf_counter() - began)

        def usual(number: int) -> float:
            return size / 1e6 / mapped(source, tokenizer, Path(folder) / f"cache-{number}")

        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        found = paired.in_turn({"ours": ours, "datasets.map": usual}, asked.rounds or (3 if asked.quick else 5), "MB")
    one = paired.ratio(found["ours"], found["datasets.map"])
    pace = {name: statistics.median(values) for name, values in found.items()}
    paired.finish({"ratio": one["median"], "spread": [one["min"], one["max"]], "mb_per_s": pace}, asked.json)


def mapped(source: Path, tokenizer: Any, cache: Path) -> float:
    """Seconds of the usual route, in as many processes as there are cores."""
    from datasets import load_dataset

    began, cores = time.perf_counter(), os.cpu_count()
    data = load_dataset("json", data_files=str(source), split="train", cache_dir=str(cache))
    cut = data.map(
        lambda rows: tokenizer(rows["text"], return_attention_mask=False, return_token_type_ids=False),
        batched=True,
        num_proc=cores,
        remove_columns=data.column_names,
    )
    cut.map(group_texts, batched=True, num_proc=cores)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""What an arm reads: the rows of a run's corpora by the weights of its mixture, on from where its parents stopped."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerFast

from common.project import Mistake, code_digest, digest, file_digest
from engine import tokens
from texts.documents import read_jsonl

READ = "read.json"  # of an arm, see `read_until`


def corpus(folder: Path, domain: str, language: str, heldout: bool = False) -> Iterator[str]:
    """The texts of one domain and language of a run, its training part or its held-out part."""
    ending = ".heldout.jsonl" if heldout else ".jsonl"
    return (document.text for document in read_jsonl(folder / "corpora" / f"{domain}-{language}{ending}"))


def corpora(folder: Path) -> list[str]:
    """The run's corpora, as `domain-language`."""
    return sorted(p.stem for p in (folder / "corpora").glob("*.jsonl") if not p.stem.endswith(".heldout"))


def parts(text: dict[str, dict[str, float]]) -> list[tuple[str, str, float]]:
    """A mixture as a list of domain, language and weight."""
    return [(domain, language, weight) for domain, by in text.items() for language, weight in by.items()]


def read_until(model: Path) -> dict[str, int]:
    """Rows of each corpus (`domain-language`) that an arm of a run and those before it have gone through.

    Mistake for one of a version that did not note them.
    """
    if not (model / READ).is_file():
        raise Mistake(f"{model} has no {READ}, which tells what it has read; run 02_pretrain of it again")
    return json.loads((model / READ).read_text(encoding="utf-8"))


class Mixture:
    """The packed rows of an arm's mixture of texts, in the order of its training.

    Each corpus is read on from where the arm's parents ended (`before`, from `read_until`), and where it ends, from its
    beginning: text that was read before must not pass for new text in a comparison. `passes`: how often it is read.
    """

    def __init__(
        self,
        folder: Path,
        text: dict,
        tokenizer: PreTrainedTokenizerFast,
        count: int,
        length: int,
        seed: int,
        before: Mapping[str, int] = {},
        passes: int = 1,
    ) -> None:
        self.tokenizer, self.length, self.names, self.before = tokenizer, length, parts(text), before
        weights = [weight for *_, weight in self.names]
        rows = [int(np.ceil(count * weight / sum(weights) / passes)) + 1 for weight in weights]
        corpora = [f"{domain}-{language}" for domain, language, _ in self.names]
        self.starts = [before.get(name, 0) for name in corpora]
        wanted = zip(corpora, self.starts, rows, strict=True)
        self.stores = [packed(folder, name, tokenizer, length, start + n) for name, start, n in wanted]
        sizes = [min(n, len(store)) for n, store in zip(rows, self.stores, strict=True)]
        self.until = {name: start + n for name, start, n in zip(corpora, self.starts, sizes, strict=True)}
        self.order = tokens.Order(sizes, weights, count, seed)

    def read(self, places: Sequence[int]) -> np.ndarray:
        """Rows at `places` of the training order, (rows, length)."""
        return np.stack([self._row(*found) for found in self.order[places].tolist()]).astype(np.int64)

    def _row(self, number: int, row: int) -> np.ndarray:
        store = self.stores[number]
        return store[(self.starts[number] + row) % len(store)]

    def table(self, batch_rows: int) -> pd.DataFrame:
        """What each text gives to whole batches, in word pieces: read, different ones, and those new to the arm."""
        order = self.order[range(len(self.order) // batch_rows * batch_rows)]
        rows = []
        for number, (domain, language, _) in enumerate(self.names):
            read = order[order[:, 0] == number, 1]
            different = np.unique(read)
            new = np.count_nonzero(self.starts[number] + different < len(self.stores[number]))
            rows.append((domain, language, *(n * self.length for n in (len(read), len(different), new))))
        table = pd.DataFrame(rows, columns=["domain", "language", "tokens read", "different", "new"])
        return table.assign(passes=lambda t: t["tokens read"] / t["different"])


def packed(folder: Path, name: str, tokenizer: PreTrainedTokenizerFast, length: int, rows: int) -> tokens.Rows:
    """First rows of a corpus file of the run (`name` without .jsonl); made once for equal tokenizers and numbers."""
    source = folder / "corpora" / f"{name}.jsonl"
    if not source.is_file():
        raise Mistake(f"text: there is no corpus {name}; the run has {', '.join(corpora(folder))}")
    key = digest([file_digest(source), tokenizer.backend_tokenizer.to_str(), length, rows, code_digest([tokens])])
    texts = (document.text for document in read_jsonl(source))
    try:
        return tokens.pack(texts, tokenizer, length, rows, folder / "tokens" / f"{name}-{key[:16]}.arrow")
    except ValueError as error:
        raise Mistake(f"corpus {name}: {error}; give it more text, or leave it out of corpora and arms") from None


def heldout_rows(folder: Path, tokenizer: PreTrainedTokenizerFast, length: int, rows: int) -> dict[str, np.ndarray]:
    """Packed held-out rows of every domain and language of the run, by `domain-language`.

    None, which is told, of a corpus whose held-out text fills no row.
    """
    found = {}
    for name in sorted(path.name.removesuffix(".jsonl") for path in (folder / "corpora").glob("*.heldout.jsonl")):
        try:
            some = packed(folder, name, tokenizer, length, rows).head(rows)
        except Mistake as mistake:
            print(f"no held-out loss: {mistake}", flush=True)
            some = np.empty((0, length), np.uint32)
        found[name.removesuffix(".heldout")] = some
    return found

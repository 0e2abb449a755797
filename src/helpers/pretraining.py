"""An arm: its parent trained on with masked-language modelling on the arm's mixture of texts."""

import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from helpers import models, tokens, training
from helpers.project import code_digest, digest, write_atomically
from texts.documents import read_jsonl

HELDOUT_RATE = 0.15
HELDOUT_SEED = 15


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


def begin(folder: Path, parent: str, base: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Model and tokenizer that an arm starts from: its parent's, or the base after the profile."""
    if parent:
        return models.load(folder / "models" / parent)
    names = [name.rsplit("-", 1) for name in corpora(folder)]
    # One text of each corpus in turn, so that none of them fills the vocabulary first.
    in_turn = zip_longest(*(corpus(folder, *name) for name in names if name[0] in base.get("vocabulary_from", ())))
    return models.start(base, (t for some in in_turn for t in some if t is not None), seed)


class Rows:
    """The packed rows of an arm's mixture, in the order of its training."""

    def __init__(
        self, folder: Path, arm: str, text: dict, tokenizer: PreTrainedTokenizerFast, count: int, length: int, seed: int
    ) -> None:
        self.tokenizer, self.length, self.names = tokenizer, length, []
        self.stores, weights = [], []
        for domain, language, weight in parts(text):
            path = folder / "tokens" / arm / f"{domain}-{language}.bin"
            share = weight / sum(w for *_, w in parts(text))
            wanted = int(np.ceil(count * share)) + 1
            self.stores.append(tokens.pack(corpus(folder, domain, language), tokenizer, length, wanted, path))
            self.names.append((domain, language))
            weights.append(weight)
        self.order = tokens.mixture([len(s) for s in self.stores], weights, count, seed)

    def read(self, begin: int, end: int) -> np.ndarray:
        """Rows `begin` to `end` of the training order, (rows, length)."""
        return np.stack([self.stores[store][row] for store, row in self.order[begin:end]]).astype(np.int64)

    def table(self) -> pd.DataFrame:
        """How much each text gives: rows there are, rows read, and how often the text is read over."""
        read = np.bincount(self.order[:, 0], minlength=len(self.stores))
        rows = [
            {"domain": d, "language": lang, "tokens at hand": len(s) * self.length, "tokens read": int(n) * self.length}
            for (d, lang), s, n in zip(self.names, self.stores, read, strict=True)
        ]
        return pd.DataFrame(rows).assign(passes=lambda t: t["tokens read"] / t["tokens at hand"])


def batch(ids: np.ndarray, tokenizer: PreTrainedTokenizerFast, rate: float, generator: np.random.Generator) -> dict:
    """Masked inputs of packed rows: ids, labels, positions (rows, length), attention (rows, 1, length, length)."""
    special = np.array(tokenizer.all_special_ids)
    inputs, labels = tokens.mask(ids, special, tokenizer.mask_token_id, len(tokenizer), rate, generator)
    text, position = tokens.segments(ids, tokenizer.cls_token_id)
    attention = text[:, None, :, None] == text[:, None, None, :]
    arrays = {"ids": inputs, "labels": labels, "positions": position, "attention": attention}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def masked_loss(model: PreTrainedModel, masked: dict, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy in nats at the masked positions; the vocabulary logits of other positions are never made."""
    masked = {name: tensor.to(model.device) for name, tensor in masked.items()}
    hidden = models.encode(model, masked["ids"], masked["attention"], masked["positions"])
    chosen = masked["labels"] != tokens.UNSCORED
    logits = models.vocabulary_logits(model, hidden[chosen])
    return cross_entropy(logits.float(), masked["labels"][chosen], reduction=reduction)


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: np.ndarray) -> float:
    """Mean masked-token loss (nats) of `rows` at 15 % with one fixed mask, the same for every arm of a tokenizer."""
    generator = np.random.default_rng(HELDOUT_SEED)
    total = count = 0.0
    with training.computing(training.accelerator()):
        for begin in range(0, len(rows), 64):
            masked = batch(rows[begin : begin + 64].astype(np.int64), tokenizer, HELDOUT_RATE, generator)
            total += float(masked_loss(model, masked, "sum"))
            count += float((masked["labels"] != tokens.UNSCORED).sum())
    return total / max(count, 1)


def heldout_rows(
    folder: Path, arm: str, tokenizer: PreTrainedTokenizerFast, length: int, rows: int
) -> dict[str, np.ndarray]:
    """Packed held-out rows of every domain and language of the run, by `domain-language`."""
    packed = {}
    for path in sorted((folder / "corpora").glob("*.heldout.jsonl")):
        name = path.name.removesuffix(".heldout.jsonl")
        texts = (document.text for document in read_jsonl(path))
        packed[name] = tokens.pack(texts, tokenizer, length, rows, folder / "tokens" / arm / f"{name}.heldout.bin")
    return packed


def adapt(
    folder: Path, arm: str, model: PreTrainedModel, rows: Rows, heldout: dict[str, np.ndarray], card: str, **values: Any
) -> pd.DataFrame:
    """Train `model` on `rows`, save the arm below models/, and return its curve: step, tokens, loss, held-out losses.

    `values` are batch_rows, learning_rate, warmup_share, masking_rate, evaluations, seed and checkpoint_seconds.
    An arm that is finished with the same text, settings and starting weights is not trained again.
    """
    saved = folder / "models" / arm
    start = [digest(p) for p in (t.detach().numpy().tobytes() for t in model.state_dict().values())]
    fixed = {k: v for k, v in values.items() if k != "checkpoint_seconds"}
    data = [digest(np.ascontiguousarray(store).tobytes()) for store in (*rows.stores, *heldout.values())]
    key = digest([fixed, start, data, digest(rows.order.tobytes()), rows.length, code_digest(CODE)])
    if (saved / "key").is_file() and (saved / "key").read_text() == key:
        history = pd.read_csv(saved / "history.csv")
    else:
        history = _trained(folder, arm, model, rows, heldout, key, **values)
        models.save(model.cpu(), rows.tokenizer, saved, card)
        write_atomically(saved / "history.csv", history.to_csv(index=False))
        write_atomically(saved / "key", key)
    write_atomically(saved / "training.csv", history.to_csv(index=False))
    (folder / "checkpoints" / f"{arm}.pt").unlink(missing_ok=True)
    return history


CODE = (models, tokens, training, sys.modules[__name__])


def _trained(
    folder: Path, arm: str, model: PreTrainedModel, rows: Rows, heldout: dict[str, np.ndarray], key: str, **values: Any
) -> pd.DataFrame:
    """Run the loop over the arm's rows; a base that is used as it is only gets its held-out losses."""
    size, seed = values["batch_rows"], values["seed"]
    steps = len(rows.order) // size
    device = training.accelerator()
    model.to(device.device)

    def loss(step: int) -> torch.Tensor:
        masked = batch(
            rows.read(step * size, (step + 1) * size),
            rows.tokenizer,
            values["masking_rate"],
            np.random.default_rng([seed, step]),
        )
        with training.computing(device):
            return masked_loss(model, masked)

    def look() -> dict[str, float]:
        return {name: heldout_loss(model, rows.tokenizer, part) for name, part in heldout.items()}

    before = {"step": 0, "loss": float("nan"), **look()}
    plan = training.Plan(
        steps,
        values["learning_rate"],
        values["warmup_share"],
        seed,
        max(1, -(-steps // values["evaluations"])),
        0,
        folder / "checkpoints" / f"{arm}.pt",
        key,
        values["checkpoint_seconds"],
        size * rows.length,
    )
    history = pd.DataFrame([before, *training.train(model, loss, plan, look)])
    history.insert(1, "tokens", history["step"] * size * rows.length)
    return history

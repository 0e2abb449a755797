"""Probes: what each layer of an arm's encoder knows of entity types before any fine-tuning."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from engine import training, windows
from evidence.tables import is_ner
from helpers import models, ner
from texts import tasks
from texts.documents import Document

COLUMNS = ["task", "arm", "layer", "macro_f1", "chance"]

Places = list[tuple[int, int, str]]  # document, word, entity type or "O"


def linear(train: np.ndarray, labels: Sequence[str], test: np.ndarray, gold: Sequence[str]) -> float:
    """Macro F1 of a ridge classifier on vectors (words, width), columns scaled by the training words."""
    from sklearn.linear_model import RidgeClassifier  # here, as it takes a second of the stage's start
    from sklearn.metrics import f1_score

    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-8
    fitted = RidgeClassifier(alpha=1.0).fit((train - mean) / spread, labels)
    return float(f1_score(gold, fitted.predict((test - mean) / spread), average="macro"))


def sample(documents: Sequence[Document], words: int, seed: int) -> Places:
    """At most `words` words, as many of each type as the rarest allows."""
    by: dict[str, list[tuple[int, int]]] = {}
    for number, document in enumerate(documents):
        for word, tag in enumerate(ner.tag_words(document.spans, windows.words(document.text))):
            by.setdefault(tag[2:] or "O", []).append((number, word))
    each = min(words // max(len(by), 1), *map(len, by.values())) if by else 0
    generator = np.random.default_rng(seed)
    chosen = {label: generator.choice(len(places), each, replace=False) for label, places in sorted(by.items())}
    return sorted((*by[label][i], label) for label, numbers in chosen.items() for i in numbers)


def covered(
    documents: Sequence[Document], places: Places, tokenizer: PreTrainedTokenizerFast, length: int
) -> tuple[list[windows.Window], dict[tuple[int, int], int]]:
    """The windows in which the words at `places` are scored, and where in `places` a window's (text, word) stands."""
    numbers = sorted({number for number, *_ in places})
    texts = [[documents[n].text[a:b] for a, b in windows.words(documents[n].text)] for n in numbers]
    wanted = {(numbers.index(number), word): at for at, (number, word, _) in enumerate(places)}
    made = windows.cut(texts, tokenizer, length, 0)
    return [window for window in made if any((window.text, word) in wanted for word in window.words)], wanted


@torch.no_grad()
def word_vectors(
    model: PreTrainedModel, padding: int, made: Sequence[windows.Window], wanted: Mapping[tuple[int, int], int]
) -> np.ndarray:
    """Hidden states at the first piece of words, (layers + 1, words, width), the embedding first; see `covered`."""
    found: list[np.ndarray] = [np.empty(0)] * len(wanted)
    for begin in range(0, len(made), 32):
        ids, attention = (x.to(model.device) for x in windows.pad(made[begin : begin + 32], padding))
        with training.accelerator().autocast():
            states = model.base_model(input_ids=ids, attention_mask=attention, output_hidden_states=True).hidden_states
        layers = torch.stack([state.float() for state in states], dim=2).cpu().numpy()  # (rows, length, layers, width)
        for row, window in enumerate(made[begin : begin + 32]):
            for word, piece in zip(window.words, window.pieces, strict=True):
                if (window.text, word) in wanted:
                    found[wanted[window.text, word]] = layers[row, piece]
    return np.stack(found, axis=1)


def by_layer(folder: Path, arms: Sequence[str], trained: Sequence[str], words: int, length: int) -> pd.DataFrame:
    """Macro F1 of probes for the entity type of words, by task, arm and layer (0: the embedding); `COLUMNS`.

    Trained on words of the task's training part, tested on words of its test part, the same words for every arm and
    each type as often as any other, so that chance is one in the number of types and "O". The arms share a tokenizer.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "models" / arms[0]))
    chosen, rows = {}, []
    for task in (name for name in trained if is_ner(folder, name)):
        documents = [tasks.split(folder, task, part) for part in ("train", "test")]
        places = [sample(some, words, seed) for seed, some in enumerate(documents)]
        labels = [[label for *_, label in part] for part in places]
        made = [covered(*both, tokenizer, length) for both in zip(documents, places, strict=True)]
        chosen[task] = (made, labels)
    for arm in arms:
        model, _ = models.load(folder / "models" / arm)
        model.to(training.accelerator().device)
        for task, (made, (train, test)) in chosen.items():
            vectors = [word_vectors(model, tokenizer.pad_token_id, *part) for part in made]
            for layer, (ours, theirs) in enumerate(zip(*vectors, strict=True)):
                rows.append((task, arm, layer, linear(ours, train, theirs, test), 1 / len(set(train))))
    return pd.DataFrame(rows, columns=COLUMNS)

"""Named entity recognition: words tagged in windows, entities read off the tags as character spans."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerFast

from common import devices
from engine import training, windows
from helpers import heads
from texts.documents import Document, Span


def tags(labels: Sequence[str]) -> list[str]:
    """The IOB2 tags of some entity types."""
    return ["O", *(f"{prefix}-{label}" for label in sorted(labels) for prefix in "BI")]


def tag_words(spans: Sequence[Span], words: Sequence[tuple[int, int]]) -> list[str]:
    """IOB2 tags of the words for gold entities; of entities that share a word, the longer one is kept."""
    made = ["O"] * len(words)
    for span in sorted(spans, key=lambda s: (s.start - s.end, s.start)):
        inside = [i for i, (start, end) in enumerate(words) if start < span.end and end > span.start]
        if inside and all(made[i] == "O" for i in inside):
            made[inside[0]] = f"B-{span.label}"
            for i in inside[1:]:
                made[i] = f"I-{span.label}"
    return made


def read_spans(tagged: Sequence[str], words: Sequence[tuple[int, int]]) -> list[Span]:
    """Entities of IOB2 tags; an I- without a beginning of its type begins an entity, as the usual scorers read it."""
    found: list[Span] = []
    open_label = None
    for tag, (start, end) in zip(tagged, words, strict=True):
        label = tag[2:] or None
        if label and tag.startswith("I-") and label == open_label:
            found[-1] = Span(found[-1].start, end, label)
        elif label:
            found.append(Span(start, end, label))
        open_label = label
    return found


def unreachable(documents: Sequence[Document]) -> int:
    """Gold entities that no flat tagging of words can give back: doubled, overlapping, or ending inside a word."""
    lost = 0
    for document in documents:
        words = windows.words(document.text)
        lost += len(document.spans) - len(
            set(document.spans) & set(read_spans(tag_words(document.spans, words), words))
        )
    return lost


class Tagger:
    """A token classifier on windows of one arm's word pieces."""

    def __init__(
        self,
        folder: str,
        tokenizer: PreTrainedTokenizerFast,
        labels: Sequence[str],
        length: int,
        overlap: int,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.tags, self.tokenizer, self.length, self.overlap = tags(labels), tokenizer, length, overlap
        names = dict(enumerate(self.tags))
        self.model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(
            folder,
            num_labels=len(names),
            id2label=names,
            label2id={t: i for i, t in names.items()},
            dtype=torch.float32,
        )

    def prepare(self, documents: Sequence[Document]) -> list[windows.Window]:
        """Windows over the documents' words."""
        texts = [[d.text[a:b] for a, b in windows.words(d.text)] for d in documents]
        return windows.cut(texts, self.tokenizer, self.length, self.overlap)

    def targets(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """Tag numbers of each document's words."""
        number = {tag: i for i, tag in enumerate(self.tags)}
        return [np.array([number[t] for t in tag_words(d.spans, windows.words(d.text))], int) for d in documents]

    def logits(self, some: Sequence[windows.Window]) -> torch.Tensor:
        """Tag logits (words scored in these windows, tags); the last layer is worked out at their first pieces only."""
        ids, attention = windows.pad(some, self.tokenizer.pad_token_id)
        width, count = ids.shape[1], sum(len(window.pieces) for window in some)
        each = (row * width + piece for row, window in enumerate(some) for piece in window.pieces)
        places = torch.from_numpy(np.fromiter(each, int, count))
        ids, attention, places = (devices.moved(x, self.model.device) for x in (ids, attention, places))
        hidden = heads.encode(self.model, ids, None, places, attention_mask=attention)
        return heads.after_encoder(self.model, hidden).float()

    def loss(self, some: Sequence[windows.Window], targets: list[np.ndarray]) -> tuple[torch.Tensor, int]:
        """Summed cross-entropy over the words scored in these windows, and their number."""
        wanted = np.concatenate([targets[window.text][list(window.words)] for window in some])
        there = devices.moved(torch.from_numpy(wanted), self.model.device)
        return cross_entropy(self.logits(some), there, reduction="sum"), len(wanted)

    @torch.no_grad()
    def predict(self, documents: Sequence[Document], prepared: list[windows.Window]) -> list[list[Span]]:
        """Predicted entities of each document."""
        words = [windows.words(document.text) for document in documents]
        tagged = [np.zeros(len(w), int) for w in words]
        order = sorted(range(len(prepared)), key=lambda i: len(prepared[i].ids))
        with training.accelerator().autocast():
            for at in range(0, len(order), 64):
                some = [prepared[i] for i in order[at : at + 64]]
                best, begin = self.logits(some).argmax(dim=1).cpu().numpy(), 0
                for window in some:
                    tagged[window.text][list(window.words)] = best[begin : begin + len(window.words)]
                    begin += len(window.words)
        return [read_spans([self.tags[i] for i in t], w) for t, w in zip(tagged, words, strict=True)]


def dev_score(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> float:
    """Strict micro F1 over character spans, 0 where nothing is found."""
    gold = {(d.id, s) for d in documents for s in d.spans}
    found = {(d.id, s) for d, spans in zip(documents, predicted, strict=True) for s in spans}
    return 2 * len(gold & found) / max(len(gold) + len(found), 1)

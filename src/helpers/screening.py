"""Patient screening: all notes of a patient, newest first, read in windows whose scores make one score a patient."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from common import devices
from engine import training, windows
from texts.documents import Patient


def text(patient: Patient, separator: str) -> list[str]:
    """The words of a patient's notes, newest note first, with `separator` between notes."""
    made: list[str] = []
    for note in reversed(patient.notes):
        made += [note.text[a:b] for a, b in windows.words(note.text)] + [separator]
    return made[:-1]


def smooth_maximum(logits: torch.Tensor) -> torch.Tensor:
    """log(sum(exp)) of a patient's window logits: large as soon as one window is."""
    return torch.logsumexp(logits, dim=0)


# How window logits become a patient's score; training uses the first, dev chooses among them.
AGGREGATIONS = {"smooth maximum": smooth_maximum, "maximum": lambda x: x.max(), "mean": lambda x: x.mean()}


def sample(patients: Sequence[Patient], negatives_per_positive: float, seed: int) -> list[Patient]:
    """All positives and as many negatives for each as asked for, drawn with `seed`; 0 keeps every patient."""
    if not negatives_per_positive:
        return list(patients)
    positive = [p for p in patients if p.label]
    negative = [p for p in patients if not p.label]
    wanted = min(len(negative), max(1, round(negatives_per_positive * len(positive))))
    kept = np.random.default_rng(seed).choice(len(negative), wanted, replace=False)
    return positive + [negative[i] for i in sorted(kept)]


class Screener:
    """A classifier of patients on windows of one arm's word pieces."""

    def __init__(self, folder: str, tokenizer: PreTrainedTokenizerFast, length: int, overlap: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.tokenizer, self.length, self.overlap = tokenizer, length, overlap
        self.model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=torch.float32
        )

    def prepare(self, patients: Sequence[Patient]) -> list[list[windows.Window]]:
        """The windows of each patient."""
        texts = [text(patient, self.tokenizer.sep_token) for patient in patients]
        made: list[list[windows.Window]] = [[] for _ in patients]
        for window in windows.cut(texts, self.tokenizer, self.length, self.overlap):
            made[window.text].append(window)
        return made

    def logits(self, prepared: Sequence[Sequence[windows.Window]]) -> list[torch.Tensor]:
        """Each patient's window logits."""
        ids, attention = windows.pad([w for some in prepared for w in some], self.tokenizer.pad_token_id)
        ids, attention = (devices.moved(x, self.model.device) for x in (ids, attention))
        out = self.model(input_ids=ids, attention_mask=attention).logits.float().squeeze(-1)
        return list(out.split([len(some) for some in prepared]))

    def loss(self, prepared: Sequence[Sequence[windows.Window]], labels: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Summed binary cross-entropy of the patients' smooth maxima, and the number of patients."""
        pooled = torch.stack([smooth_maximum(x) for x in self.logits(prepared)])
        wanted = torch.tensor(labels, dtype=torch.float32, device=pooled.device)
        return binary_cross_entropy_with_logits(pooled, wanted, reduction="sum"), len(labels)

    @torch.no_grad()
    def predict(self, prepared: Sequence[Sequence[windows.Window]]) -> list[torch.Tensor]:
        """Window logits of every patient, on the processor; a batch is windows, so many notes take no more memory."""
        flat = [window for some in prepared for window in some]
        order = sorted(range(len(flat)), key=lambda i: len(flat[i].ids))
        found = torch.empty(len(flat))
        with training.accelerator().autocast():
            for at in range(0, len(order), 64):
                some = order[at : at + 64]
                found[some] = self.logits([[flat[i] for i in some]])[0].cpu()
        return list(found.split([len(some) for some in prepared]))

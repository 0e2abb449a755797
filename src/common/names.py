"""Names as figures, tables and sentences show them, the same everywhere."""

from collections.abc import Mapping
from typing import Any

# fmt: off
ARMS = {
    "base": "Base", "general": "General (control)", "biomedical": "Biomedical", "clinical": "Clinical",
    "general_nl": "General, Dutch only", "biomedical_nl": "Biomedical, Dutch only",
    "clinical_nl": "Clinical, Dutch only", "sequential": "Biomedical, then clinical",
    "biomedical_half": "Biomedical, half", "es_only": "Medical, Spanish only", "ro_only": "Medical, Romanian only",
    "general_es": "General, Spanish only", "general_ro": "General, Romanian only",
    "untrained": "Untrained (control)",
}
NAMES = ARMS | {
    "dictionary": "Dictionary look-up", "keywords": "Keyword rule", "words": "Regression on words",
    "f1": "Strict F1", "recall": "Recall", "precision": "Precision", "partial_f1": "Partial F1",
    "auprc": "AUPRC", "auroc": "AUROC", "nl": "Dutch", "ro": "Romanian", "es": "Spanish",
    "ner_nl": "NER, Dutch", "ner_ro": "NER, Romanian", "ner_es": "NER, Spanish",
    "screening_nl": "Screening, Dutch", "monero": "MoNERo", "pharmaconer": "PharmaCoNER", "cantemist": "CANTEMIST",
    "disease_nl": "Diseases, Dutch", "disease_ro": "Diseases, Romanian", "disease_es": "Diseases, Spanish",
}
# fmt: on
GROUPS = ("in training set", "in medical text", "in neither")  # of a test set's mentions
METRICS = {"ner": ("f1", "recall"), "screening": ("auprc",)}  # kind of task -> what its arms are compared by
SYNTHETIC = "synthetic text: shows the method, is no evidence"


def turn(seed: int, copies: int) -> int:
    """Which of an arm's pre-trained copies, counted from 0, a seed uses: one after the other, from seed 1."""
    return (seed - 1) % copies


def model_name(arm: str, seed: int, copies: int) -> str:
    """The folder of the copy that a seed uses: <arm>, <arm>.2 … <arm>.<copies>."""
    number = turn(seed, copies)
    return f"{arm}.{number + 1}" if number else arm


def shown(name: str) -> str:
    """The display name of an arm, task, metric or language; a name without one with its underscores as spaces."""
    name, _, number = name.partition(".")
    return NAMES.get(name, name.replace("_", " ")) + (f", copy {number}" if number else "")


def origin(arm: Mapping[str, Any]) -> str:
    """What an arm of a profile goes on from, as shown: its parent, random weights, or nothing."""
    return "random weights" if arm["random_weights"] else shown(arm["parent"])


def shown_corpus(name: str) -> str:
    """The display name of a corpus called <domain>-<language>."""
    domain, _, language = name.rpartition("-")
    return f"{domain.replace('_', ' ').capitalize()}, {shown(language)}".lstrip(", ")


def shown_p(value: float | str | None) -> str:
    """A p value, or one read from a table, with three digits; a dash where there is none."""
    value = float(value) if value not in (None, "") else float("nan")
    return "–" if value != value else "<\u00a00.001" if value < 0.0005 else f"{value:.3f}"

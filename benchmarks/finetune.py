"""Fine-tuning for entities and for screening: our loop beside transformers' Trainer, default and with its best flags.

    python -m benchmarks.finetune [--quick] [--json FILE]

Both sides start from the same weights and see the same windows, batch size, epochs and learning rate, and only their
training is timed: texts are cut into windows before, and looks at dev are taken out. `dev` is strict F1 (entities) or
AUPRC (screening) at the end. Trainer pads every batch to its longest window, draws batches at random, and for screening
sees a window as an item, as its examples do, with as many in a batch as ours has on average; ours groups windows by
length.
"""

import statistics
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from sklearn.metrics import average_precision_score
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from benchmarks import paired
from common import environment
from engine import windows
from helpers import finetuning, models, ner, screening
from texts import synthetic, tasks

GROUPED = {"train_sampling_strategy": "group_by_length"}
LENGTH, OVERLAP, ROWS, EPOCHS, RATE = 128, 32, 16, 2, 5e-4
CONFIG = {
    "hidden_size": 192,
    "intermediate_size": 288,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "layer_types": ["full_attention"] * 3,
    "classifier_pooling": "mean",
}


def prepare(folder: Path, size: int) -> None:
    """Task sets and a model from scratch, laid out as in a run."""
    parts = {"train": size, "dev": max(size // 4, 60), "test": 60}
    wanted = [
        {"name": "ner_es", "kind": "ner", "language": "es", "common": {}},
        {"name": "screening_nl", "kind": "screening", "language": "nl", "common": {}},
    ]
    tasks.build(folder, [w | {"source": "synthetic", "documents": parts, "trained": True} for w in wanted], 1)
    texts = [d.text for language in ("es", "nl") for d in islice(synthetic.documents("clinical", language, 1), 3000)]
    tokenizer = models.train_tokenizer(texts, 4000)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    torch.manual_seed(1)
    config = AutoConfig.for_model("modernbert", vocab_size=len(tokenizer), **CONFIG, **ids)
    models.save(AutoModelForMaskedLM.from_config(config), tokenizer, folder / "models" / "arm", "")


def ours(folder: Path, task: str) -> tuple[float, float]:
    """Seconds that a fit trains, without what it predicts, and its score on dev."""
    fit = {"ner_es": finetuning._fit_ner, "screening_nl": finetuning._fit_screening}[task]
    spans: list[float] = []
    train = finetuning.training.train

    def timed(model: Any, work: Any, plan: Any, look: Any, **named: Any) -> Any:
        def looked() -> dict[str, float]:
            began = time.perf_counter()
            found = look()
            spans.append(began - time.perf_counter())
            return found

        began = time.perf_counter()
        history = train(model, work, plan, looked, **named)
        spans.append(time.perf_counter() - began)
        return history

    finetuning.training.train = timed
    values = {"tests": [task], "length": LENGTH, "overlap": OVERLAP, "epochs": EPOCHS, "patience": EPOCHS}
    values |= {
        "batch_rows": ROWS,
        "learning_rate": RATE,
        "warmup_share": 0.0,
        "save_memory": False,
        "share": 1.0,
        "kept": None,
    }
    if task == "screening_nl":
        values["negatives_per_positive"] = 0.0
    try:
        _, told = fit(folder, task, "arm", 1, "", checkpoint_seconds=10**9, **values)
    finally:
        finetuning.training.train = train
    return sum(spans), told["dev_score"]


class Entities:
    """What Trainer needs for entities: windows with a label at each word's first piece."""

    rows = ROWS

    def __init__(self, folder: Path) -> None:
        from transformers import DataCollatorForTokenClassification

        where = folder / "models" / "arm"
        tokenizer = AutoTokenizer.from_pretrained(where)
        labels = tasks.task(folder, "ner_es")["labels"]
        self.tagger = ner.Tagger(str(where), tokenizer, labels, LENGTH, OVERLAP, 1)
        self.model, self.collate = self.tagger.model, DataCollatorForTokenClassification(tokenizer)
        train, self.dev = (tasks.split(folder, "ner_es", part) for part in ("train", "dev"))
        targets = self.tagger.targets(train)
        self.items = [self._item(window, targets[window.text]) for window in self.tagger.prepare(train) if window.words]

    @staticmethod
    def _item(window: windows.Window, targets: np.ndarray) -> dict[str, list[int]]:
        labels = np.full(len(window.ids), -100)
        labels[list(window.pieces)] = targets[list(window.words)]
        return {"input_ids": list(window.ids), "labels": labels.tolist()}

    def score(self) -> float:
        """Strict F1 on dev."""
        return ner.dev_score(self.dev, self.tagger.predict(self.dev, self.tagger.prepare(self.dev)))


class Screening:
    """What Trainer needs for screening: a patient's label on each of the patient's windows."""

    def __init__(self, folder: Path) -> None:
        from transformers import DataCollatorWithPadding

        where = folder / "models" / "arm"
        tokenizer = AutoTokenizer.from_pretrained(where)
        self.screener = screening.Screener(str(where), tokenizer, LENGTH, OVERLAP, 1)
        self.model, self.collate = self.screener.model, DataCollatorWithPadding(tokenizer)
        self.model.config.problem_type = "multi_label_classification"  # binary cross-entropy of one logit
        train, self.dev = (tasks.split(folder, "screening_nl", part) for part in ("train", "dev"))
        prepared = zip(train, self.screener.prepare(train), strict=True)
        self.items = [
            {"input_ids": list(window.ids), "labels": [float(patient.label)]}
            for patient, some in prepared
            for window in some
        ]
        self.rows = round(ROWS * len(self.items) / len(train))

    def score(self) -> float:
        """AUPRC on dev, a patient's score being that of the highest window."""
        found = [float(logits.max()) for logits in self.screener.predict(self.screener.prepare(self.dev))]
        return float(average_precision_score([patient.label for patient in self.dev], found))


def trainer(folder: Path, task: str, **flags: Any) -> tuple[float, float]:
    """The same with transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    side = {"ner_es": Entities, "screening_nl": Screening}[task](folder)
    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            place,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=side.rows,
            learning_rate=RATE,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=1,
            **flags,
        )
        work = Trainer(side.model, arguments, side.collate, side.items)
        began = time.perf_counter()
        work.train()
        seconds = time.perf_counter() - began
        AcceleratorState._reset_state(reset_partial_state=True)  # its precision is Trainer's, not ours
        side.model.eval()
        return seconds, side.score()


SIDES = {
    "ours": ours,
    "Trainer, defaults": trainer,
    "Trainer, best flags": partial(
        trainer, bf16=environment.narrow(), use_cpu=not torch.cuda.is_available(), **GROUPED
    ),
}


def once(folder: Path, task: str, name: str) -> tuple[float, float]:
    """Seconds and score of one side."""
    return SIDES[name](folder, task)


def main() -> None:
    """Measure, print and write."""
    asked = paired.options(__doc__.splitlines()[0])
    rounds, result = asked.rounds or (2 if asked.quick else 5), {}
    with tempfile.TemporaryDirectory() as place, paired.Apart() as engine, paired.Apart() as reference:
        prepare(Path(place), 200 if asked.quick else 800)
        for task in ("ner_es", "screening_nl"):
            scores: dict[str, list[float]] = {name: [] for name in SIDES}

            def side(name: str, task: str = task, scores: dict = scores) -> paired.Side:
                def measured(_: int) -> float:
                    seconds, score = (engine if name == "ours" else reference).ask(once, Path(place), task, name)
                    scores[name].append(score)
                    return EPOCHS / seconds

                return measured

            found = paired.in_turn({name: side(name) for name in SIDES}, rounds, f"epochs of {task}")
            one, other = (paired.ratio(found["ours"], found[name]) for name in list(SIDES)[1:])
            dev = {name: statistics.median(values) for name, values in scores.items()}
            result[task] = {
                "ratio_default": one["median"],
                "ratio_best": other["median"],
                "spread": {"ratio_default": [one["min"], one["max"]], "ratio_best": [other["min"], other["max"]]},
                "epochs_per_s": {name: statistics.median(values) for name, values in found.items()},
                "dev": dev,
            }
        memory = engine.ask(paired.peak_rss_mb)
    paired.finish(result | {"peak_rss_mb": memory}, asked.json)


if __name__ == "__main__":
    main()

"""Masked-language modelling: our loop beside transformers' Trainer, with its defaults and with its best flags.

    python -m benchmarks.mlm [--quick] [--shape mbert] [--json FILE]

Same model, weights, rows, batch and rate on all sides; the text is the project's synthetic one. `ablation` gives our
pace with one technique switched off at a time. MFU counts, a token, 6 operations a weight of the encoder's matrices,
12 x length x width a layer for attention, and 6 a weight of the vocabulary head at masked positions only, as a share of
the pace of a large bfloat16 matrix product on the same device.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForMaskedLM

from benchmarks import paired
from engine import tokens, training
from helpers import models, pretraining
from texts import synthetic

SHAPES: dict[str, dict[str, Any]] = {
    "small": {
        "architecture": "modernbert",
        "config": {
            "hidden_size": 192,
            "intermediate_size": 288,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "layer_types": ["full_attention"] * 3,
        },
        "vocabulary": 8000,
        "length": 64,
        "rows": 32,
        "steps": 40,
    },
    "mbert": {
        "architecture": "bert",
        "config": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
        "vocabulary": 119547,
        "length": 128,
        "rows": 8,
        "steps": 2,
    },
}
RATE = 0.15
LEARNING_RATE = 1e-3


class Bench:
    """A model shape, its rows, and the ways of training it."""

    def __init__(self, shape: dict[str, Any], steps: int) -> None:
        self.shape, self.steps = shape, steps
        texts = (d.text for d in itertools.islice(synthetic.documents("clinical", "es", 1), 20000))
        self.tokenizer = models.train_tokenizer(texts, min(shape["vocabulary"], 8000))
        wanted = (steps + 3) * shape["rows"]
        again = (d.text for d in synthetic.documents("clinical", "es", 2))
        with tempfile.TemporaryDirectory() as folder:
            store = tokens.pack(again, self.tokenizer, shape["length"], wanted, Path(folder) / "rows.arrow")
            self.rows = store.head(wanted).astype(np.int64)

    def model(self) -> Any:
        """The model with the same first weights each time."""
        torch.manual_seed(1)
        ids = {f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        ends = {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
        config = AutoConfig.for_model(
            self.shape["architecture"], vocab_size=self.shape["vocabulary"], **self.shape["config"], **ids, **ends
        )
        return AutoModelForMaskedLM.from_config(config)

    def ours(self, loss: Callable[..., torch.Tensor] = pretraining.masked_loss, **how: Any) -> paired.Side:
        """Our loop, with the technique that `how` names switched off."""

        def side(number: int) -> float:
            model, device, size = self.model(), training.accelerator(), self.shape["rows"]
            model.to(device.device)
            masking, stamps = tokens.Masking(self.tokenizer, RATE), []

            def masked(items: Sequence[int]) -> dict[str, torch.Tensor]:
                keys = [[number, item] for item in items]
                made = pretraining.batch(self.rows[items], keys, masking, self.tokenizer.cls_token_id)
                return made if how.get("packed", True) else made | {"text": torch.zeros_like(made["text"])}

            def batch_loss(items: Sequence[int]) -> torch.Tensor:
                with computing(device, **how):
                    return loss(model, masked(items))

            def items(step: int) -> range:
                _settle()
                stamps.append(time.perf_counter())
                return range(step * size, (step + 1) * size)

            with tempfile.TemporaryDirectory() as folder:
                plan = training.Plan(LEARNING_RATE, 0.0, 1, 10**9, 0, Path(folder) / "none", "", 10**9, 1.0)
                weigh = lambda items: len(masked(items)["targets"])  # noqa: E731
                training.train(model, training.Work(self.steps + 3, items, weigh, batch_loss), plan, dict)
            _settle()
            return self.steps * size * self.shape["length"] / (time.perf_counter() - stamps[3])

        return side

    def trainer(self, best: bool) -> paired.Side:
        """transformers' Trainer on the same rows, with its defaults or its best flags."""
        from datasets import Dataset
        from transformers import DataCollatorForLanguageModeling, Trainer, TrainerCallback, TrainingArguments

        rows = Dataset.from_dict({"input_ids": self.rows.tolist()})
        collator = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=RATE)
        flags = {"bf16": True, "torch_compile": True} if best else {}

        class Clock(TrainerCallback):
            """When each step ended."""

            def __init__(self) -> None:
                self.stamps: list[float] = []

            def on_step_end(self, *arguments: Any, **named: Any) -> None:
                """Note the time."""
                _settle()
                self.stamps.append(time.perf_counter())

        def side(number: int) -> float:
            clock = Clock()
            with tempfile.TemporaryDirectory() as folder:
                arguments = TrainingArguments(
                    folder,
                    max_steps=self.steps + 3,
                    per_device_train_batch_size=self.shape["rows"],
                    learning_rate=LEARNING_RATE,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    logging_strategy="no",
                    seed=number,
                    **flags,
                )
                Trainer(self.model(), arguments, collator, rows, callbacks=[clock]).train()
            return self.steps * self.shape["rows"] * self.shape["length"] / (clock.stamps[-1] - clock.stamps[2])

        return side

    def operations(self) -> float:
        """Floating-point operations a token that training needs, after the formula above."""
        model = self.model()
        inner = sum(p.numel() for n, p in model.base_model.named_parameters() if p.ndim == 2 and "embed" not in n)
        width, layers = model.config.hidden_size, model.config.num_hidden_layers
        head = RATE * (self.shape["vocabulary"] + width) * width
        return 6 * (inner + head) + 12 * self.shape["length"] * width * layers


@contextmanager
def computing(device: Any, half: bool = True, plain: bool = True, **_: Any) -> Iterator[None]:
    """`training.computing` with its precision or its choice of attention switched off."""
    precision = device.autocast() if half else nullcontext()
    on_processor = device.device.type == "cpu" and plain
    with precision, sdpa_kernel(SDPBackend.MATH) if on_processor else nullcontext():
        yield


def dense_loss(model: Any, masked: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss with the vocabulary logits of every position, as a model computes it itself."""
    masked = {name: tensor.to(model.device) for name, tensor in masked.items()}
    attention = masked["text"][:, None, :, None] == masked["text"][:, None, None, :]
    logits = models.vocabulary_logits(model, models.encode(model, masked["ids"], attention, masked["positions"]))
    labels = torch.full((masked["ids"].numel(),), tokens.UNSCORED, device=model.device)
    labels[masked["places"]] = masked["targets"]
    return cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=tokens.UNSCORED, reduction="sum")


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print and write."""
    asked = paired.options(__doc__.splitlines()[0])
    shape = SHAPES[asked.shape]
    bench = Bench(shape, max(2, shape["steps"] // (2 if asked.quick else 1)))
    rounds = asked.rounds or (3 if asked.quick else 7)
    ours = {"ours": bench.ours()}
    ours["ours"](0)
    memory = paired.peak_rss_mb()
    found = paired.in_turn(
        {**ours, "Trainer, defaults": bench.trainer(False), "Trainer, best flags": bench.trainer(True)}, rounds
    )
    without = {
        "ours": bench.ours(),
        "logits at every position": bench.ours(dense_loss),
        "float32": bench.ours(half=False),
        "fused attention": bench.ours(plain=False),
        "texts of a row see each other": bench.ours(packed=False),
    }
    ablation = paired.in_turn(without, 2 if asked.quick else rounds)
    peak, pace = paired.matmul_peak(), statistics.median(found["ours"])
    one, other = (paired.ratio(found["ours"], found[f"Trainer, {name}"]) for name in ("defaults", "best flags"))
    result = {
        "shape": asked.shape,
        "ratio_default": one["median"],
        "ratio_best": other["median"],
        "tokens_per_s": {name: statistics.median(values) for name, values in found.items()},
        "spread": {"ratio_default": [one["min"], one["max"]], "ratio_best": [other["min"], other["max"]]},
        "mfu": pace * bench.operations() / peak,
        "peak_flops": peak,
        "peak_rss_mb": memory,
        "ablation": {n: paired.ratio(v, ablation["ours"])["median"] for n, v in ablation.items() if n != "ours"},
    }
    paired.finish(result, asked.json)


if __name__ == "__main__":
    main()

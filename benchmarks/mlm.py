"""Masked-language modelling: our loop beside transformers' Trainer, with its defaults and with its best flags.

    python -m benchmarks.mlm [--quick] [--shape mbert] [--rate 0.3] [--json FILE]

Same model, weights, rows, batch and rate on all sides; the text is the project's synthetic one. `ratio_default` sets
our loop as the profiles use it beside Trainer's defaults. `ratio_best` sets both with their best flags side by side:
bfloat16 where the device computes in it, and where there is a compiler torch_compile for Trainer and `compiled` for
ours (not with --quick: compiling takes a minute a side); `ratio_best_as_used` is ours without.
`ablation` gives our pace with one technique switched off at a time, as a share of it. `heldout` is the loss on other
rows after the same rows in the same order with the same pieces masked, mean of three seeds (small model, not with
--quick), at a lower rate than the timed steps': other masks alone move it by several percent this early. Trainer lets
the texts of a row see each other, so ours is asked to as well, and once more with texts apart, as it is used. MFU is
ours with its best flags and counts, a token, 6 operations a weight of the encoder's matrices, 12 x pieces of its text
in the row x width a layer for attention, and 6 a weight of the vocabulary head at masked positions only, as a share of
the pace of a large matrix product on the same device, in bfloat16 where it computes in it; what the last layer leaves
out is counted.
"""

import gc
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from benchmarks import paired
from common import devices, environment
from engine import tokens, training
from helpers import heads, models, pretraining
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
        "learn": 600,
    },
    "mbert": {
        "architecture": "bert",
        "config": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
        "vocabulary": 119547,
        "length": 128,
        "rows": 8,
        "steps": 4,
        "learn": 0,
    },
    "mbert-512": {  # for a GPU
        "architecture": "bert",
        "config": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
        "vocabulary": 119547,
        "length": 512,
        "rows": 128,
        "parts": 4,
        "notes": 8,
        "steps": 12,
        "learn": 0,
    },
}
RATE = 0.15
LEARNING_RATE = 1e-3
CALM = 3e-4  # of the held-out loss: at 1e-3 the order of additions alone moves it by up to 5 % within 600 steps
WARM_UP = 3  # steps that are not timed
HELD_OUT = 256  # rows
What = tuple[str, int, float, bool]  # shape, steps, masking rate, with rows for the held-out loss
Collator = Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
DEFAULTS, BEST = "Trainer, defaults", "Trainer, best flags"
APART = "ours, texts of a row apart"  # as the profiles use it


@dataclass
class Held:
    """Rows in memory, in the place of a `packing.Mixture`."""

    tokenizer: PreTrainedTokenizerFast
    rows: np.ndarray

    def __post_init__(self) -> None:
        self.order = range(len(self.rows))

    def read(self, places: Sequence[int]) -> np.ndarray:
        """Rows at places of the order."""
        return self.rows[list(places)]


class Bench:
    """A model shape, its rows, and the ways of training it."""

    def __init__(self, shape: dict[str, Any], steps: int, rate: float = RATE) -> None:
        self.shape, self.steps, self.rate = shape, steps, rate
        texts = (d.text for d in itertools.islice(synthetic.documents("clinical", "es", 1), 20000))
        self.tokenizer = models.train_tokenizer(texts, min(shape["vocabulary"], 8000))
        wanted = (max(steps, shape["learn"]) + WARM_UP) * shape["rows"] + HELD_OUT
        notes = (d.text for d in synthetic.documents("clinical", "es", 2))
        again = map("\n".join, zip(*[notes] * shape.get("notes", 1), strict=False))  # a text as long as a real note
        with tempfile.TemporaryDirectory() as folder:
            store = tokens.pack(again, self.tokenizer, shape["length"], wanted, Path(folder) / "rows.arrow")
            self.rows = store.head(wanted).astype(np.int64)

    def model(self, seed: int = 1) -> Any:
        """The model with the same first weights for the same seed."""
        torch.manual_seed(seed)
        ids = {f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        ends = {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
        config = AutoConfig.for_model(
            self.shape["architecture"], vocab_size=self.shape["vocabulary"], **self.shape["config"], **ids, **ends
        )
        # Drawing weights on a processor takes longer than a GPU's steps.
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return AutoModelForMaskedLM.from_config(config)

    def train(self, model: Any, rows: np.ndarray, seed: int, **how: Any) -> list[float]:
        """Our loop over the rows; when each step began, and when the last one ended."""
        return self.train_on(model, Held(self.tokenizer, rows), seed, **how)

    def train_on(
        self, model: Any, mixture: Any, seed: int, compiled: bool = False, learning_rate: float = LEARNING_RATE
    ) -> list[float]:
        """The same over a mixture."""
        stamps: list[float] = []
        training.place(model, training.accelerator(), compiled=compiled)
        values = {"batch_rows": self.shape["rows"], "masking_rate": self.rate, "whole_words": False, "seed": seed}
        work = pretraining._work(model, mixture, **values, compiled=compiled)

        def items(step: int) -> Sequence[int]:
            if step in (0, WARM_UP):  # asking more often would make a GPU wait
                _settle()
            stamps.append(time.perf_counter())
            return work.items(step)

        with tempfile.TemporaryDirectory() as folder:
            plan = training.Plan(learning_rate, 0.0, seed, 10**9, 0, Path(folder) / "none", "", 10**9, 1.0)
            training.train(model, replace(work, items=items), plan, dict)
        _settle()
        return [*stamps, time.perf_counter()]

    def ours(self, compiled: bool = False, **off: Any) -> paired.Side:
        """Our loop; `off` names parts of it and what stands in for them."""

        def side(number: int) -> float:
            with _instead(**off):
                stamps = self.train(self.model(), self._timed(), number, compiled=compiled)
            return self._pace(stamps[-1] - stamps[WARM_UP])

        return side

    def trainer(self, **flags: Any) -> paired.Side:
        """transformers' Trainer on the same rows, with its defaults or other flags."""

        def side(number: int) -> float:
            collator = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=self.rate)
            stamps = self._trained(self.model(), self._timed(), number, collator, **flags)
            return self._pace(stamps[-1] - stamps[WARM_UP - 1])

        return side

    def _masked_as_ours(self, seed: int) -> Collator:
        """A collator for Trainer that masks every row as our loop does."""
        masking = tokens.Masking(self.tokenizer, self.rate)

        def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            ids, keys = np.array([row["input_ids"] for row in rows]), [[seed, row["place"]] for row in rows]
            return dict(zip(("input_ids", "labels"), map(torch.from_numpy, masking(ids, keys)), strict=True))

        return collate

    def _trained(self, model: Any, rows: np.ndarray, seed: int, collator: Collator, **flags: Any) -> list[float]:
        """When each step of Trainer ended."""
        from datasets import Dataset
        from transformers import Trainer, TrainerCallback, TrainingArguments

        class Clock(TrainerCallback):
            """When each step ended."""

            def __init__(self) -> None:
                self.stamps: list[float] = []

            def on_step_end(self, *arguments: Any, **named: Any) -> None:
                """Note the time."""
                if len(self.stamps) + 1 in (WARM_UP, steps):
                    _settle()
                self.stamps.append(time.perf_counter())

        clock, steps = Clock(), len(rows) // self.shape["rows"]
        quiet = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_strategy": "no"}
        flags = {"learning_rate": LEARNING_RATE, **quiet, **flags}
        with tempfile.TemporaryDirectory() as folder:
            parts = self.shape.get("parts", 1)  # vocabulary logits at every position fill a GPU's memory
            arguments = TrainingArguments(
                folder,
                max_steps=steps,
                per_device_train_batch_size=self.shape["rows"] // parts,
                gradient_accumulation_steps=parts,
                seed=seed,
                **flags,
            )
            data = Dataset.from_dict({"input_ids": rows.tolist(), "place": range(len(rows))})
            Trainer(model, arguments, collator, data, callbacks=[clock]).train()
        return clock.stamps

    def _timed(self) -> np.ndarray:
        return self.rows[HELD_OUT : HELD_OUT + (self.steps + WARM_UP) * self.shape["rows"]]

    def _pace(self, seconds: float) -> float:
        return self.steps * self.shape["rows"] * self.shape["length"] / seconds

    def heldout(self, name: str, seed: int) -> float:
        """Loss on rows that were not seen, after one pass over the others; optimiser and order of rows are ours."""
        rows, model = self.rows[HELD_OUT : HELD_OUT + self.shape["learn"] * self.shape["rows"]], self.model(seed)
        with nullcontext() if name == APART else _instead(segments=one_text):
            if name == "Trainer":
                same = {"adam_beta2": 0.98, "weight_decay": 0.01, "train_sampling_strategy": "sequential"}
                same |= {"learning_rate": CALM, "remove_unused_columns": False}
                self._trained(model, rows, seed, self._masked_as_ours(seed), **same)
                AcceleratorState._reset_state(reset_partial_state=True)  # its precision is Trainer's, not ours
            else:
                self.train(model, rows, seed, learning_rate=CALM)
            return pretraining.heldout_loss(model.eval(), self.tokenizer, self.rows[:HELD_OUT])

    def operations(self) -> float:
        """Floating-point operations a token that training needs, after the formula above."""
        model = self.model()
        inner = sum(p.numel() for n, p in model.base_model.named_parameters() if p.ndim == 2 and "embed" not in n)
        width, layers = model.config.hidden_size, model.config.num_hidden_layers
        head = self.rate * (self.shape["vocabulary"] + width) * width
        text, _ = tokens.segments(self._timed(), self.tokenizer.cls_token_id)
        seen = np.mean((text[:, :, None] == text[:, None, :]).sum(2))
        return 6 * (inner + head) + 12 * seen * width * layers


@contextmanager
def _instead(**off: Any) -> Iterator[None]:
    """Parts of the loop, by name, with something else in their place."""
    owners = {
        "masked_loss": pretraining,
        "segments": tokens,
        "optimiser": training,
        "autocast": Accelerator,
        "_only_at": heads,
        "ALIGNED": pretraining.SummedCrossEntropy,
    }
    patches = [patch.object(owners.get(name, devices), name, other) for name, other in off.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def dense_loss(model: Any, masked: dict[str, torch.Tensor], compiled: bool = False) -> torch.Tensor:
    """The loss with the vocabulary logits of every position, as a model computes it itself."""
    attention = devices.apart(model, masked["text"], masked["positions"])
    masked = {name: devices.moved(tensor, model.device) for name, tensor in masked.items()}
    hidden = heads.encode(model, masked["ids"], masked["positions"], **attention)
    logits = model.get_output_embeddings()(heads.before_decoder(model, hidden))
    labels = torch.full((masked["ids"].numel(),), tokens.UNSCORED, device=model.device)
    labels[masked["places"]] = masked["targets"]
    return cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=tokens.UNSCORED, reduction="sum")


def masks(model: Any, text: torch.Tensor, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """`devices.apart` by a mask on every device."""
    return {"attention_mask": devices.mask_of(model, devices.moved(text, model.device))}


class PlainAdamW(torch.optim.AdamW):
    """AdamW whose step is not fused, and divides the gradients by itself."""

    def step(self) -> None:
        """One step, of the gradients divided by `grad_scale`."""
        there = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_mul_(there, 1 / self.grad_scale)
        del self.grad_scale
        super().step()


def plain_adamw(model: Any) -> torch.optim.AdamW:
    """Our optimiser, its step not fused."""
    groups = training_optimiser(model).param_groups
    return PlainAdamW([{k: g[k] for k in ("params", "weight_decay")} for g in groups], lr=0.0, betas=(0.9, 0.98))


training_optimiser = training.optimiser


def one_text(ids: np.ndarray, cls: int) -> tuple[np.ndarray, np.ndarray]:
    """`tokens.segments` for rows that count as one text each."""
    return np.zeros_like(ids), np.broadcast_to(np.arange(ids.shape[1]), ids.shape)


def sides(bench: Bench) -> dict[str, paired.Side]:
    """Ours, the reference's two, and ours with one technique switched off at a time."""
    gpu = torch.cuda.is_available()
    best = {"bf16": environment.narrow(), "use_cpu": not gpu, "dataloader_num_workers": 4 if gpu else 0}
    return {
        "ours": bench.ours(),
        "ours, compiled": bench.ours(compiled=True),
        DEFAULTS: bench.trainer(),
        BEST: bench.trainer(**best),
        f"{BEST}, compiled": bench.trainer(**best, torch_compile=True),
        "logits at every position": bench.ours(masked_loss=dense_loss),
        "last layer at every position": bench.ours(_only_at=lambda model, places: nullcontext()),
        "float32": bench.ours(autocast=lambda device: nullcontext()),
        "optimiser not fused": bench.ours(optimiser=plain_adamw),
        "texts of a row see each other": bench.ours(segments=one_text),
        "freed memory given back": bench.ours(keep_freed_memory=lambda: None),
        "fused attention": bench.ours(PLAIN="sdpa"),
        "rotary positions by transformers": bench.ours(ModernBertAttention=type(None)),
        "texts apart by a mask": bench.ours(apart=masks),
        "vocabulary of odd width": bench.ours(ALIGNED=1),
        "losses read at once": bench.ours(fetched=lambda value: value.item),
        "float32 between layers": bench.ours(narrowed=lambda module, inputs, output: output),
    }


def ablations(shape: dict[str, Any]) -> list[str]:
    """The sides beside ours and the reference's that mean something on this device and for this model."""
    names = ["logits at every position", "last layer at every position", "optimiser not fused"]
    names += ["texts of a row see each other"]
    names += ["rotary positions by transformers"] if shape["architecture"] == "modernbert" else []
    names += ["float32", "float32 between layers"] if environment.narrow() else []
    gpu = ["texts apart by a mask", "vocabulary of odd width", "losses read at once"]
    return names + (gpu if torch.cuda.is_available() else ["freed memory given back", "fused attention"])


@cache
def _bench(shape: str, steps: int, rate: float, whole: bool) -> Bench:
    return Bench(SHAPES[shape] if whole else SHAPES[shape] | {"learn": 0}, steps, rate)


def load(what: What) -> None:
    """Load what a side needs, before any is timed."""
    _bench(*what)


def pace(what: What, name: str, number: int) -> float:
    """Tokens a second of one side in one round."""
    found = sides(_bench(*what))[name](number)
    if torch.cuda.is_available():  # the other process needs the memory now
        gc.collect()
        torch.cuda.empty_cache()
    return found


def learnt(what: What, name: str, seed: int) -> float:
    """Held-out loss of one side."""
    return _bench(*what).heldout(name, seed)


def heldout(what: What, engine: paired.Apart, reference: paired.Apart) -> dict[str, Any]:
    """Held-out loss after the same masked rows, mean of three seeds; a row is one text, as it is for Trainer."""
    found: dict[str, list[float]] = {"ours": [], "Trainer": [], APART: []}
    for seed, name in itertools.product((1, 2, 3), found):
        pool = reference if name == "Trainer" else engine
        found[name].append(pool.ask(learnt, what, name, seed))
        print(f"held-out loss, seed {seed}, {name}: {found[name][-1]:.4f}", flush=True)
    means = {name: statistics.fmean(values) for name, values in found.items()}
    return {**means, "difference": means["ours"] / means["Trainer"] - 1, "seeds": found}


def can_compile() -> bool:
    """Whether torch.compile finds what it needs here."""
    return torch.cuda.is_available() or shutil.which("g++") is not None


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print and write."""
    asked = paired.options(__doc__.splitlines()[0], shapes=tuple(SHAPES))
    shape, rounds = SHAPES[asked.shape], asked.rounds or (3 if asked.quick else 7)
    compiled = can_compile() and not asked.quick
    what = (asked.shape, max(2, shape["steps"] // (4 if asked.quick else 1)), asked.rate, not asked.quick)
    best, reference_best = ("ours, compiled", f"{BEST}, compiled") if compiled else ("ours", BEST)
    # Trainer's flags outlast it: what torch_compile sets for matrix products doubles the pace of its defaults.
    with paired.Apart() as engine, paired.Apart() as plain, paired.Apart() as reference, paired.Apart() as giving:
        pools = {DEFAULTS: plain, BEST: reference, reference_best: reference, "freed memory given back": giving}

        def side(name: str) -> paired.Side:
            return lambda number: pools.get(name, engine).ask(pace, what, name, number)

        for ready in [pool.submit(load, what) for pool in {engine, *pools.values()}]:
            ready.result()
        for name in dict.fromkeys(["ours", best]):
            engine.ask(pace, what, name, 0)  # the first time is slower, compiled or not
        memory = engine.ask(paired.peak_rss_mb)
        names = dict.fromkeys(["ours", best, DEFAULTS, reference_best])
        found = paired.in_turn({name: side(name) for name in names}, rounds)
        result = figures(what, found, best, reference_best) | {"peak_rss_mb": memory}
        paired.finish(result, asked.json)
        turns = 1 if asked.quick or torch.cuda.is_available() else rounds
        turn = paired.in_turn({name: side(name) for name in ["ours", *ablations(shape)]}, turns)
        result["ablation"] = {n: paired.ratio(v, turn["ours"])["median"] for n, v in turn.items() if n != "ours"}
        result["heldout"] = heldout(what, engine, reference) if shape["learn"] and not asked.quick else {}
    paired.finish(result, asked.json)


def figures(what: What, found: dict[str, list[float]], best: str, reference_best: str) -> dict[str, Any]:
    """Ratios and MFU of the paces of all rounds."""
    (peak, precision), median = paired.matmul_peak(), statistics.median(found[best])
    ratios = {
        "ratio_default": paired.ratio(found["ours"], found[DEFAULTS]),
        "ratio_best": paired.ratio(found[best], found[reference_best]),
        "ratio_best_as_used": paired.ratio(found["ours"], found[reference_best]),
    }
    return {
        "shape": what[0],
        "masking_rate": what[2],
        **{name: ratio["median"] for name, ratio in ratios.items()},
        "best_flags_compiled": best != "ours",
        "tokens_per_s": {name: statistics.median(values) for name, values in found.items()},
        "spread": {name: [ratio["min"], ratio["max"]] for name, ratio in ratios.items()},
        "mfu": median * _bench(*what).operations() / peak,
        "peak_flops": peak,
        "peak_precision": precision,
        "ablation": {},
        "heldout": {},
    }


if __name__ == "__main__":
    main()

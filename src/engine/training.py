"""The one training loop, for masked words and fine-tuning alike: resumable at any step, bit for bit on a CPU."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine import checkpoints
from helpers.project import write_atomically


@dataclass(frozen=True)
class Work:
    """What is learnt: `steps` batches of items, what each item weighs in the mean, and the summed loss of some.

    Everything random in a loss must follow from the items and the step, so that a resumed run draws the same.
    """

    steps: int
    items: Callable[[int], Sequence[Any]]
    weigh: Callable[[Sequence[Any]], float]
    loss: Callable[[Sequence[Any]], torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How fast to train, when to look, and where to keep the way back."""

    learning_rate: float
    warmup_share: float
    seed: int
    look_every: int
    patience: int
    checkpoint: Path
    key: str
    checkpoint_seconds: float
    tokens_a_step: float


def accelerator() -> Accelerator:
    """The device at hand, with bfloat16 where the GPU or the processor computes in it."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported()
    else:
        native = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return Accelerator(mixed_precision="bf16" if native else "no")


@contextmanager
def computing(device: Accelerator) -> Iterator[None]:
    """Forward passes in the device's precision; on a processor with plain attention.

    PyTorch's fused attention is the slower one there at lengths of 64 to 128: its backward pass took 28 % of a step.
    """
    plain = sdpa_kernel(SDPBackend.MATH) if device.device.type == "cpu" else nullcontext()
    with device.autocast(), plain:
        yield


def rate(step: int, steps: int, plan: Plan) -> float:
    """Learning rate of a step (from 0): linear warm-up to the peak, then linear to zero."""
    warmup = plan.warmup_share * steps
    rise = (step + 1) / warmup if step < warmup else 1.0
    return plan.learning_rate * min(rise, (steps - step) / max(steps - warmup, 1))


def optimiser(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as is usual for BERT."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def train(
    model: nn.Module, work: Work, plan: Plan, look: Callable[[], dict[str, float]], score: str = ""
) -> list[dict[str, float]]:
    """Train `model` in place and return the history: one row a look, of step, training loss and what `look` measured.

    With `score`, the name of one of its measures, the weights with the highest value are kept at the end, and training
    stops after `plan.patience` looks without a higher one. FloatingPointError when the loss is not finite.
    """
    optimizer, device, steps = optimiser(model), accelerator(), work.steps
    state = checkpoints.resume(plan.checkpoint, plan.key, model, optimizer)
    state = state or {"step": 0, "history": [], "best": None, "since": 0, "sum": 0.0}
    progress, saved = Progress(plan, steps, state["step"]), time.monotonic()
    parts = Parts(work, device)
    model.train()
    while state["step"] < steps and not (score and state["since"] >= plan.patience):
        step = state["step"]
        set_seed((plan.seed * 1_000_003 + step) % 2**32)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, plan)
        value = parts.backward(model, work.items(step))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not math.isfinite(value):
            way_back = checkpoints.newest(plan.checkpoint) or "none yet"
            raise FloatingPointError(
                f"the loss of step {step} is {value} at learning rate {rate(step, steps, plan):.2e}; lower the "
                f"learning rate. Last checkpoint: {way_back}"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"], state["sum"] = step + 1, state["sum"] + value
        if state["step"] % plan.look_every == 0 or state["step"] == steps:
            _look(model, state, plan, look, score)
        if time.monotonic() - saved >= plan.checkpoint_seconds and device.is_main_process:
            checkpoints.save(plan.checkpoint, plan.key, model, optimizer, state)
            saved = time.monotonic()
        progress.tell(state["step"], value)
    if state["best"] is not None:
        model.load_state_dict(state["best"][1])
    model.eval()
    return state["history"]


class Parts:
    """Gradients of a batch from as many parts as memory asks for and as many processes as there are.

    The loss is a sum over the batch divided by what the whole batch weighs, so neither changes the result by more than
    the order in which numbers are added up.
    """

    def __init__(self, work: Work, device: Accelerator) -> None:
        self.work, self.device, self.parts = work, device, 1

    def backward(self, model: nn.Module, items: Sequence[Any]) -> float:
        """Leave the batch's gradients in `model` and return its mean loss; in half the size when memory runs out."""
        whole = self.work.weigh(items)
        mine = items[self.device.process_index :: self.device.num_processes]
        while True:
            try:
                value = torch.zeros((), device=self.device.device)
                for part in np.array_split(np.arange(len(mine)), min(self.parts, max(len(mine), 1))):
                    if len(part):
                        loss = self.work.loss([mine[i] for i in part]) / whole
                        loss.backward()
                        value += loss.detach()
                break
            except torch.OutOfMemoryError:
                if self.parts >= len(mine):
                    raise
                self.parts *= 2
                model.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                print(
                    f"out of memory: batches are now computed in {self.parts} parts, with the same result", flush=True
                )
        return self._together(model, value)

    def _together(self, model: nn.Module, value: torch.Tensor) -> float:
        """Add up gradients and loss over the processes."""
        if self.device.num_processes > 1:
            weights = [p for p in model.parameters() if p.requires_grad]
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
            flat = self.device.reduce(torch.cat([*(g.reshape(-1) for g in found), value.reshape(1)]), "sum")
            for weight, grad in zip(weights, flat[:-1].split([p.numel() for p in weights]), strict=True):
                weight.grad = grad.view_as(weight).clone()
            value = flat[-1]
        return float(value)


def _look(
    model: nn.Module, state: dict[str, Any], plan: Plan, look: Callable[[], dict[str, float]], score: str
) -> None:
    """Measure, note it down, and keep the weights when they are the best so far."""
    model.eval()
    with torch.no_grad():
        measured = look()
    model.train()
    seen = state["step"] - (state["history"][-1]["step"] if state["history"] else 0)
    state["history"].append({"step": state["step"], "loss": state["sum"] / seen, **measured})
    state["sum"] = 0.0
    if not score:
        return
    if state["best"] is None or measured[score] > state["best"][0]:
        state["best"] = (measured[score], {name: value.clone() for name, value in model.state_dict().items()})
        state["since"] = 0
    else:
        state["since"] += 1


class Progress:
    """One line of progress where the stage runner looks for it, at most twice a second."""

    def __init__(self, plan: Plan, steps: int, first: int) -> None:
        self.plan, self.steps, self.first, self.began, self.told = plan, steps, first, time.monotonic(), 0.0
        self.place = os.environ.get("HELPERS_PROGRESS", "") if os.environ.get("RANK", "0") == "0" else ""

    def tell(self, step: int, loss: float) -> None:
        """Leave step, loss, tokens a second, learning rate and the time that is left."""
        if not self.place or (time.monotonic() - self.told < 0.5 and step < self.steps):
            return
        self.told = time.monotonic()
        pace = (step - self.first) / (self.told - self.began)
        left = (self.steps - step) / pace
        line = f"step {step:,}/{self.steps:,}  loss {loss:.3f}  {pace * self.plan.tokens_a_step:,.0f} tok/s  "
        line += f"rate {rate(step - 1, self.steps, self.plan):.1e}  {left // 60:.0f}:{left % 60:02.0f} left"
        write_atomically(Path(self.place), line)

"""The one training loop, for masked words and fine-tuning alike: resumable at any step, bit for bit on a CPU."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel

from common import devices, environment
from common.progress import Progress
from engine import checkpoints

SPEED = ("checkpoint_seconds", "processes", "fits", "save_memory", "compiled")  # change results by chance at most
Look = Callable[[], dict[str, float]]  # measures the model as it is


@dataclass(frozen=True)
class Work:
    """What is learnt: `steps` batches of items; the summed loss of some items, and what they weigh in the mean.

    Everything random in a loss must follow from the items and the step, or come from torch's own generator, which is
    seeded at every step: a resumed run then draws the same.
    """

    steps: int
    items: Callable[[int], Sequence[Any]]
    loss: Callable[[Sequence[Any]], tuple[torch.Tensor, int]]


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
    """A GPU of NVIDIA's or AMD's, or else the processor, in the precision that suits it."""
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=environment.precision())


def place(model: PreTrainedModel, device: Accelerator, *, save_memory: bool = False, compiled: bool = False) -> None:
    """Put a transformers model on the device.

    `save_memory` keeps no inner values of layers for the backward pass: a third more work, far less memory.
    `compiled` has torch.compile fuse layers: a minute at the start, for batches of one shape.
    """
    model.to(device.device)
    devices.suit(model)
    if save_memory:
        model.activation_checkpointing_enable({"use_reentrant": False})
        devices.layers(model)[-1].gradient_checkpointing = False  # its values are needed at once, and at few places
    if compiled:
        devices.compile_layers(model)


def rate(step: int, steps: int, plan: Plan) -> float:
    """Learning rate of a step (from 0): linear warm-up to the peak, then linear to zero."""
    warmup = plan.warmup_share * steps
    rise = (step + 1) / warmup if step < warmup else 1.0
    return plan.learning_rate * min(1.0, rise, (steps - step) / max(steps - warmup, 1))


def optimiser(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as is usual for BERT."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def train(model: nn.Module, work: Work, plan: Plan, look: Look, score: str = "") -> list[dict[str, float]]:
    """Train `model` in place and return the history: one row a look, of step, training loss and what `look` measured.

    With `score`, the name of one of its measures, the weights with the highest value are kept at the end, and training
    stops after `plan.patience` looks without a higher one. FloatingPointError when loss or gradients are not finite.
    """
    devices.keep_freed_memory()
    optimizer, device, steps = optimiser(model), accelerator(), work.steps
    state = checkpoints.resume(plan.checkpoint, plan.key, model, optimizer)
    state = state or {"step": 0, "history": [], "best": None, "since": 0, "sum": 0.0}
    progress, saved = Progress(plan.checkpoint.name, steps, state["step"], plan.tokens_a_step), time.monotonic()
    parts, losses = Parts(work, device), Losses(plan, steps)
    model.train()
    while state["step"] < steps and not (score and state["since"] >= plan.patience):
        step = state["step"]
        other = device.process_index * 777_767_777  # processes draw other dropout, as parts of one batch do
        devices.seed(device.device, (plan.seed * 1_000_003 + step + other) % 2**32)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, plan)
        loss, optimizer.grad_scale = parts.backward(model, work.items(step))  # the fused step divides gradients by it
        losses.unread.append((step, devices.fetched(loss + 0 * optimizer.grad_scale)))  # nan with gradients
        losses.read(state, leave=1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] = step + 1
        looking = state["step"] % plan.look_every == 0 or state["step"] == steps
        saving = time.monotonic() - saved >= plan.checkpoint_seconds and device.is_main_process
        if looking or saving:
            losses.read(state)
        if looking:
            _look(model, state, look, score)
        if saving:
            checkpoints.save(plan.checkpoint, plan.key, model, optimizer, state)
            saved = time.monotonic()
        progress.tell(state["step"], losses.last, optimizer.param_groups[0]["lr"])
    if state["best"] is not None:
        model.load_state_dict(state["best"][1])
    if not torch.stack([torch.isfinite(p).all() for p in model.parameters()]).all():
        raise FloatingPointError(f"weights are not finite after step {state['step']}; lower the learning rate")
    model.eval()
    return state["history"]


class Losses:
    """Losses of the steps, read one step late, so that a GPU is never waited for.

    Nothing is kept of a step whose loss or gradients are not finite: it is read before a look and before a checkpoint.
    """

    def __init__(self, plan: Plan, steps: int) -> None:
        self.plan, self.steps, self.last = plan, steps, float("nan")
        self.unread: list[tuple[int, Callable[[], float]]] = []

    def read(self, state: dict[str, Any], leave: int = 0) -> None:
        """Add the unread losses, all but the last `leave`, to the sum; FloatingPointError when one is not finite."""
        while len(self.unread) > leave:
            step, value = self.unread.pop(0)
            self.last = value()
            if not np.isfinite(self.last):
                at, way_back = rate(step, self.steps, self.plan), checkpoints.newest(self.plan.checkpoint)
                raise FloatingPointError(
                    f"loss or gradients of step {step} are not finite at learning rate {at:.2e}; lower it. "
                    f"Last checkpoint: {way_back or 'none yet'}"
                )
            state["sum"] += self.last


class Parts:
    """Gradients of a batch from as many parts as memory asks for and as many processes as there are.

    Sums are added up first and divided by what the whole batch weighs last, so neither changes the result by more than
    the order of additions does.
    """

    def __init__(self, work: Work, device: Accelerator) -> None:
        self.work, self.device, self.parts = work, device, 1

    def backward(self, model: nn.Module, items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Leave the batch's summed gradients in `model`; return its mean loss, and the divisor to clipped means.

        The fused step divides, so that this costs no pass. Out of memory, the batch is tried again in twice the parts.
        """
        mine = items[self.device.process_index :: self.device.num_processes]
        while (found := self._summed(mine)) is None:  # the failed pass is gone now, and what it held
            if self.parts >= len(mine):
                how = "set compute.save_memory: true, or a smaller length"
                raise torch.OutOfMemoryError(f"out of memory with one item at a time; {how}")
            self.parts *= 2
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            print(f"out of memory: batches in {self.parts} parts from now on, all else as before", flush=True)
        return self._mean(model, *found)

    def _summed(self, mine: Sequence[Any]) -> tuple[torch.Tensor, Any] | None:
        """Add up the gradients of some items; their loss and weight, or None where memory runs out."""
        value, weight = torch.zeros((), device=self.device.device), 0
        try:
            for part in np.array_split(np.arange(len(mine)), min(self.parts, max(len(mine), 1))):
                if len(part):
                    loss, weighs = self.work.loss([mine[i] for i in part])
                    loss.backward()
                    value, weight = value + loss.detach(), weight + weighs
        except torch.OutOfMemoryError:
            return None
        return value, weight

    def _mean(self, model: nn.Module, value: torch.Tensor, weight: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up gradients, loss and weight over the processes; mean loss, and divisor for a mean of norm 1 at most."""
        weights = [p for p in model.parameters() if p.requires_grad]
        if self.device.num_processes > 1:
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
            ends = torch.stack([value, torch.full_like(value, weight)])
            flat = self.device.reduce(torch.cat([*(g.reshape(-1) for g in found), ends]), "sum")
            for p, grad in zip(weights, flat[:-2].split([p.numel() for p in weights]), strict=True):
                p.grad = grad.view_as(p).clone()
            value, weight = flat[-2], flat[-1]
        norm = nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None]) / weight
        return value / weight, (norm + 1e-6).clamp(min=1.0) * weight


def _look(model: nn.Module, state: dict[str, Any], look: Look, score: str) -> None:
    """Measure, note it down, and keep the weights when they are the best so far."""
    model.eval()
    with torch.no_grad():
        measured = look()
    model.train()
    seen = state["step"] - (state["history"][-1]["step"] if state["history"] else 0)
    state["history"].append({"step": state["step"], "loss": state["sum"] / seen, **measured})
    state["sum"] = 0.0
    state["since"] += 1
    if score and (state["best"] is None or measured[score] > state["best"][0]):
        state["best"] = (measured[score], {name: value.clone() for name, value in model.state_dict().items()})
        state["since"] = 0

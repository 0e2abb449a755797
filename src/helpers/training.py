"""The one training loop, for masked words and fine-tuning alike: resumable at any step, bit for bit on a CPU."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

# loss(step) -> scalar; everything random in it must follow from `step`, so that a resumed run draws the same.
Loss = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train, when to look, and where to keep the way back."""

    steps: int
    learning_rate: float
    warmup_share: float
    seed: int
    look_every: int
    patience: int
    checkpoint: Path
    key: str
    checkpoint_seconds: int
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


def rate(step: int, plan: Plan) -> float:
    """Learning rate of a step (from 0): linear warm-up to the peak, then linear to zero."""
    warmup = plan.warmup_share * plan.steps
    rise = (step + 1) / warmup if step < warmup else 1.0
    return plan.learning_rate * min(rise, (plan.steps - step) / max(plan.steps - warmup, 1))


def optimiser(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as is usual for BERT."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def train(
    model: nn.Module, loss: Loss, plan: Plan, look: Callable[[], dict[str, float]], score: str = ""
) -> list[dict[str, float]]:
    """Train `model` in place and return the history: one row a look, of step, training loss and what `look` measured.

    With `score`, the name of one of its measures, the weights with the highest value are kept at the end, and training
    stops after `plan.patience` looks without a higher one. Raises FloatingPointError when the loss is not finite.
    """
    optimizer = optimiser(model)
    state = _resume(model, optimizer, plan) or {"step": 0, "history": [], "best": None, "since": 0, "sum": 0.0}
    began, first, saved = time.monotonic(), state["step"], time.monotonic()
    model.train()
    while state["step"] < plan.steps and not (score and state["since"] >= plan.patience):
        step = state["step"]
        set_seed((plan.seed * 1_000_003 + step) % 2**32)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, plan)
        value = loss(step)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] = step + 1
        state["sum"] += float(value.detach())
        if not math.isfinite(state["sum"]):
            raise FloatingPointError(f"the loss of step {step} is not finite; lower the learning rate")
        if state["step"] % plan.look_every == 0 or state["step"] == plan.steps:
            _look(model, state, plan, look, score)
        if time.monotonic() - saved >= plan.checkpoint_seconds:
            _save(model, optimizer, state, plan)
            saved = time.monotonic()
        _tell(state, plan, float(value.detach()), (state["step"] - first) / (time.monotonic() - began))
    if state["best"] is not None:
        model.load_state_dict(state["best"][1])
    model.eval()
    return state["history"]


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


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any], plan: Plan) -> None:
    """Write the way back: a kill leaves the last checkpoint or this one, never half of it."""
    plan.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = plan.checkpoint.with_suffix(".new")
    torch.save(
        {"key": plan.key, "state": state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, beside
    )
    os.replace(beside, plan.checkpoint)


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> dict[str, Any] | None:
    """Go back to the checkpoint of this very training, if there is one."""
    if not plan.checkpoint.exists():
        return None
    device = next(model.parameters()).device
    saved = torch.load(plan.checkpoint, map_location=device, weights_only=True)
    if saved["key"] != plan.key:
        return None
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["state"]


def _tell(state: dict[str, Any], plan: Plan, loss: float, pace: float) -> None:
    """Leave one line of progress where the stage runner looks for it; `pace` is in steps a second."""
    place = os.environ.get("HELPERS_PROGRESS")
    if not place:
        return
    left = (plan.steps - state["step"]) / pace
    line = f"step {state['step']:,}/{plan.steps:,}  loss {loss:.3f}  {pace * plan.tokens_a_step:,.0f} tok/s  "
    Path(place).write_text(line + f"{left // 60:.0f}:{left % 60:02.0f} left", encoding="utf-8")

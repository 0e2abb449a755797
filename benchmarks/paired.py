"""Measuring sides in turn, so that a machine that slows down slows all of them down; each in its own process."""

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from common import environment
from engine import processes

# Tokens a second of some steps, the warm-up not counted.
Side = Callable[[int], float]


def options(description: str, shapes: tuple[str, ...] = ()) -> argparse.Namespace:
    """The command line that every benchmark shares; `shapes`: models it can be asked for, the first by default."""
    it = argparse.ArgumentParser(description=description)
    it.add_argument("--quick", action="store_true", help="few and short rounds: at most three minutes on two cores")
    it.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    it.add_argument("--rounds", type=int, metavar="N", help="rounds in which every side has a turn")
    if shapes:
        it.add_argument("--shape", choices=shapes, default=shapes[0], help=f"the model ({shapes[0]})")
        it.add_argument("--rate", type=float, default=0.15, help="share of word pieces to predict (0.15)")
    return it.parse_args()


class Apart(ProcessPoolExecutor):
    """A process that lives as long as the measurement: what one side sets there does not reach the others."""

    def __init__(self) -> None:
        super().__init__(1, mp_context=get_context("spawn"), initializer=processes.end_with_parent)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns there."""
        return self.submit(function, *arguments).result()


def in_turn(sides: dict[str, Side], rounds: int, unit: str = "tokens") -> dict[str, list[float]]:
    """Pace of each side in each round (`unit` a second); the order is turned round by round."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            found[name].append(sides[name](number))
            print(f"round {number + 1}/{rounds}  {name:<28} {found[name][-1]:>10,.1f} {unit}/s", flush=True)
    return found


def ratio(one: list[float], other: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the round-by-round ratios."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def peak_rss_mb() -> int:
    """Largest resident memory of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024))


def device() -> str:
    """What the figures were measured on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    able = torch.backends.cpu.get_cpu_capability() + (" with bfloat16" if environment.narrow() else "")
    return f"{model}, {torch.get_num_threads()} threads, {able}"


def matmul_peak() -> tuple[float, str]:
    """The peak that MFU is a share of: operations a second of a large matrix product here, and the precision of both.

    That is bfloat16 where the device computes in it; elsewhere it is imitated, hundreds of times slower than float32.
    """
    where, kind = "cuda" if torch.cuda.is_available() else "cpu", "bfloat16" if environment.narrow() else "float32"
    size = 8192 if where == "cuda" else 2048
    one, other = (torch.randn(size, size, device=where, dtype=getattr(torch, kind)) for _ in range(2))
    best, several = 0.0, 8
    for _ in range(8):
        began = time.perf_counter()
        for _ in range(several):  # so that a GPU is asked for the result, and waited for, only now and then
            product = one @ other
        product[0, 0].item()
        best = max(best, several * 2 * size**3 / (time.perf_counter() - began))
    return best, kind


def finish(result: dict[str, Any], file: Path | None) -> None:
    """Print the figures, and write them where they were asked for."""
    result = {"device": device(), "torch": torch.__version__, **result}
    print(json.dumps(result, indent=1))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

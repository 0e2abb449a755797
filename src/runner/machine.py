"""What a stage ran on, told without loading torch."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

GPUS, PROCESSORS = Path("/proc/driver/nvidia/gpus"), Path("/proc/cpuinfo")


def device(gpus: Path = GPUS, processors: Path = PROCESSORS) -> str:
    """The GPUs' number and name where torch is made for them, or else the processor and its cores; torch's version."""
    torch = f"torch {version('torch')}"
    hidden = torch.endswith("+cpu") or os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    found = [] if hidden else [*gpus.glob("*/information")]
    names = [_value(file.read_text(encoding="utf-8"), "Model") for file in found]
    if names:
        return f"{len(names)} x {names[0]}, {torch}"
    text = processors.read_text(encoding="utf-8") if processors.is_file() else ""
    return f"{_value(text, 'model name') or platform.machine()}, {os.cpu_count()} cores, {torch}"


def _value(text: str, name: str) -> str:
    """The first value of that name in lines of `name: value`."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for found, _, value in lines if found.strip() == name), "")

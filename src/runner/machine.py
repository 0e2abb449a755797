"""What a stage ran on, told without loading torch."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

GPUS, PROCESSORS = Path("/proc/driver/nvidia/gpus"), Path("/proc/cpuinfo")


def device(gpus: Path = GPUS, processors: Path = PROCESSORS) -> str:
    """The GPUs' number and name where torch is made for them, or the processor, cores, arithmetic; torch's version."""
    torch = f"torch {version('torch')}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # those of a job, among those of its machine
    most = None if visible is None else sum(one not in ("", "-1") for one in visible.split(","))
    found = [] if torch.endswith("+cpu") else [*gpus.glob("*/information")][:most]
    names = [_value(file.read_text(encoding="utf-8"), "Model") for file in found]
    if names:
        return f"{len(names)} x {names[0]}, {torch}"
    text = processors.read_text(encoding="utf-8") if processors.is_file() else ""
    name, arithmetic = _value(text, "model name") or platform.machine(), _arithmetic(_value(text, "flags"))
    return f"{name}, {os.cpu_count()} cores, {arithmetic}, {torch}"


def _arithmetic(flags: str) -> str:
    """What `environment.precision` comes to on a processor with these flags: one name stands for several kinds."""
    own = "bf16" if "avx512_bf16" in flags.split() else "no"
    used = os.environ.get("ACCELERATE_MIXED_PRECISION") or own
    return {"no": "float32", "bf16": "bfloat16"}.get(used, used)


def _value(text: str, name: str) -> str:
    """The first value of that name in lines of `name: value`."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for found, _, value in lines if found.strip() == name), "")

"""The machine and the software at hand, as a table for the reader."""

import os
import platform
from importlib.metadata import version

import pandas as pd
import torch

from common.project import Mistake

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "datasketch", "papermill", "snakemake")


def narrow() -> bool:
    """Whether the GPU, or else the processor, computes in bfloat16."""
    gpu, able = torch.cuda.is_available(), torch.cpu.get_capabilities()
    return torch.cuda.is_bf16_supported(including_emulation=False) if gpu else able.get("avx512_bf16", False)


def precision() -> str:
    """`bf16` where `narrow`, or else `no` (float32), as accelerate calls them; ACCELERATE_MIXED_PRECISION overrules.

    Mistake where that asks for another one: float16 needs losses that are scaled.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION") or ("bf16" if narrow() else "no")
    if asked not in ("bf16", "no"):
        raise Mistake(f"ACCELERATE_MIXED_PRECISION: found {asked!r}; allowed: bf16, no")
    return asked


def card() -> pd.DataFrame:
    """System, processor, accelerator, precision and the versions of the packages that results depend on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor cores": os.cpu_count(),
        "accelerator": gpu,
        "precision of training": precision().replace("no", "float32"),
        **{name: version(name) for name in PACKAGES},
    }
    return pd.DataFrame({"value": rows}).rename_axis("what")

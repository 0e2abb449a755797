"""The machine and the software at hand, as a table for the reader."""

import os
import platform
from importlib.metadata import version

import pandas as pd
import torch

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "datasketch", "papermill", "snakemake")


def narrow() -> bool:
    """Whether the GPU, or else the processor, computes in bfloat16."""
    gpu, able = torch.cuda.is_available(), torch.cpu.get_capabilities()
    return torch.cuda.is_bf16_supported() if gpu else able.get("avx512_bf16", False)


def precision() -> str:
    """`bf16` where `narrow`, or else `no` (float32), as accelerate calls them; ACCELERATE_MIXED_PRECISION overrules."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION") or ("bf16" if narrow() else "no")


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

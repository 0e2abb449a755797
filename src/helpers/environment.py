"""The machine and the software at hand, as a table for the reader."""

import os
import platform
from importlib.metadata import version

import pandas as pd
import torch

from engine import training

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "datasketch", "papermill", "snakemake")


def card() -> pd.DataFrame:
    """System, processor, accelerator, precision and the versions of the packages that results depend on."""
    device = training.accelerator()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor cores": os.cpu_count(),
        "accelerator": gpu,
        "precision of training": device.mixed_precision.replace("no", "float32"),
        **{name: version(name) for name in PACKAGES},
    }
    return pd.DataFrame({"value": rows}).rename_axis("what")

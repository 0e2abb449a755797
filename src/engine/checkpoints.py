"""The way back of an unfinished training: weights, optimiser, place; no random state, as `train` seeds every step."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

KEPT = 2  # none of them ever half


def save(folder: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write folder/step-N: safetensors and a JSON file; older ones beyond the last two go."""
    place = folder / f"step-{state['step']}"
    beside = folder / ".new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_model(model, os.fspath(beside / "model.safetensors"))
    moments = optimizer.state_dict()["state"]
    flat = {f"{number}.{name}": value for number, values in moments.items() for name, value in values.items()}
    save_file(flat, beside / "optimizer.safetensors")
    if state["best"] is not None:
        save_file(state["best"][1], beside / "best.safetensors")
    best = None if state["best"] is None else state["best"][0]
    (beside / "state.json").write_text(json.dumps({"key": key, "state": {**state, "best": best}}), encoding="utf-8")
    shutil.rmtree(place, ignore_errors=True)
    os.replace(beside, place)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def resume(folder: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the newest checkpoint of this very training that can be read, if there is one, and return its state."""
    for place in reversed(_steps(folder)):
        if (saved := _sound(place)).get("key") == key:
            break
        if saved:
            print(f"checkpoint {place}: of other text, settings or code; not used", flush=True)
        shutil.rmtree(place, ignore_errors=True)  # or it would be taken for newer than those of the steps before it
    else:
        return None
    where = str(next(model.parameters()).device)
    load_model(model, place / "model.safetensors", device=where)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in load_file(place / "optimizer.safetensors", device=where).items():
        number, kind = name.split(".")
        moments.setdefault(int(number), {})[kind] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    state = saved["state"]
    if state["best"] is not None:
        state["best"] = (state["best"], load_file(place / "best.safetensors", device=where))
    return state


def _sound(place: Path) -> dict[str, Any]:
    """What its JSON file says; empty, and told, where a file of the checkpoint is damaged."""
    try:
        for file in {place / "model.safetensors", place / "optimizer.safetensors", *place.glob("*.safetensors")}:
            with safe_open(file, "pt"):
                pass
        return json.loads((place / "state.json").read_text("utf-8"))
    except (SafetensorError, OSError, ValueError) as error:
        print(f"checkpoint {place}: damaged ({error}); going on from the one before it, if any", flush=True)
        return {}


def newest(folder: Path) -> Path | None:
    """The folder of the last checkpoint."""
    return steps[-1] if (steps := _steps(folder)) else None


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))

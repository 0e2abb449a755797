"""Where a run's results come from: versions, commit, profile, data, seeds, device, and the cost of every stage."""

import datetime
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from common.project import ROOT, file_digest
from runner import stages


def commit() -> dict[str, Any]:
    """The commit of the compendium and whether files differ from it; None outside a git checkout."""
    try:
        head = _git("--git-dir=.git", "rev-parse", "HEAD")  # not that of a folder around it
        return {"commit": head, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def seeds(values: Any, place: str = "") -> dict[str, Any]:
    """Every `seed` and `seeds` of a profile, by the way that leads to it."""
    items = values.items() if isinstance(values, dict) else ()
    found: dict[str, Any] = {}
    for name, value in items:
        way = f"{place}.{name}".lstrip(".")
        found |= {way: value} if name in ("seed", "seeds") else seeds(value, way)
    return found


def collect(run: Path) -> dict[str, Any]:
    """Everything above for the run in folder `run`; its plan and the status of each stage must be there."""
    plan = stages.read_plan(run / "plan.json")
    recorded = [stages.read_status(run, stage["id"]) for stage in plan["stages"]]
    sources = run / "corpora" / "sources.json"
    kept = "id key status started seconds training_seconds memory_mb threads device product".split()
    return {
        "run": plan["run"],
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "synthetic": plan["synthetic"],
        **commit(),
        "profile_sha256": plan["profile_sha256"],
        "claims_sha256": file_digest(ROOT / "profiles" / "claims.yaml"),
        "profile": plan["profile"],
        "data": json.loads(sources.read_text(encoding="utf-8")) if sources.is_file() else {},
        "seeds": seeds(plan["profile"]),
        "device": "; ".join(dict.fromkeys(status.get("device", "unknown") for status in recorded)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted({d.name: d.version for d in importlib.metadata.distributions()}.items())),
        **{k: round(sum(s.get(k) or 0 for s in recorded), 1) for k in ("seconds", "training_seconds")},
        "stages": [{name: status.get(name) for name in kept} for status in recorded],
    }

"""What of a run stays in the repository: figures, claims, the paper, and numbers that later runs are set beside."""

import os
import shutil
from pathlib import Path
from typing import Any

from common.project import ROOT, Mistake
from evidence import trainings


def publish(run: Path) -> None:
    """Copy the run's figures, claims and numbers to figures/<run>/ and its paper to paper/<run>.pdf."""
    target, claims = ROOT / "figures" / run.name, run / "results" / "claims.json"
    if not claims.is_file():
        raise Mistake(f"--publish: runs/{run.name} has no claims yet; let the run come to its end first")
    target.mkdir(parents=True, exist_ok=True)
    for old in (file for kind in ("png", "svg", "pdf", "txt") for file in target.glob(f"*.{kind}")):
        old.unlink()
    for file in [*sorted((run / "figures").glob("*")), claims]:
        shutil.copy2(file, target)
    printed = run / "paper" / "paper.pdf"
    if printed.is_file():
        from evidence import published
        from runner import paper

        published.write(run)
        paper.build(run)  # again, as it tells of what is published
        shutil.copy2(printed, ROOT / "paper" / f"{run.name}.pdf")
    print(f"published: figures/{run.name}/{f' and paper/{run.name}.pdf' if printed.is_file() else ''}")


def check_repeatable(profile: Any) -> None:
    """Mistake where a run of the profile could not be added to the published ones: told before it is made."""
    if reason := trainings.unrepeatable(profile.run, profile.model_dump(mode="json")):
        raise Mistake(f"--repeat: {reason}")


def repeat(run: Path) -> None:
    """Add the run's numbers to those that are published, as one more training."""
    from evidence import published

    published.repeat(run)
    print(f"added to {os.path.relpath(trainings.place(run.name), ROOT)}")

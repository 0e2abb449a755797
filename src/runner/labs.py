"""What is made from other files: labs of the course from their solutions, and, as a command, pairs and keys too."""

import sys
from pathlib import Path
from typing import Any

from common.project import ROOT
from runner import keys, notebooks

FOLDER = ROOT / "teaching"
SOLUTION = "solution"  # tag of the cells that students do not get
EMPTY = {"code": "# Yours:", "markdown": "*Yours:*"}


def lab(solution: Any) -> Any:
    """The notebook with an empty cell in place of each one tagged `solution`; the one given is changed."""
    for cell in solution.cells:
        if SOLUTION in cell.metadata.get("tags", []):
            cell.source = EMPTY[cell.cell_type]
            del cell.metadata["tags"]
    return solution


def write_labs(folder: Path = FOLDER) -> list[str]:
    """Make the lab of each notebook in folder/solutions, where it differs, and say so.

    A lab that is newer than its solution is left alone: somebody may have filled it in.
    """
    lines = []
    for path in sorted((folder / "solutions").glob("[0-9]*.ipynb")):
        place, made = folder / path.name, lab(notebooks.read(path))
        if not place.is_file() or notebooks.content(notebooks.read(place)) != notebooks.content(made):
            if place.is_file() and place.stat().st_mtime > path.stat().st_mtime:
                lines.append(f"lab {place.name} differs from its solution; delete it, and it is made again")
            else:
                notebooks.write(place, made)
                lines.append(f"lab {place.name} was made from its solution")
    return lines


if __name__ == "__main__":  # the pre-commit hook: a changed file stops the commit, to be looked at and added
    pairs = [line for place in (notebooks.FOLDER, FOLDER / "solutions") for line in notebooks.sync_pairs(place, True)]
    changed = [*pairs, *write_labs(), *keys.write()]
    print("\n".join(changed), end="\n" if changed else "")
    sys.exit(bool(changed))

"""Labs are their solutions without what students write; `test_smoke` runs them."""

import json
import os
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from common.project import ROOT
from evidence import trainings
from runner import labs, notebooks

NAMES = sorted(path.name for path in (labs.FOLDER / "solutions").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_labs_are_what_their_solutions_make(name):
    kept, solution = (notebooks.read(folder / name) for folder in (labs.FOLDER, labs.FOLDER / "solutions"))
    gone = [cell.source for cell in solution.cells if "solution" in cell.metadata.get("tags", [])]
    assert notebooks.content(kept) == notebooks.content(labs.lab(solution))
    text = "\n".join(cell.source for cell in kept.cells)
    assert len(gone) >= 5
    assert [source for source in gone if source in text] == []


def test_every_exercise_has_a_check():
    """After each code cell of a solution comes one that can say no before the next."""
    for name in NAMES:
        cells = [cell for cell in notebooks.read(labs.FOLDER / "solutions" / name).cells if cell.cell_type == "code"]
        waiting = 0
        for cell in cells:
            waiting = waiting + 1 if "solution" in cell.metadata.get("tags", []) else waiting
            waiting = 0 if "assert " in cell.source else waiting
            assert waiting <= 1, cell.source
        assert waiting == 0, f"{name}: the last exercise has no check"


@pytest.fixture
def course(tmp_path):
    """A folder with one solution."""
    cells = [new_markdown_cell("# Lab"), new_markdown_cell("Add."), new_code_cell("total = 1 + 2")]
    cells += [new_code_cell("assert total == 3"), new_markdown_cell("Because.")]
    for cell in (cells[2], cells[4]):
        cell.metadata["tags"] = ["solution"]
    (tmp_path / "solutions").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "solutions" / "1_sum.ipynb")
    return tmp_path


def test_a_lab_lacks_what_is_tagged_and_nothing_else(course):
    assert labs.write_labs(course) == ["lab 1_sum.ipynb was made from its solution"]
    cells = nbformat.read(course / "1_sum.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == ["# Lab", "Add.", "# Yours:", "assert total == 3", "*Yours:*"]
    assert not any(cell.metadata.get("tags") for cell in cells)
    assert labs.write_labs(course) == []


def test_a_lab_that_somebody_filled_in_is_left_alone(course):
    labs.write_labs(course)
    place, solution = course / "1_sum.ipynb", course / "solutions" / "1_sum.ipynb"
    filled = place.read_text().replace("# Yours:", "total = 4")
    place.write_text(filled)
    os.utime(solution, (1, 1))
    (line,) = labs.write_labs(course)
    assert "delete it" in line and place.read_text() == filled
    os.utime(place, (0, 0))  # the solution was changed later
    assert labs.write_labs(course) == ["lab 1_sum.ipynb was made from its solution"]


COUNTS = dict(enumerate(("none", "one", "two", "three", "four", "five", "six", "seven", "eight")))


def test_the_readme_counts_the_published_trainings_as_they_are():
    made = json.loads((ROOT / "figures/demo/numbers.json").read_text("utf-8"))["trainings"]
    said, by = " ".join((ROOT / "README.md").read_text("utf-8").split()), trainings.counted(made)
    assert f"Hollow points are {COUNTS[len(made) - 1]} more trainings" in said
    for claim, verdict in (("C1", "supported"), ("C4", ""), ("C3a", ""), ("C2", ""), ("C3b", "contradicted")):
        count = by[claim].get(verdict or "supported", 0)
        number = ("all " if count == len(made) else "") + COUNTS[count]
        assert f"{claim} {f'is {verdict} ' if verdict else ''}in {number}" in said, claim


def test_answers_hold_in_every_published_training():
    """That general text helps entities, too, what comes out alike, and what the trainings together leave out."""
    found = json.loads((ROOT / "figures/demo/numbers.json").read_text("utf-8"))
    values = {row["name"]: [row["value"], *row.get("again", [])] for row in found["numbers"]}
    for task in ("ner_ro", "ner_es"):
        pairs = zip(values[f"f1, {task}, general"], values[f"f1, {task}, base"], strict=True)
        assert all(-0.02 < general - base < 0.04 for general, base in pairs)
        drawn = zip(values[f"f1, {task}, base"], values[f"f1, {task}, untrained"], strict=True)
        assert all(0.07 < base - random < 0.12 for base, random in drawn)
    by = trainings.counted(found["trainings"])
    assert [claim for claim in by if len(by[claim]) > 1] == ["C1", "C3b"]
    ends = {claim: re.findall(r"[+-][\d.]+", told)[1:] for claim, told in trainings.over(found).items()}
    assert [claim for claim, (low, high) in ends.items() if float(low) < 0 < float(high)] == ["C2", "C3a"]

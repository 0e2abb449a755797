"""The notebooks read as a text (their rules, on the syntax tree) and run as they stand when a reader opens them."""

import ast
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path

import jupytext
import nbformat
import pytest

from runner import notebooks

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "teaching" / "solutions").glob("[0-9]*.ipynb"))
NAMES = "00_start_here 01_build_corpora 02_pretrain 03_finetune 04_cross_lingual 05_figures".split()
MOST_CELLS, MOST_LINES, MEDIAN_LINES = 15, 12, 6
# A separator within a word of any kind; "tokens/s" is a unit. Names of files without a folder are no paths.
PATH = re.compile(r"^(?!\w+/s$)\S*/\S*$")


def lines(source):
    return [line for line in source.splitlines() if line.strip()]


def every(page):
    return pytest.param(page, id=page.stem)


@pytest.fixture(params=map(every, [*PAGES, *SOLUTIONS]))
def page(request):
    return request.param


@pytest.fixture
def code(page):
    """Sources of the notebook's code cells, the parameters cell left out: it is a table, one line a value."""
    return [source for source, tags in notebooks.code_cells(page) if "parameters" not in tags]


def test_the_six_notebooks_are_there():
    assert [page.stem for page in PAGES] == NAMES


def test_no_definitions(code):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [source for source in code if any(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))] == []


def test_loops_are_short(code):
    loops = [n for source in code for n in ast.walk(ast.parse(source)) if isinstance(n, ast.For | ast.While | ast.With)]
    assert [ast.unparse(loop) for loop in loops if loop.end_lineno - loop.lineno > 5] == []


def test_cells_are_few_and_short(page, code):
    given = [tags for _, tags in notebooks.code_cells(page) if "solution" not in tags]
    assert len(given) <= MOST_CELLS
    lengths = [len(lines(source)) for source in code]
    assert max(lengths) <= MOST_LINES, [source for source in code if len(lines(source)) > MOST_LINES]
    assert statistics.median(lengths) <= MEDIAN_LINES


def test_parameters_are_plain_literals_with_their_unit(page):
    assert notebooks.declared(page)
    source = next(source for source, tags in notebooks.code_cells(page) if "parameters" in tags)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    bare = [ast.unparse(n) for n in ast.parse(source).body if not commented & set(range(n.lineno, n.end_lineno + 1))]
    assert bare == []


def test_prose_before_every_code_cell(page):
    cells = nbformat.read(page, as_version=4).cells
    naked = [b.source for a, b in zip(cells, cells[1:], strict=False) if b.cell_type == a.cell_type == "code"]
    assert naked == []
    assert cells[0].cell_type == "markdown"


def test_no_path_strings(code):
    constants = [n.value for source in code for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)]
    assert [text for text in constants if isinstance(text, str) and PATH.search(text)] == []


def test_no_outputs_are_kept(page):
    cells = [cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_pairs_are_in_sync(page):
    script = page.with_suffix(".py")
    assert notebooks.content(jupytext.read(script)) == notebooks.content(jupytext.read(page))


def test_path_pattern():
    for text in ("corpora/statistics.csv", "../data", "/tmp/x", "models/", "~/runs"):
        assert PATH.search(text), text
    for text in ("tokens/s", "F1", "strict F1 / documents", "ner_ro", "{:,}"):
        assert not PATH.search(text), text


def test_stripping_hook_removes_outputs(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", execution_count=1)])
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="1")]
    nbformat.write(notebook, tmp_path / "notebooks" / "00_a.ipynb")
    command = [sys.executable, "-m", "runner.labs"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    codes = [subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode for _ in range(3)]
    assert codes == [1, 1, 0]  # makes the .py, then strips, then finds nothing to do
    assert not nbformat.read(tmp_path / "notebooks" / "00_a.ipynb", as_version=4).cells[0].outputs

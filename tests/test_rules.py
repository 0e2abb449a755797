"""Rules of the code that no linter knows: sizes, documentation, and no branch on a profile's name."""

import ast
from pathlib import Path

import pytest

from runner import settings

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "src").glob("*/*.py"))
MOST_LINES, MOST_ENGINE_LINES, MOST_MODULE_LINES, MOST_FUNCTION_LINES = 2500, 700, 350, 60
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_packages_are_thin():
    sizes = {(file.parent.name, file.name): len(file.read_text().splitlines()) for file in MODULES}
    assert {name: size for name, size in sizes.items() if size > MOST_MODULE_LINES} == {}
    totals = {package: sum(n for (p, _), n in sizes.items() if p == package) for package, _ in sizes}
    assert {package: total for package, total in totals.items() if total > MOST_LINES} == {}
    assert totals["engine"] <= MOST_ENGINE_LINES


BELOW = {  # package -> those that it may import from
    "common": set(),
    "texts": {"common"},
    "engine": {"common"},
    "evidence": {"common", "texts"},
    "helpers": {"common", "texts", "engine", "evidence"},
    "runner": {"common", "texts", "evidence", "helpers"},
}


def test_packages_import_from_those_below_them_only():
    found = {package: set[str]() for package in BELOW}
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found[file.parent.name] |= {name.split(".")[0] for name in names} & set(BELOW) - {file.parent.name}
    assert found == BELOW


@pytest.mark.parametrize("file", MODULES, ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_functions_are_short_and_public_ones_typed_and_documented(file):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    assert [f.name for f in functions if f.end_lineno - f.lineno + 1 > MOST_FUNCTION_LINES] == []
    public = [f for f in tree.body if isinstance(f, FUNCTIONS) and not f.name.startswith("_")]
    arguments = {f.name: [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs] for f in public}
    assert [f.name for f in public if not ast.get_docstring(f)] == []
    assert [f.name for f in public if f.returns is None or any(a.annotation is None for a in arguments[f.name])] == []


def test_no_branch_on_a_profiles_name():
    names = set(settings.names())
    found = []
    for file in [*MODULES, ROOT / "Snakefile", *(ROOT / "notebooks").glob("*.py")]:
        if file.name == "Snakefile":  # not Python's grammar: no mention at all outside its description
            text = file.read_text().split('"""')[2]
            found += [f"Snakefile: {name}" for name in names if f'"{name}"' in text]
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare | ast.MatchValue):
                constants = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                found += [f"{file.name}: {ast.unparse(node)}" for _ in names & constants]
    assert found == []

"""Notebooks as files: declared parameters, the code digest that decides staleness, .py/.ipynb pairs, HTML pages."""

import ast
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from common.project import ROOT, Mistake, bare_code, digest, write_atomically

FOLDER = ROOT / "notebooks"
MEND = "remove it, and it is made again from its .py, or the other way round"
# Results depend on these packages; the runner only drives and shows what notebooks do.
PACKAGES = ("common", "engine", "evidence", "helpers", "texts")


def code_cells(notebook: Path) -> list[tuple[str, list[str]]]:
    """Source and tags of each code cell of an .ipynb file."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise Mistake(f"{notebook.name}: no readable notebook ({error}); {MEND}") from None
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells if cell["cell_type"] == "code"
    ]


def seconds(executed: Path, tag: str) -> float:
    """How long the cells with a tag took in a notebook that papermill executed."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    tagged = [cell["metadata"] for cell in cells if tag in cell["metadata"].get("tags", [])]
    return round(sum(about.get("papermill", {}).get("duration") or 0 for about in tagged), 1)


def declared(notebook: Path) -> dict[str, Any]:
    """Names and default values of the cell tagged `parameters`; Mistake unless it is one cell of plain literals."""
    tagged = [source for source, tags in code_cells(notebook) if "parameters" in tags]
    if len(tagged) != 1:
        raise Mistake(f"{notebook.name}: found {len(tagged)} cells tagged `parameters`; exactly one is allowed")
    values = {}
    for line in _parsed(tagged[0], f"{notebook.name}, parameters").body:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
            raise Mistake(f"{notebook.name}: parameters cell has `{ast.unparse(line)}`; allowed: name = literal")
        try:
            values[line.targets[0].id] = ast.literal_eval(line.value)
        except (ValueError, TypeError):
            raise Mistake(f"{notebook.name}: `{ast.unparse(line)}` is no plain literal; write its value") from None
    return values


def check_parameters(stage: str, notebook: Path, injected: dict[str, Any]) -> None:
    """Mistake unless the injected names are exactly the declared ones, with values of the same types."""
    if not notebook.is_file():
        raise Mistake(f"stage {stage}: notebook {notebook.name} is missing from {notebook.parent.name}/")
    names = declared(notebook)
    for name in [*injected, *names]:
        if name not in names:
            raise Mistake(f"stage {stage}: {notebook.name} has no parameter {name!r}; allowed: {', '.join(names)}")
        if name not in injected:
            raise Mistake(f"stage {stage}: parameter {name!r} of {notebook.name} gets no value; remove or inject it")
        wanted, found = type(names[name]).__name__, type(injected[name]).__name__
        if wanted != found:
            raise Mistake(f"stage {stage}: parameter {name!r} of {notebook.name} is {wanted}, found {found}")


def _modules(tree: ast.AST) -> set[str]:
    """`package.module` of what a syntax tree imports from our packages, at any depth of its functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def _parsed(source: str, where: str) -> ast.Module:
    """The syntax tree of some code; Mistake where it is no Python."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        told = "is no Python; commands of IPython are not allowed" if line.startswith(("%", "!")) else error.msg
        raise Mistake(f"{where}, line {error.lineno}: {told}: {line[:60]!r}") from None


def code_digest(notebook: Path) -> str:
    """sha256 of the code that a notebook runs: its cells, and the modules of ours it imports, at first or second hand.

    The defaults of the parameters cell are left out: a run replaces every one of them.
    """
    cells = enumerate(code_cells(notebook), start=1)
    parsed = [
        _parsed(source, f"{notebook.name}, code cell {n}") for n, (source, tags) in cells if "parameters" not in tags
    ]
    body = [line for tree in parsed for line in tree.body]
    trees, waiting = {"": ast.Module(body, [])}, [""]
    while waiting:
        for name in _modules(trees[waiting.pop()]) - set(trees):
            path = (ROOT / "src").joinpath(*name.split(".")).with_suffix(".py")
            if path.is_file():
                trees[name] = _parsed(path.read_text(encoding="utf-8"), os.path.relpath(path, ROOT))
                waiting.append(name)
    text = "\n".join(f"{name}: {bare_code(tree)}" for name, tree in sorted(trees.items()))
    return digest(text.encode())


def content(notebook: Any) -> list[tuple[str, str, list[str]]]:
    """Kind, source and tags of every cell: what two files of one notebook have in common."""
    return [(cell.cell_type, cell.source.strip(), cell.metadata.get("tags", [])) for cell in notebook.cells]


def sync_pairs(folder: Path = FOLDER, strip: bool = False) -> list[str]:
    """Make each .py/.ipynb pair equal, from the newer file, and say so; `strip` also removes outputs everywhere.

    The older file stays beside the pair, with a ~ behind its name.
    """
    lines = []
    for stem in sorted(
        {path.stem for kind in ("py", "ipynb") for path in folder.glob(f"[0-9]*.{kind}") if path.is_file()}
    ):
        both = [path for path in (folder / f"{stem}.py", folder / f"{stem}.ipynb") if path.is_file()]
        newer = max(both, key=lambda path: path.stat().st_mtime)
        contents = [read(path) for path in both]
        if len(both) < 2 or content(contents[0]) != content(contents[1]):
            older = newer.with_suffix(".ipynb" if newer.suffix == ".py" else ".py")
            lines.append(f"{older.name} was made again from {newer.name}, which is newer")
            if older in both:  # it may have been edited as well
                shutil.copy2(older, kept := older.with_name(f"{older.name}~"))
                lines[-1] += f"; what it was is in {kept.name}"
            write(older, contents[both.index(newer)])
        elif strip and any(cell.get("outputs") or cell.get("execution_count") for cell in contents[1].cells):
            write(both[1], contents[1])
            lines.append(f"{both[1].name} lost its outputs")
    return lines


def read(path: Path) -> Any:
    """One of a pair; Mistake where it is no notebook, or a cell of it no Python: the other one is then left alone."""
    import jupytext

    try:
        found = jupytext.read(path)
    except Exception as error:  # jupytext's readers raise what they like
        raise Mistake(f"{path.name}: no readable notebook ({error}); {MEND}") from None
    code = (cell.source for cell in found.cells if cell.cell_type == "code")
    for number, source in enumerate(code, start=1):
        _parsed(source, f"{path.name}, code cell {number}")
    return found


def write(path: Path, notebook: Any) -> None:
    """Write one of a pair without outputs, its cell ids the same every time: git sees no idle difference."""
    import jupytext

    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
    text = jupytext.writes(notebook, fmt="py:percent" if path.suffix == ".py" else "ipynb")
    write_atomically(path, text.rstrip("\n") + "\n")


def write_page(notebook: Path) -> Path:
    """Write `notebook` as HTML beside it: pictures embedded, nothing to load from a network."""
    from nbconvert import HTMLExporter

    none = ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url")
    exporter = HTMLExporter(template_name="lab", embed_images=True, **dict.fromkeys(none, ""))
    html, _ = exporter.from_filename(os.fspath(notebook))
    # The template's scripts load diagram and widget libraries from the network; a finished page needs none of them.
    html = re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    write_atomically(notebook.with_suffix(".html"), html)
    return notebook.with_suffix(".html")

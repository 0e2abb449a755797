"""Where things are: the compendium's folders, and the products of one run."""

import ast
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
RUNS = ROOT / "runs"


class Mistake(Exception):
    """A user's mistake: one line that names the place, what was found, what is allowed and how to mend it."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step, so that a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(beside, path)


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand once only: the second would replace the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in known:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark)
            known.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; Mistake where it cannot be read, or a key stands twice."""
    try:
        return parsed_yaml(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{path.name}: no readable YAML: {' '.join(str(error).split())}") from None


def parsed_yaml(text: str, where: str) -> Any:
    """The content of some YAML; Mistake, which begins with `where`, as `read_yaml` has it."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:  # of dates and numbers, too
        raise Mistake(f"{where}: no readable YAML: {' '.join(str(error).split())}") from None


def digest(content: object) -> str:
    """SHA-256 of bytes, or of anything that JSON can hold."""
    raw = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True, default=str).encode()
    return hashlib.sha256(raw).hexdigest()


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bare_code(tree: ast.Module) -> str:
    """A syntax tree as text without comments, positions and docstrings, so that prose makes nothing stale."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return ast.dump(tree)


def code_digest(modules: Iterable[ModuleType]) -> str:
    """SHA-256 of the code of some modules, whatever their comments."""
    return digest([bare_code(ast.parse(Path(str(module.__file__)).read_text("utf-8"))) for module in modules])


def folder(run: str) -> Path:
    """The folder of a run's products."""
    return RUNS / run


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV, without its index."""
    write_atomically(path, table.to_csv(index=False))


def write_json(path: Path, content: object) -> None:
    """Write what JSON can hold, indented; numbers that are missing become null."""
    content = json.loads(json.dumps(content), parse_constant=lambda name: None)  # NaN and Infinity are no JSON
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

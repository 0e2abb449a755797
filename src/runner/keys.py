"""Every key of a profile, what it means and what the shipped profiles have: profiles/README.md."""

import json
from collections.abc import Iterable
from typing import Any, get_args

from pydantic.fields import FieldInfo

from common.project import ROOT, write_atomically
from runner import sections, settings
from runner.profile import Profile

PAGE = ROOT / "profiles" / "README.md"
HEAD = """# Keys of a profile

Made from `src/runner/sections.py` and the profiles beside it by `python -m runner.labs`. A profile `extends` another
and names what it changes; `--set pretrain.length=64` changes a value for one run, `--set arms.general.tokens=9000` that
of an item of a list. What is wrong is told before any work. Claims, rule and comparisons: [claims.yaml](claims.yaml).
"""
LONG = 40  # characters of a value that a table has room for


def page() -> str:
    """The page: a table for each section, with a column for each shipped profile; of lists what an item has."""
    shipped = {name: settings.load(name) for name in settings.names()}
    parts = [HEAD]
    for name, field in Profile.model_fields.items():
        kind, (item, *_) = field.annotation, get_args(field.annotation) or (None,)
        if isinstance(kind, type) and issubclass(kind, sections.Section):
            values = [dict(getattr(profile, name)) for profile in shipped.values()]
            rows = [
                [key, _said(of), *(_short(found[key]) for found in values)] for key, of in kind.model_fields.items()
            ]
            parts.append(f"## {name}\n\n{kind.__doc__}\n\n{_table(['key', 'what it is', *shipped], rows)}")
        elif isinstance(item, type) and issubclass(item, sections.Section):
            parts.append(_items(name, item))
        elif name != "name":
            parts.append(f"## {name}\n\n{_said(field).capitalize()}.\n")
    return "\n".join([*parts, _items("claims.family", sections.Comparison)])


def _items(name: str, kind: type[sections.Section]) -> str:
    """The keys of a list's items."""
    fields = kind.model_fields.items()
    rows = [[key, _said(of), "needed" if of.is_required() else _short(of.default)] for key, of in fields]
    return f"## {name}, a list\n\n{kind.__doc__}\n\n{_table(['key', 'what it is', 'left out'], rows)}"


def _said(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")


def _short(value: Any) -> str:
    """A value as a profile has it, or … where it is too long for a table."""
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value, default=lambda item: "…" * LONG)
    return f"`{text}`" if len(text) <= LONG else "…"


def _table(columns: list[str], rows: Iterable[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write() -> list[str]:
    """Make the page where it differs, and say so."""
    made = page()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return []
    write_atomically(PAGE, made)
    return [f"{PAGE.relative_to(ROOT)} was made again from the keys of a profile"]

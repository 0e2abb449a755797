"""Reading a profile: `extends`, `--set`, and every fault as one line that names the place and what is allowed."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.project import ROOT, Mistake, parsed_yaml, read_yaml
from evidence import testable
from runner.profile import Profile

CLAIMS = ROOT / "profiles" / "claims.yaml"


def load(profile: str, sets: list[str] | None = None) -> Profile:
    """Read a profile by name or file, follow `extends`, apply `key.key=value` changes; one Mistake for any fault."""
    own = profile.endswith((".yaml", ".yml"))
    places = (ROOT / "profiles", ROOT / "profiles" / "private")  # a reader's notebook knows its run by name only
    paths = [Path(profile)] if own else [place / f"{profile}.yaml" for place in places]
    path = next((path for path in paths if path.is_file()), None)
    if not path:
        what = "is no file" if own else "is unknown"
        raise Mistake(f"profile {profile!r} {what}; allowed: {', '.join(names())}, or a file that ends in .yaml")
    try:
        values = {"name": path.stem, **_extended(path, [])}
        for change in sets or []:
            _change(values, change)
    except RecursionError:
        raise Mistake(f"{path.name}: a list or key holds itself by `&` and `*`; write out what it holds") from None
    own_family = _declare(values, path.name)
    try:
        made = Profile.model_validate(values)
    except ValidationError as error:
        raise Mistake(f"{path.name}: {_explained(error)}") from None
    shipped = path.resolve().parent == ROOT / "profiles"
    if made.name in names() and not (shipped and made.name == path.stem):
        what = "is the name of a profile of the compendium and of its folder below runs/"
        raise Mistake(f"{profile}: {made.name!r} {what}; rename the file, or give it another `name`")
    for item in made.claims.family if own_family else ():
        if reason := testable.lacking(made.model_dump(), item.model_dump()):
            raise Mistake(f"{path.name}: claims.family: {reason}")
    return made


def names() -> list[str]:
    """The shipped profiles by name; private ones are never listed, as messages and pages may be shown to others."""
    return sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml") if path.name != CLAIMS.name)


def _declare(values: dict[str, Any], where: str) -> bool:
    """Put what CLAIMS says into a profile's `claims`, in place; whether the family is the profile's own list."""
    claims = values.get("claims")
    if not isinstance(claims, dict):
        return False  # for the validation to say
    declared = _numbers(read_yaml(CLAIMS))
    if not (isinstance(declared, dict) and isinstance(declared.get("families"), dict)):
        raise Mistake(f"{CLAIMS.name}: has no `families`, lists of comparisons by name; take the file from git")
    families, family = declared.pop("families"), claims.get("family")
    if isinstance(family, str) and family not in families:
        raise Mistake(f"{where}: claims.family: {family!r} is not in {CLAIMS.name}; allowed: {', '.join(families)}")
    values["claims"] = {**declared, **claims, "family": families[family] if isinstance(family, str) else family}
    return not isinstance(family, str)


def _extended(path: Path, seen: list[Path]) -> dict[str, Any]:
    """The values of a profile laid over those of the profile that it extends."""
    if path.resolve() in seen:
        raise Mistake(f"{path.name}: extends itself in a circle; remove one `extends`")
    values = _numbers(read_yaml(path))
    if not isinstance(values, dict):
        raise Mistake(f"{path.name}: found {type(values).__name__}, a profile is a list of `key: value` lines")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    file = path.parent / f"{parent}.yaml"
    file = file if file.is_file() else ROOT / "profiles" / f"{parent}.yaml"
    if not file.is_file():
        raise Mistake(f"{path.name}: extends {parent!r}, which is no profile in {path.parent.name}/ or profiles/")
    below = _extended(file, [*seen, path.resolve()])
    below.pop("name", None)  # it names the other's folder below runs/
    return _laid_over(below, values)


SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")

# A list or one of these keys is replaced whole: half of another profile's base or text would make no sense.
WHOLE = {"base", "corpora"}


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, dictionaries merged key by key except those of `WHOLE`."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict) and key not in WHOLE
        merged[key] = _laid_over(below[key], value) if both else value
    return merged


def _change(values: dict[str, Any], change: str) -> None:
    """Apply `pretrain.length=64` or `arms.general.tokens=5000` (a list item by its name) in place."""
    key, equals, text = change.partition("=")
    if not equals:
        raise Mistake(f"--set {change}: no `=` found; write --set key=value, for example --set pretrain.length=64")
    *way, last = key.split(".")
    place: Any = values
    for step in way:
        if isinstance(place, list):
            place = next((item for item in place if isinstance(item, dict) and item.get("name") == step), None)
        else:
            place = place.setdefault(step, {}) if isinstance(place, dict) else None  # a wrong key is told later
        if not isinstance(place, dict | list):
            raise Mistake(f"--set {change}: {step!r} of {key!r} is unknown; the profile's own keys are allowed")
    if not isinstance(place, dict):
        raise Mistake(f"--set {change}: {key!r} names a list; name an item and its key, as in arms.general.tokens")
    place[last] = _numbers(parsed_yaml(text, f"--set {change}"))


def _numbers(value: Any) -> Any:
    """`value` with texts such as 1e-4, in which YAML 1.1 sees no number for want of a point, as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and SCIENTIFIC.fullmatch(value) else value


def _explained(error: ValidationError) -> str:
    """The first fault of a validation error in one line."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"] if step != "[key]") or "profile"
    found = "" if first["type"] in ("missing", "value_error") else f", found {first['input']!r}"
    if first["type"] == "extra_forbidden":
        model: Any = Profile
        for step in first["loc"][:-1]:
            fields = getattr(model, "model_fields", {})
            annotation = fields[step].annotation if step in fields else model
            model = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
        allowed = f"; allowed: {', '.join(model.model_fields)}" if hasattr(model, "model_fields") else ""
        return f"{where}: unknown key{allowed}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{found}{more}"

"""Which arms may be compared: those that differ in their texts only, and one with another that it goes on from."""

from collections.abc import Mapping, Sequence
from typing import Any

SHARED = {"learning_rate": "learning rates", "masking_rate": "masking rates", "passes": "passes over a text"}


def unequal(arms: Sequence[Mapping[str, Any]], rates: Mapping[str, float], arm: str, against: str) -> str:
    """Why two arms differ in more than their texts, or empty; one that the other goes on from is there to differ.

    `arms` are those of a profile, `rates` what an arm is trained with that names no learning_rate or masking_rate. What
    an arm's parents read counts with it.
    """
    by = {item["name"]: item for item in arms}
    one, other = ([by[name] for name in _line(by, start)] for start in (arm, against))
    if not other or by[arm] in other or by[against] in one:
        return ""
    found = {"word pieces": [f"{sum(item['tokens'] for item in line):,}" for line in (one, other)]}
    for key, what in SHARED.items():
        sets = ({item[key] or rates[key] for item in line if item["tokens"]} for line in (one, other))
        found[what] = [", ".join(f"{value:g}" for value in sorted(values)) for values in sets]
    told = (f"{what} {a} and {b}" for what, (a, b) in found.items() if a != b)
    return next((f"arms {arm!r} and {against!r} differ in more than their texts: {what}" for what in told), "")


def _line(by: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """An arm and those that it goes on from; none for what is no arm."""
    return [name, *_line(by, by[name]["parent"])] if name in by else []

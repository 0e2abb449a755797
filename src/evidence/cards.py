"""What each corpus is made of and what each model was trained on, as rows for the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.names import origin, shown, shown_corpus
from texts import downloads, sources

STAYS = ("kept", "held out")
SHOWN_LEAKS = 2000
AGAIN = 1.1  # times as often as the arm that reads its text least often: from here on told


def corpora(folder: Path) -> list[dict[str, Any]]:
    """A row a part of a corpus: whence, under which licence, what was read, what was taken out and why, what is left.

    `folder` is the run's corpora/; its tables are those that 01_build_corpora writes.
    """
    counts, words = pd.read_csv(folder / "statistics.csv"), pd.read_csv(folder / "words.csv")
    sizes = words.set_index(["domain", "language"])[["words", "different words"]].T.to_dict("list")
    rows = []
    for place, of_corpus in counts.groupby(["domain", "language"], sort=False):
        for number, (part, found) in enumerate(of_corpus.groupby("part", sort=False)):
            by = found.set_index("reason")
            rows.append(
                {
                    "corpus": "" if number else shown_corpus("-".join(map(str, place))),
                    "words": None if number else sizes[place],
                    **_origin(str(part)),
                    "read": int(by["documents"].sum()),
                    "removed": [(reason, int(n)) for reason, n in by["documents"].items() if reason not in STAYS],
                    "held_out": int(by["documents"].get("held out", 0)),
                    "kept": int(by["documents"].get("kept", 0)),
                    "characters": int(by["characters"].get("kept", 0)),
                }
            )
    return rows


def _origin(part: str) -> dict[str, str]:
    """Name, licence, address and version of a part."""
    if part == "synthetic":
        return {"part": "synthetic, made by the project", "licence": "as the project", "url": "", "version": ""}
    if sources.is_own(part):
        return {"part": part, "licence": sources.OWN, "url": "", "version": ""}
    source = sources.entry("sources", sources.entry("parts", part)["source"])
    url, version = downloads.page(source)
    return {"part": part, "licence": source["licence"], "url": url, "version": version[:12]}


def models(folder: Path, arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row an arm: its parent, and each text it read with word pieces and passes; its own and with its parents'.

    `different` counts a text that is read several times once; `new` is what of it none of its parents has read. Empty
    until all arms are trained, by a version that notes what is new.
    """
    if not all((folder / arm["name"] / "read.json").is_file() for arm in arms):
        return []
    totals, rows = {"": 0}, list[dict[str, Any]]()
    for arm in arms:
        table = pd.read_csv(folder / arm["name"] / "mixture.csv")
        read = int(table["tokens read"].sum())
        totals[arm["name"]] = read if arm["random_weights"] else totals[arm["parent"]] + read
        texts = [
            {"corpus": shown_corpus(f"{row['domain']}-{row['language']}"), "read": int(row["tokens read"])}
            | {"passes": row["passes"]}
            for row in table.to_dict("records")
            if row["tokens read"]
        ]
        rows.append(
            {"arm": shown(arm["name"]), "parent": origin(arm), "texts": texts, "read": read}
            | {"in_all": totals[arm["name"]], "copies": arm["copies"], "name": arm["name"]}
            | {kind: int(table[kind].sum()) for kind in ("different", "new")}
        )
    return rows


def read_by(arms: list[dict[str, Any]], comparisons: list[dict[str, str]]) -> str:
    """How much text the arms of some comparisons read, in words; empty where none of them is in `arms` (`models`)."""
    compared = {row[side] for row in comparisons for side in ("arm", "against")}
    said = [
        f"{arm['arm']} {arm['read'] / 1e6:.2f} ({arm['different'] / 1e6:.2f}; {arm['new'] / 1e6:.2f})"
        for arm in arms
        if arm["name"] in compared and arm["read"]
    ]
    told = "Millions of word pieces read in adaptation (different ones; of these new in this run to the arm)"
    return f"{told}: {', '.join(said)}." if said else ""


def read_again(arms: list[dict[str, Any]]) -> str:
    """On adapted arms of `models` that read their text more often than others do; empty where all are alike."""
    often = {
        arm["arm"]: arm["read"] / arm["new"] if arm["new"] else np.inf for arm in arms if arm["parent"] and arm["read"]
    }
    least = min(often.values(), default=0.0)
    told = [
        f"{arm} {ratio:.1f}" if ratio < np.inf else f"{arm} nothing new"
        for arm, ratio in often.items()
        if ratio > AGAIN * least
    ]
    if not told:
        return ""
    return (
        f"Arms read their text unequally often. Word pieces read for each one new to the model: {', '.join(told)}; "
        f"others {least:.1f}."
    )


def leaks(folder: Path) -> dict[str, Any]:
    """Documents that were taken out because they repeat a task document, near ones first, and how many there are."""
    table = pd.read_csv(folder / "leakage.csv", dtype=str, keep_default_na=False)
    table = table[table["reason"].str.endswith("task document")]
    table = table.sort_values("reason", key=lambda reason: ~reason.str.startswith("near"), kind="stable")
    return {"count": len(table), "rows": table.head(SHOWN_LEAKS).to_dict("records")}

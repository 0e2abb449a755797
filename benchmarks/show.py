"""The measured figures as one page of Markdown, made from the JSON files beside it.

python -m benchmarks.show     # writes benchmarks/results/README.md
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
HEAD = """# What was measured

Made by `python -m benchmarks.show` from the files in this folder. Ratios are medians of rounds in which the sides take
turns, with the smallest and the largest in brackets; above 1 ours is faster. The head of each module says how:
[mlm](../mlm.py), [finetune](../finetune.py), [tokenise](../tokenise.py), [memory](../memory.py),
[intervals](../intervals.py).
"""


def ratio(found: dict[str, Any], name: str) -> str:
    """A ratio with its spread."""
    low, high = found["spread"][name]
    return f"{found[name]:.2f} ({low:.2f} to {high:.2f})"


def table(names: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (names, ["---"] * len(names), *rows)]


def mlm(found: dict[str, Any]) -> list[str]:
    """Masked-language modelling of one shape."""
    pace = ", ".join(f"{name} {value:,.0f}" for name, value in found["tokens_per_s"].items())
    told = {
        "ratio_default": "against Trainer's defaults",
        "ratio_best": "against its best flags, best flags on ours",
        "ratio_best_as_used": "against its best flags, ours as profiles use it",
    }
    rows = [
        *([told[name], ratio(found, name)] for name in told if name in found["spread"]),
        ["tokens a second", pace],
        ["MFU", mfu(found)],
        *([f"pace with: {name}", f"{share:.2f}"] for name, share in found["ablation"].items()),
    ]
    if found["heldout"]:
        loss = found["heldout"]
        losses = ", ".join(f"{name} {loss[name]:.4f}" for name in loss["seeds"])
        losses += f"; ours against Trainer {loss['difference']:+.2%}"
        rows.append(["held-out loss after the same tokens, three seeds", losses])
    title = f"## Masked-language modelling, {found['shape']} model, {found['masking_rate']:.0%} masked"
    where = f"On {found['device']}, torch {found['torch']}. {found.get('note', '')}".strip()
    return [title, "", where, "", *table(["", ""], rows)]


def mfu(found: dict[str, Any]) -> str:
    """Share of the device's peak."""
    if found["mfu"] is None:
        return "not measured"
    return f"{found['mfu']:.1%} of {found['peak_flops'] / 1e12:.2f} TFLOP/s ({found['peak_precision']} product)"


def replica(found: dict[str, Any]) -> list[str]:
    """A run of the replica on a GPU, stages of a kind in one line."""
    rows = []
    for kind, name in (("02_pretrain-base", "base"), ("02_pretrain", "other arms"), ("03_finetune", "tasks")):
        some = [s for s in found["stages"] if s["id"].startswith(kind) and (name == "base" or s["id"][12:] != "base")]
        first, last = min(s["begin"] for s in some), max(s["begin"] + s["seconds"] for s in some)
        rows.append(
            [name, str(len(some)), f"{first:.0f} to {last:.0f}", f"{max(s['training_seconds'] for s in some):.0f}"]
        )
    where = f"On one {found['device']}, torch {found['torch']}: {found['settings']}. {found['note']}"
    names = ["stages", "number", "seconds from the beginning of training", "of these training, the longest"]
    head = f"## The {found['profile']} on a GPU: {found['seconds'] / 60:.1f} minutes of training stages"
    return [head, "", where, "", *table(names, rows)]


def finetune(found: dict[str, Any]) -> list[str]:
    """Fine-tuning of both tasks."""
    rows = [
        [task, ratio(one, "ratio_default"), ratio(one, "ratio_best")]
        + [", ".join(f"{name} {value:.3f}" for name, value in one["dev"].items())]
        for task, one in found.items()
        if isinstance(one, dict)
    ]
    names = ["task", "against Trainer's defaults", "against its best flags", "score on dev"]
    where = f"On {found['device']}, torch {found['torch']}. {found.get('note', '')}".strip()
    return ["## Fine-tuning", "", where, "", *table(names, rows)]


def tokenise(found: dict[str, Any]) -> list[str]:
    """Tokenising and packing."""
    low, high = found["spread"]
    pace = ", ".join(f"{name} {value:.1f}" for name, value in found["mb_per_s"].items())
    told = f"Ours is {found['ratio']:.2f} ({low:.2f} to {high:.2f}) times as fast: {pace} MB/s. On {found['device']}."
    return ["## Tokenising, against `datasets.map` with grouping", "", told]


def memory(found: dict[str, Any]) -> list[str]:
    """Peak memory and pace on little and on much text."""
    rows = [
        [f"{one['text_mb']:,} MB", part, f"{one[part]['peak_rss_mb']:,} MB"]
        + [", ".join(f"{value:,.1f} {unit}" for unit, value in one[part].items() if unit != "peak_rss_mb")]
        for one in found["amounts"]
        for part in found["ratio_peak_rss"]
    ]
    told = ", ".join(f"{part} {value:.2f}" for part, value in found["ratio_peak_rss"].items())
    lines = table(["text", "part", "peak memory", "pace"], rows)
    late = ", ".join(f"{value:.2f}" for value in found["amounts"][1]["preparing_late_to_alone"])
    turns = found["amounts"][1]["training_all_to_quarter"]
    stays = (
        f"Within one process on the larger amount, in turn: after each quarter of the text preparing is {late} times "
    )
    stays += f"as fast as the same text by itself; training on rows of all of it {turns['median']:.2f} "
    stays += f"({turns['min']:.2f} to {turns['max']:.2f}) times as fast as on rows of a quarter. On {found['device']}."
    stays = f"{stays} {found.get('note', '')}".strip()
    return ["## Memory and pace", "", f"Peak on much text against little: {told}. {stays}", "", *lines]


def intervals(found: dict[str, Any]) -> list[str]:
    """Verdicts by chance, and coverage."""
    decided = ("any_comparison", "any_claim", "either")
    chance = [
        [str(r["seeds"]), "copies" if r["copies"] else "seeds", f"{r['spread']:.2f}", f"{r['repetitions']:,}"]
        + [f"{r[name]:.1%}" for name in decided]
        for r in found["aa"]
    ]
    covered = [
        [r["metric"].upper(), str(r["seeds"]), f"{r['simulations']:,}", f"{r['seed_sd']:.4f}", f"{r['seed_share']:.0%}"]
        + [f"{r['covered']:.1%}", f"{r['width']:.3f}", f"{r['bias']:+.3f}"]
        for r in found["coverage"]
    ]
    named = ["number", "of", "spread (log-odds)", "studies", "any comparison", "any claim", "either"]
    measured = ["score", "seeds", "simulations", "SD of seeds", "share of variance from seeds", "covered", "mean width"]
    return [
        *["## Verdicts and intervals on simulated predictions", "", *([found["note"], ""] if "note" in found else [])],
        *["Studies without any difference that got a verdict all the same:", "", *table(named, chance), ""],
        f"A planted difference, and how often the interval, at {found['confidence']:.0%}, held it:",
        *["", *table([*measured, "bias"], covered)],
    ]


PAGES = {
    "mlm-": mlm,
    "replica": replica,
    "finetune": finetune,
    "tokenise": tokenise,
    "memory": memory,
    "intervals": intervals,
}


def page() -> str:
    """The whole page, from the files that are there."""
    parts = [HEAD]
    for begin, shown in PAGES.items():
        for file in sorted(RESULTS.glob(f"{begin}*.json")):
            parts.append("\n".join(shown(json.loads(file.read_text(encoding="utf-8")))) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")

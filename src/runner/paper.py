"""The paper of a run: its numbers gathered from the run's tables into one file, and a PDF made of them by Typst."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from common.names import origin, shown, shown_corpus, shown_p
from common.project import ROOT, write_json
from evidence import baselines, cards, limitations, sentences, trainings
from evidence.tables import primary
from runner import stages

SOURCE = ROOT / "paper" / "paper.typ"
SIMULATED = ROOT / "benchmarks" / "results" / "intervals.json"
PAPER = "Luo et al. (arXiv 2510.27552)"
TITLE = "Domain adaptation of a multilingual BERT for medical tasks: an open re-implementation"


def build(run: Path) -> Path:
    """Write paper/ of a run: numbers.json, the source, its figures and paper.pdf."""
    import typst

    place = run / "paper"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for file in sorted((run / "figures").glob("*.svg")):
        shutil.copy2(file, place)
    shutil.copy2(SOURCE, place)
    write_json(place / "numbers.json", numbers(run))
    typst.compile(place / SOURCE.name, output=place / "paper.pdf", root=place, ignore_system_fonts=True)
    return place / "paper.pdf"


def numbers(run: Path) -> dict[str, Any]:
    """Everything that the paper shows, as text, from the tables of a finished run."""
    plan, origin = stages.read_plan(run / "plan.json"), json.loads((run / "provenance.json").read_text("utf-8"))
    profile, results = plan["profile"], run / "results"
    claims = json.loads((results / "claims.json").read_text("utf-8"))
    comparisons, metrics = pd.read_csv(results / "comparisons.csv"), pd.read_csv(results / "metrics.csv")
    statistics = pd.read_csv(run / "corpora" / "statistics.csv")
    more = [limitations.cut_short(run, profile), limitations.few_positives(run, profile)]
    more += [limitations.of_one_source(profile), cards.read_again(cards.models(run / "models", profile["arms"]))]
    again = trainings.verdicts(profile["name"], profile)
    listed = [_claim(claim, profile["claims"]["stated"], again) for claim in claims["claims"]]
    return {
        "title": TITLE,
        "authors": ["The multilingual medical BERT compendium"],
        "paper": PAPER,
        "run": {"name": plan["run"], "made": origin["made"][:10]},
        "synthetic": plan["synthetic"],
        "screening": any(task["kind"] == "screening" for task in profile["tasks"]),
        "claims": listed,
        "confidence": f"{claims['confidence']:.0%}",
        "draws": f"{claims['draws']:,}",
        "family": str(len(comparisons)),
        "figures": _figures(run),
        "tables": {
            "claims": _table(listed, ["claim", "the paper says*", "verdict", "difference#", "interval#", "p#"]),
            "corpora": _corpora(statistics),
            "sources": _sources(origin["data"]),
            "tasks": _tasks(pd.read_csv(run / "corpora" / "tasks.csv")),
            "arms": _arms(profile),
            "scores": _scores(metrics),
            "comparisons": _comparisons(comparisons),
            "checklist": _checklist(origin),
            **_simulations(),
        },
        "sentences": {
            "text": sentences.text(statistics),
            "models": sentences.base(run, profile),
            "seeds": sentences.seeds(profile),
            "unfinished": limitations.cut_short(run, profile, least=limitations.MOST),
            "beside": sentences.below_baseline(metrics),
            "why": sentences.why(results, profile["analysis"]["control"]),
        },
        "limitations": limitations.of_run(plan, statistics, metrics, more),
    }


def _table(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Columns and rows of text; a column that ends in # holds numbers, one that ends in * takes the room there is."""
    columns = [{"name": name.rstrip("#*"), "number": name[-1] == "#", "wide": name[-1] == "*"} for name in names]
    return {"columns": columns, "rows": [[str(row.get(name, "")) for name in names] for row in rows]}


def _sources(data: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The sources that were read: where they are, which version, under which licence."""
    rows = [
        {"source": id, "place*": one.get("url", "–").removeprefix("https://").removeprefix("github.com/")}
        | {"version": one.get("version", "")[:12] or "–", "licence*": one["licence"]}
        for id, one in data.items()
    ]
    return _table(rows, ["source", "place*", "version", "licence*"])


def _number(value: float, form: str = "+.3f") -> str:
    text = format(value, form).replace("-", "−") if value == value else ""
    return text if text.strip("+−0.") else text.lstrip("+−")  # a zero has no sign


def _interval(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}" if low == low else ""


def _claim(claim: dict[str, Any], stated: dict[str, Any], again: dict[str, str]) -> dict[str, Any]:
    """A claim with its sentence, and what published trainings came to, empty where there are not several."""
    known = claim.get("difference") is not None
    difference = _number(claim["difference"]) if known else ""
    interval = _interval(claim["low"], claim["high"]) if known else ""
    counted = ", ".join(f"{count} {verdict}" for verdict, count in claim["verdicts"].items())
    sentence = f"{claim['verdict'].capitalize()}"
    sentence += f": the mean difference is {difference}, interval {interval}" if difference else ""
    sentence += f"; by itself each of the {claim['comparisons']} comparisons: {counted}." if counted else "."
    sentence = " ".join(filter(None, [sentence, sentences.left_out(claim), claim["reason"]]))
    name = claim["claim"]
    return {
        **{"claim": name, "text": claim["text"], "the paper says*": stated[name]["paper"], "verdict": claim["verdict"]},
        **{"difference": difference, "interval": interval, "difference#": difference, "interval#": interval},
        "p#": shown_p(claim.get("p_holm")),
        "sentence": sentence,
        "again": again.get(name, ""),
    }


def _figures(run: Path) -> list[dict[str, str]]:
    files = sorted((run / "figures").glob("*.svg"))
    return [
        {"name": f.stem, "file": f.name, "caption": f.with_suffix(".txt").read_text("utf-8").strip()} for f in files
    ]


def _corpora(statistics: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for (domain, language), part in statistics.groupby(["domain", "language"], sort=False):
        kept, held = (part[part["reason"] == reason] for reason in ("kept", "held out"))
        gone = part[~part["reason"].isin(["kept", "held out", "over the limit"])]
        rows.append(
            {
                "corpus": shown_corpus(f"{domain}-{language}"),
                "documents#": f"{kept['documents'].sum():,}",
                "million characters#": f"{kept['characters'].sum() / 1e6:.2f}",
                "held out#": f"{held['documents'].sum():,}",
                "removed#": f"{gone['documents'].sum():,}",
            }
        )
    return _table(rows, ["corpus", "documents#", "million characters#", "held out#", "removed#"])


def _tasks(table: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for task, part in table.groupby("task", sort=False):
        by = part.set_index("part")
        row = {"task": shown(str(task))}
        for name in ("train", "dev", "test"):
            row |= {f"{name}#": f"{by['items'].get(name, 0):,}", f"gold in {name}#": f"{by['gold'].get(name, 0):,}"}
        rows.append(row)
    return _table(
        rows, ["task", *(name for part in ("train", "dev", "test") for name in (f"{part}#", f"gold in {part}#"))]
    )


def _arms(profile: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for arm in profile["arms"]:
        mixture = [f"{domain} {lang} {weight:g}" for domain, by in arm["text"].items() for lang, weight in by.items()]
        rows.append(
            {"arm": shown(arm["name"]), "goes on from": origin(arm) or "–"}
            | {"text*": ", ".join(mixture), "word pieces#": f"{arm['tokens']:,}", "copies#": str(arm["copies"])}
        )
    return _table(rows, ["arm", "goes on from", "text*", "word pieces#", "copies#"])


def _scores(metrics: pd.DataFrame) -> dict[str, Any]:
    rows = primary(metrics)
    arms = [arm for arm in dict.fromkeys(rows["arm"]) if arm not in baselines.NAMES]
    made = []
    for (task, metric), part in rows.groupby(["task", "metric"], sort=False):
        row = {"task": f"{shown(str(task))} ({shown(str(metric))})"}
        row["baseline#"] = f"{part.loc[part['arm'].isin(baselines.NAMES), 'value'].mean():.3f}"
        for arm in arms:
            values = part.loc[part["arm"] == arm, "value"]
            spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
            row[f"{shown(arm)}#"] = f"{values.mean():.3f}{spread}" if len(values) else "–"
        made.append(row)
    return _table(made, ["task", "baseline#", *(f"{shown(arm)}#" for arm in arms)])


def _comparisons(table: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for row in table.to_dict("records"):
        where = shown(row["task"]) + ("" if row["test"] == row["task"] else f" → {shown(row['test'])}")
        only = "" if row["mentions"] == "all" else f" of {row['mentions']} mentions"
        rows.append(
            {"claim": row["claim"], "task*": where, "difference of*": f"{shown(row['arm'])} − {shown(row['against'])}"}
            | {"score*": shown(row["metric"]) + only, "n#": _number(row["units"], ".0f")}
            | {"difference#": _number(row["difference"]), "interval#": _interval(row["low"], row["high"])}
            | {"p#": shown_p(row["p_holm"]), "detectable#": _number(row["detectable"], ".3f")}
            | {"verdict": row["verdict"]}
        )
    names = "claim,task*,difference of*,score*,n#,difference#,interval#,p#,detectable#,verdict"
    return _table(rows, names.split(","))


def _rate(share: float, count: int) -> str:
    """A share of so many simulations, with twice its standard error."""
    return f"{share:.1%} ± {2 * (share * (1 - share) / count) ** 0.5:.1%}"


def _simulations() -> dict[str, Any]:
    """What `benchmarks.intervals` found, where it was run: verdicts by chance alone, and truth in the intervals."""
    found = json.loads(SIMULATED.read_text("utf-8")) if SIMULATED.is_file() else {"aa": [], "coverage": []}
    chance = [
        {"what varies*": f"{row['seeds']} {'copies' if row['copies'] else 'seeds'}", "spread#": f"{row['spread']:.2f}"}
        | {"repetitions#": f"{row['repetitions']:,}", "any comparison decided#": f"{row['any_comparison']:.1%}"}
        | {"any claim decided#": f"{row['any_claim']:.1%}", "either#": _rate(row["either"], row["repetitions"])}
        for row in found["aa"]
    ]
    covered = [
        {"score*": shown(row["metric"]), "seeds#": str(row["seeds"]), "SD of seeds#": f"{row['seed_sd']:.3f}"}
        | {"simulations#": f"{row['simulations']:,}", "true difference#": f"{row['difference']:.3f}"}
        | {"mean width#": f"{row['width']:.3f}", "covered#": _rate(row["covered"], row["simulations"])}
        for row in found["coverage"]
    ]
    return {
        "chance": _table(chance, list(chance[0]) if chance else []),
        "covered": _table(covered, list(covered[0]) if covered else []),
    }


def _checklist(origin: dict[str, Any]) -> dict[str, Any]:
    packages = origin["packages"]
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "transformers", "tokenizers") if name in packages
    )
    state = "with local changes" if origin["dirty"] else "without local changes"
    hours = origin["seconds"] / 3600
    items = {
        "Code": f"commit {origin['commit'][:12]}, {state}" if origin["commit"] else "not a git checkout",
        "Settings": f"profile {origin['run']}, sha256 {origin['profile_sha256'][:16]}",
        "Seeds": ", ".join(f"{name} {value}" for name, value in origin["seeds"].items()),
        "Data": ", ".join(origin["data"]) or "generated by the project from its seed",
        "Device": origin["device"],
        "Time": f"{hours:.2f} hours of stages, added up, some side by side; without what was kept from before",
        "Software": f"Python {origin['python']}, {versions}; all pinned in requirements.lock",
        "Again": f"./run_all.sh {origin['run']}",
    }
    return _table([{"item": name, "value*": value} for name, value in items.items()], ["item", "value*"])

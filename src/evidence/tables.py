"""A run's tables, read from its folder: its tasks, fits, scores, training mentions and loss curves."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd

from common.names import shown
from common.project import Mistake
from texts import sources, tasks
from texts.cleaning import folded

# No model is read here, and no library for one: notebooks that only draw start twice as fast.


def specs(folder: Path) -> dict[str, dict]:
    """The tasks of a run by name."""
    return {spec["name"]: spec for spec in pd.read_json(folder / "corpora/tasks.json", dtype=False).to_dict("records")}


def common(folder: Path) -> dict[str, dict[str, str]]:
    """Task -> own label -> label shared with other tasks."""
    return {name: dict(spec["common"]) for name, spec in specs(folder).items()}


def together(folder: Path) -> dict[str, tuple[str, dict[str, int | str]]]:
    """Task -> whose documents it has, and the unit that each test document is drawn with, as `draws.weighed` takes it.

    Versions of one source's reports go by the number that an id ends on, sentences by so many of these in a row as
    data/sources.yaml says, own documents by their patients, where it is known whose any of them is. Other tasks have
    documents that are drawn by themselves.
    """
    found = {}
    for name, spec in specs(folder).items():
        listed = sources.catalogue()["tasks"].get(spec["source"], {})
        documents = tasks.split(folder, name, "test") if spec["kind"] == "ner" else []
        if "drawn" in listed or "neighbours" in listed:
            of, size = next(iter(listed["raw"].values()))["source"], listed.get("neighbours", 1)
            found[name] = of, {d.id: int(re.search(r"\d+$", d.id)[0]) // size for d in documents}
        elif any(document.patient for document in documents):
            found[name] = "patients", {d.id: d.patient or f"{name}/{d.id}" for d in documents}
    return found


def mapping(folder: Path) -> pd.DataFrame:
    """The labels that tasks share: a row a shared label, a column a task, own labels as cells."""
    rows = [(name, own, shared) for name, labels in common(folder).items() for own, shared in labels.items()]
    table = pd.DataFrame(rows, columns=["task", "own", "shared label"])
    if table.empty:
        return table
    return table.groupby(["shared label", "task"], sort=False)["own"].agg(", ".join).unstack("task").fillna("")


def tested(folder: Path, names: Collection[str]) -> str:
    """How many documents, sentences or patients the test sets of some tasks have, in words, for captions."""
    sizes = pd.read_csv(folder / "corpora/tasks.csv").query("part == 'test' and task in @names")
    return f"Test items: {'; '.join(f'{shown(row.task)} {row.items:,}' for row in sizes.itertuples())}."


def primary(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows of results/metrics.csv that hold a task's primary score on its own test: AUPRC of patients, else F1."""
    rows = metrics[(metrics["task"] == metrics["test"]) & (metrics["split"] == "test") & (metrics["label"] == "all")]
    ranked = rows["task"].isin(rows.loc[rows["metric"] == "auprc", "task"])
    return rows[rows["metric"] == ranked.map({True: "auprc", False: "f1"})]


def is_ner(folder: Path, task: str) -> bool:
    """Whether a task is entity recognition (or else screening)."""
    return specs(folder)[task]["kind"] == "ner"


def predictions(folder: Path, task: str, share: float = 1.0) -> Path:
    """Where the predictions of models are that learnt from a share of a task's training items."""
    return folder / "predictions" / task / ("" if share == 1 else f"shares/{share:g}")


def items_of(share: float, total: int) -> int:
    """How many of `total` training items a share is, at least one."""
    return max(1, round(share * total))


def fits(folder: Path, task: str, share: float = 1.0) -> Iterator[Path]:
    """The prediction files of a task that belong to its finished table of fits."""
    place = predictions(folder, task, share)
    if not (place / "fits.csv").is_file():
        raise Mistake(f"{place}: no fits of task {task!r} with share {share:g}; make them with 03_finetune")
    for row in pd.read_csv(place / "fits.csv").itertuples():
        yield place / row.arm / f"seed-{row.seed}.parquet"


def all_metrics(folder: Path, trained: Sequence[str]) -> pd.DataFrame:
    """The scores of several tasks, as 03_finetune kept them."""
    kept = (folder / "predictions" / task / "metrics.csv" for task in trained)
    return pd.concat(map(pd.read_csv, kept), ignore_index=True)


def train_mentions(folder: Path, task: str) -> set[str]:
    """The folded texts of a task's training mentions."""
    documents = tasks.split(folder, task, "train")
    return {folded(d.text[s.start : s.end]) for d in documents for s in d.spans}


def curves(folder: Path, arms: Sequence[str]) -> pd.DataFrame:
    """Held-out losses of every arm as rows: arm, tokens, domain, language, loss."""
    parts = []
    for arm in arms:
        if not (file := folder / "models" / arm / "training.csv").is_file():
            raise Mistake(f"{file}: arm {arm!r} has not been trained; correct its name, or train it with 02_pretrain")
        wide = pd.read_csv(file).drop(columns=["step", "loss"])
        rows = wide.melt("tokens", var_name="corpus", value_name="loss").assign(arm=arm)
        rows[["domain", "language"]] = rows["corpus"].str.rsplit("-", n=1, expand=True)
        parts.append(rows.drop(columns="corpus"))
    return pd.concat(parts, ignore_index=True)

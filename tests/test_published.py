"""Published numbers: what is published, how far a later run may be from it, and what is said of one that is farther."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from evidence import published

ORIGIN = {"made": "2026-01-01T10:00:00", "commit": "abc", "device": "two cores", "profile_sha256": "p"}
SCORES = {"base": [0.50, 0.54], "general": [0.60, 0.61], "dictionary": [0.30]}


def tables(run, scores=SCORES, difference=0.10, documents=7, verdict="supported"):
    """The tables of a finished run from which numbers are taken."""
    for folder in ("corpora", "results"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    rows = [("general", "es", "p", "kept", documents), ("general", "es", "p", "near duplicate", 3)]
    columns = ["domain", "language", "part", "reason", "documents"]
    pd.DataFrame(rows, columns=columns).to_csv(run / "corpora" / "statistics.csv", index=False)
    columns = ["task", "test", "language", "arm", "seed", "split", "label", "metric", "value"]
    rows = [
        ("ner", "ner", "es", arm, seed, split, label, metric, value)
        for arm, values in scores.items()
        for seed, value in enumerate(values)
        for split, label, metric in (
            ("test", "all", "f1"),
            ("dev", "all", "f1"),
            ("test", "CHEM", "f1"),
            ("test", "all", "recall"),
        )
    ]
    pd.DataFrame(rows, columns=columns).to_csv(run / "results" / "metrics.csv", index=False)
    columns = "claim task test arm against metric mentions seeds difference".split()
    rows = [
        ("C1", "ner", "ner", "general", "base", "f1", "all", 2, difference),
        ("C2", "ner", "ner", "clinical", "base", "f1", "all", None, None),
        ("C4", "ner", "ner", "general", "base", "recall", "unseen", 2, 0.05),
        ("C4", "ner", "ner", "general", "dictionary", "f1", "all", 2, 0.30),
        ("C4", "ner", "other", "general", "base", "recall", "unseen", 2, 0.01),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(run / "results" / "comparisons.csv", index=False)
    columns = "task test arm seed group gold found".split()
    rows = [
        ("ner", "ner", arm, seed, group, gold, seed)
        for arm in ("base", "general")
        for seed in (1, 2)
        for group, gold in (("in training set", 5), ("in medical text", 4), ("in neither", 6))
    ]
    pd.DataFrame(rows, columns=columns).to_csv(run / "results" / "mentions.csv", index=False)
    said = [{"claim": "C1", "verdict": verdict}, {"claim": "C2", "verdict": "not testable here"}]
    (run / "results" / "claims.json").write_text(json.dumps({"claims": said}))
    (run / "provenance.json").write_text(json.dumps(ORIGIN))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "ROOT", tmp_path)
    tables(tmp_path / "runs" / "mini")
    return tmp_path / "runs" / "mini"


def test_what_is_published(run):
    found = {row["name"]: (row["value"], row["tolerance"]) for row in published.numbers(run)}
    spread = math.sqrt((statistics.variance([0.50, 0.54]) + statistics.variance([0.60, 0.61])) / 2)
    unseen = statistics.stdev([0.2, 0.4])  # 2 and 4 found of 10, by every arm
    t = student.ppf(1 - 0.05 / (2 * 5), 2)  # five numbers that vary, two degrees of freedom
    assert found == {
        "documents kept, general es, p": (7, 0),
        "f1, ner, base": (pytest.approx(0.52), pytest.approx(t * spread)),
        "f1, ner, general": (pytest.approx(0.605), pytest.approx(t * spread)),
        "f1, ner, dictionary": (pytest.approx(0.30), pytest.approx(0, abs=1e-6)),
        "C1: f1, ner, general less base": (pytest.approx(0.10), pytest.approx(t * spread * math.sqrt(2))),
        "C4: recall, ner, unseen mentions, general less base": (0.05, pytest.approx(t * unseen * math.sqrt(2))),
        "C4: f1, ner, general less dictionary": (0.30, pytest.approx(t * spread)),
    }


@pytest.mark.parametrize("seeds", [2, 4])
def test_runs_that_differ_as_seeds_do_reproduce_everything_in_95_of_100(tmp_path, monkeypatch, seeds):
    monkeypatch.setattr(published, "ROOT", tmp_path)
    generator, arms = np.random.default_rng(1), ["base", "general", "biomedical", "clinical"]

    def numbers():
        values = generator.normal(0.6, 0.01, (len(arms), seeds))
        tables(
            tmp_path / "r",
            scores=dict(zip(arms, values.tolist(), strict=True)),
            difference=values[1].mean() - values[0].mean(),
        )
        return {row["name"]: row for row in published.numbers(tmp_path / "r") if row["name"].startswith(("f1", "C1"))}

    hits = 0
    for _ in range(60):
        first, second = numbers(), numbers()
        hits += all(abs(first[name]["value"] - second[name]["value"]) <= first[name]["tolerance"] for name in first)
    assert hits >= 54


def test_nothing_was_published(run):
    assert published.compare(run, ORIGIN) is None


def test_the_run_itself_is_reproduced(run):
    published.write(run)
    found = published.compare(run, ORIGIN)
    assert (found["count"], len(found["rows"]), found["same_profile"], found["commit"]) == (7, 7, True, "abc")


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({"difference": 0.30}, []),
        ({"difference": 0.40}, ["C1: f1, ner, general less base"]),
        ({"documents": 8}, ["documents kept, general es, p"]),
        ({"scores": SCORES | {"base": [0.55, 0.60]}}, []),
        ({"scores": SCORES | {"base": [0.72, 0.78]}}, ["f1, ner, base"]),
        ({"scores": SCORES | {"dictionary": [0.301]}}, ["f1, ner, dictionary"]),
        ({"scores": {"base": SCORES["base"], "dictionary": [0.30]}}, ["f1, ner, general"]),
    ],
)
def test_a_later_run(run, change, differing):
    published.write(run)
    tables(run, **change)
    found = published.compare(run, ORIGIN | {"profile_sha256": "q"})
    assert [row["name"] for row in found["rows"] if not row["same"]] == differing
    assert [row["same"] for row in found["rows"]] == sorted(row["same"] for row in found["rows"])
    assert found["count"] == 7 - len(differing)
    assert not found["same_profile"]


def test_a_verdict_that_changed_is_named(run):
    published.write(run)
    tables(run, verdict="inconclusive")
    first, second = published.compare(run, ORIGIN)["verdicts"]
    assert first == {"claim": "C1", "published": "supported", "found": "inconclusive", "same": False}
    assert second["same"]

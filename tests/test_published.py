"""Published numbers: what is published, how far a later run may be from it, and what is said of one that is farther."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from common.project import Mistake
from evidence import published, trainings


def profile(seed=13, epochs=5, copies=1):
    rest = {
        "ner": {"epochs": epochs},
        "arms": [{"copies": 1}, {"copies": copies}],
        "tasks": [{"name": "ro", "keep": []}],
        "claims": {"draws": 500},
    }
    return {"pretrain": {"seed": seed}, **rest}


def origin(**values):
    """What a run's provenance says of its profile, among other things."""
    made = {"made": "2026-01-01T10:00:00", "commit": "abc", "device": "two cores"}
    return made | {"profile": profile(**values)}


ORIGIN = origin()


def test_what_changes_no_number_is_the_same_profile():
    before = profile()
    same = trainings.digest_of(before)
    for change in ({"compute": {"threads": 2}}, {"cluster": {"gpus": 1}}, {"figures": {"dpi": 99}}):
        assert trainings.digest_of(before | change) == same, change
    assert trainings.digest_of(before | {"tasks": [{"name": "ro", "keep": ["clinical"]}]}) == same
    said = {"stated": {"C1": {"text": "It helps."}}, "rule": {"supported": "Above 0."}}
    assert trainings.digest_of(before | {"description": "Otherwise.", "claims": before["claims"] | said}) == same
    assert trainings.digest_of(before | {"claims": before["claims"] | {"draws": 7}}) != same
    for change in ({"tasks": [{"name": "es", "keep": []}]}, {"ner": {"epochs": 6}}):
        assert trainings.digest_of(before | change) != same, change


SCORES = {"base": [0.50, 0.54], "general": [0.60, 0.61], "dictionary": [0.30]}


def tables(run, scores=SCORES, difference=0.10, documents=7, verdict="supported", **values):
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
    (run / "provenance.json").write_text(json.dumps(origin(**values)))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
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
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
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
    wide = [row["name"] for row in found["rows"] if row["tolerance"] > abs(row["value"]) / 2]
    assert found["wide"] == len(wide)
    assert 0 < len(wide) < 7


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
    found = published.compare(run, origin(epochs=6))
    assert [row["name"] for row in found["rows"] if not row["same"]] == differing
    assert [row["same"] for row in found["rows"]] == sorted(row["same"] for row in found["rows"])
    assert found["count"] == 7 - len(differing)
    assert not found["same_profile"]


def test_a_verdict_that_changed_is_named(run):
    published.write(run)
    tables(run, verdict="inconclusive")
    first, second = published.compare(run, ORIGIN)["verdicts"]
    told = {"claim": "C1", "published": "supported", "found": "inconclusive", "same": False}
    assert first == told | {"trainings": ""}
    assert second["same"]


def trained_anew(run, seed, base, general, **values):
    """Add a run with another seed for pre-training, whose two arms have these scores with both fine-tuning seeds."""
    scores = {"base": [base] * 2, "general": [general] * 2, "dictionary": [0.30]}
    tables(run, scores=scores, difference=general - base, seed=seed, **values)
    published.repeat(run)


def test_tolerances_are_over_trainings_where_there_are_several(run):
    published.write(run)
    trained_anew(run, 14, 0.50, 0.615)
    trained_anew(run, 15, 0.54, 0.595, verdict="inconclusive")
    found = published.compare(run, ORIGIN)
    rows = {row["name"]: row for row in found["rows"]}
    base, general = [0.52, 0.50, 0.54], [0.605, 0.615, 0.595]
    # Five numbers that vary; three of one score, of which one, the difference to the dictionary, is the same each time.
    spread = math.sqrt((statistics.variance(base) + statistics.variance(general) + 0) / 3)
    t = student.ppf(1 - 0.05 / (2 * 5), 2)  # base and general differ as one number does, the other way round
    assert rows["f1, ner, base"]["again"] == pytest.approx([0.50, 0.54])
    assert rows["f1, ner, general"]["mean"] == pytest.approx(0.605)
    assert rows["f1, ner, general"]["tolerance"] == pytest.approx(t * spread * math.sqrt(1 + 1 / 3))
    spread = statistics.stdev([0.10, 0.115, 0.055])  # the only difference of two arms in this score
    tolerance = rows["C1: f1, ner, general less base"]["tolerance"]
    assert tolerance == pytest.approx(t * spread * math.sqrt(1 + 1 / 3))
    assert rows["f1, ner, dictionary"]["tolerance"] == pytest.approx(0, abs=1e-8)
    assert (found["trainings"], found["seed"]) == (3, 13)
    tables(run, scores={"base": [0.52] * 2, "general": [0.605 + 1.01 * rows["f1, ner, general"]["tolerance"]] * 2})
    differing = [row["name"] for row in published.compare(run, ORIGIN)["rows"] if not row["same"]]
    assert "f1, ner, general" in differing
    assert "f1, ner, base" not in differing
    of_claim = [row for row in published.trainings.read("mini")["numbers"] if row["name"].startswith("C1: ")]
    each = [[row["value"], *row["again"]] for row in of_claim]
    means = [statistics.fmean(values) for values in zip(*each, strict=True)]
    low, high = student.interval(0.95, 2, statistics.fmean(means), statistics.stdev(means) / math.sqrt(3))
    told = f"supported in 2, inconclusive in 1 (mean {statistics.fmean(means):+.3f}, interval over them "
    assert found["verdicts"][0]["trainings"] == told + f"{low:+.3f} to {high:+.3f})"


def test_published_again_a_run_keeps_its_further_trainings(run):
    published.write(run)
    trained_anew(run, 14, 0.50, 0.615, verdict="inconclusive")
    before = trainings.place(run.name).read_text()
    tables(run)
    published.write(run)
    assert trainings.place(run.name).read_text() == before
    assert trainings.verdicts("mini", profile(seed=20))["C1"].startswith("supported in 1, inconclusive in 1 (mean +0.1")
    assert trainings.verdicts("mini", profile(epochs=6)) == {}
    tables(run, epochs=6)
    published.write(run)
    assert published.compare(run, origin(epochs=6))["trainings"] == 1
    assert trainings.verdicts("mini", profile(epochs=6)) == {}


def test_published_again_with_other_counts_or_baselines_no_earlier_training_stays(run):
    """They tell that the code, and not chance, has changed what all of them would come to."""
    published.write(run)
    trained_anew(run, 14, 0.50, 0.615)
    tables(run, scores={**SCORES, "dictionary": [0.45]})
    published.write(run)
    kept = trainings.read(run.name)
    assert len(kept["trainings"]) == 1 and not any("again" in row for row in kept["numbers"])


def test_a_claim_without_a_verdict_has_no_mean_over_trainings(run):
    tables(run, verdict="not testable here")
    published.write(run)
    trained_anew(run, 14, 0.50, 0.615, verdict="not testable here")
    assert trainings.verdicts("mini", profile())["C1"] == "not testable here in 2"


def test_published_numbers_that_are_damaged_are_named(run):
    trainings.place("mini").parent.mkdir(parents=True)
    trainings.place("mini").write_text("<<<<<<< HEAD")
    with pytest.raises(Mistake, match=r"figures/mini/numbers.json: is damaged \(.*\); take it from git, or delete it"):
        trainings.elsewhere("mini", profile())


def test_differences_of_other_trainings_are_those_of_other_seeds(run):
    assert trainings.elsewhere("mini", profile()) == {}
    published.write(run)
    assert trainings.elsewhere("mini", profile()) == {}
    trained_anew(run, 14, 0.50, 0.615)
    trained_anew(run, 15, 0.54, 0.595)
    for seed, values in ((13, [0.115, 0.055]), (15, [0.10, 0.115]), (99, [0.10, 0.115, 0.055])):
        found = trainings.elsewhere("mini", profile(seed=seed))
        assert found["C1: f1, ner, general less base"] == values, seed
        assert set(found) == {row["name"] for row in published.numbers(run) if row["name"].startswith("C")}
    assert trainings.elsewhere("mini", profile(epochs=6)) == {}
    row = {"claim": "C1", "task": "ner", "test": "ner", "metric": "f1", "mentions": "all", "seeds": 2}
    assert trainings.compared(row | {"arm": "general", "against": "base"}) in found


def test_chance_is_known_from_trainings_where_an_arm_has_one_seed(run):
    one = {"base": [0.50], "general": [0.60], "dictionary": [0.30]}
    tables(run, scores=one)
    published.write(run)
    trained_anew(run, 14, 0.51, 0.58)
    rows = {row["name"]: row for row in published.compare(run, ORIGIN)["rows"]}
    assert rows["f1, ner, base"]["tolerance"] > 0.01
    assert "again" not in rows["f1, ner, dictionary"]


def test_scores_that_would_pass_as_nothing_are_counted(run):
    tables(run, scores={"base": [0.1, 0.5], "general": [0.2, 0.6], "dictionary": [0.30]})
    published.write(run)
    found = published.compare(run, ORIGIN)
    by = {row["name"]: row for row in found["rows"]}
    assert by["f1, ner, base"]["tolerance"] > by["f1, ner, base"]["value"]
    assert found["blind"] == 2, "base and general; a difference may be 0"


def test_another_training_is_the_same_profile_and_is_told_by_its_seed(run):
    published.write(run)
    assert published.compare(run, origin(seed=77))["same_profile"]
    assert not published.compare(run, origin(seed=77, epochs=6))["same_profile"]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ({}, {"seed": 13}, "pretrain.seed 13 shares seeds with the published 13; use 14 or more"),
        (
            {"copies": 5},
            {"seed": 17, "copies": 5},
            "pretrain.seed 17 shares seeds with the published 13; use 18 or more",
        ),
        ({}, {"seed": 14, "epochs": 6}, "the profile is not the published one; change nothing but pretrain.seed"),
    ],
)
def test_what_is_no_further_training(run, first, then, told):
    tables(run, **first)
    published.write(run)
    before = trainings.place(run.name).read_bytes()
    tables(run, **then)
    with pytest.raises(Mistake, match=told):
        published.repeat(run)
    assert trainings.place(run.name).read_bytes() == before


def test_a_training_on_other_texts_is_refused(run):
    published.write(run)
    tables(run, seed=14, documents=8)
    with pytest.raises(Mistake, match="documents kept, general es, p: 7 is published, this run has 8"):
        published.repeat(run)


def test_nothing_to_repeat(run):
    with pytest.raises(Mistake, match=r"nothing is published in figures/mini/numbers\.json; publish a run first"):
        published.repeat(run)


def test_numbers_that_move_as_one_tell_no_more_than_one():
    generator = np.random.default_rng(2)
    shared = np.outer([1.0, 1.0, 1.0], generator.normal(size=5))
    assert published._freedom(shared) == pytest.approx(4)
    assert published._freedom(generator.normal(size=(1, 5))) == pytest.approx(4)
    apart = generator.normal(size=(3, 4001))
    assert published._freedom(apart) == pytest.approx(3 * 4000, rel=0.01)
    assert published._freedom(np.full((2, 3), 0.5)) == 2, "none differs"


def test_trainings_that_differ_by_chance_reproduce_everything_in_95_of_100(run):
    """Arms of one training share a parent, whose chance they have in common; two tests of an arm share the arm's."""
    generator, arms = np.random.default_rng(1), ["general", "biomedical", "clinical", "general_nl", "clinical_nl"]

    def training():
        shared, own = generator.normal(0, 0.02), generator.normal(0, 0.02, len(arms))
        values = 0.4 + shared + own + generator.normal(0, 0.01, (2, len(arms)))
        rows = [
            {"name": f"{test}, {arm}", "score": f"{test}", "value": values[test, i]}
            for test in (0, 1)
            for i, arm in enumerate(arms)
        ]
        pairs = [(2, 0), (1, 0), (2, 1), (4, 3)]
        more = [
            {"name": f"{test}, {i} less {j}", "score": f"difference {test}", "value": values[test, i] - values[test, j]}
            for test in (0, 1)
            for i, j in pairs
        ]
        return rows + more

    hits = 0
    for _ in range(200):
        *trainings, later = (training() for _ in range(7))
        rows = [row | {"again": [other[n]["value"] for other in trainings[1:]]} for n, row in enumerate(trainings[0])]
        published._set_tolerances(rows)
        hits += all(abs(row["mean"] - later[n]["value"]) <= row["tolerance"] for n, row in enumerate(rows))
    assert hits >= 188

"""The rule for verdicts, on made predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from common.project import Mistake
from evidence import bootstrap, claims, draws, tables
from evidence.scores import NER
from texts.documents import Document, write_jsonl

STATED = {"C1": "Adaptation helps.", "C4": "Unseen entities are found."}
OPTIONS = {"draws": 400, "confidence": 0.95, "seed": 11, "synthetic": True, "stated": STATED}


def write_ner(folder, arm, right, *, seeds=(1, 2, 3), task="ro", test="ro", documents=40):
    """Predictions of an arm that finds the same share `right` of ten mentions in every document, more or less."""
    for seed in seeds:
        generator = np.random.default_rng([seed, *arm.encode()])
        rows = []
        for document in range(documents):
            for mention in range(10):
                fit = (task, test, arm, seed, "ro", f"d{document}", 10 * mention, 10 * mention + 5, "X", f"m{mention}")
                rows.append((*fit, "gold"))
                if generator.random() < right:
                    rows.append((*fit, "predicted"))
        path = folder / task / arm / f"seed-{seed}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=NER).to_parquet(path)


def scores_of(folder, arm, seed):
    """Strict F1 of one file, where nothing is predicted that is not gold."""
    kinds = pd.read_parquet(folder / "ro" / arm / f"seed-{seed}.parquet")["kind"].value_counts()
    return 2 * kinds["predicted"] / (kinds["gold"] + kinds["predicted"])


def item(arm, against, **more):
    return {"claim": "C1", "task": "ro", "arm": arm, "against": against, "metric": "f1"} | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Predictions: `good` and `same` about equal, `poor` clearly below; one dictionary; one arm with one seed."""
    folder = tmp_path_factory.mktemp("predictions")
    for arm, right in (("good", 0.8), ("same", 0.8), ("poor", 0.5)):
        write_ner(folder, arm, right)
    write_ner(folder, "dictionary", 0.4, seeds=(0,))
    write_ner(folder, "single", 0.6, seeds=(1,))
    for arm, noise in (("good", 0.3), ("poor", 3.0)):
        for seed in (1, 2):
            generator = np.random.default_rng([seed, int(noise)])
            label = np.arange(200) % 5 == 0
            table = pd.DataFrame({"patient": [f"p{i}" for i in range(200)], "label": label.astype(int)})
            table = table.assign(score=label + generator.normal(0, noise, 200), probability=0.5, flagged=0)
            table = table.assign(task="s", arm=arm, seed=seed, split="test", language="nl")
            (folder / "s" / arm).mkdir(parents=True, exist_ok=True)
            table.to_parquet(folder / "s" / arm / f"seed-{seed}.parquet")
    return folder


def verdict(folder, *family, **options):
    """The comparison table and the verdicts by claim."""
    table, content = claims.assess(folder, family, **OPTIONS | options)
    json.dumps(content, allow_nan=False)
    return table, {claim["claim"]: claim for claim in content["claims"]}


def write_screening(folder, arm, patients):
    """Screening predictions of two seeds on so many patients, every fifth of them positive."""
    (folder / "s" / arm).mkdir(parents=True, exist_ok=True)
    for seed in (1, 2):
        scores = np.random.default_rng([seed, *arm.encode()]).random(patients)
        table = pd.DataFrame({"patient": [f"p{i}" for i in range(patients)], "score": scores})
        table = table.assign(
            label=(np.arange(patients) % 5 == 0).astype(int), probability=0.5, flagged=0, language="nl"
        )
        table = table.assign(task="s", arm=arm, seed=seed, split="test")
        table.to_parquet(folder / "s" / arm / f"seed-{seed}.parquet")


def test_all_arms_of_a_task_have_the_same_patients(tmp_path):
    for arm, patients in (("one", 40), ("two", 40), ("short", 35)):
        write_screening(tmp_path, arm, patients)
    pair = item("one", "two", task="s", metric="auprc")
    assert verdict(tmp_path, pair)[0].loc[0, "reason"] == ""
    table, _ = verdict(tmp_path, pair, item("two", "short", task="s", metric="auprc"))
    assert table["reason"].tolist() == ["the arms have different test patients"] * 2


def test_fits_of_an_earlier_choice_of_seeds_are_no_evidence(tmp_path):
    for arm, right in (("good", 0.8), ("poor", 0.5)):
        write_ner(tmp_path, arm, right, seeds=(1, 2, 9))
    rows = [(arm, seed) for arm in ("good", "poor") for seed in (1, 2)]
    pd.DataFrame(rows, columns=["arm", "seed"]).to_csv(tmp_path / "ro/fits.csv")
    assert verdict(tmp_path, item("good", "poor"))[0].loc[0, "seeds"] == 2


def test_of_a_baseline_one_seed_counts_however_many_files_it_has(tmp_path):
    for arm, seeds in (("good", (1, 2)), ("dictionary", (0, 1))):
        write_ner(tmp_path, arm, 0.6, seeds=seeds)
    table = verdict(tmp_path, item("good", "dictionary"))[0]
    one = scores_of(tmp_path, "dictionary", 0)
    assert table.loc[0, "seeds"] == 2 and table.loc[0, "against_value"] == pytest.approx(one)


def test_one_arm_alone_on_patients_is_not_testable(tmp_path):
    write_screening(tmp_path, "one", 40)
    table, _ = verdict(tmp_path, item("one", "absent", task="s", metric="auprc"))
    assert table.loc[0, "reason"] == "no predictions of arm 'absent' on task 's'"


def test_one_document_is_no_sample(folder, tmp_path):
    for file in (folder / "ro").glob("*/*.parquet"):
        rows = pd.read_parquet(file)
        (tmp_path / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        rows[rows["document"] == rows["document"].iloc[0]].to_parquet(tmp_path / file.relative_to(folder))
    table, found = verdict(tmp_path, item("good", "poor"))
    assert table.loc[0, "reason"] == "1 document or patient in test 'ro', at least 2 are needed"
    assert found["C1"]["verdict"] == "not testable here"


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_is_no_share_is_refused(folder, confidence):
    with pytest.raises(Mistake, match=rf"confidence: found {confidence}, allowed is what lies between 0 and 1"):
        verdict(folder, item("good", "poor"), confidence=confidence)


def test_an_arm_against_itself_has_no_width(folder):
    table, found = verdict(folder, item("good", "good"))
    assert table.loc[0, ["difference", "low", "high", "detectable", "p"]].tolist() == [0, 0, 0, 0, 1]
    assert found["C1"]["verdict"] == "inconclusive"


def test_better_and_worse_arms(folder):
    table, found = verdict(folder, item("good", "poor"))
    assert table.loc[0, "verdict"] == found["C1"]["verdict"] == "supported"
    # 80 % and 50 % found, nothing else predicted: F1 2 · .8 / 1.8 and 2 · .5 / 1.5.
    assert table.loc[0, "difference"] == pytest.approx(1.6 / 1.8 - 1 / 1.5, abs=0.03)
    assert table.loc[0, "arm_value"] - table.loc[0, "against_value"] == pytest.approx(table.loc[0, "difference"])
    assert table.loc[0, "low"] < table.loc[0, "difference"] < table.loc[0, "high"]
    mirrored, found = verdict(folder, item("poor", "good"))
    assert found["C1"]["verdict"] == "contradicted"
    assert mirrored.loc[0, "low"] == pytest.approx(-table.loc[0, "high"])


def test_one_comparison_above_zero_bars_contradicted(folder):
    table, found = verdict(folder, item("poor", "good"), item("poor", "same"), item("good", "poor"))
    assert table["verdict"].tolist() == ["contradicted", "contradicted", "supported"]
    assert found["C1"]["high"] < 0 and found["C1"]["p_holm"] < 0.05
    assert found["C1"]["verdict"] == "inconclusive"


def test_detectable_is_at_the_first_step_of_the_correction(folder, monkeypatch):
    made, estimate = [], claims.estimate
    monkeypatch.setattr(claims, "estimate", lambda *of: made.append(estimate(*of)) or made[-1])
    table, _ = verdict(folder, item("good", "same"), item("good", "poor"))
    assert table.loc[0, "detectable"] == made[0].detectable(1 - 0.05 / 4), "two comparisons and two claims"
    assert table.loc[0, "detectable"] > 1.3 * made[0].reach(0.95)


def test_one_comparison_below_zero_bars_supported(folder):
    family = [item("good", "poor"), item("good", "dictionary"), item("poor", "good")]
    table, found = verdict(folder, *family)
    assert table["verdict"].tolist() == ["supported", "supported", "contradicted"]
    assert found["C1"]["low"] > 0
    assert found["C1"]["verdict"] == "inconclusive"
    assert found["C1"]["difference"] == pytest.approx(table["difference"].mean())


def test_holm_spans_comparisons_and_claims_together(folder):
    family = [item("good", "poor"), item("good", "same", claim="C4")]
    table, found = verdict(folder, *family, stated={"C1": "", "C4": "", "C2": "no comparison for it"})
    expected = bootstrap.holm([*table["p"], found["C1"]["p"], found["C4"]["p"], np.nan])
    assert table["p_holm"].tolist() == pytest.approx(expected[:2])
    assert [found[claim]["p_holm"] for claim in ("C1", "C4")] == pytest.approx(expected[2:4])
    assert table.loc[0, "p_holm"] == pytest.approx(5 * table.loc[0, "p"])


def test_another_claim_is_another_chance_to_be_wrong(folder):
    """What decides a claim that stands alone leaves two of them open."""
    family = [item("good", "poor"), item("good", "poor", claim="C4")]
    p = verdict(folder, *family)[1]["C1"]["p"]
    strict = {"confidence": 1 - 2.5 * p}
    _, alone = verdict(folder, family[0], stated={"C1": ""}, **strict)
    assert alone["C1"]["verdict"] == "supported"
    _, both = verdict(folder, *family, stated={"C1": "", "C4": ""}, **strict)
    assert {claim["verdict"] for claim in both.values()} == {"inconclusive"}
    assert both["C4"]["p_holm"] == pytest.approx(4 * p)


def test_pooling_keeps_the_correlation_of_comparisons_on_one_test(folder):
    # good − poor and poor − good cancel draw by draw: the pooled difference has no width at all.
    _, found = verdict(folder, item("good", "poor"), item("poor", "good"))
    assert (found["C1"]["low"], found["C1"]["high"]) == pytest.approx((0, 0), abs=1e-12)


def test_the_same_seed_gives_the_same_table(folder):
    one, again, other = (verdict(folder, item("good", "same"), seed=seed)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert one.loc[0, "low"] != other.loc[0, "low"]


def test_noisier_seeds_of_any_arm_widen_the_intervals_of_all(tmp_path):
    """What seeds vary by is that of all arms compared on a test, so that agreement by chance decides nothing."""
    for arm, rights in (("steady", (0.7, 0.71, 0.72)), ("wild", (0.5, 0.7, 0.9))):
        for seed, right in enumerate(rights):
            write_ner(tmp_path, arm, right, seeds=(seed,))
    for seed in range(3):
        write_ner(tmp_path, "base", 0.6, seeds=(seed,))
    alone, _ = verdict(tmp_path, item("steady", "base"))
    table, _ = verdict(tmp_path, item("steady", "base"), item("wild", "base"))
    width = table["high"] - table["low"]
    assert width[0] > 2 * (alone["high"] - alone["low"])[0]
    assert width[1] == pytest.approx(width[0], rel=0.05)
    write_ner(tmp_path, "dictionary", 0.4, seeds=(0,))
    rule = item("steady", "dictionary")
    alone, beside = (verdict(tmp_path, *family)[0].iloc[0] for family in ([rule], [rule, item("wild", "base")]))
    assert beside["high"] - beside["low"] > 1.5 * (alone["high"] - alone["low"]), "against a rule too"


def test_copies_are_drawn_and_not_the_seeds_that_share_them(tmp_path):
    """Two copies that differ, each used by two seeds: as wide as with one seed a copy, wider than with four seeds."""
    for arm, right in (("one", (0.7, 0.5, 0.7, 0.5)), ("other", (0.5, 0.5, 0.5, 0.5))):
        for seed, share in enumerate(right, 1):
            write_ner(tmp_path, arm, share, seeds=(seed,))
    four, two = item("one", "other"), {"one": 2, "other": 2}
    copied, alone = (verdict(tmp_path, four, copies=copies)[0].iloc[0] for copies in (two, {}))
    for arm in ("one", "other"):
        for seed in (3, 4):
            (tmp_path / "ro" / arm / f"seed-{seed}.parquet").unlink()
    halved = verdict(tmp_path, four)[0].iloc[0]
    assert (copied["seeds"], copied["copies"], alone["copies"], halved["seeds"]) == (4, 2, 1, 2)
    widths = [row["high"] - row["low"] for row in (copied, halved, alone)]
    assert 1.2 * widths[2] < widths[0] < 1.05 * widths[1]


def test_the_baseline_stands_against_every_seed(folder):
    table, _ = verdict(folder, item("good", "dictionary"))
    assert (table.loc[0, "seeds"], table.loc[0, "units"]) == (3, 40)


def test_recall_of_unseen_mentions(folder):
    train = {"ro": {f"m{i}" for i in range(8)}}
    family = [item("good", "poor", metric="recall", mentions=mentions) for mentions in ("unseen", "seen", "all")]
    table, _ = verdict(folder, *family, train=train)
    unseen, seen, every = table["arm_value"]
    assert every == pytest.approx(0.2 * unseen + 0.8 * seen)
    table, _ = verdict(folder, family[0])
    assert "training mentions of task 'ro' are not known" in table.loc[0, "reason"]
    table, _ = verdict(folder, family[0], train={"ro": {f"m{i}" for i in range(10)}})
    assert "recall is undefined" in table.loc[0, "reason"]


def test_gains_on_unseen_mentions_less_those_on_seen_ones(folder, tmp_path):
    """By hand on the sample; narrower than both together, as a seed's recalls are subtracted first."""
    train = {"ro": {f"m{i}" for i in range(8)}}
    family = [item("good", "poor", metric="recall", mentions="unseen", claim="C4"), item("good", "poor")]
    how = {name: OPTIONS[name] for name in ("draws", "confidence", "seed")} | {"copies": {}, "common": {}}
    found = claims.beyond_seen(folder, family, train=train, together={}, **how)
    both = [family[0] | {"mentions": mentions} for mentions in ("unseen", "seen")]
    unseen, seen = verdict(folder, *both, train=train)[0].to_dict("records")
    (row,) = found.to_dict("records")
    assert (row["gain_on_unseen"], row["gain_on_seen"]) == (unseen["difference"], seen["difference"])
    assert row["difference"] == pytest.approx(unseen["difference"] - seen["difference"])
    fits = claims.load_fits(folder, family)
    for name, rows in fits.items():  # recall is the same on both: every seen mention is found as an unseen one is
        twin = rows[rows["text"].isin(["m8", "m9"])]
        shifted = twin.assign(
            text=twin["text"].map({"m8": "m0", "m9": "m1"}), start=twin["start"] - 80, end=twin["end"] - 80
        )
        fits[name] = pd.concat([twin, shifted])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(claims, "load_fits", lambda *_: fits)
        (alike,) = claims.beyond_seen(folder, family, train=train, together={}, **how).to_dict("records")
    assert alike["gain_on_unseen"] == alike["gain_on_seen"] > 0
    assert (alike["difference"], alike["low"], alike["high"]) == pytest.approx((0, 0, 0), abs=1e-9)
    assert row["low"] < row["difference"] < row["high"]
    widths = [one["high"] - one["low"] for one in (row, unseen, seen)]
    assert 0.9 * widths[1] < widths[0] < 0.95 * (widths[1] + widths[2]), "seen ones vary too"
    nothing = claims.beyond_seen(folder, family[1:], train=train, together={}, **how)
    assert (list(nothing), len(nothing)) == (claims.BEYOND, 0)
    barred = [family[0] | {"reason": "arms differ in more than their texts"}]
    assert claims.beyond_seen(folder, barred, train=train, together={}, **how).empty
    no_seen = claims.beyond_seen(folder, family[:1], train={"ro": {"else"}}, together={}, **how)
    assert no_seen.empty, "recall of seen mentions is undefined"


def test_screening(folder):
    table, found = verdict(folder, item("good", "poor", task="s", metric="auprc"))
    assert found["C1"]["verdict"] == "supported"
    rows = pd.concat(pd.read_parquet(folder / "s" / "good" / f"seed-{seed}.parquet") for seed in (1, 2))
    expected = np.mean([average_precision_score(part["label"], part["score"]) for _, part in rows.groupby("seed")])
    assert table.loc[0, "arm_value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (item("good", "absent"), "no predictions of arm 'absent' on task 'ro'"),
        (item("good", "single"), "1 seeds in common, at least 2 are needed"),
        (item("good", "poor", metric="auprc"), "metric 'auprc' does not fit task 'ro'; allowed: f1, recall"),
        (item("good", "poor", test="es"), "no predictions on test 'es'"),
    ],
)
def test_not_testable_says_why(folder, broken, reason):
    table, found = verdict(folder, item("good", "poor"), broken)
    assert table["verdict"].tolist() == ["supported", "not testable here"]
    assert reason in table.loc[1, "reason"]
    assert found["C1"]["verdict"] == "not testable here"
    assert reason in found["C1"]["reason"]
    assert found["C4"]["reason"] == "the profile declares no comparison for it"


def test_a_broken_file_stops_the_run(tmp_path):
    (tmp_path / "ro" / "good").mkdir(parents=True)
    (tmp_path / "ro" / "good" / "seed-1.parquet").write_text("no parquet")
    with pytest.raises(Mistake, match="no readable predictions"):
        claims.assess(tmp_path, [item("good", "poor")], **OPTIONS)


def test_synthetic_text_is_marked(folder):
    _, content = claims.assess(folder, [item("good", "poor")], **OPTIONS)
    assert content["note"] == "synthetic text: shows the method, is no evidence"
    _, content = claims.assess(folder, [item("good", "poor")], **OPTIONS | {"synthetic": False})
    assert (content["synthetic"], content["note"]) == (False, "")


def test_an_empty_family_leaves_every_claim_untestable(folder):
    table, found = verdict(folder)
    assert table.empty
    assert {claim["verdict"] for claim in found.values()} == {"not testable here"}
    assert {name: claim["text"] for name, claim in found.items()} == STATED


def test_decisions_of_two_arms_by_majority(tmp_path):
    """Six patients; `one` is right by majority on the first four, `other` on the last three."""
    votes = {"one": [[1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1], [0, 1, 1, 0, 1, 1]]}
    votes["other"] = [[0, 0, 1, 0, 1, 0]] * 3
    gold = [1, 1, 0, 0, 1, 0]
    for arm, seeds in votes.items():
        for seed, flagged in enumerate(seeds):
            table = pd.DataFrame({"patient": [*"abcdef"], "label": gold, "flagged": flagged, "score": 0.0})
            table = table.assign(task="s", arm=arm, seed=seed, split="test", language="nl", probability=0.5)
            (tmp_path / "s" / arm).mkdir(parents=True, exist_ok=True)
            table.to_parquet(tmp_path / "s" / arm / f"seed-{seed}.parquet")
    rows = pd.read_parquet(tmp_path / "s/one/seed-0.parquet").assign(arm="once")
    (tmp_path / "s/once").mkdir()
    rows.to_parquet(tmp_path / "s/once/seed-0.parquet")
    against = ("other", "absent", "once")  # the last has one seed, too few to compare
    items = [item("one", arm, task="s", metric="auprc") for arm in against]
    items.append(items[0] | {"reason": "arms differ in more than their texts"})
    table = claims.flagged_alike(tmp_path, items)
    assert len(table) == 1
    assert table.loc[0, ["patients", "only_arm", "only_against", "p"]].tolist() == [6, 3, 2, 1.0]


def test_what_half_of_the_seeds_flag_is_not_flagged(tmp_path):
    for arm, votes in {"one": ([1, 1], [1, 0]), "other": ([0, 0], [0, 0])}.items():
        for seed, flagged in enumerate(votes):
            table = pd.DataFrame({"patient": [*"ab"], "label": 1, "flagged": flagged, "score": 0.0, "probability": 0.5})
            table = table.assign(task="s", arm=arm, seed=seed, split="test", language="nl")
            (tmp_path / "s" / arm).mkdir(parents=True, exist_ok=True)
            table.to_parquet(tmp_path / "s" / arm / f"seed-{seed}.parquet")
    table = claims.flagged_alike(tmp_path, [item("one", "other", task="s", metric="auprc")])
    assert table.loc[0, ["only_arm", "only_against"]].tolist() == [1, 0]


def test_what_copies_of_an_arm_have_in_common_over_tasks_is_not_taken_for_chance():
    """A copy that is good on one task may be good on all: its scores are added up before they count."""
    values = np.array([[0.5, 0.7]] * 3)
    scores = {"good": ([1, 2], values), "poor": ([1, 2], values - 0.1)}
    spread = {}

    def parts(copies):
        found = []
        for task in ("one", "two"):
            row = item("good", "poor", task=task) | {"test": task, "mentions": "all"}
            found.append(claims.difference(scores, row, copies=copies)[0])
            spread.update({(*claims.measured(row), several): bootstrap.Spread(0.02, 0, 1) for several in (True, False)})
        return claims.added(found)

    seeds, copies = parts({}), parts({"good": 2, "poor": 2})
    assert (len(seeds), len(copies)) == (4, 2)
    alone, together = (bootstrap.estimate(list(some.values()), spread).seeds for some in (seeds, copies))
    assert together == pytest.approx(2 * alone)


def test_copies_are_the_same_whatever_seeds_use_them():
    """Two tasks with other seeds, which use the same two copies of each arm."""
    found = []
    for task, seeds in (("one", [1, 2]), ("two", [1, 2, 3, 4])):
        values = np.tile([0.5, 0.7], (3, len(seeds) // 2))
        scores = {"good": (seeds, values), "poor": (seeds, values - 0.1)}
        row = item("good", "poor", task=task) | {"test": task, "mentions": "all"}
        found.append(claims.difference(scores, row, copies={"good": 2, "poor": 2})[0])
    assert found[0].keys() == found[1].keys() and len(claims.added(found)) == 2


def test_a_comparison_that_the_profile_cannot_make(folder):
    table, found = verdict(folder, item("good", "poor"), item("good", "poor") | {"reason": "no text in ro"})
    assert table["verdict"].tolist() == ["supported", "not testable here"]
    assert (found["C1"]["verdict"], found["C1"]["reason"]) == ("not testable here", "ro, good: no text in ro")


def test_versions_of_one_report_are_drawn_together(tmp_path):
    """Two tasks on translations of the same reports say no more than one of them; two on different ones do."""
    for arm, right in (("good", 0.8), ("poor", 0.5)):
        write_ner(tmp_path, arm, right, task="nl", test="nl", seeds=(1,))
        rows = pd.read_parquet(tmp_path / "nl" / arm / "seed-1.parquet")
        for task in ("nl", "ro"):
            for seed in (1, 2, 3):  # alike, so that only documents vary
                place = tmp_path / task / arm / f"seed-{seed}.parquet"
                place.parent.mkdir(parents=True, exist_ok=True)
                names = rows["document"] if task == "nl" else "report_" + rows["document"].str[1:]
                rows.assign(task=task, test=task, seed=seed, document=names).to_parquet(place)
    family = [item("good", "poor", task="nl"), item("good", "poor", task="ro")]
    widths = []
    numbers = [int(name[1:]) for name in rows["document"]]
    by_number = {"nl": {f"d{n}": n for n in numbers}, "ro": {f"report_{n}": n for n in numbers}}
    for versions in ({task: ("reports", by_number[task]) for task in by_number}, {}):
        table, said = verdict(tmp_path, *family, together=versions)
        widths.append((said["C1"]["high"] - said["C1"]["low"]) / (table["high"] - table["low"]).mean())
    assert widths[0] == pytest.approx(1.0, abs=1e-6)
    assert widths[1] == pytest.approx(2**-0.5, abs=0.08)


def test_a_report_that_one_version_lacks():
    """Columns of the same report are the same in every test."""
    fits = {
        ("a", "x"): pd.DataFrame({"test": "a", "document": ["nl_3", "nl_10", "nl_1"]}),
        ("b", "x"): pd.DataFrame({"test": "b", "document": ["es-10", "es-3"]}),
        ("c", "x"): pd.DataFrame({"test": "c", "document": ["other_7"]}),
    }
    versions = {"a": ("reports", {"nl_3": 3, "nl_10": 10, "nl_1": 1}), "b": ("reports", {"es-10": 10, "es-3": 3})}
    how = {"together": versions, "draws": 50, "seed": 1}
    first = draws.weighed(fits, "a", ["nl_1", "nl_10", "nl_3"], **how)
    second = draws.weighed(fits, "b", ["es-10", "es-3"], **how)
    assert first[0].shape == (51, 3) and (first[0].sum(1) == 3).all()
    assert (first[0][:, 1:] == second[0]).all()
    assert (first[1], second[1]) == (3, 2)
    assert draws.weighed(fits, "c", ["other_7"], **how) is None


def test_what_is_drawn_together(tmp_path):
    """Sentences of MoNERo by tens, own notes by patient, others by themselves."""
    kinds = {"monero": "monero", "ward": "my/ward.jsonl", "nobody": "my/nobody.jsonl", "made_up": "synthetic"}
    listed = [{"name": name, "kind": "ner", "source": source} for name, source in kinds.items()]
    listed.append({"name": "screening", "kind": "screening", "source": "synthetic"})
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "tasks.json").write_text(json.dumps(listed))
    for name in kinds:
        people = ["p1", "p2", "p1", ""] if name == "ward" else [""] * 4
        ids = ["s-8", "s-9", "s-10", "s-31"]
        made = [Document(id, "ro", "x", (), person) for id, person in zip(ids, people, strict=True)]
        write_jsonl(tmp_path / "corpora" / "tasks" / name / "test.jsonl", made)
    found = tables.together(tmp_path)
    assert set(found) == {"monero", "ward"}
    assert found["monero"][1] == {"s-8": 0, "s-9": 0, "s-10": 1, "s-31": 3}
    assert found["ward"] == ("patients", {"s-8": "p1", "s-9": "p2", "s-10": "p1", "s-31": "ward/s-31"})


def test_neighbours_are_drawn_together():
    fits = {("a", "x"): pd.DataFrame({"test": "a", "document": [f"s-{number}" for number in range(5, 35)]})}
    documents = sorted(fits["a", "x"]["document"])
    neighbours = {"a": ("a", {document: int(document[2:]) // 10 for document in documents})}
    weights, units = draws.weighed(fits, "a", documents, neighbours, draws=40, seed=1)
    assert units == 4, "what is drawn, not how many sentences there are"
    assert weights.shape == (41, 30) and (weights[0] == 1).all()
    by = {
        number: {tuple(weights[:, i]) for i, d in enumerate(documents) if int(d[2:]) // 10 == number}
        for number in range(4)
    }
    assert [len(found) for found in by.values()] == [1, 1, 1, 1], "sentences 5 to 9, 10 to 19, 20 to 29 and 30 to 34"
    assert len(set().union(*by.values())) == 4

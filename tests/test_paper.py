"""The paper's source holds no number, its sentences say what their tables say."""

import re

import pandas as pd
import pytest

from evidence import cards, claims, limitations, sentences
from runner import paper, settings


def test_no_number_of_the_text_is_typed_by_hand():
    text = paper.SOURCE.read_text().split("// The text: no number is typed below this line.")[1]
    text = re.sub(r"\b[\d.]+(pt|em|cm|fr)\b|\b\d+%|rgb\(\"#\w+\"\)", "", text)  # lengths and colours
    assert re.findall(r".*\d.*", text) == []


def test_every_field_of_the_source_is_written():
    asked = set(re.findall(r"#n\.(\w+)", paper.SOURCE.read_text()))
    source = paper.__loader__.get_source("runner.paper")
    assert asked and [name for name in asked if f'"{name}":' not in source] == []


def test_fertility_names_the_ends_and_the_means():
    rows = [("general", "nl", 1.0), ("general", "es", 1.2), ("clinical", "nl", 1.5), ("clinical", "es", 1.7)]
    said = sentences.fertility(pd.DataFrame(rows, columns=["domain", "language", "pieces a word"]))
    assert "1.00 (general, Dutch) to 1.70 (clinical, Spanish)" in said
    assert said.endswith("; in Spanish, Dutch 1.10 in general text, 1.60 in clinical text.")
    said = sentences.fertility(pd.DataFrame(rows[1:], columns=["domain", "language", "pieces a word"]))
    assert said.endswith("; in Spanish 1.20 in general text, 1.70 in clinical text."), "general text has no Dutch"
    only = pd.DataFrame([rows[0], rows[3]], columns=["domain", "language", "pieces a word"])
    assert sentences.fertility(only).endswith("(clinical, Spanish) word pieces.")


def test_overlap_tells_languages_from_domains():
    names = ["general-nl", "general-es", "clinical-nl"]
    table = pd.DataFrame([[1, 0.1, 0.6], [0.1, 1, 0.3], [0.6, 0.3, 1]], names, names)
    assert "of one language share 60% and two corpora of one domain share 10%" in sentences.overlap(table)
    assert sentences.overlap(table.iloc[:1, :1]) == ""


def test_gains_need_three_points():
    table = pd.DataFrame({"task": "t", "arm": list("abc"), "loss_gain": [1, 2, 3], "score_gain": [2, 4, 9]})
    assert sentences.gains(table).startswith("Over 3 pairs") and "in score is 1.00;" in sentences.gains(table)
    missing = pd.concat([table, table.iloc[:1].assign(loss_gain=float("nan"))])
    assert sentences.gains(missing).startswith("Over 3 pairs")
    assert "too few" in sentences.gains(table.iloc[:2])


def test_transfer_is_a_share_of_what_the_same_arms_reach_there():
    none = float("nan")
    rows = [
        ("a", "a", 0, "x", 0.8, none),
        ("b", "b", 0, "y", 0.4, none),
        ("a", "b", 0.2, "x", 0.3, 0.5),
        ("a", "b", 0.2, "y", 0.2, 0.5),
        ("a", "b", 0.2, "not fine-tuned there", 0.9, none),
        ("a", "b", 0.2, "dictionary", 0.9, 0.9),
        ("b", "a", 0.1, "x", 0.2, 0.8),
    ]
    said = sentences.transfer(pd.DataFrame(rows, columns=["task", "test", "distance", "arm", "value", "there"]))
    assert "reaches 38% of the F1" in said
    pairs = "b to a 25% (syntactic distance 0.100); a to b 50% (syntactic distance 0.200). "
    assert f"mean of the 2 pairs of trained tasks: {pairs}" in said
    assert said.endswith("beaten by the best arm on 0 of all 1 pairs of task and test."), "0.9 each"


@pytest.mark.parametrize("missing", [0, 1])
def test_mentions_set_the_best_arm_beside_the_control(missing):
    recalls = (("general", 0.2), ("clinical", 0.5), ("dictionary", 0.9))
    columns = ["task", "arm", "group", "recall", "gold"]
    rows = [("t", arm, "in medical text", value, 10) for arm, value in recalls][missing:]
    said = sentences.mentions(pd.DataFrame(rows, columns=columns), control="general")
    assert ("50.0% (Clinical), the control 20.0%" in said) == (not missing)
    rows += [("t", arm, "in training set", value + 0.1, 50) for arm, value in recalls]
    rows += [("t", "clinical", "in neither", 0.1, 30)]
    said = sentences.mentions(pd.DataFrame(rows, columns=columns), control="general")
    told = "; of those in the training labels 60.0% and 30.0%. Medical text contains, of the mentions that are missing "
    told += "from the training labels, 10 of 40 in t: the rest it cannot teach directly."
    assert (told in said) == (not missing)


def test_gains_on_unseen_mentions_are_set_beside_those_on_seen_ones():
    rows = [("C4", "t", "clinical", "general", 0.07, 0.09, -0.02, -0.05, 0.01, 0.2)]
    rows += [("C4", "u", "clinical", "general", 0.09, 0.01, 0.08, 0.02, 0.14, 0.01)]
    said = sentences.beyond_seen(pd.DataFrame(rows, columns=claims.BEYOND))
    assert "t +0.070 and +0.090 (difference -0.020, interval -0.050 to +0.010); u +0.090 and +0.010" in said
    assert said.endswith("in 1 of 2; elsewhere nothing says that words were learnt.")
    assert sentences.beyond_seen(pd.DataFrame(rows[1:], columns=claims.BEYOND)).endswith("in 1 of 1.")
    nowhere = sentences.beyond_seen(pd.DataFrame(rows[:1], columns=claims.BEYOND))
    assert nowhere.endswith("The first is larger, beyond chance, nowhere: nothing says that words were learnt.")
    assert sentences.beyond_seen(pd.DataFrame(columns=claims.BEYOND)) == ""


def test_fits_whose_last_look_was_the_best(tmp_path):
    profile = {"tasks": [{"name": "a", "kind": "ner"}, {"name": "b", "kind": "ner"}], "ner": {"epochs": 3}}
    assert limitations.cut_short(tmp_path, profile) == ""
    for task, looks in (("a", [3, 2, None]), ("b", [3, 1, 3])):
        (tmp_path / "predictions" / task).mkdir(parents=True)
        pd.DataFrame({"best_look": looks}).to_csv(tmp_path / "predictions" / task / "fits.csv", index=False)
    assert limitations.cut_short(tmp_path, profile).startswith("In 3 of 5 fits the last look at dev was the best")
    assert limitations.cut_short(tmp_path, profile, least=0.5)
    assert limitations.cut_short(tmp_path, profile, least=0.6) == ""


def test_few_patients_to_choose_on_are_told(tmp_path):
    names = [("a", "screening", True), ("b", "screening", True), ("c", "ner", True), ("d", "screening", False)]
    profile = {"tasks": [dict(zip(("name", "kind", "trained"), values, strict=True)) for values in names]}
    (tmp_path / "corpora").mkdir()
    rows = [(task, part, gold) for task, gold in zip("abcd", (49, 50, 3, 4), strict=True) for part in ("dev", "test")]
    pd.DataFrame(rows, columns=["task", "part", "gold"]).to_csv(tmp_path / "corpora" / "tasks.csv", index=False)
    assert limitations.few_positives(tmp_path, profile).endswith("on few dev patients with the condition: 49 in a.")


def test_medical_text_from_where_a_task_comes_from_is_told():
    profile = settings.load("replica").model_dump()
    said = limitations.of_one_source(profile)
    assert said.endswith(": ro_monero_train with MoNERo (its training texts), es_cantemist_background with CANTEMIST.")
    assert limitations.of_one_source(settings.load("smoke").model_dump()) == ""


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"low": -0.0091, "high": 0.01}, "The interval leaves out gains above 0.010 and losses beyond 0.009."),
        ({"low": 0.0, "high": 0.01}, "The interval leaves out gains above 0.010 and losses beyond 0.000."),
        ({"low": 0.0, "high": 0.0, "difference": 0.0}, "All compared scores are the same."),
        ({"low": 0.001, "high": 0.01}, "Zero lies outside the interval, but corrected for"),
        ({"low": 0.001, "high": 0.01, "verdict": "supported"}, ""),
        ({"difference": None, "verdict": "not testable here"}, ""),
    ],
)
def test_what_an_interval_leaves_out(claim, said):
    found = sentences.left_out({"verdict": "inconclusive", "difference": 0.005} | claim)
    assert found.startswith(said) and bool(found) == bool(said)


def test_alignment_orders_pairs_by_distance():
    rows = [("base", "es", "nl", 0.1, 0.07, 0.02, 0.01, 0.195), ("base", "es", "ro", 0.5, 0.06, 0.04, 0.01, 0.098)]
    columns = ["arm", "one", "other", "cka", "cka_chance", "retrieval", "chance", "distance"]
    said = sentences.alignment(pd.DataFrame(rows, columns=columns))
    nearer = "Romanian 0.50 (paired at random 0.06; syntactic distance 0.098)"
    assert said.index(nearer) < said.index("Dutch 0.10 (paired at random 0.07; syntactic distance 0.195)")
    assert "at most 4.0% of cases (Base, Spanish and Romanian; by chance 1.0%)" in said


def test_worth_says_saved_or_costs():
    columns = ["task", "arm", "control", "items", "saved", "low", "high", "bounded"]
    rows = [("ner_ro", "clinical", "general", 60, 40.4, 10, 42, True)]
    rows.append(("monero", "base", "general", 60, -5, -9, 3, False))
    said = sentences.worth(pd.DataFrame(rows, columns=columns))
    known = "(interval +10 to +42; the shares tried can show no more)"
    assert f"saves at least 40 of 60 labelled items against general text {known}" in said
    assert "On MoNERo base adaptation is not shown to save any: −5 of 60 labelled items" in said
    costs = pd.DataFrame([("monero", "base", "general", 60, -5, -9, -3, False)], columns=columns)
    assert "On MoNERo base adaptation costs 5 of 60" in sentences.worth(costs)
    assert sentences.worth(pd.DataFrame(columns=columns)) == ""
    certain = pd.DataFrame([("ner_ro", "clinical", "general", 60, 28, 28, 28, True)], columns=columns)
    assert sentences.worth(certain).endswith("against general text (the shares tried can show no more).")


def test_what_no_arm_beats_is_told():
    columns = ["task", "test", "arm", "seed", "split", "label", "metric", "value"]
    rows = [
        ("t", "t", arm, seed, "test", "all", "f1", v) for arm, seed, v in (("base", 1, 0.3), ("dictionary", 0, 0.5))
    ]
    rows += [("s", "s", arm, 1, "test", "all", "auprc", v) for arm, v in (("base", 0.6), ("words", 0.5))]
    said = sentences.below_baseline(pd.DataFrame(rows, columns=columns))
    assert said.startswith("No arm beats the baseline on t 0.300 (Base) against 0.500 (dictionary look-up): ")
    assert sentences.below_baseline(pd.DataFrame(rows[2:], columns=columns)) == ""
    rows[3] = (*rows[3][:-1], 0.6)
    assert sentences.below_baseline(pd.DataFrame(rows[2:], columns=columns)).endswith(
        "no compared arm does better there."
    )


def test_arms_beside_their_base_on_the_tasks_that_both_have():
    columns = ["task", "test", "split", "label", "metric", "arm", "value"]
    scores = [
        ("a", "base", 0.2),
        ("a", "base", 0.4),
        ("a", "clinical", 0.5),
        ("b", "clinical", 0.9),
        ("b", "general", 0.1),
    ]
    scores += [("a", "dictionary", 0.9), ("c", "base", 0.1), ("c", "general", 0.05)]
    rows = [(task, task, "test", "all", "f1", arm, value) for task, arm, value in scores]
    said = sentences.beside_base(pd.DataFrame(rows, columns=columns), "base")
    assert "Beside Base as it is: on a Clinical +0.200; on c General (control) -0.050. " in said
    assert sentences.beside_base(pd.DataFrame(rows[:2], columns=columns), "base") == "", "nothing beside it"
    assert sentences.beside_base(pd.DataFrame(rows[2:5], columns=columns), "base") == ""


def test_random_weights_are_told_where_they_do_as_well_as_the_base():
    columns = ["task", "test", "split", "label", "metric", "arm", "value"]
    scores = [("a", "base", 0.2), ("a", "base", 0.4), ("a", "drawn", 0.32), ("a", "clinical", 0.1)]
    scores += [("b", "base", 0.31), ("b", "drawn", 0.3), ("b", "dictionary", 0.9), ("c", "drawn", 0.5)]
    table = pd.DataFrame([(t, t, "test", "all", "f1", arm, value) for t, arm, value in scores], columns=columns)
    said = sentences.beside_random(table, ["base", "clinical"])
    assert said == "Random weights do as well as the base on a (0.320 against 0.300): its reading is no help there."
    assert sentences.beside_random(table, ["base", "drawn", "clinical"]) == "", "all of them have read"
    assert sentences.beside_random(table, []) == ""


def test_probes_name_the_best_arm_and_layer():
    columns = ["task", "arm", "layer", "macro_f1", "chance"]
    rows = [("t", "general", 0, 0.3, 0.2), ("t", "general", 1, 0.4, 0.2), ("t", "clinical", 0, 0.5, 0.2)]
    said = sentences.probes(pd.DataFrame([*rows, ("t", "clinical", 1, 0.6, 0.2)], columns=columns), control="general")
    assert "best off layer 1 of 1 of Clinical (0.60 macro F1" in said
    assert said.endswith("chance 0.20; the highest of 4); off General (control) 0.40, at layer 1.")
    rows += [("s", "general", 0, 0.6, 0.2), ("s", "general", 1, 0.2, 0.2)]  # each task best off another layer
    said = sentences.probes(pd.DataFrame(rows, columns=columns), control="general")
    assert said.endswith(
        "off layer 0 of 1 of Clinical (0.50 macro F1, mean of the tasks; chance 0.20; the highest of 3); "
        "off General (control) 0.45, at layer 0."
    )
    said = sentences.probes(pd.DataFrame(rows[:2], columns=columns), control="general")
    assert said.endswith("of General (control) (0.40 macro F1, mean of the tasks; chance 0.20; the highest of 2).")
    assert sentences.probes(pd.DataFrame(columns=columns), control="general") == ""


def test_text_read_is_that_of_the_compared_arms():
    sizes = {"a": (2e6, 1e6, 5e5), "b": (3e6, 3e6, 3e6), "base": (0, 0, 0)}
    columns = ("name", "arm", "read", "different", "new")
    arms = [dict(zip(columns, (n, n.upper(), *found), strict=True)) for n, found in sizes.items()]
    said = cards.read_by(arms, [{"arm": "a", "against": "base"}, {"arm": "a", "against": "dictionary"}])
    assert said.endswith(
        "read in adaptation (different ones; of these new in this run to the arm): A 2.00 (1.00; 0.50)."
    )
    assert cards.read_by(arms, [{"arm": "base", "against": "dictionary"}]) == ""


def test_text_that_an_arm_reads_again_is_not_new_to_it(tmp_path):
    read = {"base": [("general", "nl", 90, 90, 90)], "general": [("general", "nl", 60, 60, 0)]}
    read["more"] = [("general", "nl", 150, 100, 10), ("clinical", "nl", 40, 20, 20)]
    read["later"] = [("clinical", "nl", 30, 30, 10)]
    for arm, rows in read.items():
        table = pd.DataFrame(rows, columns=["domain", "language", "tokens read", "different", "new"])
        (tmp_path / arm).mkdir()
        table.assign(passes=table["tokens read"] / table["different"]).to_csv(tmp_path / arm / "mixture.csv")
    parents = {"base": "", "general": "base", "more": "base", "later": "more"}
    listed = [
        {"name": name, "parent": parent, "copies": 1, "random_weights": False} for name, parent in parents.items()
    ]
    assert cards.models(tmp_path, listed) == [], "made by a version that did not note what is new"
    for arm in parents:
        (tmp_path / arm / "read.json").write_text("{}")
    arms = cards.models(tmp_path, listed)
    found = {arm["name"]: (arm["different"], arm["new"], arm["in_all"]) for arm in arms}
    assert found == {"base": (90, 90, 90), "general": (60, 0, 150), "more": (120, 30, 280), "later": (30, 10, 310)}
    drawn = cards.models(tmp_path, [*listed[:1], {**listed[0], "parent": "base", "random_weights": True}])[1]
    assert (drawn["parent"], drawn["in_all"]) == ("random weights", 90), "nothing of what its parent has read"
    said = "Arms read their text unequally often. Word pieces read for each one new to the model: "
    assert cards.read_again(arms) == f"{said}General (control) nothing new, more 6.3; others 3.0."
    assert cards.read_again(arms[:2]) == cards.read_again(arms[:1]) == "", "one has no equal, and a base no parent"


def test_a_zero_has_no_sign_and_a_source_its_version():
    assert [paper._number(value) for value in (-0.0004, 0.0, 0.0005, -0.25)] == ["0.000", "0.000", "+0.001", "−0.250"]
    one = {"url": "https://github.com/o/r", "version": "0123456789abcdef", "licence": "MIT", "tree_sha256": "x"}
    assert paper._sources({"s": one})["rows"] == [["s", "o/r", "0123456789ab", "MIT"]]

"""The analyses behind C4 on cases worked by hand, and by their invariances."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from common.project import Mistake
from evidence import analysis, tables
from evidence.scores import NER
from helpers import models, transfer


def test_distances_are_symmetric_and_known():
    assert analysis.distance("nl", "ro") == analysis.distance("ro", "nl") == 0.22
    assert (analysis.distance("nl", "es"), analysis.distance("es", "ro"), analysis.distance("es", "es")) == (
        0.195,
        0.098,
        0,
    )
    with pytest.raises(Mistake, match=r"'sv': data/distances.yaml has no 'nl-sv', only es-nl"):
        analysis.distance("nl", "sv")


def test_word_counts_keep_case_and_leave_numbers_out():
    words = {"De": 1, "de": 1, "hond": 1, "katten": 1, "DE": 1, "x": 1}
    assert analysis.word_counts(["De hond, de 3 katten.", "DE x2"]) == words


def test_vocabulary_overlap_anchors():
    counts = {
        name: Counter(text.split()) for name, text in (("a", "x x x y y z"), ("b", "x x x z z w"), ("c", "q r s"))
    }
    two, three = (analysis.vocabulary_overlap(counts, words=words) for words in (2, 3))
    assert two.loc["a", "a"] == 1
    assert two.loc["a", "c"] == 0
    assert two.loc["a", "b"] == 0.5  # {x, y} and {x, z}
    assert three.loc["b", "a"] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(two, two.T)
    levelled = analysis.vocabulary_overlap({"a": Counter({"X": 1, "x": 1, "y": 1}), "b": Counter({"x": 5})}, words=1)
    assert levelled.loc["a", "b"] == 1
    short = analysis.vocabulary_overlap({"a": counts["a"], "b": Counter({"x": 5})}, words=3)
    assert short.loc["a", "b"] == 1, "of the words that the shorter list has"
    equal = analysis.vocabulary_overlap({"a": Counter("cab"), "b": Counter({"a": 1})}, words=1)
    assert equal.loc["a", "b"] == 1, "of equals the first in the alphabet"
    figures = analysis.vocabulary_overlap(counts | {"d": Counter()}, words=2)
    assert figures.loc["d"].isna().all() and figures.loc["a", "b"] == 0.5


def test_fertility_weighs_words_by_occurrence():
    counts = Counter({"hond": 3, "maagzweer": 1})
    assert analysis.fertility(counts, lambda word: [word]) == 1
    assert analysis.fertility(counts, list) == pytest.approx((3 * 4 + 9) / 4)
    assert np.isnan(analysis.fertility(Counter(), list)), "a corpus of figures"


def test_found_in_text_wants_whole_words():
    mentions = ["Diabet  zaharat", "renal", "asma", "IL-2"]
    texts = ["Pacient cu DIABET\nzaharat tip 2", "suprarenal, il-2 crescut", "plasma"]
    assert analysis.found_in_text(mentions, texts) == {"diabet zaharat", "il-2"}
    assert analysis.found_in_text([], texts) == set()
    assert analysis.found_in_text(mentions, []) == set()


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3)), st.lists(st.lists(st.sampled_from("abcd"))))
def test_found_in_text_equals_searching_each(mentions, texts):
    mentions, texts = ([" ".join(words) for words in side] for side in (mentions, texts))
    expected = {mention for mention in mentions if any(f" {mention} " in f" {text} " for text in texts)}
    assert analysis.found_in_text(mentions, texts) == expected


def test_recall_by_group_by_hand():
    rows = [(i, f"m{i}", kind) for i in range(5) for kind in ("gold", "predicted") if kind == "gold" or i in (0, 1, 3)]
    frame = pd.DataFrame(
        [("t", "t", "a", 1, "ro", "d", 10 * i, 10 * i + 3, "X", text, kind) for i, text, kind in rows], columns=NER
    )
    table = analysis.recall_by_group(frame, train={"m0", "m1"}, adaptation={"m1", "m2", "m3"}).set_index("group")
    assert table["gold"].to_dict() == {"in training set": 2, "in medical text": 2, "in neither": 1}
    assert table["recall"].to_dict() == {"in training set": 1, "in medical text": 0.5, "in neither": 0}
    assert table["gold"].sum() == (frame["kind"] == "gold").sum()


def test_cka_is_invariant_and_anchored():
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(60, 8)), generator.normal(size=(60, 5))
    turn = ortho_group.rvs(8, random_state=2)
    assert analysis.cka(x, x) == pytest.approx(1)
    assert analysis.cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert analysis.cka(5 * x @ turn, y - 2) == pytest.approx(analysis.cka(x, y))
    assert analysis.cka(x, y) == pytest.approx(analysis.cka(y, x))
    assert analysis.cka(x, x @ generator.normal(size=(8, 8))) < 0.999  # not invariant to any linear map
    # Orthogonal, centred columns have nothing in common.
    assert analysis.cka(np.array([[1.0], [-1], [1], [-1]]), np.array([[1.0], [1], [-1], [-1]])) == pytest.approx(0)
    # One column each: the squared correlation.
    assert analysis.cka(x[:, :1], y[:, :1]) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2)


def test_cka_equals_the_kernel_formula():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(30, 4)), generator.normal(size=(30, 6))
    centre = np.eye(30) - 1 / 30
    k, m = (centre @ (v @ v.T) @ centre for v in (x, y))
    assert analysis.cka(x, y) == pytest.approx(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


def test_cka_edges():
    assert np.isnan(analysis.cka(np.ones((4, 2)), np.eye(4)))
    with pytest.raises(ValueError, match="4 and 3 rows"):
        analysis.cka(np.eye(4), np.eye(3))


def test_retrieval_anchors():
    x = np.eye(4)
    assert analysis.retrieval(x, 5 * x) == {"forward": 1, "backward": 1, "mean": 1, "chance": 0.25}
    assert analysis.retrieval(x, x[[1, 2, 3, 0]])["mean"] == 0
    # Collapsed vectors are all alike: no hit.
    assert analysis.retrieval(np.ones((4, 3)), np.ones((4, 3)))["mean"] == 0
    # y[0] and y[1] both point to x[0]: forward x[0] ties, x[1] has no partner, x[2] hits; backward y[0], y[2] hit.
    y = np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]])
    found = analysis.retrieval(np.eye(3), y)
    assert (found["forward"], found["backward"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    with pytest.raises(ValueError, match="3 and 4 rows"):
        analysis.retrieval(np.eye(3), x)


def test_associations_anchors():
    table = pd.DataFrame({"a": [1.0, 2, 3, 4, np.nan], "b": [2.0, 4, 6, 8, 1], "c": [1.0, 4, 9, 16, 2], "d": 1.0})
    found = analysis.associations(table, pairs=[("a", "b"), ("a", "c"), ("a", "d")])
    assert found["n"].tolist() == [4, 4, 4]
    assert found.loc[0, "pearson"] == pytest.approx(1)
    assert found.loc[1, "pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 4, 9, 16])[0, 1])
    assert found.loc[1, "spearman"] == pytest.approx(1)
    assert np.isnan(found.loc[2, "pearson"])


def test_two_points_make_no_association():
    found = analysis.associations(pd.DataFrame({"a": [1.0, 2, np.nan], "b": [2.0, 4, 1]}), pairs=[("a", "b")])
    assert found["n"].tolist() == [2] and found[["pearson", "spearman"]].isna().all(axis=None)


def test_gains_by_hand():
    losses = pd.DataFrame(
        [("t", "general", 3.0), ("t", "clinical", 2.5), ("u", "clinical", 1.0)], columns=["task", "arm", "loss"]
    )
    rows = [
        ("t", "t", arm, s, value)
        for arm, pair in (("general", (0.5, 0.7)), ("clinical", (0.6, 0.8)))
        for s, value in enumerate(pair)
    ]
    rows += [("t", "u", "clinical", 0, 0.1), ("u", "u", "clinical", 0, 0.9)]
    metrics = pd.DataFrame(rows, columns=["task", "test", "arm", "seed", "value"]).assign(
        split="test", label="all", metric="f1"
    )
    found = analysis.gains(losses, metrics, control="general")
    assert found[["task", "arm"]].values.tolist() == [["t", "clinical"]]
    assert found[["loss_gain", "score_gain"]].values.tolist() == [pytest.approx([0.5, 0.1])]
    with pytest.raises(Mistake, match="control arm 'base'"):
        analysis.gains(losses, metrics, control="base")


def test_labels_in_common_and_tests_between_languages(tmp_path):
    specs = [
        {"name": "a", "kind": "ner", "language": "ro", "common": {"DRUG": "CHEM", "GENE": "CHEM", "SIGN": "DISO"}},
        {"name": "b", "kind": "ner", "language": "es", "common": {"CHEM": "CHEM"}},
        {"name": "c", "kind": "screening", "language": "nl", "common": {}},
    ]
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/tasks.json").write_text(json.dumps(specs))
    table = tables.mapping(tmp_path)
    assert table.to_dict("index") == {"CHEM": {"a": "DRUG, GENE", "b": "CHEM"}, "DISO": {"a": "SIGN", "b": ""}}
    rows = [
        ("a", test, arm, 1, "f1", value) for test, arm, value in (("a", "x", 0.5), ("b", "x", 0.2), ("b", "x", 0.4))
    ]
    metrics = pd.DataFrame(rows, columns=["task", "test", "arm", "seed", "metric", "value"])
    found = transfer.between(tmp_path, metrics.assign(split="test", label="all"))
    columns = ["task", "test", "distance", "arm", "value"]
    assert found[columns].round(3).to_numpy().tolist() == [["a", "a", 0, "x", 0.5], ["a", "b", 0.098, "x", 0.3]]
    assert found["there"].isna().all(), "b is no task that a model was fine-tuned on"
    # Two seeds on b: both find one of the two shared mentions, the second one also a false one.
    mentions = [("d", 0, 3, "CHEM", "gold"), ("d", 5, 8, "CHEM", "gold"), ("d", 9, 12, "OTHER", "gold")]
    mentions += [("d", 0, 3, "CHEM", "predicted"), ("d", 9, 12, "OTHER", "predicted")]
    place = tmp_path / "predictions/b/x"
    place.mkdir(parents=True)
    for seed, more in ((1, []), (2, [("d", 20, 22, "CHEM", "predicted")])):
        fit = pd.DataFrame(mentions + more, columns=["document", "start", "end", "label", "kind"])
        fit = fit.assign(task="b", test="b", arm="x", seed=seed, language="es", text="")
        fit.to_parquet(place / f"seed-{seed}.parquet")
    (place.parent / "fits.csv").write_text("arm,seed\nx,1\nx,2\n")
    again = pd.concat([metrics, pd.DataFrame([("b", "b", "x", 1, "f1", 0.6)], columns=metrics.columns)])
    found = transfer.between(tmp_path, again.assign(split="test", label="all"))
    assert found.loc[found["task"] != found["test"], "there"].tolist() == [pytest.approx((2 / 3 + 1 / 2) / 2)]
    (tmp_path / "corpora/tasks.json").write_text(json.dumps(specs[2:]))
    assert tables.mapping(tmp_path).empty


def test_primary_scores_are_those_of_a_tasks_own_test():
    columns = ["task", "test", "arm", "split", "label", "metric", "value"]
    kept = [("n", "n", "x", "test", "all", "f1", 0.1), ("s", "s", "x", "test", "all", "auprc", 0.2)]
    other = [("n", "m", "x", "test", "all", "f1", 1), ("n", "n", "x", "test", "CHEM", "f1", 1)]
    other += [("n", "n", "x", "test", "all", "recall", 1), ("s", "s", "x", "test", "all", "f1", 1)]
    other += [("s", "s", "x", "dev", "all", "auprc", 1)]
    found = tables.primary(pd.DataFrame(other + kept, columns=columns))
    assert [tuple(row) for row in found.to_numpy()] == kept
    assert tables.primary(pd.DataFrame(columns=columns)).empty


def test_sizes_of_test_sets_in_words(tmp_path):
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/tasks.csv").write_text(
        "task,part,items,gold\nmonero,train,9,9\nmonero,test,1491,9\nx_y,test,2,1\n"
    )
    assert tables.tested(tmp_path, ["x_y", "monero"]) == "Test items: MoNERo 1,491; x y 2."
    assert tables.tested(tmp_path, {"monero"}) == "Test items: MoNERo 1,491."


@pytest.mark.parametrize(("rows", "firsts"), [(3, [0, 16, 36]), (2, [0, 36]), (1, [0]), (99, range(0, 40, 4))])
def test_rows_for_the_loss_are_from_all_over_the_text(rows, firsts):
    texts = [range(0, 7), [], range(7, 42)]  # ten rows of four, and two pieces over
    found = transfer.spread(texts, rows, 4)
    assert found.tolist() == [[*range(first, first + 4)] for first in firsts]


def test_terms_that_differ_in_case_only_are_no_translation(tmp_path):
    rows = [
        ("a", "nl", "koorts"),
        ("a", "es", "fiebre"),
        ("b", "nl", "Virus"),
        ("b", "es", "virus"),
        ("c", "nl", "pijn"),
    ]
    (tmp_path / "corpora").mkdir()
    path = tmp_path / "corpora" / "terms.csv"
    pd.DataFrame(rows, columns=["concept", "language", "term"]).to_csv(path, index=False)
    assert transfer.parallel_terms(tmp_path, 9).to_dict("list") == {"es": ["fiebre"], "nl": ["koorts"]}


def test_a_terms_vector_is_the_mean_of_its_own_pieces():
    """Not of the marks around it, and of no padding: a model whose hidden states are the pieces' numbers."""

    class Numbers:
        device = torch.device("cpu")

        def base_model(self, input_ids, attention_mask):
            return (input_ids[..., None].float(),)

    tokenizer = models.train_tokenizer(["ab cd"] * 2, 40)
    terms = ["ab", "ab cd cd"]
    pieces = [tokenizer(term, add_special_tokens=False)["input_ids"] for term in terms]
    found = transfer.term_vectors(Numbers(), tokenizer, terms)
    assert found[:, 0] == pytest.approx([np.mean(of) for of in pieces])


def test_a_text_that_fills_no_row_gives_none():
    assert transfer.spread([[1, 2]], 5, 4).shape == (0, 4)

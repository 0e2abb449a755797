"""What an arm reads: its texts by their weights, from where its parents stopped, new text before old."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.project import Mistake
from helpers import models, packing, pretraining
from texts.documents import Document, write_jsonl

LENGTH = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two corpora of different sizes, and its tokenizer; no two rows of them are equal."""
    folder, generator = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    for name, words in (("general-nl", 2000), ("clinical-nl", 300)):
        text = " ".join("".join(generator.choice([*"abcdefghij"], 6)) for _ in range(words))
        write_jsonl(folder / f"corpora/{name}.jsonl", [Document("1", "nl", text)])
    return folder, models.train_tokenizer(["abcdefghij"] * 2, 40)


def rows_of(mixture: packing.Mixture) -> list[bytes]:
    return [row.tobytes() for row in mixture.read(range(len(mixture.order)))] if len(mixture.order) else []


@given(st.lists(st.tuples(st.integers(1, 700), st.integers(1, 3)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_new_text_is_read_before_old(run, generations):
    """Against sets of rows: what a line of arms has read, one arm after the other."""
    folder, tokenizer = run
    known, before, whole = set(), {}, len(packing.packed(folder, "general-nl", tokenizer, LENGTH, 10**6))
    for number, (count, passes) in enumerate(generations):
        mixture = packing.Mixture(
            folder, {"general": {"nl": 1}}, tokenizer, count, LENGTH, number, before, passes=passes
        )
        read = rows_of(mixture)
        row = mixture.table(1).iloc[0]
        assert (row["tokens read"], row["different"]) == (len(read) * LENGTH, len(set(read)) * LENGTH)
        pool = min(whole, -(-count // passes) + 1)
        assert pool - 1 <= len(set(read)) <= pool
        # A row that rounding left out counts as gone through, though no arm has read it.
        assert 0 <= len(set(read) - known) - row["new"] / LENGTH <= number
        assert row["new"] / LENGTH >= min(len(set(read)), whole - before.get("general-nl", 0)) - 1
        known, before = known | set(read), {**before, **mixture.until}


def test_a_corpus_that_the_run_lacks_is_named(run):
    folder, tokenizer = run
    with pytest.raises(Mistake, match="there is no corpus legal-nl; the run has clinical-nl, general-nl$"):
        packing.Mixture(folder, {"general": {"nl": 1}, "legal": {"nl": 1}}, tokenizer, 100, LENGTH, 1)


def test_two_arms_of_one_parent_read_the_same_new_text(run):
    folder, tokenizer = run
    text = {"general": {"nl": 1}, "clinical": {"nl": 1}}
    parent = packing.Mixture(folder, {"general": {"nl": 1}}, tokenizer, 300, LENGTH, 1)
    one, other = (packing.Mixture(folder, text, tokenizer, 100, LENGTH, s, parent.until) for s in (2, 3))
    assert one.until == other.until == {"general-nl": 301 + 51, "clinical-nl": 51}
    assert one.table(1)["new"].tolist() == one.table(1)["tokens read"].tolist() == [50 * LENGTH] * 2
    assert one.table(7)["tokens read"].sum() == 98 * LENGTH, "14 whole batches of 100 rows"
    assert not set(rows_of(one)) & set(rows_of(parent))
    assert len(set(rows_of(one)) & set(rows_of(other))) >= 98, "but for the row that rounding leaves over"
    assert rows_of(one) != rows_of(other)


def test_an_arm_leaves_to_its_children_what_it_and_its_parents_went_through(run, monkeypatch):
    folder, tokenizer = run
    monkeypatch.setattr(pretraining.processes, "together", lambda *_, **__: (pretraining.pd.DataFrame(), {}))
    model, _ = models.start(
        {"architecture": "bert", "vocabulary": 40, "hub": "", "config": {"hidden_size": 8, "num_attention_heads": 1}},
        ["abcdefghij"],
        1,
    )
    monkeypatch.setattr(model, "load_state_dict", lambda _: None)
    before = {}
    for arm, domain in (("base", "general"), ("child", "clinical"), ("grandchild", "general")):
        mixture = packing.Mixture(folder, {domain: {"nl": 1}}, tokenizer, 100, LENGTH, 1, before)
        pretraining.adapt(folder, arm, model, mixture, {}, "card", batch_rows=1)
        before = packing.read_until(folder / "models" / arm)
    assert before == {"general-nl": 202, "clinical-nl": 101}
    with pytest.raises(Mistake, match="older has no read.json"):
        packing.read_until(folder / "models" / "older")

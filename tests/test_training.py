"""The loop: the same weights whether or not it was stopped, and the rate, masks, packing and windows it stands on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import pretraining, tokens, training, windows
from texts.documents import Document, write_jsonl

TINY = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
BASE = {
    "architecture": "modernbert",
    "vocabulary": 200,
    "vocabulary_from": ["general"],
    "config": TINY,
    "hub": "",
    "revision": "",
    "folder": "",
}
VALUES = {
    "batch_rows": 4,
    "learning_rate": 1e-3,
    "warmup_share": 0.1,
    "masking_rate": 0.15,
    "evaluations": 2,
    "seed": 3,
}
TEXT = {"general": {"nl": 1.0, "es": 1.0}}


@pytest.fixture
def run(tmp_path):
    generator = np.random.default_rng(0)
    for language in ("nl", "es"):
        words = [f"{language}{a}{b}" for a in "bcdfg" for b in "aeiou"]
        documents = [Document(f"{language}-{i}", language, " ".join(generator.choice(words, 30))) for i in range(60)]
        write_jsonl(tmp_path / f"corpora/general-{language}.jsonl", documents[:50])
        write_jsonl(tmp_path / f"corpora/general-{language}.heldout.jsonl", documents[50:])
    return tmp_path


def adapted(run, arm, **changes):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    rows = pretraining.Rows(run, arm, TEXT, tokenizer, 120, 32, 3)
    heldout = pretraining.heldout_rows(run, arm, tokenizer, 32, 8)
    history = pretraining.adapt(run, arm, model, rows, heldout, "card", **VALUES, checkpoint_seconds=0, **changes)
    return {k: v.detach().clone() for k, v in model.state_dict().items()}, history


def test_a_stopped_run_ends_with_the_same_weights(run, monkeypatch):
    whole, curve = adapted(run, "whole")
    steps = 0
    real = training._save

    def stop(*arguments):
        nonlocal steps
        real(*arguments)
        steps += 1
        if steps == 13:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        adapted(run, "stopped")
    monkeypatch.setattr(training, "_save", real)
    ran = []
    monkeypatch.setattr(training, "_tell", lambda state, *_: ran.append(state["step"]))
    again, curve_again = adapted(run, "stopped")
    assert ran[0] == 14
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert curve.equals(curve_again)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[1]


def test_a_finished_arm_is_not_trained_again(run, monkeypatch):
    adapted(run, "arm")
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    adapted(run, "arm")


def test_packed_texts_do_not_see_each_other(run):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    alone = tokenizer("nlba nlce")["input_ids"]
    other = tokenizer("esba esce")["input_ids"]
    swapped = tokenizer("esdu esga")["input_ids"][: len(other)]
    device = training.accelerator()
    found = []
    for second in (other, swapped):
        ids = np.array([alone + second])
        text, position = tokens.segments(ids, tokenizer.cls_token_id)
        attention = torch.from_numpy(text[:, None, :, None] == text[:, None, None, :])
        with torch.no_grad(), training.computing(device):
            hidden = model.base_model(
                torch.from_numpy(ids), attention_mask=attention, position_ids=torch.from_numpy(position)
            )
        found.append(hidden[0][0, : len(alone)])
    assert torch.equal(*found)
    assert position[0].tolist() == [*range(len(alone)), *range(len(other))]


def test_masked_loss_equals_the_model_s_own(run):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    ids = np.array([tokenizer("nlba nlce nlda nlfo nlgu nlba nlco")["input_ids"]])
    masked = pretraining.batch(ids, tokenizer, 0.5, np.random.default_rng(1))
    own = model(input_ids=masked["ids"], labels=masked["labels"]).loss
    ours = pretraining.masked_loss(model, masked)
    assert torch.allclose(own, ours, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3, 0.5])
def test_mask_rate_and_its_three_fates(share):
    ids = np.random.default_rng(0).integers(0, 1000, (1000, 200))
    special = np.arange(5)
    inputs, labels = tokens.mask(ids, special, 4, 1000, share, np.random.default_rng(7))
    chosen = labels != tokens.UNSCORED
    assert not chosen[ids < 5].any()
    assert np.array_equal(inputs[~chosen], ids[~chosen]) and np.array_equal(labels[chosen], ids[chosen])
    assert abs(chosen[ids >= 5].mean() - share) < 0.01
    masked = inputs[chosen] == 4
    same = inputs[chosen] == ids[chosen]
    assert abs(masked.mean() - 0.8) < 0.01 and abs(same.mean() - 0.1) < 0.01
    random = inputs[chosen][~masked & ~same]
    assert random.min() >= 5 and random.max() > 990


def test_mixture_gives_each_store_its_share_and_reads_small_ones_again():
    order = tokens.mixture([10, 1000], [1, 3], 400, seed=5)
    assert (order[:, 0] == 0).sum() == 100
    assert np.bincount(order[order[:, 0] == 0, 1]).tolist() == [10] * 10
    large = order[order[:, 0] == 1, 1]
    assert len(set(large)) == len(large) == 300
    assert np.array_equal(order, tokens.mixture([10, 1000], [1, 3], 400, seed=5))


def test_rate_rises_and_falls_as_worked_by_hand(tmp_path):
    plan = training.Plan(10, 1.0, 0.2, 0, 1, 0, tmp_path / "x", "", 9, 1)
    assert [round(training.rate(s, plan), 4) for s in (0, 1, 2, 6, 9)] == [0.5, 1.0, 1.0, 0.5, 0.125]


@given(st.integers(0, 400), st.integers(1, 60), st.data())
def test_windows_cover_every_piece_and_own_every_word_once(count, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    spans = windows.split(count, length, overlap)
    covered = np.zeros(count, int)
    for begin, end in spans:
        assert 0 <= begin <= end <= count and end - begin <= length
        covered[begin:end] += 1
    assert (covered > 0).all()
    if count:
        owner = windows.owners(np.arange(count), spans)
        assert all(spans[w][0] <= piece < spans[w][1] for piece, w in enumerate(owner))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_s_batches_hold_every_item_once(lengths, size, seed):
    made = windows.batches(lengths, size, [seed])
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    assert max(map(len, made)) <= size

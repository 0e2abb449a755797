"""The loop: the same weights whether or not it was stopped, and the rate, masks, packing and windows it stands on."""

import copy
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import get_linear_schedule_with_warmup

from common.project import Mistake
from engine import checkpoints, tokens, training, windows
from helpers import models, packing, pretraining
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
    "whole_words": False,
    "evaluations": 2,
    "seed": 3,
    "save_memory": False,
    "compiled": False,
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
    mixture = packing.Mixture(run, TEXT, tokenizer, 120, 32, 3)
    heldout = packing.heldout_rows(run, tokenizer, 32, 8)
    values = VALUES | {"checkpoint_seconds": 0, "processes": 1} | changes
    history = pretraining.adapt(run, arm, model, mixture, heldout, "card", **values)
    return {k: v.detach().clone() for k, v in model.state_dict().items()}, history


def stopped_after(saves, monkeypatch):
    """Make the checkpoint after so many saves the last thing that a training does."""
    real, count = checkpoints.save, iter(range(1, 10**6))

    def save(*arguments):
        real(*arguments)
        if next(count) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", save)
    return lambda: monkeypatch.setattr(checkpoints, "save", real)


def test_a_stopped_run_ends_with_the_same_weights(run, monkeypatch):
    whole, curve = adapted(run, "whole")
    go_on = stopped_after(13, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adapted(run, "stopped")
    assert [p.name for p in checkpoints._steps(run / "checkpoints/stopped")] == ["step-12", "step-13"]
    go_on()
    ran = []
    monkeypatch.setattr(training.Progress, "tell", lambda self, step, *_: ran.append(step))
    again, curve_again = adapted(run, "stopped")
    assert ran[0] == 14
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert curve.equals(curve_again)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[1]
    assert not (run / "checkpoints/stopped").exists()


def test_a_checkpoint_of_other_settings_is_not_taken(run, monkeypatch):
    go_on = stopped_after(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adapted(run, "arm")
    go_on()
    go_on, ran = stopped_after(2, monkeypatch), []
    monkeypatch.setattr(training.Progress, "tell", lambda self, step, *_: ran.append(step))
    with pytest.raises(KeyboardInterrupt):
        adapted(run, "arm", learning_rate=2e-3)
    go_on()
    adapted(run, "arm", learning_rate=2e-3)
    assert ran[:3] == [1, 3, 4]  # from the start, and after another stop from there


@pytest.mark.parametrize(("damaged", "first"), [(1, 13), (2, 1)])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(run, monkeypatch, capsys, damaged, first):
    whole, _ = adapted(run, "whole")
    go_on = stopped_after(13, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adapted(run, "stopped")
    for place, name in list(zip(("step-13", "step-12"), ("model", "optimizer"), strict=True))[:damaged]:
        file = run / "checkpoints/stopped" / place / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
    go_on()
    ran = []
    monkeypatch.setattr(training.Progress, "tell", lambda self, step, *_: ran.append(step))
    again, _ = adapted(run, "stopped")
    assert ran[0] == first
    assert capsys.readouterr().out.count(": damaged (") == damaged
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_weights_that_the_last_step_spoils_are_not_kept(run):
    with pytest.raises(FloatingPointError, match="weights are not finite after step 1; lower the learning rate"):
        adapted(run, "arm", learning_rate=float("inf"), batch_rows=120, evaluations=1)
    assert not (run / "models/arm/model.safetensors").exists()


def test_a_loss_that_is_not_finite_stops_at_once(run):
    with pytest.raises(FloatingPointError, match=r"loss or gradients of step \d+ are not finite at .*step-\d+"):
        adapted(run, "arm", learning_rate=1e30)


def test_a_gradient_that_is_not_finite_is_in_no_checkpoint(tmp_path):
    """With a loss that is finite: the way back is named that was written before."""
    model = torch.nn.Linear(4, 1)
    sizes = torch.tensor([1.0, 1.0, 0.0, 1.0])  # the root of 0 has no slope

    def loss(items):
        return (model.weight * sizes[items[0]]).square().sum().sqrt() + model.bias.sum(), 1

    about = {"patience": 0, "key": "k", "checkpoint_seconds": 0, "tokens_a_step": 1, "checkpoint": tmp_path / "c"}
    plan = training.Plan(learning_rate=0.01, warmup_share=0.0, seed=1, look_every=9, **about)
    with pytest.raises(FloatingPointError, match=r"gradients of step 2 are not finite .*step-2$"):
        training.train(model, training.Work(4, lambda step: [step], loss), plan, dict)
    kept = [load_file(place / "model.safetensors") for place in (tmp_path / "c").glob("step-*")]
    assert len(kept) == 2 and all(torch.isfinite(weights).all() for one in kept for weights in one.values())


def test_two_processes_learn_what_one_does(run, float32):
    _, one = adapted(run, "one", batch_rows=2, evaluations=60)
    _, two = adapted(run, "two", batch_rows=2, evaluations=60, processes=2)
    assert len(one) == 61
    np.testing.assert_allclose(one["loss"][1:], two["loss"][1:], atol=1e-4)
    heldout = [name for name in one if name not in ("step", "tokens", "loss")]
    np.testing.assert_allclose(one[heldout], two[heldout], atol=1e-4)  # whose rows they share
    assert heldout and one[heldout].notna().all(axis=None)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_gradients_do_not_depend_on_the_parts(run, float32, parts):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    mixture = packing.Mixture(run, TEXT, tokenizer, 120, 32, 3)
    found = []
    for count in (1, parts):
        one = training.Parts(pretraining._work(model, mixture, **VALUES), training.accelerator())
        one.parts = count
        model.zero_grad()
        loss, divisor = one.backward(model, range(7))
        found.append([loss, *(weight.grad / divisor for weight in model.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_saving_memory_changes_no_gradient(run, float32, architecture):
    model, tokenizer = pretraining.begin(run, "", BASE | {"architecture": architecture}, 3)
    mixture = packing.Mixture(run, TEXT, tokenizer, 120, 32, 3)
    found = []
    for save_memory in (False, True):
        training.place(model, training.accelerator(), save_memory=save_memory)
        assert model.is_activation_checkpointing == save_memory
        model.train()
        model.zero_grad()
        torch.manual_seed(1)  # of dropout
        training.Parts(pretraining._work(model, mixture, **VALUES), training.accelerator()).backward(model, range(7))
        found.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-8) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("size", [0.01, 10.0])  # of the gradients: one is not clipped, the other is
def test_memory_that_runs_out_halves_the_parts(run, size, capsys):
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 1)
    data = size * torch.randn(8, 3)

    def loss(items):
        if len(items) > 3:
            raise torch.OutOfMemoryError("too much")
        return model(data[list(items)]).square().sum(), len(items)

    work = training.Work(1, lambda step: range(8), loss)
    value, divisor = training.Parts(work, training.accelerator()).backward(model, range(8))
    found = [p.grad / divisor for p in model.parameters()]
    model.zero_grad()
    whole = model(data).square().mean()
    whole.backward()
    assert (torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) > 1) == (size > 1)
    assert value == pytest.approx(float(whole.detach()), rel=1e-5)
    assert all(torch.allclose(p.grad, ours) for p, ours in zip(model.parameters(), found, strict=True))
    assert "in 4 parts" in capsys.readouterr().out
    full = training.Work(1, lambda step: range(2), lambda items: loss(range(4)))
    with pytest.raises(torch.OutOfMemoryError, match=r"one item at a time; set compute\.save_memory: true"):
        training.Parts(full, training.accelerator()).backward(model, range(2))


def steps_of_both(folder, device="cpu"):
    """Weights of a toy after three steps of the loop, and of plain AdamW with clip_grad_norm_.

    One step's gradients are clipped, two are not: a factor that all steps share does nothing to Adam's.
    """
    torch.manual_seed(1)
    sizes = torch.tensor([0.01, 10, 0.02])[:, None, None]
    data, model = (sizes * torch.randn(3, 8, 40)).to(device), torch.nn.Linear(40, 1).to(device)
    other = copy.deepcopy(model)
    work = training.Work(3, lambda step: data[step], lambda items: (model(torch.stack(items)).square().sum(), 8))
    about = {"patience": 0, "checkpoint": folder / "toy", "key": "", "checkpoint_seconds": 1e9, "tokens_a_step": 8}
    plan = training.Plan(learning_rate=0.1, warmup_share=0.0, seed=1, look_every=3, **about)
    training.train(model, work, plan, dict)
    groups = [{"params": [other.weight], "weight_decay": 0.01}, {"params": [other.bias], "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=False)
    for step in range(3):
        for group in plain.param_groups:
            group["lr"] = training.rate(step, 3, plan)
        plain.zero_grad()
        other(data[step]).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        plain.step()
    return zip(model.parameters(), other.parameters(), strict=True)


def test_a_step_is_that_of_clipped_mean_gradients(run):
    for ours, theirs in steps_of_both(run):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_a_pass_held_is_gone_before_a_smaller_one_is_tried():
    """Memory runs out in the backward pass, whose graph holds all values of the batch."""
    held, alive = [], []

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(context, values):
            context.save_for_backward(values)
            return values.sum()

        @staticmethod
        def backward(context, gradient):
            (values,) = context.saved_tensors
            if len(values) > 2:
                raise torch.OutOfMemoryError("too much")
            return torch.ones_like(values) * gradient

    model = torch.nn.Linear(3, 1)

    def loss(items):
        alive.extend(reference() is not None for reference in held)
        values = model(torch.ones(len(items), 3)) * 1.0
        held.append(weakref.ref(values))
        return Full.apply(values), len(items)

    training.Parts(training.Work(1, lambda step: range(8), loss), training.accelerator()).backward(model, range(8))
    assert len(held) == 1 + 1 + 4 and not any(alive)


def test_held_out_losses_work_out_no_gradient(run, monkeypatch):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    rows = packing.heldout_rows(run, tokenizer, 16, 8).popitem()[1]
    made, whole = [], pretraining.loss_and_slope

    def told(*inputs):
        found = whole(*inputs)
        made.append(found[1] is not None)
        return found

    monkeypatch.setattr(pretraining, "loss_and_slope", told)
    assert pretraining.heldout_loss(model.eval(), tokenizer, rows) > 0
    masking = tokens.Masking(tokenizer, 0.15)
    keys = [[1, row] for row in range(len(rows))]
    masked = pretraining.batch(rows.astype(np.int64), keys, masking, tokenizer.cls_token_id)
    with_slope = pretraining.masked_loss(model, masked)
    with_slope.backward()
    with torch.no_grad():
        assert torch.equal(pretraining.masked_loss(model, masked), with_slope)
    assert made == [False, True, False]


def test_looks_leave_training_its_compiled_layers(run, monkeypatch):
    """torch.compile takes a few shapes of a function and then no more: held-out rows must not use them up."""
    graphs, compiler = [], torch.compile

    def kept(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **how: compiler(function, **how, backend=kept))
    pretraining.compiled_loss.cache_clear()
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    training.place(model, training.accelerator(), compiled=True)
    rows = packing.heldout_rows(run, tokenizer, 16, 8).popitem()[1].repeat(9, axis=0)
    for count in range(1, 6):
        assert pretraining.heldout_loss(model.eval(), tokenizer, rows[:count]) > 0
    assert graphs == []
    keys = [[1, row] for row in range(len(rows))]
    masked = pretraining.batch(rows.astype(int), keys, tokens.Masking(tokenizer, 0.15), tokenizer.cls_token_id)
    pretraining.masked_loss(model.train(), masked, compiled=True).backward()
    pretraining.compiled_loss.cache_clear()
    assert len(graphs) > BASE["config"]["num_hidden_layers"]


def test_held_out_text_that_fills_no_row_has_no_loss(run, capsys):
    model, tokenizer = pretraining.begin(run, "", BASE, 3)
    name, rows = packing.heldout_rows(run, tokenizer, 10**5, 8).popitem()
    assert rows.shape == (0, 10**5)
    assert f"no held-out loss: corpus {name}.heldout: the text fills no row of 100000" in capsys.readouterr().out
    assert np.isnan(pretraining.heldout_loss(model.eval(), tokenizer, rows))


def test_a_finished_arm_is_not_trained_again(run, monkeypatch):
    adapted(run, "arm")
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    adapted(run, "arm")
    heads = {**BASE["config"], "num_attention_heads": 1}  # which no weight tells
    monkeypatch.setitem(BASE, "config", heads)
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        adapted(run, "arm")


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_packed_texts_do_not_see_each_other(run, architecture, placed):
    """The loss of two texts in one row is that of each alone."""
    model, tokenizer = pretraining.begin(run, "", BASE | {"architecture": architecture}, 3)
    texts = [tokenizer(text)["input_ids"] for text in ("nlba nlce nlfo", "esba esce esdu")]
    both = pretraining.batch(
        np.array([sum(texts, [])]), [[1, 0]], tokens.Masking(tokenizer, 0.5), tokenizer.cls_token_id
    )
    assert both["positions"][0].tolist() == [*range(len(texts[0])), *range(len(texts[1]))]
    if placed:  # with the attention that training uses
        training.place(model, training.accelerator())
    alone = []
    for begin, end in ((0, len(texts[0])), (len(texts[0]), sum(map(len, texts)))):
        mine = (both["places"] >= begin) & (both["places"] < end)
        assert mine.any()
        part = {name: both[name][:, begin:end] for name in ("ids", "text", "positions")}
        part |= {"places": both["places"][mine] - begin, "targets": both["targets"][mine]}
        alone.append(float(pretraining.masked_loss(model, part).detach()))
    assert float(pretraining.masked_loss(model, both).detach()) == pytest.approx(sum(alone), abs=1e-4)


@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_masked_loss_equals_a_dense_head_in_double_precision(run, architecture):
    model, tokenizer = pretraining.begin(run, "", BASE | {"architecture": architecture}, 3)
    ids = np.array([tokenizer("nlba nlce nlda nlfo nlgu nlba nlco")["input_ids"]] * 2)
    masked = pretraining.batch(ids, [[1, 0], [1, 1]], tokens.Masking(tokenizer, 0.5), tokenizer.cls_token_id)
    labels = torch.full((ids.size,), tokens.UNSCORED)
    labels[masked["places"]] = masked["targets"]
    model = model.double()
    logits = model(input_ids=masked["ids"]).logits.flatten(0, 1)  # transformers' own loss is in single precision
    own = torch.nn.functional.cross_entropy(logits, labels, ignore_index=tokens.UNSCORED)
    ours = pretraining.masked_loss(model, masked) / len(masked["targets"])
    assert ours.item() == pytest.approx(own.item(), abs=1e-12)
    found = [torch.autograd.grad(loss, list(model.parameters()), allow_unused=True) for loss in (own, ours)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True) if a is not None)
    after = model(input_ids=masked["ids"]).logits.flatten(0, 1)
    assert torch.equal(after, logits)  # what the loss left out is worked out again for who asks for it


def test_layers_that_see_near_places_only_do_so_in_packed_rows(run):
    near = TINY | {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"], "local_attention": 4}
    model, tokenizer = pretraining.begin(run, "", BASE | {"config": near}, 3)
    ids = np.array([tokenizer("nlba nlce nlda nlfo nlgu nlba nlco nlba nlce nlda")["input_ids"]])
    masked = pretraining.batch(ids, [[1, 0]], tokens.Masking(tokenizer, 0.5), tokenizer.cls_token_id)
    labels = torch.full((ids.size,), tokens.UNSCORED)
    labels[masked["places"]] = masked["targets"]
    logits = model.double()(input_ids=masked["ids"]).logits.flatten(0, 1)
    own = torch.nn.functional.cross_entropy(logits, labels, ignore_index=tokens.UNSCORED, reduction="sum")
    assert pretraining.masked_loss(model, masked).item() == pytest.approx(own.item(), abs=1e-10)
    training.place(model, training.accelerator())
    assert pretraining.masked_loss(model, masked).item() == pytest.approx(own.item(), abs=1e-10)


@given(st.integers(1, 9), st.integers(2, 50), st.integers(0, 2**32), st.sampled_from([0.1, 1.0, 80.0]))
def test_summed_cross_entropy_is_pytorch_s_with_its_gradients(rows, pieces, seed, size):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, 3), (pieces, 3), (pieces,))
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    hidden, weight, bias = (size * one for one in inputs)
    targets = torch.randint(pieces, (rows,), generator=generator)
    ours = pretraining.SummedCrossEntropy.apply(hidden, weight, bias, targets, False, True)
    logits = torch.nn.functional.linear(hidden, weight, bias)
    theirs = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    assert torch.allclose(ours, theirs)
    grads = [torch.autograd.grad(3 * loss, inputs, retain_graph=True) for loss in (ours, theirs)]
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(*grads, strict=True))
    with torch.no_grad():
        told = pretraining.SummedCrossEntropy.apply(hidden, weight, bias, targets, False, False)
    assert torch.equal(told, ours.detach())
    none = pretraining.SummedCrossEntropy.apply(hidden, weight, None, targets, False, True)
    theirs = torch.nn.functional.cross_entropy(torch.nn.functional.linear(hidden, weight), targets, reduction="sum")
    assert torch.allclose(none, theirs)


class Pieces:
    """What `Masking` asks of a tokenizer: 1,000 pieces, five special ones, every third an inner piece of a word."""

    all_special_ids, mask_token_id = range(5), 4

    def __len__(self):
        return 1000

    def convert_ids_to_tokens(self, ids):
        return [f"##{i}" if i % 3 == 0 and i >= 5 else str(i) for i in ids]


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3, 0.5])
def test_mask_rate_and_its_three_fates(share):
    ids = np.random.default_rng(0).integers(0, 1000, (1000, 200))
    inputs, labels = tokens.Masking(Pieces(), share)(ids, [[7, row] for row in range(1000)])
    chosen = labels != tokens.UNSCORED
    assert not chosen[ids < 5].any()
    assert np.array_equal(inputs[~chosen], ids[~chosen]) and np.array_equal(labels[chosen], ids[chosen])
    assert set(chosen.sum(axis=1)) == {round(share * 200)}
    masked = inputs[chosen] == 4
    same = inputs[chosen] == ids[chosen]
    assert abs(masked.mean() - 0.8) < 0.01 and abs(same.mean() - 0.1) < 0.01
    random = inputs[chosen][~masked & ~same]
    assert random.min() >= 5 and random.max() > 990
    assert abs(chosen[:, 0].mean() - chosen[:, -1].mean()) < 0.06


def test_masks_follow_from_the_row_s_key_alone():
    ids = np.random.default_rng(0).integers(5, 1000, (6, 40))
    masking = tokens.Masking(Pieces(), 0.3)
    whole, part = masking(ids, [[1, row] for row in range(6)]), masking(ids[3:4], [[1, 3]])
    assert all(np.array_equal(a[3:4], b) for a, b in zip(whole, part, strict=True))
    assert not np.array_equal(whole[1][3], masking(ids[3:4], [[2, 3]])[1][0])


def test_whole_words_are_masked_whole():
    ids = np.random.default_rng(0).integers(0, 1000, (300, 60))
    _, labels = tokens.Masking(Pieces(), 0.2, whole_words=True)(ids, [[1, row] for row in range(300)])
    chosen, inner, special = labels != tokens.UNSCORED, (ids % 3 == 0) & (ids >= 5), ids < 5
    together = inner[:, 1:] & ~special[:, :-1]
    assert np.array_equal(chosen[:, 1:][together], chosen[:, :-1][together])
    assert chosen.sum(axis=1).max() <= 12 and chosen.mean() > 0.17


def test_a_word_longer_than_what_is_to_be_masked_is_masked_where_it_comes_first():
    """A row without anything to predict would have no loss."""
    ids = np.array([[7, 9, 9, 9, 9, 9]] * 50)
    _, labels = tokens.Masking(Pieces(), 0.2, whole_words=True)(ids, [[1, row] for row in range(50)])
    assert np.array_equal(labels, ids)


def test_the_end_of_a_word_that_began_in_the_row_before_is_a_word_of_its_own():
    """One third of the rows begin with an inner piece: it is chosen as often as others, and not with the next word."""
    ids = np.random.default_rng(0).integers(6, 1000, (3000, 20))
    ids[:, :3] = [9, 7, 8]  # the end of a word, and two words
    _, labels = tokens.Masking(Pieces(), 0.3, whole_words=True)(ids, [[1, row] for row in range(3000)])
    end, word, other = (labels[:, :3] != tokens.UNSCORED).T
    assert 0.2 < end.mean() < 0.35
    assert (end == word).mean() == pytest.approx((other == word).mean(), abs=0.05)


@pytest.fixture(scope="module")
def tokenizers():
    """A tokenizer with BERT's word boundaries, and one that takes blanks for characters like others."""
    from tokenizers import pre_tokenizers

    texts = ["Jicht, (gut\u0103) of podagra: 3,5 mg/dl [SEP] \u00e0 jeun"] * 3
    bert, other = (models.train_tokenizer(texts, 80) for _ in range(2))
    other.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    return bert, other


@given(
    st.lists(
        st.text(st.sampled_from("Jicht gu\u0103\u0306,(3.)\n\t\r\u00a0\u2028\x85\x1c\ufeff\u6f22[SEP]#")), max_size=9
    )
)
def test_looked_up_pieces_are_the_tokenizers(tokenizers, texts):
    for tokenizer in tokenizers:
        found = [np.empty(0, np.uint32), *tokens._pieces(texts, tokenizer)]
        expected = [piece for text in texts for piece in tokens.literal(tokenizer).encode(text).ids]
        assert np.concatenate(found).tolist() == expected


def test_what_looks_like_a_special_piece_in_a_text_is_none(tokenizers):
    for tokenizer in tokenizers:
        (found,) = tokens._pieces(["Jicht [MASK] of [SEP], (gut\u0103) [CLS]"], tokenizer)
        ends = tokenizer.cls_token_id, tokenizer.sep_token_id
        assert np.isin(found, [*ends, tokenizer.mask_token_id]).nonzero()[0].tolist() == [0, len(found) - 1]
        assert tokenizer("[MASK]", add_special_tokens=False)["input_ids"] == [tokenizer.mask_token_id], "left as it was"


def test_a_corpus_that_fills_no_row_is_named(run):
    tokenizer = pretraining.begin(run, "", BASE, 3)[1]
    name = packing.corpora(run)[0]
    with pytest.raises(
        Mistake, match=f"corpus {name}: the text fills no row of 9999999 word pieces; give it more text"
    ):
        packing.packed(run, name, tokenizer, 9999999, 5)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 40))
def test_packed_rows_are_the_texts_one_after_the_other(sizes, length, rows):
    pieces = [np.arange(size, dtype=np.uint32) + 100 * i for i, size in enumerate(sizes)]
    whole = np.concatenate(pieces)
    count = min(rows, len(whole) // length)
    if not count:
        with pytest.raises(ValueError, match="fills no row"):
            list(tokens._cut(pieces, length, rows))
        return
    found = np.concatenate(list(tokens._cut(pieces, length, rows)))
    assert np.array_equal(found, whole[: count * length].reshape(count, length))


def test_rows_are_an_arrow_file_that_datasets_reads(run, monkeypatch):
    from datasets import Dataset

    monkeypatch.setattr(tokens, "CHUNK", 16)
    monkeypatch.setattr(tokens, "READS_KEPT", 5)
    _, tokenizer = pretraining.begin(run, "", BASE, 3)
    rows = packing.packed(run, "general-nl", tokenizer, 32, 40)
    texts = [d.text for d in packing.read_jsonl(run / "corpora/general-nl.jsonl")]
    flat = [piece for ids in tokenizer(texts)["input_ids"] for piece in ids]
    assert rows.head(99).ravel().tolist() == flat[: len(rows) * 32]
    assert Dataset.from_file(str(rows.path))[17]["input_ids"] == rows[17].tolist()
    made = rows.path.stat().st_mtime_ns
    assert packing.packed(run, "general-nl", tokenizer, 32, 40).path.stat().st_mtime_ns == made
    whole = rows.path.read_bytes()
    for kept in (0, 100, 300):
        rows.path.write_bytes(whole[:kept])
        assert packing.packed(run, "general-nl", tokenizer, 32, 40).path.read_bytes() == whole


def resident_file_mb():
    """Memory of this process that is pages of files (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssFile"].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells a process's file pages")
def test_opening_packed_text_keeps_none_of_it_in_memory(monkeypatch, tmp_path):
    """128 MB in 512 batches, of each of which a few pages are looked at: 32 MB, were they not given back."""
    pieces = np.arange(2**25, dtype=np.uint32)
    monkeypatch.setattr(tokens, "_pieces", lambda texts, tokenizer: iter([pieces]))
    before = resident_file_mb()
    rows = tokens.pack([], None, 64, 2**19, tmp_path / "rows.arrow")
    assert resident_file_mb() - before < 12
    assert len(rows) == 2**19
    for row in (0, 1023, 1024, 2**19 - 1):
        assert np.array_equal(rows[row], pieces[64 * row : 64 * (row + 1)])


def test_order_gives_each_store_its_share_and_reads_small_ones_again():
    made = tokens.Order([10, 1000], [1, 3], 400, seed=5)
    order = made[range(400)]
    assert made.counts().tolist() == [100, 300]
    assert (order[:, 0] == 0).sum() == 100
    assert np.bincount(order[order[:, 0] == 0, 1]).tolist() == [10] * 10
    large = order[order[:, 0] == 1, 1]
    assert len(set(large)) == len(large) == 300
    assert np.array_equal(order[32:64], tokens.Order([10, 1000], [1, 3], 400, seed=5)[range(32, 64)])
    assert not np.array_equal(order, tokens.Order([10, 1000], [1, 3], 400, seed=6)[range(400)])


def test_a_text_is_read_again_in_another_order(monkeypatch):
    monkeypatch.setattr(tokens, "shuffled", lambda places, size, key: (np.asarray(places) + key[-1]) % size)
    made = tokens.Order([40], [1], 120, seed=0)
    reads = made[range(120)][:, 1].reshape(3, 40)
    assert [read[0] for read in reads] == [0, 1, 2]


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_a_shuffle_puts_every_place_somewhere_else_once(size, key):
    order = tokens.shuffled(np.arange(size), size, [key])
    assert sorted(order.tolist()) == list(range(size))
    part = np.arange(size)[::3]
    assert np.array_equal(tokens.shuffled(part, size, [key]), order[part])


def test_a_shuffle_leaves_no_order_behind():
    """Against uniform draws: rank correlation of places and neighbours within four standard errors of none."""
    size = 20000
    orders = [tokens.shuffled(np.arange(size), size, [key]) for key in range(20)]
    for order in orders:
        assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 4 / np.sqrt(size)
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 4 / np.sqrt(size)


@pytest.mark.parametrize(("steps", "share"), [(5, 0.1), (9, 0.05), (25, 0.1), (37, 0.31)])
def test_the_rate_is_never_above_its_peak_where_no_whole_step_is_warm_up(steps, share, tmp_path):
    plan = training.Plan(0.5, share, 0, 1, 0, tmp_path / "x", "", 9, 1)
    rates = [training.rate(step, steps, plan) for step in range(steps)]
    assert max(rates) <= 0.5 and min(rates) > 0
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)


def test_training_stops_after_patience_and_keeps_the_first_best_weights(tmp_path):
    model, said, kept = torch.nn.Linear(2, 1), iter([0.1, 0.5, 0.5, 0.2, 0.6]), []

    def look():
        kept.append(model.weight.detach().clone())
        return {"dev": next(said)}

    work = training.Work(9, lambda step: [step], lambda items: (model(torch.ones(1, 2)).square().sum(), 1))
    about = {"warmup_share": 0.0, "seed": 1, "look_every": 1, "checkpoint": tmp_path / "c", "key": ""}
    plan = training.Plan(learning_rate=0.1, patience=2, checkpoint_seconds=1e9, tokens_a_step=1, **about)
    history = training.train(model, work, plan, look, score="dev")
    assert [row["dev"] for row in history] == [0.1, 0.5, 0.5, 0.2]
    assert torch.equal(model.weight, kept[1]) and not model.training


@pytest.mark.parametrize(("steps", "warmup"), [(10, 2), (37, 0), (50, 25)])
def test_rate_is_transformers_schedule_begun_one_step_later(steps, warmup, tmp_path):
    plan = training.Plan(0.5, warmup / steps, 0, 1, 0, tmp_path / "x", "", 9, 1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    theirs = []
    for _ in range(steps):
        optimizer.step()
        theirs.append(schedule.get_last_lr()[0])
        schedule.step()
    ours = [training.rate(step, steps, plan) for step in range(steps)]
    assert ours[warmup:] == pytest.approx(theirs[warmup:])
    assert ours[: max(warmup - 1, 0)] == pytest.approx(theirs[1:warmup])


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
        begins, ends = np.array(spans).T
        room = np.minimum(np.arange(count)[:, None] - begins, ends - 1 - np.arange(count)[:, None])
        assert np.array_equal(owner, room.argmax(axis=1)), "the first of those in which it stands farthest inside"
        assert all(spans[w][0] <= piece < spans[w][1] for piece, w in enumerate(owner))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_s_batches_hold_every_item_once(lengths, size, seed):
    made = windows.batches(lengths, size, [seed])
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    assert max(map(len, made)) <= size

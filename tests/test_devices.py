"""What speeds up a device changes no result: attention against PyTorch's own, and whole models against theirs."""

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForMaskedLM
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from common import devices, environment
from common.project import Mistake
from engine import tokens, training
from helpers import pretraining
from runner.front_door import COMPILERS

ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}


def configuration(architecture, **more):
    return AutoConfig.for_model(architecture, vocab_size=99, **SHAPE, **ENDS, **more)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.sampled_from(["none", "bool", "float"]), st.data())
def test_plain_attention_is_pytorchs(rows, heads, length, kind, data):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    inputs = [torch.randn(rows, heads, length, 4, dtype=torch.double, requires_grad=True) for _ in range(3)]
    seen = torch.rand(rows, 1, length, length) < 0.6
    seen |= torch.eye(length, dtype=torch.bool)
    bias = torch.randn(rows, 1, 1, length, dtype=torch.double)
    mask = {"none": None, "bool": seen, "float": bias}[kind]
    ours, _ = devices.plain_attention(torch.nn.Module(), *inputs, mask, scaling=0.3, dropout=0.0)
    theirs = scaled_dot_product_attention(*inputs, attn_mask=mask, scale=0.3).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    for mine, other in zip(*(torch.autograd.grad((o * weight).sum(), inputs) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_rotary_positions_are_those_of_transformers(rows, heads, length, same, seed):
    torch.manual_seed(seed)
    values = torch.randn(rows, length, 3, heads, 8, requires_grad=True)
    angles = torch.randn(1 if same else rows, length, 4).repeat(1, 1, 2)
    ours = torch.stack(devices.Rotated.apply(values, angles.cos(), angles.sin()))
    query, key, value = values.unbind(2)
    theirs = torch.stack([*apply_rotary_pos_emb(query, key, angles.cos(), angles.sin(), unsqueeze_dim=2), value])
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    mine, other = (torch.autograd.grad((found * weight).sum(), values) for found in (ours, theirs))
    torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_suited_model_gives_its_own_logits(architecture, autocast):
    torch.manual_seed(1)
    model = AutoModelForMaskedLM.from_config(configuration(architecture, num_hidden_layers=2)).eval()
    ids = torch.randint(3, 99, (3, 7))
    padded = torch.ones(3, 7, dtype=torch.long)
    padded[1, 4:] = 0
    packed = (torch.tensor([0, 0, 0, 1, 1, 1, 1])[:, None] == torch.tensor([0, 0, 0, 1, 1, 1, 1])).expand(3, 1, 7, 7)
    found = []
    for _ in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = [model(ids, attention_mask=mask).logits for mask in (None, padded, packed)]
        found.append([logits[0], logits[1][padded.bool()], logits[2]])
        devices.suit(model)
    close = {"atol": 0.05, "rtol": 0.05} if autocast else {}
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(after.float(), before.float(), **close)


def test_dropout_falls_on_the_attention_that_is_trained():
    torch.manual_seed(1)
    inputs = [torch.randn(2, 2, 64, 8) for _ in range(3)]
    whole, _ = devices.plain_attention(torch.nn.Module(), *inputs, None, scaling=1.0, dropout=0.0)
    drawn = [devices.plain_attention(torch.nn.Module(), *inputs, None, scaling=1.0, dropout=0.2)[0] for _ in range(400)]
    assert not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(torch.stack(drawn).mean(0), whole, atol=0.15, rtol=0)


@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_compiled_layers_give_the_same_loss_and_gradients(architecture, monkeypatch):
    graphs, compiler = [], torch.compile

    def kept(graph, inputs):
        graphs.append(str(graph.code))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **how: compiler(function, **how, backend=kept))
    pretraining.compiled_loss.cache_clear()
    ids = torch.randint(5, 99, (2, 8), generator=torch.Generator().manual_seed(1)).numpy()
    ids[:, 3] = 1
    text, position = (torch.from_numpy(x.copy()) for x in tokens.segments(ids, 1))
    masked = {"ids": torch.from_numpy(ids), "text": text, "positions": position}
    masked |= {"places": torch.tensor([2, 9]), "targets": torch.tensor([7, 8])}
    found = []
    for compiled in (False, True):
        torch.manual_seed(1)
        model = AutoModelForMaskedLM.from_config(configuration(architecture, num_hidden_layers=3)).eval()
        training.place(model, training.accelerator(), compiled=compiled)
        loss = pretraining.masked_loss(model, masked, compiled)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    pretraining.compiled_loss.cache_clear()
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(plain, compiled)
    # One layer serves for all that are alike; the last one, worked out at two places only, is a graph of its own.
    of_last = [code for code in graphs if "index_select" in code]
    assert len(of_last) == 1
    assert (
        len(graphs) == {"bert": 5, "modernbert": 6}[architecture]
    )  # also embeddings, their precision, the loss; layer 1


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C++ compiler here")
def test_compiled_layers_drop_what_they_would_drop_otherwise():
    ids = torch.arange(5, 37).view(2, 16)
    masked = {"ids": ids, "text": torch.zeros_like(ids), "positions": torch.arange(16).expand(2, 16)}
    masked |= {"places": torch.tensor([2, 9, 30]), "targets": torch.tensor([7, 8, 9])}
    found = []
    for compiled in (False, True):
        torch.manual_seed(1)
        config = configuration("bert", num_hidden_layers=2, hidden_dropout_prob=0.2)
        model = AutoModelForMaskedLM.from_config(config).train()
        training.place(model, training.accelerator(), compiled=compiled)
        torch.manual_seed(2)
        loss = pretraining.masked_loss(model, masked)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 3])
def test_attention_by_text_asks_for_what_a_mask_would_leave(window, monkeypatch):
    """A processor has no flash attention: one written out stands in its place, text by text."""

    def flash(query, key, value, begins, _, longest, __, dropout, *more, scale, window_size_left=99, **same):
        found = torch.zeros_like(query)
        for begin, end in zip(begins[:-1], begins[1:], strict=True):
            assert end - begin <= longest
            one = [x[begin:end].transpose(0, 1) for x in (query, key, value)]
            place = torch.arange(end - begin)
            near = (place[:, None] - place).abs() <= window_size_left
            found[begin:end] = scaled_dot_product_attention(*one, attn_mask=near, scale=scale).transpose(0, 1)
        return (found,)

    torch.manual_seed(1)
    ids = torch.randint(5, 99, (3, 16)).numpy()
    ids[0, 4] = ids[0, 9] = ids[2, 0] = ids[2, 15] = 1
    text, position = (torch.from_numpy(x.copy()) for x in tokens.segments(ids, 1))
    model = AutoModelForMaskedLM.from_config(configuration("bert", num_hidden_layers=1))
    model.set_attn_implementation(devices.BY_TEXT)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: True)
    told = devices.apart(model, text, position) | {"dropout": 0.0, "scaling": 0.3, "sliding_window": window}
    assert told.pop("attention_mask") is None
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", flash)
    inputs = [torch.randn(3, 2, 16, 8) for _ in range(3)]
    ours, _ = devices.attention_by_text(torch.nn.Module(), *inputs, None, **told)
    place = torch.arange(16)
    mask = (text[:, None, :, None] == text[:, None, None, :]) & ((place[:, None] - place).abs() < (window or 99))
    torch.testing.assert_close(ours, scaled_dot_product_attention(*inputs, attn_mask=mask, scale=0.3).transpose(1, 2))


@pytest.mark.parametrize(("older", "told"), [(True, "no"), (False, "bf16")])
def test_a_gpu_that_only_imitates_bfloat16_computes_in_float32(monkeypatch, older, told):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not older
    )
    assert environment.precision() == told


def test_a_precision_that_the_loop_does_not_have_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(Mistake, match="ACCELERATE_MIXED_PRECISION: found 'fp16'; allowed: bf16, no"):
        environment.precision()

"""What differs on a GPU, against the processor: attention by text, the wide head, whole losses, compiled layers."""

import numpy as np
import pytest
import torch
from test_training import steps_of_both
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForTokenClassification

from common import devices
from engine import tokens, training
from helpers import pretraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LENGTHS = {"bert": NO_DROPOUT, "modernbert": {"layer_types": ["full_attention"] * 3}}


def model_of(architecture, kind=AutoModelForMaskedLM, **more):
    torch.manual_seed(1)
    config = AutoConfig.for_model(architecture, vocab_size=301, **SHAPE, **LENGTHS[architecture], **ENDS, **more)
    return kind.from_config(config)


def masked_rows(rows=8, length=64):
    generator = np.random.default_rng(1)
    ids = generator.integers(5, 301, (rows, length))
    ids[generator.random(ids.shape) < 0.1] = 1
    places = np.flatnonzero(generator.random(ids.size) < 0.3)
    text, position = tokens.segments(ids, 1)
    arrays = {"ids": ids, "text": text, "positions": position, "places": places, "targets": ids.ravel()[places]}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def trained(model, masked, compiled=False):
    """Loss and gradients of all weights, on the processor, of a model where it is."""
    model.train()
    model.zero_grad()
    with torch.autocast("cuda", torch.bfloat16, enabled=model.device.type == "cuda"):
        loss = pretraining.masked_loss(model, masked, compiled)
    loss.backward()
    return loss.item(), {n: p.grad.cpu().clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("window", [None, 5])
def test_attention_by_text_is_attention_under_a_mask(window):
    masked = {name: tensor.cuda() for name, tensor in masked_rows().items()}
    inputs = [torch.randn(8, 2, 64, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    model = model_of("bert")
    training.place(model, training.accelerator())
    with torch.autocast("cuda", torch.bfloat16):
        told = devices.apart(model, masked["text"].cpu(), masked["positions"].cpu())
    told = {k: v for k, v in told.items() if v is not None} | {
        "dropout": 0.0,
        "sliding_window": window,
        "scaling": 32**-0.5,
    }
    ours, _ = devices.attention_by_text(torch.nn.Module(), *inputs, None, **told)
    column = torch.arange(64, device="cuda")
    near = (column[:, None] - column).abs() < (window or 64)
    mask = (masked["text"][:, None, :, None] == masked["text"][:, None, None, :]) & near
    theirs = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.02)
    weight = torch.randn_like(ours)
    for mine, other in zip(*(torch.autograd.grad((o * weight).sum(), inputs) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_loss_and_gradients_are_those_of_the_processor(architecture, compiled):
    masked = masked_rows()
    loss, grads = trained(model_of(architecture), masked)
    model = model_of(architecture)
    training.place(model, training.accelerator(), compiled=compiled)
    assert model.device.type == "cuda"
    ours, found = trained(model, masked, compiled)
    assert ours == pytest.approx(loss, rel=5e-3)
    assert found.keys() == grads.keys()
    for name, grad in grads.items():
        assert (found[name] - grad).norm() <= 0.1 * grad.norm() + 1e-3, name


def test_memory_saved_changes_no_gradient():
    masked, found = masked_rows(), []
    for save_memory in (False, True):
        model = model_of("bert")
        training.place(model, training.accelerator(), save_memory=save_memory)
        found.append(trained(model, masked)[1])
    for name, grad in found[0].items():
        assert (found[1][name] - grad).norm() <= 0.05 * grad.norm() + 1e-3, name


def test_a_step_waits_for_nothing():
    model, masked = model_of("bert"), masked_rows()
    training.place(model, training.accelerator())
    trained(model, masked)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            pretraining.masked_loss(model, masked).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_training_asks_for_losses_and_waits_for_none_of_them(tmp_path):
    model, masked = model_of("bert"), masked_rows()
    training.place(model, training.accelerator())

    def items(step):
        torch.cuda.set_sync_debug_mode("error" if 1 <= step < 5 else "default")
        return range(8)

    def loss(items):
        with torch.autocast("cuda", torch.bfloat16):
            return pretraining.masked_loss(model, masked), len(masked["targets"])

    plan = training.Plan(1e-3, 0.0, 1, 10**9, 0, tmp_path / "none", "", 10**9, 1.0)
    try:
        history = training.train(model, training.Work(6, items, loss), plan, dict)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert 0 < history[-1]["loss"] < 6


def test_padding_changes_no_tag():
    model = model_of("modernbert", AutoModelForTokenClassification, num_labels=5).eval()
    ids = torch.randint(5, 301, (3, 20))
    padded = torch.arange(20) < torch.tensor([[20], [9], [14]])
    wanted = model(input_ids=ids, attention_mask=padded).logits
    training.place(model, training.accelerator())
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        ours = model(input_ids=ids.cuda(), attention_mask=padded.cuda()).logits
    torch.testing.assert_close(ours.cpu().float()[padded], wanted[padded], atol=0.05, rtol=0.05)


def test_a_step_is_that_of_clipped_mean_gradients(tmp_path):
    """The fused step divides by what it is told on a GPU, too."""
    for ours, theirs in steps_of_both(tmp_path, "cuda"):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

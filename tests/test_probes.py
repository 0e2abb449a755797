"""Linear probes: what is sampled, what is read off a model, and what a probe can tell apart."""

from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_ner import saved  # noqa: F401

from engine import training
from helpers import models, probes
from texts.documents import Document, Span

TEXT = "el paciente niega fiebre y tos seca desde ayer"


def documents(count):
    return [Document(str(i), "es", TEXT, (Span(18, 24, "DISO"), Span(27, 30, "DISO"))) for i in range(count)]


def test_every_type_is_sampled_as_often_as_the_others():
    chosen = probes.sample(documents(30), 40, 1)
    assert Counter(label for *_, label in chosen) == {"DISO": 20, "O": 20}
    assert len({place[:2] for place in chosen}) == 40
    assert all((label == "DISO") == (word in (3, 5)) for _, word, label in chosen)
    assert Counter(label for *_, label in probes.sample(documents(4), 400, 1)) == {"DISO": 8, "O": 8}
    assert probes.sample([], 40, 1) == []


def test_vectors_are_the_models_own_hidden_states(saved, monkeypatch):  # noqa: F811
    exact = SimpleNamespace(autocast=nullcontext)  # bfloat16, where there is any, is not what is compared
    monkeypatch.setattr(training, "accelerator", lambda: exact)
    model, tokenizer = models.load(saved)
    places = probes.sample(documents(3), 8, 1)
    vectors = probes.word_vectors(model, tokenizer.pad_token_id, *probes.covered(documents(3), places, tokenizer, 64))
    words = TEXT.split()
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        states = model.base_model(**encoded, output_hidden_states=True).hidden_states
    assert vectors.shape == (len(states), len(places), states[0].shape[-1])
    for at, (_, word, _) in enumerate(places):
        first = encoded.word_ids().index(word)
        for layer, state in enumerate(states):
            assert vectors[layer, at] == pytest.approx(state[0, first].numpy(), abs=1e-5)


def test_a_probe_tells_apart_what_lies_apart_and_nothing_else():
    generator = np.random.default_rng(1)
    labels = np.repeat(["a", "b"], 200)
    noise = generator.normal(size=(2, 400, 8))
    apart = noise + 3 * (labels == "b")[:, None]
    assert probes.linear(apart[0], labels, apart[1], labels) > 0.95
    assert probes.linear(noise[0], labels, noise[1], labels) == pytest.approx(0.5, abs=0.1)

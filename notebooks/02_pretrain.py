# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pre-train one arm
#
# **Question.** What does a model learn when it goes on guessing masked words, now in the text of one domain?
#
# **Before:** 01_build_corpora made the text. **After:** 03_finetune uses the model. The stages run this notebook once for
# each arm; opened by hand it trains the first, small one.

# %%
import numpy as np
import pandas as pd
import torch
from engine.tokens import Masking
from evidence import tables
from helpers import figures, model_cards, packing, pretraining
from runner import stages
from texts import tasks

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
arm = "base"  # name of the model made here
parent = ""  # arm it goes on from; empty: it is the first
base = {
    "architecture": "modernbert", "vocabulary": 1000, "vocabulary_from": ["general"], "hub": "", "revision": "", "folder": "", "config": {
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "classifier_pooling": "mean", "layer_types": ["full_attention", "full_attention"]}}  # origin of the first arm: architecture (from scratch), hub or folder
text = {"general": {"nl": 1.0, "ro": 1.0, "es": 1.0}}  # domain, language: weight
random_weights = False  # whether the weights are drawn anew, in the shape of the parent's
tokens = 12000  # word pieces of training text
passes = 1  # times a text is read
length = 64  # word pieces a row
batch_rows = 16  # rows a step
learning_rate = 0.002  # peak
warmup_share = 0.05  # share of the steps
masking_rate = 0.15  # share of word pieces to predict
whole_words = False  # whether all pieces of a word are masked together
heldout_rows = 16  # rows of each held-out set
evaluations = 3  # points of the held-out curve
seed = 13  # of masks, order and first weights
checkpoint_seconds = 20  # seconds between checkpoints
threads = 0  # of the processor; 0: as many as it has
processes = 1  # that train one model together, a GPU each where there are any
fits = 1  # at a time, each in a process of its own: fine-tuning only
save_memory = False  # inner values of layers are computed twice, not kept
compiled = False  # torch.compile the encoder

# %% [markdown]
# ## Where it starts
#
# The first arm starts from a configuration, a model of the hub or a folder; every other arm from its parent, whose
# tokenizer it keeps. One with `random_weights` keeps the parent's shape only, and reads nothing.

# %%
folder = stages.need(run, f"02_pretrain-{parent}" if parent else "01_build_corpora")
model, tokenizer = pretraining.begin(folder, parent, base, seed)
torch.manual_seed(seed)
model = type(model)(model.config) if random_weights else model
pd.Series({
    "layout": model.config.model_type, "layers": model.config.num_hidden_layers, "width": model.config.hidden_size,
    "parameters (millions)": round(model.num_parameters() / 1e6, 2), "word pieces known": len(tokenizer),
}, name=parent or "base").to_frame()

# %% [markdown]
# ## What it will read
#
# Documents become rows of word pieces, each row full, none padded; a document cannot see another one in its row. An arm
# goes on in a text where its parents stopped (*new*): general text is then as new to general arms as medical text to medical
# ones. A text that is shorter than its share is read again (*passes*), or where the profile says so.

# %%
before = packing.read_until(folder / "models" / parent) if parent else {}
mixture = packing.Mixture(folder, text, tokenizer, tokens // length, length, seed, before, passes)
mixture.table(batch_rows).style.format("{:,}", ["tokens read", "different", "new"]).format("{:.2f}", ["passes"]).hide()

# %% [markdown]
# ## One row, as the model sees it
#
# Read downwards: the text, and what is left of it. Of the chosen pieces most become `[MASK]`, some a random piece, some
# stay as they are. The loss counts chosen pieces only.

# %%
sample = mixture.read([0]) if len(mixture.order) else np.zeros((1, 12), int)
seen, _ = Masking(tokenizer, masking_rate, whole_words)(sample, [[seed, 0]])
shown = {"text": tokenizer.convert_ids_to_tokens(sample[0]), "seen": tokenizer.convert_ids_to_tokens(seen[0])}
pd.DataFrame(shown).iloc[:14].T

# %% [markdown]
# ## Training
#
# One loop, the same for all arms and for fine-tuning; `python -m benchmarks.mlm` measures what each technique is worth.
#
# - **Vocabulary logits at masked positions only**, one in seven at 15 %: the head is the dearest layer of a small model.
# - **The last layer likewise**: what follows its attention is worked out where a piece is to be predicted.
# - **Full rows**, each text seeing itself alone: no work is spent on padding, and no text learns from its neighbour.
# - **bfloat16** where the device computes in it, between layers too: half the bytes to move; weights and optimiser stay in
#   float32.
# - **Attention** in the form that is fastest on the device: flash attention that is told where each text begins on a GPU,
#   plain matrix products on a processor. Queries and keys are rotated by their position in one pass, and so is their
#   gradient, in place of a chain of small operations: a twelfth of a small model's step.
# - **Logits once**: the loss is made along with its gradients, and the logits, the largest tensor of a step, are gone
#   before the backward pass begins. On a GPU the vocabulary is filled up to a width that its matrix units like.
# - **One fused step** of AdamW over all weights, which also makes means of the summed gradients and cuts their norm to 1.
# - **Freed memory is kept** for the next step, not given back to the system and asked for again.
# - **Word pieces made once**, read from a memory-mapped file; their order follows from `seed` and is held nowhere.
# - **Masks by `seed` and place**: a stopped run goes on as if nothing had happened, and `processes` that share a batch mask what
#   one would (what is dropped out, in a model that does so, is another draw).
# - **A GPU never waits**: a step's loss is read during the next one, and a batch comes from page-locked memory.
# - **Out of memory** halves the part of a batch that is computed at once, not the batch; `save_memory` computes layers twice.
# - **`compiled`** fuses the small operations of a layer, once for layers that are alike: for long trainings on a GPU.
#
# Every so often the loss is measured on held-out text of **every** domain and language,
# with one fixed mask, so that one can see what is gained here and lost there. The number of threads decides the order in
# which numbers are added up: the same number gives the same weights to the last digit.

# %% tags=["training"]
torch.set_num_threads(threads or torch.get_num_threads())
heldout = packing.heldout_rows(folder, tokenizer, length, heldout_rows)
card = model_cards.card(folder, arm, parent, text, tokens, base, random_weights, seed=seed, masking_rate=masking_rate, whole_words=whole_words)
history = pretraining.adapt(
    folder, arm, model, mixture, heldout, card, batch_rows=batch_rows, learning_rate=learning_rate, seed=seed,
    warmup_share=warmup_share, masking_rate=masking_rate, whole_words=whole_words, evaluations=evaluations,
    checkpoint_seconds=checkpoint_seconds, processes=processes, save_memory=save_memory, compiled=compiled)
history.iloc[[0, -1]].T.round(3)

# %% [markdown]
# ## The curve
#
# Held-out loss in nats a masked token; lower is better. Panels in which the line rises show what was forgotten. Guessing
# evenly costs the logarithm of the vocabulary's size, 6.9 nats for the 1,000 pieces of smoke, 8.7 for the demo's 6,000: above
# that a model is sure and wrong, as happens to small models on a kind of text that they do not read.

# %%
figures.loss_curves(tables.curves(folder, [arm]), synthetic=tasks.made_up(folder))

# %% [markdown]
# ## Gained and lost
#
# Change of the held-out loss from first to last look, by domain and language. Negative: the arm now predicts this
# text better than at its start, as its parent or with random weights.

# %%
change = history[list(heldout)].iloc[-1] - history[list(heldout)].iloc[0]
table = change.rename("change").rename_axis("corpus").reset_index()
table[["domain", "language"]] = table["corpus"].str.rsplit("-", n=1, expand=True)
table.pivot(index="domain", columns="language", values="change").round(3)

# %% [markdown]
# **In short**
#
# - The model, its tokenizer and a card are in `models/`, in the Hugging Face format.
# - A killed run goes on from its last checkpoint and ends, on a processor, with the same weights to the last bit.

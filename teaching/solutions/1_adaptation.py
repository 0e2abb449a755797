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
# # Lab 1: what adaptation does to a model
#
# **Question.** A model reads more text of one kind. What does it gain, and what does it lose?
#
# **Before:** notebooks 00 to 02, and a run of the demo. You measure how words are cut, look at masks, work out the
# loss that the model is trained on, and train two arms of your own. An empty cell is yours; the cell after it
# checks what you found.

# %%
import pandas as pd
import torch
from common import project
from engine.tokens import UNSCORED, Masking
from evidence import analysis, tables
from helpers import figures, models, packing, pretraining
from runner import stages

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "demo"  # folder below runs/
language = "nl"  # of the texts
length = 64  # word pieces a row
rows = 64  # held-out rows
place = 5  # of the piece to guess, in a row
tokens = 120000  # word pieces that an arm of yours reads
learning_rate = 0.0015  # peak
seed = 1  # of masks and order

# %% [markdown]
# ## The texts and the model
#
# Held-out text of three kinds, which no model has read, and the base, which all arms start from.

# %%
folder = stages.need(run, "02_pretrain-clinical")
model, tokenizer = models.load(folder / "models" / "base")
domains = ("general", "biomedical", "clinical")
texts = {domain: list(packing.corpus(folder, domain, language, heldout=True)) for domain in domains}
pd.Series({domain: some[0][:150] for domain, some in texts.items()}, name="how the first text begins").to_frame().style.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## 1. How words are cut
#
# A word that the tokenizer does not know is cut into pieces. How many pieces has a word of each kind of text, on
# average? Count words of letters only, which `analysis.WORD` finds; `tokenizer.tokenize(text)` gives pieces. Call
# the result `fertility`, a dictionary by domain.

# %% tags=["solution"]
words = {domain: [word for text in some for word in analysis.WORD.findall(text)] for domain, some in texts.items()}
fertility = {domain: sum(len(tokenizer.tokenize(word)) for word in some) / len(some) for domain, some in words.items()}
{domain: round(value, 3) for domain, value in fertility.items()}

# %% [markdown]
# The check cuts each different word once and weights it by how often it occurs, as the notebooks do:

# %%
for domain, some in texts.items():
    expected, found = analysis.fertility(analysis.word_counts(some), tokenizer.tokenize), fertility[domain]
    assert abs(found - expected) < 6e-4, f"{domain}: found {found:.3f}, there are {expected:.3f}; every word by itself?"

# %% [markdown]
# *Which kind of text is cut most, and why does it matter to a model?*

# %% [markdown] tags=["solution"]
# Clinical text: its abbreviations and rare names are the words that the vocabulary knows least. A word in pieces
# has to be put together by the layers, and takes more places of a row. The demo's tokenizer was made from general
# text, of which one in ten is about medicine: like any general model that is adapted, the arms keep what it has.

# %% [markdown]
# ## 2. What is hidden
#
# `seen` is what the model gets, `wanted` the pieces that it has to guess, and `UNSCORED` elsewhere; (rows, length)
# each.

# %%
packed = packing.heldout_rows(folder, tokenizer, length, rows)
heldout = {name: some for name, some in packed.items() if name.endswith(language)}
packed_rows = heldout[f"clinical-{language}"].astype(int)
seen, wanted = Masking(tokenizer, 0.15)(
    packed_rows, [[seed, number] for number in range(len(packed_rows))])
both = {"text": packed_rows, "seen": seen}
pd.DataFrame({name: tokenizer.convert_ids_to_tokens(ids[0]) for name, ids in both.items()}).iloc[:12].T

# %% [markdown]
# Of the places to guess: which share is hidden behind `[MASK]`, which share stands there unchanged? Call them
# `hidden` and `kept`.

# %% tags=["solution"]
guessed = wanted != UNSCORED
hidden = (seen == tokenizer.mask_token_id)[guessed].mean()
kept = (seen == packed_rows)[guessed].mean()
f"{hidden:.3f} hidden, {kept:.3f} kept"

# %% [markdown]
# The design says .8 and .1. Chance lets a share of so many places differ by a few standard errors:

# %%
places = int((wanted != UNSCORED).sum())
for found, share in ((hidden, 0.8), (kept, 0.1)):
    error = (share * (1 - share) / places) ** 0.5
    away = abs(found - share) / error
    assert away < 4, f"{found:.3f} is {away:.0f} standard errors from {share}; is it a share of the places to guess?"

# %% [markdown]
# ## 3. What a guess costs
#
# One piece of a row is hidden. `logits` has a number for every piece of the vocabulary, `right` is the number of
# the right one.

# %%
ids = torch.tensor(packed_rows[:1])
right, masked = ids[0, place].item(), ids.index_fill(1, torch.tensor(place), tokenizer.mask_token_id)
with torch.no_grad():
    logits = model(input_ids=masked).logits[0, place]
tokenizer.decode(masked[0, 1 : place + 9]), tokenizer.decode(right)

# %% [markdown]
# The loss is minus the natural logarithm of the probability that the model gives to the right piece, in nats. Call
# it `loss`.

# %% tags=["solution"]
loss = -torch.log_softmax(logits, 0)[right].item()
f"{loss:.3f} nats"

# %% [markdown]
# transformers works out the same from labels. (A guess at even odds among 6,000 pieces costs 8.7 nats.)

# %%
labels = torch.full_like(masked, UNSCORED).index_fill(1, torch.tensor(place), right)
theirs = model(input_ids=masked, labels=labels).loss.item()
assert abs(loss - theirs) < 6e-4, f"found {loss:.4f} nats, transformers {theirs:.4f}; is it the right piece's?"

# %% [markdown]
# One place is an anecdote: a common word is easy even for a base that has read no clinical text, others it guesses worse
# than at even odds. The mean over many places is what the notebooks show, here for three arms of the run:

# %%
arms = {arm: models.load(folder / "models" / arm)[0] for arm in ("base", "general", "clinical")}
losses = {
    arm: {name: pretraining.heldout_loss(one, tokenizer, some) for name, some in heldout.items()}
    for arm, one in arms.items()}
pd.DataFrame(losses).round(2)

# %% [markdown]
# ## 4. Two arms of your own
#
# Both go on from the base and read the same number of word pieces: `clinical_only` reads clinical text of your
# language, `half` reads as much general text as clinical text. A mixture is a dictionary by domain of dictionaries
# by language, such as `{"general": {"nl": 1.0, "es": 2.0}}`; weights are relative. Make `mixtures`, a dictionary of
# the two by name.

# %% tags=["solution"]
mixtures = {
    "clinical_only": {"clinical": {language: 1.0}},
    "half": {"clinical": {language: 1.0}, "general": {language: 1.0}},
}

# %% [markdown]
# Do both read what they should?

# %%
for name, domains in {"clinical_only": ["clinical"], "half": ["clinical", "general"]}.items():
    parts = packing.parts(mixtures[name])
    assert sorted(domain for domain, _, _ in parts) == domains, f"{name} should read {domains}, not {parts}"
    same = {(of, weight) for _, of, weight in parts} == {(language, parts[0][2])}
    assert same, f"{name} should read one language, and its texts with equal weights, not {parts}"

# %% [markdown]
# Then they are trained, into a folder of their own; half a minute. `curves` has a row for each arm, text and look.

# %%
lab = project.folder("lab")
pretraining.side_by_side(
    lab, folder / "models" / "base", mixtures, heldout, texts=folder, tokens=tokens, length=length,
    learning_rate=learning_rate, seed=seed)
curves = tables.curves(lab, list(mixtures))
figures.loss_curves(curves)

# %% [markdown]
# How far has the held-out loss changed, from the first look to the last? Call the table `change`: a row a domain, a
# column an arm.

# %% tags=["solution"]
ends = curves.sort_values("tokens").groupby(["domain", "arm"])["loss"].agg(["first", "last"])
change = (ends["last"] - ends["first"]).unstack("arm")
change.round(2)

# %% [markdown]
# The check takes the losses on clinical text from the files that training left:

# %%
assert set(change.columns) == set(mixtures), f"columns are {[*change.columns]}; a row a domain, a column an arm"
for name in mixtures:
    looks = pd.read_csv(lab / "models" / name / "history.csv")[f"clinical-{language}"]
    expected = looks.iloc[-1] - looks.iloc[0]
    assert abs(change.loc["clinical", name] - expected) < 6e-3, f"{name}: {expected:.2f} is last less first, of clinical text"

# %% [markdown]
# *What does `half` pay, and what does it get for it? A colleague finds clinical text guessed better and concludes
# that the adapted model is the better one for his task. What is missing?*

# %% [markdown] tags=["solution"]
# `half` reads half the clinical text and gains less there (by about three quarters of a nat); in return it forgets
# hardly anything of general text, where `clinical_only` loses almost three nats. Which is worth more
# depends on the task. And the loss is no task: whether a model that guesses clinical words better also finds entities
# better is what 03 and 05 measure, beside a control (`general`) that was trained as long on other text, for longer
# training alone may help.

# %% [markdown]
# **In short**
#
# - The loss is what a right guess costs in nats; adaptation makes it cheaper for one kind of text and dearer for others.
# - Mixing old text in is the simplest remedy, and has a price. Whether a task gets better is another question: lab 2.

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
# # Lab 3: a leak
#
# **Question.** Some test texts stand among the texts that a model reads. How does one find them, and what do they
# do to a result?
#
# **Before:** notebook 01, and a run of the demo. You measure how alike two texts are, estimate it without comparing
# them, find out what the gate lets through, and train one arm with a leak and one without. An empty cell is yours;
# the cell after it checks what you found.

# %%
import shutil

import pandas as pd
from common import project
from datasketch import MinHash
from evidence import tables
from helpers import figures, models, packing, pretraining
from runner import stages
from texts import gate, tasks
from texts.documents import Document, write_jsonl

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "demo"  # folder below runs/
task = "ner_es"  # whose test texts leak
language = "es"  # of the task
changed = 12  # every so many words of a copy is another one
length = 64  # word pieces a row
rows = 64  # held-out rows
tokens = 240000  # word pieces that an arm of yours reads
learning_rate = 0.0015  # peak
seed = 1  # of masks and order

# %% [markdown]
# ## A text and its copy
#
# The longest test text, and a copy of it in which some words were replaced, as happens when a text is de-identified
# again.

# %%
folder = stages.need(run, "02_pretrain-base")
test = max(tasks.split(folder, task, "test"), key=lambda document: len(document.text))
words = gate.WORD.findall(test.text.casefold())
copy = [word if number % changed else "xxx" for number, word in enumerate(words)]
pd.Series({"text": " ".join(words)[:110], "copy": " ".join(copy)[:110]}).to_frame("begins").style

# %% [markdown]
# ## 1. How alike they are
#
# Take the runs of five words of each, as sets. Their Jaccard similarity is the size of what they share over the
# size of both together. Call it `similarity`.

# %% tags=["solution"]
ours, theirs = ({tuple(some[i : i + 5]) for i in range(len(some) - 4)} for some in (words, copy))
similarity = len(ours & theirs) / len(ours | theirs)
f"{similarity:.3f}"

# %% [markdown]
# A run is the same in both if none of its five words was replaced. As hardly any run occurs twice in a text, one
# can count:

# %%
same = sum("xxx" not in copy[i : i + 5] for i in range(len(words) - 4))
expected = same / (2 * (len(words) - 4) - same)
assert abs(similarity - expected) < 0.02, f"found {similarity:.3f}; {same} runs are the same: about {expected:.3f}"

# %% [markdown]
# ## 2. Without comparing all pairs
#
# A million texts are too many pairs. MinHash keeps 128 numbers of each text: for each of 128 hash functions the
# smallest value of any run. Two texts agree in such a number as often as they are alike. (The corpora of a run use 64, for
# copies within a corpus; runs that a text shares with test texts are counted exactly.) Fill two
# `MinHash(num_perm=128)` with `update(" ".join(run).encode())` and call what `jaccard` says of them `estimate`.

# %% tags=["solution"]
prints = MinHash(num_perm=128), MinHash(num_perm=128)
for one, runs in zip(prints, (ours, theirs), strict=True):
    one.update_batch([" ".join(words).encode() for words in runs])
estimate = prints[0].jaccard(prints[1])
f"{estimate:.3f}"

# %% [markdown]
# A share of 128 has a standard error:

# %%
error = (similarity * (1 - similarity) / 128) ** 0.5
away = abs(estimate - similarity) / error
assert away < 4, f"{estimate:.2f} is {away:.0f} standard errors from {similarity:.2f}; one update for each run?"

# %% [markdown]
# ## 3. What the gate lets through
#
# `gate.gate([one], [other])` raises `gate.Leak` when a text repeats another one; both are documents,
# `Document(id="copy", language=language, text=…)`, and their texts words joined by blanks. Replace every 12th, 9th,
# 7th, 6th word: from when on does it say nothing? Make `caught`, a dictionary from these numbers to True or False.

# %% tags=["solution"]
original, caught = Document(id="test", language=language, text=" ".join(words)), {}
copies = {every: [word if n % every else "xxx" for n, word in enumerate(words)] for every in (12, 9, 7, 6)}
for every, some in copies.items():
    try:
        gate.gate([Document(id="copy", language=language, text=" ".join(some))], [original])
        caught[every] = False
    except gate.Leak:
        caught[every] = True
caught

# %% [markdown]
# Between two changes lie `every - 1` words, and so `every - 5` whole runs of five; the gate asks for more than a
# third:

# %%
expected = {every: (every - 5) / every > gate.SHARE for every in (12, 9, 7, 6)}
assert caught == expected, f"found {caught}; with every 9th word changed, {4 / 9:.0%} of the runs are whole"

# %% [markdown]
# *A colleague lowers the share at which the gate closes, to be safe. What does it cost?*

# %% [markdown] tags=["solution"]
# Medical text repeats itself: formulas of discharge letters, standard findings, templates. A stricter gate throws
# out text that no one copied, and first of all text that is most like the task. 01 tells how many documents were
# lost and to which test text, so one can look.

# %% [markdown]
# ## 4. What it does to a result
#
# `leaked` is a corpus of the task's test texts, as if somebody had collected them. Both arms below go on from the
# base and read as much; one reads clinical text, the other one clinical text and the leak, half and half. Held-out
# text: test texts, and dev texts, which are of the same kind and did not leak.

# %%
lab, corpora = project.folder("lab_leak"), project.folder("lab_leak") / "corpora"
corpora.mkdir(parents=True, exist_ok=True)
for name in (f"clinical-{language}.jsonl", "statistics.csv", "origin.json"):
    shutil.copy(folder / "corpora" / name, corpora)
write_jsonl(corpora / f"leaked-{language}.jsonl", tasks.split(folder, task, "test"))
for part in ("test", "dev"):
    write_jsonl(corpora / f"{part}-{language}.heldout.jsonl", tasks.split(folder, task, part))
tokenizer = models.load(folder / "models" / "base")[1]
heldout = packing.heldout_rows(lab, tokenizer, length, rows)
{name: some.shape for name, some in heldout.items()}

# %% [markdown]
# Make `mixtures`, a dictionary with `clean` (clinical text alone) and `leaky` (clinical and leaked text, half and
# half). A mixture is a dictionary by domain of dictionaries by language, such as `{"general": {"nl": 1.0, "es":
# 2.0}}`; weights are relative.

# %% tags=["solution"]
mixtures = {
    "clean": {"clinical": {language: 1.0}},
    "leaky": {"clinical": {language: 1.0}, "leaked": {language: 1.0}},
}

# %% [markdown]
# Do both read what they should?

# %%
for name, domains in {"clean": ["clinical"], "leaky": ["clinical", "leaked"]}.items():
    parts = packing.parts(mixtures[name])
    assert sorted(domain for domain, _, _ in parts) == domains, f"{name} should read {domains}, not {parts}"
    same = {(of, weight) for _, of, weight in parts} == {(language, parts[0][2])}
    assert same, f"{name} should read one language, and its texts with equal weights, not {parts}"

# %% [markdown]
# Then they are trained; a minute. `curves` has a row for each arm, text (`domain` is test or dev) and look.

# %%
pretraining.side_by_side(
    lab, folder / "models" / "base", mixtures, heldout, texts=lab, tokens=tokens, length=length,
    learning_rate=learning_rate, seed=seed)
curves = tables.curves(lab, list(mixtures))
figures.loss_curves(curves)

# %% [markdown]
# By how much is the loss of each arm, at the end, lower on test text than on dev text? Call it `gap`, a dictionary
# by arm.

# %% tags=["solution"]
last = curves[curves["tokens"] == curves["tokens"].max()].pivot(index="arm", columns="domain", values="loss")
gap = (last["dev"] - last["test"]).to_dict()
{name: round(value, 3) for name, value in gap.items()}

# %% [markdown]
# The check reads what training left:

# %%
for name in mixtures:
    end = pd.read_csv(lab / "models" / name / "history.csv").iloc[-1]
    expected = end[f"dev-{language}"] - end[f"test-{language}"]
    assert abs(gap[name] - expected) < 6e-4, f"{name}: loss on dev less loss on test, at the end: {expected:.3f}"

# %% [markdown]
# *How much larger is `leaky`'s gap than that of `clean`? What does `leaky` gain on dev text, and on test text beyond it?
# Could you have noticed the leak from the test set alone?*

# %% [markdown] tags=["solution"]
# By about .1 nats: `leaky` gains that much more on test text than on dev text, and this is the leak. What both gain,
# between nothing and .13 as the seed will have it, is text of the right kind. Both arms' gaps hold how much easier the test
# texts are by chance, so that only their difference says something (with one seed, without an interval).
# From the score on the test set alone one would have called it adaptation: it needs text of the same kind that did
# not leak. That is why a run stops at its gate and does not go on with a warning.

# %% [markdown]
# **In short**
#
# - Copies are found by the runs of words that two texts share; MinHash estimates that share at a fixed cost a text.
# - A leak looks like success. Only what cannot have leaked tells the two apart.

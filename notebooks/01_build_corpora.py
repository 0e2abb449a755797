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
# # Build the corpora and the task sets
#
# **Question.** Which text does each arm learn from, and is none of it in a test set?
#
# **Before:** nothing. **After:** 02_pretrain reads the corpora, 03_finetune the task sets.

# %%
import pandas as pd
from common import project
from texts import corpora, tasks

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
corpora_wanted = {
    "general": {"nl": ["synthetic"], "ro": ["synthetic"], "es": ["synthetic"]},
    "biomedical": {"nl": ["synthetic"], "ro": ["synthetic"], "es": ["synthetic"]},
    "clinical": {"nl": ["synthetic"], "ro": ["synthetic"], "es": ["synthetic"]},
}  # domain, language: parts of data/sources.yaml, own files (data/OWN.md), or "synthetic"
tasks_wanted = [
    {"name": "ner_ro", "kind": "ner", "language": "ro", "source": "synthetic", "trained": True,
     "documents": {"train": 24, "dev": 8, "test": 16}, "common": {"ANAT": "ANAT", "CHEM": "CHEM", "DISO": "DISO", "PROC": "PROC"}},
    {"name": "ner_es", "kind": "ner", "language": "es", "source": "synthetic", "trained": True,
     "documents": {"train": 24, "dev": 8, "test": 16}, "common": {"ANAT": "ANAT", "CHEM": "CHEM", "DISO": "DISO", "PROC": "PROC"}},
    {"name": "ner_nl", "kind": "ner", "language": "nl", "source": "synthetic", "trained": False,
     "documents": {"test": 16}, "common": {"ANAT": "ANAT", "CHEM": "CHEM", "DISO": "DISO", "PROC": "PROC"}},
    {"name": "screening_nl", "kind": "screening", "language": "nl", "source": "synthetic", "trained": True,
     "documents": {"train": 60, "dev": 30, "test": 40}, "common": {}},
]  # data of each task; documents: items a part
characters = {"general": 60000, "biomedical": 60000, "clinical": 60000}  # kept for each language of a domain, at most
heldout_characters = 6000  # characters set aside for the held-out loss
near_duplicate = 0.8  # Jaccard similarity from which a document is a near duplicate
remove_leaks = True  # what repeats task documents is removed; if not, the gate stops the run there
seed = 13  # of the synthetic text, and of the order of texts
data = ""  # digest of what is read from data/: lexicons and grammars, or the entries of sources.yaml

# %% [markdown]
# ## The task sets
#
# Tasks come first: what is in their dev and test parts must not be in any corpus. `gold` counts labelled mentions (NER) or
# positive patients (screening). A test text that the training part has too would be known by heart: `also in train` counts
# the documents, and the patients with such a note, and should be 0. `in train of others` counts those that another task with
# labels in common trains on: its models would know them when they are tested here.

# %%
folder = project.folder(run)
sets = tasks.build(folder, tasks_wanted, seed)
sets.style.format({"characters": "{:,}"}).hide()

# %% [markdown]
# ## The corpora
#
# Every text is normalised; repeated texts are removed, exact ones and near ones (MinHash), and texts that are surely in
# another language; so is every text that repeats a dev or test text, exactly or nearly, or that is said to be of a patient of
# one. Then an independent gate looks again, and stops the run where a text equals a dev or test text, or shares more than a
# third of the shorter one's runs of 5 words with it. A single sentence quoted within a longer text passes.

# %%
limits = corpora.Limits(characters, heldout_characters, near_duplicate, remove_leaks)
counts, repeated = corpora.make(folder, corpora_wanted, seed, limits)
counts = pd.DataFrame(counts)
kept = counts.query("reason == 'kept'").pivot_table(index="domain", columns="language", values="characters", aggfunc="sum", sort=False)
(kept / 1e6).round(2).rename_axis(columns="millions of characters kept")

# %% [markdown]
# ## What was removed, and why
#
# Documents by part and reason. *task document*: it occurs in a task's dev or test set (or, for some sources, in any part of a
# task). *over the limit*: more text than the profile asks for; own files are counted to their end, of an endless source no
# more is read. *too long*: a text that alone would go over the limit.

# %%
counts.pivot_table(index=["domain", "language", "part"], columns="reason", values="documents", sort=False).fillna(0).astype(int)

# %% [markdown]
# ## Leaks that were found and removed
#
# Which corpus document repeats which: near ones first, the rest is in the report.

# %%
leaks = pd.DataFrame(repeated, columns=["domain", "language", "part", "document", "reason", "repeats"])
print(f"documents that repeat another one or a task document: {len(leaks):,}")
leaks.sort_values("reason", key=lambda reason: ~reason.str.startswith("near"), kind="stable").head(8)

# %% [markdown]
# ## Terms in several languages
#
# The same concept named in each language, for the analysis of transfer.

# %%
terms = corpora.terms(corpora_wanted)
terms["language"].value_counts().to_frame("terms")

# %% [markdown]
# ## Kept for the next notebooks

# %%
corpora.note_origin(folder, corpora_wanted, tasks_wanted)
project.write_table(folder / "corpora" / "terms.csv", terms)
project.write_table(folder / "corpora" / "leakage.csv", leaks)
project.write_table(folder / "corpora" / "tasks.csv", sets)
project.write_table(folder / "corpora" / "statistics.csv", counts)

# %% [markdown]
# **In short**
#
# - No text of a corpus repeats a whole dev or test text, or the run would have stopped; quoted sentences pass, and so do dev and
#   test texts of fewer than 13 words within a longer text.
# - Every twentieth text of a source is held out, up to a limit: its neighbour from the same book or note may be among those that
#   are read, and so may a copy of it in another corpus. Held-out losses serve to set arms side by side, not as a loss on unknown sources.
# - A text that is shorter than its arm's share is read several times: see the *passes* in 02_pretrain.

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
# # Start here: what this run will do
#
# **Question.** Does further pre-training of a multilingual encoder on medical text help with medical tasks in Dutch,
# Romanian and Spanish, and does it matter whether that text is clinical or biomedical?
#
# **This notebook** shows the machine, the text at hand, the arms and the tasks of the run. It trains nothing.
#
# | notebook | what it does |
# |---|---|
# | **00_start_here** | the plan of the run (this page) |
# | 01_build_corpora | domain text by language, task sets, and the gate against leaks between them |
# | 02_pretrain | one arm: a model further pre-trained by guessing masked words of its domain text |
# | 03_finetune | one task: every arm and seed fine-tuned, predictions kept |
# | 04_cross_lingual | scores across languages, and analyses of why |
# | 05_figures | figures, comparisons, and a verdict on each claim |

# %%
import pandas as pd
from common import environment, project
from IPython.display import Markdown
from texts import sources

# %% [markdown]
# ## Parameters
#
# Every notebook has one such cell, with small values, which count when it is opened by hand. In a run Papermill puts a cell
# with those of the run's profile below it, which count then.

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
description = "Synthetic text, two-layer models, two seeds; shows that everything runs, and nothing else."  # one line
arms = [
    {"arm": "base", "parent": "-", "tokens": 12000},
    {"arm": "untrained", "parent": "random weights", "tokens": 0},
    {"arm": "general", "parent": "base", "tokens": 6000},
    {"arm": "biomedical", "parent": "base", "tokens": 6000},
    {"arm": "clinical", "parent": "base", "tokens": 6000},
    {"arm": "general_nl", "parent": "base", "tokens": 6000},
    {"arm": "clinical_nl", "parent": "base", "tokens": 6000},
]  # of {arm, parent, tokens}: models, and word pieces of text that each sees
tasks = [
    {"task": "ner_ro", "kind": "ner", "language": "ro", "trained": True},
    {"task": "ner_es", "kind": "ner", "language": "es", "trained": True},
    {"task": "ner_nl", "kind": "ner", "language": "nl", "trained": False},
    {"task": "screening_nl", "kind": "screening", "language": "nl", "trained": True},
]  # of {task, kind, language, trained}: what the models are tested on
claims = [
    {"claim": "C1", "text": "Domain adaptation improves task performance.", "comparisons": 6, "reason": ""},
    {"claim": "C2", "text": "Clinical adaptation does better than biomedical adaptation.", "comparisons": 3, "reason": ""},
    {"claim": "C3a", "text": "Adaptation carries over: medical text of one language does more for tasks in another than general text of it.", "comparisons": 2, "reason": ""},
    {"claim": "C3b", "text": "Tasks carry over: a model fine-tuned in one language beats a look-up by cognates of its training entities in another.", "comparisons": 2, "reason": ""},
    {"claim": "C4", "text": "Adaptation finds more of the entities that the task's training set lacks.", "comparisons": 2, "reason": ""},
]  # of {claim, text, comparisons, reason}: what is tested, and why it cannot be with these arms and tasks, if it cannot
parts = []  # parts and tasks of data/sources.yaml, and own files, that are read; none: all text is synthetic

# %% [markdown]
# ## The machine
#
# Software, processor and accelerator. The same list, with the version of every package, is kept in `provenance.json`.

# %%
environment.card()

# %% [markdown]
# ## The text at hand
#
# Where the run's text and labels come from, and under which licence. What is not at hand yet is downloaded by
# 01_build_corpora, verified, and kept in the cache; `data/CARDS.md` describes each source and its limits.

# %%
pd.DataFrame(sources.where(parts)).style.hide() if parts else Markdown("All text is synthetic: 01_build_corpora makes it.")

# %% [markdown]
# ## The arms
#
# An *arm* is one model, as in a trial. Those with a *parent* go on from it. `general` is the control: as much more
# training, on text that is hardly medical. Where there is an `untrained` arm, it has random weights: it shows what pre-training
# gives at all. Two arms that are compared read as many word pieces, with the same learning and masking rates, so that
# only the text differs. The exception is an arm beside its own parent.
#
# The paper's abstract tells of four experiments with clinical and biomedical text, and little more of its models. These arms,
# text of three languages and of Dutch alone, and the comparisons that decide, are our reading of it.

# %%
pd.DataFrame(arms, columns=["arm", "parent", "tokens"]).style.format({"tokens": "{:,}"}).hide()

# %% [markdown]
# ## The tasks
#
# A task that is not *trained* is a test set only: models trained in another language are tried on it without having
# seen a labelled example in this one (zero-shot).

# %%
plan = pd.DataFrame(tasks, columns=["task", "kind", "language", "trained"])
plan.style.hide()

# %% [markdown]
# ## The claims
#
# What the paper's abstract says, in our words, and how many comparisons of two models decide on each. A claim whose
# comparisons lack an arm, a text, a task or a second seed gets no verdict: then it says why.

# %%
pd.DataFrame(claims).rename(columns={"reason": "cannot be tested because"}).style.set_properties(**{"text-align": "left"}).hide()

# %% [markdown]
# ## Kept for the report

# %%
project.write_table(project.folder(run) / "results" / "plan.csv", plan)

# %% [markdown]
# **In short**
#
# - One parent, several arms, one text each: what differs between two arms is the text they saw.
# - The comparisons are declared in the profile, and part of what a run is known by; `profiles/claims.yaml` tells what was
#   changed after results were known.

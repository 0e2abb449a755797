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
# # Fine-tune every arm on one task
#
# **Question.** Does an adapted model learn a medical task better from the same labelled examples?
#
# **Before:** 02_pretrain made the arms. **After:** 04_cross_lingual compares them. The stages run this notebook once for
# each task; every arm is fine-tuned with the same data, settings and seeds, and its predictions are kept a row an item.

# %%
import pandas as pd
import torch
from common import project
from evidence import tables
from helpers import errors, figures, finetuning, transfer
from IPython.display import Markdown
from runner import stages
from texts import tasks

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
task = "ner_ro"  # what is learnt
tests = ["ner_ro", "ner_es", "ner_nl"]  # test sets: its own, and those with labels in common
arms = ["base", "untrained", "general", "biomedical", "clinical", "general_nl", "clinical_nl"]  # models that are fine-tuned
seeds = [1, 2]  # of the classifier's first weights and the order of examples
copies = {"clinical": 2}  # arm: pre-training copies that the seeds use in turn, where there are several
shares = [0.5]  # of the training items: label budgets besides all
share_arms = ["general", "clinical"]  # models that learn from these shares
keep = ["clinical"]  # arms whose fine-tuned model of the first seed is kept, for new texts
length = 96  # word pieces a window
overlap = 16  # word pieces that neighbouring windows share
epochs = 2  # passes over the training set, at most
patience = 2  # epochs without a better dev score before stopping
batch_rows = 8  # windows (NER) or patients (screening) a step
learning_rate = 0.001  # peak
warmup_share = 0.1  # share of the steps
negatives_per_positive = 0.0  # screening: training patients kept for each positive; 0 keeps all
checkpoint_seconds = 20  # seconds between checkpoints
threads = 1  # of the processor; 0: as many as it has
processes = 1  # that train one model together, a GPU each where there are any
fits = 1  # at a time, each in a process of its own
save_memory = False  # inner values of layers are computed twice, not kept
compiled = False  # torch.compile: not here, batches differ in length

# %% [markdown]
# ## The task
#
# Items and labels of each part. Models see `train`; `dev` decides when to stop; `test` is only predicted.

# %%
folder = stages.need(run, "01_build_corpora")
tasks.summary(folder, task)

# %% [markdown]
# ## One labelled item
#
# What a model has to find, marked in the text; for screening, a patient's notes and what to decide from them.

# %%
tasks.show(folder, task)

# %% [markdown]
# ## Fine-tuning
#
# Every arm with every seed, and a baseline without such a model: a look-up of training entities for NER, without those that it
# would find wrongly more often than rightly in the training texts (a comma that was labelled once), and in another
# language by cognates, words whose first four letters are equal; for synthetic patients a keyword rule that knows the very list
# of conditions which the labels are made from, nearly an upper end; for patients of your own a logistic regression on their words.
# A fit that is finished is not made again. `dev` is looked at after each epoch, and the weights of the best look are kept: where
# `looks` is all that `epochs` allows, no fit ended early. The loop is that of 02; two things make it faster here: a batch has
# windows of like length, so that there is little padding, and what follows the last layer's attention is worked out at
# words' first pieces only, as no other piece is tagged.
#
# For screening, all training patients with the condition are used, and for each of them `negatives_per_positive` without it
# (0: all): `patients` in all. What follows is chosen on `dev`: `aggregation`, how the scores of a patient's windows become one; `threshold`, the
# score from which a patient is flagged; `slope` and `intercept`, which turn the score into a probability (into none where higher scores on
# `dev` do not go with the condition). With few positives in `dev` these are uncertain.
#
# The models of arms in `keep` stay below `finetuned/`, those of the first seed: `python -m helpers.application` finds
# entities in new texts with one, or screens new patients.

# %% tags=["training"]
for _, model, _ in finetuning.starts(arms, seeds, copies):
    stages.need(run, f"02_pretrain-{model}")
torch.set_num_threads(threads or torch.get_num_threads())
settings = {
    "length": length, "overlap": overlap, "epochs": epochs, "patience": patience, "batch_rows": batch_rows,
    "learning_rate": learning_rate, "warmup_share": warmup_share, "negatives_per_positive": negatives_per_positive,
    "checkpoint_seconds": checkpoint_seconds, "processes": processes, "fits": fits, "save_memory": save_memory,
    "compiled": compiled}
fits = finetuning.all_fits(folder, task, arms, seeds, copies, keep, tests=tests, share=1.0, **settings)
fits.drop(columns=["task", "key", "gold", "unreachable"], errors="ignore").style.format(precision=3, na_rep="", formatter=dict.fromkeys(["looks", "best_look", "patients"], "{:.0f}")).hide()

# %% [markdown]
# Models tag whole words, so that an entity which overlaps another one or ends inside a word cannot be predicted; it counts as
# missed.

# %%
known = fits.reindex(columns=["gold", "unreachable"]).iloc[0]
Markdown("Patients are no entities." if known.isna().any() else f"Of {known['gold']:,.0f} gold entities of the test set {known['unreachable']:,.0f} cannot be predicted.")

# %% [markdown]
# ## From fewer labels
#
# The same again with a share of the training items: a smaller share is part of a larger one, and every arm gets the same
# ones by seed. Fewer items are read more often, four times as often at most, and `dev` is looked at as often as with all of
# them, so that a look is then more than an epoch. `dev` stays whole, which a study with few labels could not afford: all scores of small shares are somewhat too good.

# %% tags=["training"]
budgets = [
    finetuning.all_fits(folder, task, share_arms, seeds, copies, tests=[task], share=share, **settings).assign(share=share)
    for share in shares]
pd.concat([fits.iloc[:0], *budgets]).groupby(["share", "arm"], sort=False)[["dev_score", "looks", "best_look"]].mean().round(3) if shares else Markdown("This task has no shares.")

# %% [markdown]
# ## Scores on the task's own test set
#
# Mean and spread over seeds. NER: strict F1, which asks for the right type and both boundaries. Screening: area under the
# precision-recall curve (AUPRC), whose chance level is the share of positives.

# %%
metrics = transfer.metrics(folder, task)
project.write_table(folder / "predictions" / task / "metrics.csv", metrics)
own = metrics.query("test == @task and split == 'test' and label == 'all' and metric in ['f1', 'precision', 'recall', 'auprc']")
own.groupby(["metric", "arm"], sort=False)["value"].agg(["mean", "min", "max"]).round(3).unstack("metric").dropna(axis=1)

# %% [markdown]
# ## By other counts
#
# Strict F1 compares offsets of characters and types. `seqeval_f1` compares tags of words as most papers do, to which an entity that
# overlaps another one does not exist; `partial_f1`, nervaluate's, does not ask for the type, and gives one point for equal
# offsets, half of one for an overlap: an arm that leads there and not in strict F1 knows where entities are, but not where
# they end or what they are. Means over seeds.

# %%
counts = metrics.query("test == @task and split == 'test' and label == 'all' and metric in ['f1', 'seqeval_f1', 'partial_f1']")
pd.pivot_table(counts, index="arm", columns="metric", values="value", sort=False).round(3) if tables.is_ner(folder, task) else Markdown("Patients are ranked, not counted.")

# %% [markdown]
# ## In a picture
#
# A point is a seed, the bar the mean, the dashed line the baseline.

# %%
figures.task_scores(metrics, synthetic=tasks.made_up(folder))

# %% [markdown]
# ## The same models on the other test sets
#
# Zero-shot: trained on one task, tested on another one with labels in common. Scores are of the shared labels.

# %%
away = metrics.query("test != @task and label == 'all' and metric == 'f1'")
pd.pivot_table(away, index="arm", columns="test", values="value", sort=False).round(3) if len(away) else Markdown("There is none.")

# %% [markdown]
# ## By type of entity
#
# Mean F1 over seeds for each label: an arm may be better at chemicals and no better at anatomy.

# %%
by = metrics.query("test == @task and label != 'all' and metric == 'f1'")
pd.pivot_table(by, index="arm", columns="label", values="value", sort=False).round(3) if len(by) else Markdown("Patients have no types.")

# %% [markdown]
# ## Kinds of error
#
# How many errors each arm makes on the test set, a mean over seeds. What is exactly right is
# taken out first; then what should have been found and what was found make pairs, those that overlap most. *boundary*: a pair
# of one type with other offsets; *type*: the same offsets, another type; *type and boundary*: both. These cost twice in F1, as
# an entity that is missed and as a false one. *missed* and *false* have no partner. Of
# patients: those who should have been flagged and were not, and those who were and should not.

# %%
predicted = pd.concat(map(pd.read_parquet, tables.fits(folder, task)))
here = predicted if "patient" in predicted else predicted[predicted["test"] == task]
errors.counted(here)

# %% [markdown]
# ## Some errors
#
# Those of the arm with the best mean, its first seed. What should have been found is marked, what was found is underlined. Of a
# patient the newest note is shown, which need not be the one that matters.

# %%
best = tables.primary(metrics[metrics["arm"].isin(arms)]).groupby("arm")["value"].mean().idxmax()
of_best = here[(here["arm"] == best) & (here["seed"] == seeds[0])]
errors.shown(of_best, tasks.split(folder, task, "test")).style.format(precision=3).set_properties(**{"text-align": "left"}).hide()

# %% [markdown]
# **In short**
#
# - Same examples, same seeds, same settings: only the model differs.
# - Every gold item of the test set is scored; the notebook stops if one is missing.

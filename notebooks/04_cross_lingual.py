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
# # Across languages, and why
#
# **Question.** Does what a model learns in one language help in another (C3), and what goes with the gains (C4)?
#
# **Before:** 03_finetune kept every prediction. **After:** 05_figures draws the figures and gives the verdicts. This notebook
# reads saved models and predictions only; it trains nothing.

# %%
from common import project
from evidence import analysis, sentences, tables
from helpers import figures, probes, transfer
from IPython.display import Markdown, display
from runner import stages
from texts import tasks

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
arms = ["base", "general", "biomedical", "clinical", "general_nl", "clinical_nl"]  # models, the first one the base
trained = ["ner_ro", "ner_es", "screening_nl"]  # tasks that were fine-tuned
control = "general"  # arm that the others' gains are measured against
frequent_words = 500  # most frequent words of each corpus whose overlap is measured
rows = 16  # rows from all over each task's text, for the masked-token loss
length = 64  # word pieces a row
terms = 60  # parallel terms for CKA and retrieval
probe_words = 200  # words that a probe learns from, and as many that it is tested on
data = ""  # digest of data/distances.yaml

# %% [markdown]
# ## All scores
#
# Every fit and every baseline on every test set, gathered from 03_finetune as `results/metrics.csv`: one row a number. Here their
# means over seeds.

# %%
for task in trained:
    folder = stages.need(run, f"03_finetune-{task}")
results, synthetic = folder / "results", tasks.made_up(folder)
metrics = tables.all_metrics(folder, trained)
shown = metrics.query("label == 'all' and split == 'test' and metric in ['f1', 'auprc']")
shown.pivot_table(index=["metric", "task", "test"], columns="arm", values="value", sort=False).round(3)

# %% [markdown]
# ## Transfer between tasks
#
# Strict F1 (for screening, F1 of the flagged patients). Where `task` and `test` differ, the model has seen no
# labelled example of the test, nor of its language unless both are in one. Such tests are scored on the labels that both tasks
# have; first, which these are. `distance` says how far the grammars of the two languages lie apart (lang2vec, 0: they do not).

# %%
away = transfer.between(folder, metrics)
project.write_table(results / "transfer.csv", away)
display(tables.mapping(folder), away.pivot_table(index=["task", "test", "distance"], columns="arm", values="value", sort=False).round(3))
Markdown(sentences.transfer(away))

# %% [markdown]
# ## How words are cut
#
# Word pieces a word, with the base's tokenizer, counted in the first 2,000 documents of each corpus. The more pieces, the
# less the tokenizer knows the words of a domain.

# %%
counts = transfer.word_counts(folder, documents=2000)
fertility = transfer.fertility(folder, counts, arms[0])
project.write_table(results / "fertility.csv", fertility)
display(fertility.pivot(index="domain", columns="language", values="pieces a word").round(2))
Markdown(sentences.fertility(fertility))

# %% [markdown]
# ## Words in common
#
# Share of the most frequent words that two corpora have in common (of all words, where one has no more). Domains of one
# language share more than the same domain of two languages; how near biomedical text is to clinical text says how much one
# can stand in for the other.

# %%
overlap = analysis.vocabulary_overlap(counts, words=frequent_words)
project.write_table(results / "overlap.csv", overlap.rename_axis("corpus").reset_index())
display(figures.overlap_map(overlap, words=frequent_words, synthetic=synthetic))
Markdown(sentences.overlap(overlap))

# %% [markdown]
# ## How well each arm predicts the tasks' text
#
# Masked-token loss (nats) on `rows` from all over each task's test text, without its labels; of an arm with copies, the
# first's. An arm whose loss is lower knows this kind of text better, whatever its score.

# %%
losses = transfer.masked_losses(folder, arms, trained, rows, length)
project.write_table(results / "masked_loss.csv", losses)
losses.pivot(index="arm", columns="task", values="loss").loc[arms].round(3)

# %% [markdown]
# ## What each layer knows
#
# A linear probe reads a word's entity type off a layer of the model as it was before fine-tuning: macro F1 on words of the
# test set, every type as often as any other. Layer 0 is the embedding. What adaptation has put there need not be learnt.

# %%
probed = probes.by_layer(folder, arms, trained, probe_words, length)
project.write_table(results / "probes.csv", probed)
display(probed.pivot_table(index="arm", columns=["task", "layer"], values="macro_f1", sort=False).round(3))
Markdown(sentences.probes(probed, control=control))

# %% [markdown]
# ## Does knowing the text go with the score?
#
# Each arm's gain over the control in loss, beside its gain in the task's primary score. It describes and proves nothing:
# the points are few, all arms of a task are measured against one control, arms that read less than it are among them, and
# so are scores of entities beside scores of patients.

# %%
gains = analysis.gains(losses, metrics, control=control)
project.write_table(results / "gains.csv", gains)
display(analysis.associations(gains, pairs=[("loss_gain", "score_gain")]).round(3))
Markdown(sentences.gains(gains))

# %% [markdown]
# ## The same term in two languages
#
# Linear CKA: do two languages' terms lie alike in the model's space? It is never 0, so beside it stands what it is for terms
# that are paired at random. Retrieval: how often is a term's nearest neighbour in the other language its translation? The
# table that is kept also has their syntactic distance (lang2vec, syntax_knn, cosine).

# %%
parallel = transfer.parallel_terms(folder, terms)
alignment = transfer.alignment(folder, arms, parallel)
project.write_table(results / "alignment.csv", alignment)
display(alignment.pivot_table(index="arm", columns=["one", "other"], values=["cka", "cka_chance", "retrieval"], sort=False).round(3))
Markdown(sentences.alignment(alignment))

# %% [markdown]
# ## Seen and unseen mentions
#
# Recall on test mentions that occur in the task's training set, else anywhere in the run's medical text of the language, or
# in neither. If adaptation teaches words, the second group should gain more than the first (05_figures puts that to a test):
# where both gain alike, C4 explains nothing. An arm need not have read all of that text.

# %%
recall = transfer.mention_recall(folder, trained)
project.write_table(results / "mentions.csv", recall)
display(recall.groupby(["task", "group", "arm"], sort=False)["recall"].mean().unstack("arm").round(3))
Markdown(sentences.mentions(recall, control=control))

# %% [markdown]
# ## Kept for the next notebook

# %%
project.write_table(results / "metrics.csv", metrics)

# %% [markdown]
# **In short**
#
# - `results/metrics.csv` has every score; the other tables of this page lie beside it.
# - What goes with a gain is not yet its cause: the verdicts of 05_figures rest on the comparisons that were declared before this
#   run, some of them after earlier ones.

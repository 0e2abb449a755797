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
# # Figures and verdicts
#
# **Question.** Which of the claims do the results of this run support?
#
# **Before:** 04_cross_lingual scored everything. This notebook reads its tables, draws the figures of the report, and gives
# each claim a verdict by a rule that is declared in `profiles/claims.yaml`, with all that was ever changed in it.

# %%
import shutil

import pandas as pd
from common import names, project
from evidence import budgets, claims, scores, sentences, tables, trainings
from helpers import figures, ranking, style
from IPython.display import Markdown, display
from runner import stages

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
run = "smoke"  # folder below runs/
synthetic = True  # whether the text is generated; the results are then no evidence
arms = ["base", "general", "biomedical", "clinical", "general_nl", "clinical_nl"]  # models
stated = {
    "C1": "Domain adaptation improves task performance.",
    "C2": "Clinical adaptation does better than biomedical adaptation.",
    "C3a": "Adaptation carries over: medical text of one language does more for tasks in another than general text of it.",
    "C3b": "Tasks carry over: a model fine-tuned in one language beats a look-up by cognates of its training entities in another.",
    "C4": "Adaptation finds more of the entities that the task's training set lacks.",
}  # the claims
family = [
    {"claim": "C1", "task": "ner_ro", "arm": "clinical", "against": "general", "metric": "f1"},
    {"claim": "C1", "task": "ner_es", "arm": "clinical", "against": "general", "metric": "f1"},
    {"claim": "C1", "task": "ner_ro", "arm": "biomedical", "against": "general", "metric": "f1"},
    {"claim": "C1", "task": "ner_es", "arm": "biomedical", "against": "general", "metric": "f1"},
    {"claim": "C1", "task": "screening_nl", "arm": "clinical", "against": "general", "metric": "auprc"},
    {"claim": "C1", "task": "screening_nl", "arm": "biomedical", "against": "general", "metric": "auprc"},
    {"claim": "C2", "task": "ner_ro", "arm": "clinical", "against": "biomedical", "metric": "f1"},
    {"claim": "C2", "task": "ner_es", "arm": "clinical", "against": "biomedical", "metric": "f1"},
    {"claim": "C2", "task": "screening_nl", "arm": "clinical", "against": "biomedical", "metric": "auprc"},
    {"claim": "C3a", "task": "ner_ro", "arm": "clinical_nl", "against": "general_nl", "metric": "f1"},
    {"claim": "C3a", "task": "ner_es", "arm": "clinical_nl", "against": "general_nl", "metric": "f1"},
    {"claim": "C3b", "task": "ner_ro", "test": "ner_nl", "arm": "clinical", "against": "dictionary", "metric": "f1"},
    {"claim": "C3b", "task": "ner_es", "test": "ner_nl", "arm": "clinical", "against": "dictionary", "metric": "f1"},
    {"claim": "C4", "task": "ner_ro", "arm": "clinical", "against": "general", "metric": "recall", "mentions": "unseen"},
    {"claim": "C4", "task": "ner_es", "arm": "clinical", "against": "general", "metric": "recall", "mentions": "unseen"},
]  # of {claim, task, test, arm, against, metric, mentions, reason}: the comparisons, and why one cannot be made
copies = {"clinical": 2}  # arm: pre-training copies that its seeds use in turn, where there are several
label_budgets = [{"task": "ner_ro", "shares": [0.5], "arms": ["general", "clinical"]}]  # tasks also learnt from shares of their labels
control = "general"  # arm that saved labels are counted against
again = {}  # comparison: its differences in the published trainings with other seeds
draws = 1000  # bootstrap draws
confidence = 0.95  # of the intervals, between 0 and 1
seed = 13  # of the bootstrap
width_mm = 160  # millimetres
dpi = 150  # dots an inch of the PNG files
formats = ["png", "svg"]  # file formats
frequent_words = 500  # most frequent words of each corpus whose overlap was measured

# %% [markdown]
# ## The comparisons
#
# A comparison is an arm against another on one test set, with the same documents on both sides. A repeat of the study could
# come out otherwise for two reasons: other documents (those of the test set are drawn anew with replacement) and other seeds
# (how much they differ is measured). The interval is that of the difference, not corrected. `p_holm` is corrected for all
# comparisons and claims together, and the verdict goes by it: if no arms differed, at most one study in twenty (at 95 %) would
# give any verdict.
#
# Where an arm was pre-trained more than once (`copies`), its copies count, each the mean of the seeds that use it. Of an arm
# with one copy, no interval covers what another pre-training would change: the verdict is about these very models, and false
# verdicts are more frequent than that. All copies go on from one base: what another base would change is in no interval either. A
# few seeds say little about how much seeds differ: all arms compared on a test set are pooled, and intervals are widened for
# what stays unknown; `python -m benchmarks.intervals` tried how often they hold, for F1 and AUPRC.

# %%
folder = stages.need(run, "04_cross_lingual")
metrics = pd.read_csv(folder / "results" / "metrics.csv")
trained = list(dict.fromkeys(metrics["task"]))
mentions = {task: tables.train_mentions(folder, task) for task in trained if tables.is_ner(folder, task)}
comparisons, verdicts = claims.assess(
    folder / "predictions", family, draws=draws, confidence=confidence, seed=seed, synthetic=synthetic, train=mentions,
    common=tables.common(folder), stated=stated, copies=copies, together=tables.together(folder))
comparisons[["claim", "task", "test", "arm", "against", "metric", "mentions", "difference", "low", "high", "p_holm", "verdict"]].style.format(precision=3, na_rep="", formatter={"p_holm": names.shown_p}).hide()

# %% [markdown]
# ## The verdicts
#
# A claim is judged by the mean difference of its comparisons, and its `p_holm` is corrected along with theirs: every question
# asked is one more chance to be wrong. *Supported*: it is below the level, the mean is above zero, and no comparison is below zero
# after correction. *Contradicted*: the same the other way round. *Not testable here*: the run lacks what
# the claim needs. Intervals are not corrected: one may leave out zero while the verdict is *inconclusive*. A mean
# takes F1 and AUPRC alike: where a claim has both, look at its comparisons. C3b asks more than the paper says, a model
# that beats a look-up by cognates: where it is contradicted, something may carry over all the same.

# %%
shown = pd.DataFrame(verdicts["claims"]).reindex(columns=["claim", "text", "verdict", "difference", "low", "high", "p_holm", "reason"])
shown.style.format(precision=3, na_rep="", formatter={"p_holm": names.shown_p}).set_properties(["text", "reason"], **{"text-align": "left"}).hide()

# %% [markdown]
# ## Differences
#
# Each comparison with its interval; right of the line the first arm is better. Two things vary: documents, which are drawn
# anew from the test set, and seeds. Hollow points, where there are any, are the same difference in the published trainings of
# this profile with other seeds for pre-training: of arms with one copy, no interval knows how far these lie apart.

# %%
shutil.rmtree(folder / "figures", ignore_errors=True)  # of a run with other tasks
looks = {"width_mm": width_mm, "synthetic": synthetic}
keep = {"folder": folder / "figures", "formats": formats, "dpi": dpi}
others = [again.get(trainings.compared(row), []) for row in comparisons.to_dict("records")]
forest = figures.forest(comparisons, others, **looks) if len(comparisons) else None
style.keep(forest, name="differences", caption=(
    f"Difference of the first arm to the second on the same documents, with intervals over seeds and documents "
    f"({confidence:.0%}, not corrected for the number of comparisons); colours are the verdicts after correction. "
    f"{'Hollow: the same in other trainings, which differ in the seeds of pre-training. ' if any(others) else ''}"
    f"{tables.tested(folder, [*comparisons['test']])}"), **keep)

# %% [markdown]
# ## Scores by arm
#
# A point is a seed; the dashed line is the baseline: a look-up, a rule, or a regression on words. Random weights
# (`untrained`), fine-tuned alike, are a measure: what adaptation adds to the base, beside what all pre-training has added.

# %%
style.keep(figures.task_scores(metrics, **looks), name="scores", caption=(
    "Test scores: a point is a fine-tuning seed, a bar their mean; the dashed line is the baseline. Each task has its own axis, "
    "which need not begin at 0. "
    f"{tables.tested(folder, trained)}"), **keep)
Markdown("\n\n".join([sentences.below_baseline(metrics), sentences.beside_random(metrics, arms), sentences.beside_base(metrics, arms[0])]))

# %% [markdown]
# ## Fewer labels
#
# Adaptation should be worth most where labels are few. Models that learnt from a share of the training items (the larger
# share contains the smaller), and how many labelled items fewer an arm needs to reach the control's full score, read off the
# lines between the points. An interval may have no end on a side (none): the shares tried cannot tell.

# %%
points, worth = budgets.measure(
    folder, label_budgets, control=control, copies=copies, together=tables.together(folder), draws=draws,
    confidence=confidence, seed=seed)
style.keep(figures.budget_curves(points, **looks) if label_budgets else None, name="labels", caption=(
    f"Test score by labelled items (log scale), mean over seeds; bands are its intervals over seeds and documents ({confidence:.0%}). "
    f"{tables.tested(folder, [item['task'] for item in label_budgets])}"), **keep)
display(worth.round(0).replace([float("inf"), float("-inf")], "none"))
Markdown(sentences.worth(worth))

# %% [markdown]
# ## Held-out loss while training
#
# What each arm gained on text of its domain, and lost or gained elsewhere.

# %%
style.keep(figures.loss_curves(tables.curves(folder, arms[1:] or arms), **looks), name="heldout_loss", caption=(
    "Loss on held-out text while an arm is trained (15 % of the word pieces masked, the same ones each time); lower is better. "
    "An arm begins where its parent ended (the curve of the first is on its page of 02). Dashed: text in one language only."
), **keep)

# %% [markdown]
# ## Transfer
#
# Trained on one task, tested on another. On the diagonal all labels of a task count, elsewhere those that both tasks have.

# %%
away = metrics[metrics["task"] != metrics["test"]]
style.keep(figures.transfer_matrix(metrics, **looks) if len(away) else None, name="transfer", caption=(
    "Strict F1 of models fine-tuned on a row's task and tested on a column's, of the arm that is best on that very test: an "
    "upper end. Off the diagonal no labelled example of the test was seen. "
    f"{tables.tested(folder, {*away['task'], *away['test']})}"), **keep)

# %% [markdown]
# ## Seen and unseen mentions
#
# Recall by where a mention could have been seen before. C4 asks whether an arm gains on mentions that the training labels lack.
# It may gain as much on those that they have: then it has learnt the task better, and nothing says that it has learnt words. So
# the two gains are compared below, on the same documents and seeds; secondary, not corrected.

# %%
recall = pd.read_csv(folder / "results" / "mentions.csv")
style.keep(figures.recall_groups(recall, **looks) if len(recall) else None, name="mentions", caption=(
    "Strict recall of test mentions that occur in the task's training set, else somewhere in the run's biomedical or clinical "
    "text of that language (read by this arm or not), else in neither (how many, in brackets). A point is a seed, a bar their "
    "mean; the dashed line is the baseline, where it finds any. Each panel has its own axis, which need not begin at 0."), **keep)
beyond = claims.beyond_seen(
    folder / "predictions", family, draws=draws, confidence=confidence, seed=seed, train=mentions,
    common=tables.common(folder), copies=copies, together=tables.together(folder))
display(beyond.style.format(precision=3, formatter={"p": names.shown_p}).hide())
Markdown(sentences.beyond_seen(beyond))

# %% [markdown]
# ## Screening
#
# Precision against recall for each screening task of the run, with the share of positives and the baseline; and whether
# a probability can be taken at its word.

# %%
screened = [task for task in trained if not tables.is_ner(folder, task)]
patients = [pd.concat(map(pd.read_parquet, tables.fits(folder, task))) for task in screened]
for task, rows in zip(screened, patients, strict=True):
    style.keep(ranking.precision_recall(rows, **looks), name=f"ranking_{task}", caption=(
        "Precision at each recall on the test patients, mean over seeds; in brackets the area under the curve."), **keep)
    style.keep(ranking.calibration_curve(rows, **looks) if rows["probability"].notna().any() else None, name=f"calibration_{task}", caption=(
        "Predicted probability against the share of positives among the test patients: eight groups of equal size, seeds "
        "pooled; lines are 95 % intervals for the patients that one seed has in a group."), **keep)

# %% [markdown]
# ## Who is flagged
#
# Test patients by arm at the threshold that was chosen on the development patients, mean of the seeds. An arm that ranks
# better may still flag fewer and miss more: the threshold is the one that is best for F1 on few patients. Below, what each
# arm's flags and probabilities are worth (`1 / precision` patients are looked at for one who has the condition), and how much
# it would find if half or four fifths of the flagged had to have it, with a threshold chosen in hindsight.

# %%
flagged = pd.concat(map(scores.confusions, patients)) if patients else pd.DataFrame(columns=["task", "arm"])
asked = ["precision", "recall", "f1", "recall_at_precision_0.50", "recall_at_precision_0.80", "auroc", "brier", "calibration_error", "prevalence"]
found = metrics.query("task in @screened and split == 'test' and label == 'all' and metric in @asked")
display(flagged.round(1).style.format(precision=1).hide())
pd.pivot_table(found, index="metric", columns=["task", "arm"], values="value", sort=False).reindex(asked).round(3)

# %% [markdown]
# McNemar's exact test on the same decisions (flagged by more than half of the seeds) counts patients whom only one of two
# arms decides rightly. It looks at one threshold, and is secondary to the ranking above; p is not corrected. Where positives are few, it rewards
# the arm that flags less: who flags nobody decides rightly on every negative.

# %%
decisions = claims.flagged_alike(folder / "predictions", family)
decisions.style.format(precision=3, formatter={"p": names.shown_p}).hide()

# %% [markdown]
# ## Words in common
#
# The overlap of the corpora's most frequent words, from 04_cross_lingual.

# %%
overlap = pd.read_csv(folder / "results" / "overlap.csv", index_col="corpus")
style.keep(figures.overlap_map(overlap, words=frequent_words, **looks), name="overlap", caption=(
    "Share of the most frequent words that two corpora have in common, counted in the first documents of each; where a "
    "corpus has fewer words, of the shorter list."), **keep)

# %% [markdown]
# ## Kept for the report

# %%
project.write_table(folder / "results" / "comparisons.csv", comparisons)
project.write_table(folder / "results" / "budgets.csv", points)
project.write_table(folder / "results" / "worth.csv", worth)
project.write_table(folder / "results" / "beyond_seen.csv", beyond)
project.write_table(folder / "results" / "flagged.csv", flagged)
project.write_table(folder / "results" / "mcnemar.csv", decisions)
beside = {claim: sentences.beyond_seen(rows) for claim, rows in beyond.groupby("claim")}
listed = [claim | {"beside": beside.get(claim["claim"], "")} for claim in verdicts["claims"]]
project.write_json(folder / "results" / "claims.json", verdicts | {"claims": listed})

# %% [markdown]
# **In short**
#
# - A verdict is a statement about this run's data, arms and sizes, not about the paper's.
# - "Inconclusive" means neither shown nor refuted at the run's size, after correction for the number of comparisons. Its
#   interval still says how large a gain or a loss the run leaves room for: a narrow one around zero is an answer, too.

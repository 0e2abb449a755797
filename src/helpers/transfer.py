"""A run's saved models and predictions side by side: scores, losses on task text, terms across languages."""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations, islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from engine import tokens, training, windows
from evidence import analysis, scores
from evidence.tables import common, fits, is_ner, specs, train_mentions
from helpers import models, packing, pretraining
from texts import tasks
from texts.cleaning import folded


def metrics(folder: Path, task: str) -> pd.DataFrame:
    """Every fit and the baseline of a task scored on every test set: rows of results/metrics.csv."""
    if not is_ner(folder, task):
        return pd.concat(map(scores.score_screening_file, fits(folder, task)), ignore_index=True)
    shared, words = common(folder), {d.id: windows.words(d.text) for d in tasks.split(folder, task, "test")}
    return pd.concat([scores.score_file(path, shared, words) for path in fits(folder, task)], ignore_index=True)


def between(folder: Path, metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean F1 of every arm on every test: columns task, test, distance (syntactic), arm, value, there.

    `there` is that of the same arm fine-tuned on the test's own task, on the labels that both tasks have.
    """
    rows = metrics.query("metric == 'f1' and label == 'all' and split == 'test'")
    means = rows.groupby(["task", "test", "arm"], sort=False)["value"].mean().reset_index()
    language = {name: spec["language"] for name, spec in specs(folder).items()}
    apart = [analysis.distance(language[row.task], language[row.test]) for row in means.itertuples()]
    means.insert(2, "distance", apart)
    trained = set(means["task"])
    there = {
        (task, test): _on_shared(folder, task, test) if task != test and test in trained else {}
        for task, test in means[["task", "test"]].drop_duplicates().itertuples(index=False)
    }
    return means.assign(there=[there[row.task, row.test].get(row.arm, np.nan) for row in means.itertuples()])


def _on_shared(folder: Path, task: str, test: str) -> dict[str, float]:
    """Arm -> mean F1 of its models fine-tuned on `test` there, on the labels that `task` has too."""
    own, shared = common(folder)[test], [*common(folder)[task].values()]
    rows = pd.concat([scores.read_predictions(path) for path in fits(folder, test)])
    rows = rows[rows["test"] == test].assign(label=lambda found: found["label"].map(own))
    rows = rows[rows["label"].isin(shared)].drop_duplicates([*scores.FIT, "kind", *scores.SPAN])
    sides = {kind: rows[rows["kind"] == kind] for kind in ("gold", "predicted")}
    counts = scores.counts(**sides, by=["arm", "seed"])
    f1 = scores.precision_recall_f1(counts["tp"], counts["fp"], counts["fn"])[2]
    return pd.Series(f1, counts.index).groupby("arm").mean().to_dict()


def task_texts(folder: Path, task: str) -> list[str]:
    """The test texts of a task, a document or a note each."""
    items = tasks.split(folder, task, "test")
    return [note.text for item in items for note in getattr(item, "notes", [item])]


def masked_losses(folder: Path, arms: Sequence[str], trained: Sequence[str], rows: int, length: int) -> pd.DataFrame:
    """Masked-token loss (nats) of each arm on rows from all over each task's test text, one fixed mask.

    Columns task, arm, loss; of an arm with copies the first is asked.
    """
    found, cut = [], dict[tuple[str, str], np.ndarray]()
    for arm in arms:
        model, tokenizer = models.load(folder / "models" / arm)
        model.to(training.accelerator().device)
        for task in trained:
            key = task, tokenizer.backend_tokenizer.to_str()  # arms of one base share theirs
            if key not in cut:
                encoded = tokens.literal(tokenizer).encode_batch_fast(task_texts(folder, task))
                cut[key] = spread([text.ids for text in encoded], rows, length)
            found.append({"task": task, "arm": arm, "loss": pretraining.heldout_loss(model, tokenizer, cut[key])})
    return pd.DataFrame(found)


def spread(texts: Sequence[Sequence[int]], rows: int, length: int) -> np.ndarray:
    """At most `rows` rows of `length` word pieces at equal distances from all over some texts, (rows, length)."""
    pieces = np.fromiter(chain.from_iterable(texts), int)
    whole = pieces[: len(pieces) // length * length].reshape(-1, length)
    return whole[np.linspace(0, len(whole) - 1, min(rows, len(whole))).round().astype(int)]


def parallel_terms(folder: Path, count: int) -> pd.DataFrame:
    """Terms named in every language of corpora/terms.csv, one row a concept, a column a language; at most `count`."""
    table = pd.read_csv(folder / "corpora" / "terms.csv").drop_duplicates(["concept", "language"])
    wide = table.pivot(index="concept", columns="language", values="term").dropna()
    # Terms spelt alike in two languages would make retrieval a comparison of spellings.
    different = wide.apply(lambda row: row.str.casefold().nunique() == len(row), axis=1)
    every = wide[different].sort_index()
    return every.iloc[np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)]


@torch.no_grad()
def term_vectors(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, terms: Sequence[str]) -> np.ndarray:
    """Mean last hidden state over each term's pieces, (terms, width)."""
    made = [windows.Window(i, tuple(ids), (), ()) for i, ids in enumerate(tokenizer(list(terms))["input_ids"])]
    vectors, device = [], training.accelerator()
    for at in range(0, len(made), 128):
        ids, attention = (x.to(model.device) for x in windows.pad(made[at : at + 128], tokenizer.pad_token_id))
        with device.autocast():
            hidden = model.base_model(input_ids=ids, attention_mask=attention)[0].float()
        inner = attention & (ids != tokenizer.cls_token_id) & (ids != tokenizer.sep_token_id)
        vectors.append((hidden * inner[..., None]).sum(1) / inner.sum(1, keepdim=True).clamp(min=1))
    return torch.cat(vectors).cpu().numpy()


def alignment(folder: Path, arms: Sequence[str], terms: pd.DataFrame) -> pd.DataFrame:
    """How alike an arm represents terms in two languages: arm, one, other, cka, cka_chance, retrieval, …"""
    found = []
    for arm in arms:
        model, tokenizer = models.load(folder / "models" / arm)
        model.to(training.accelerator().device)
        vectors = {language: term_vectors(model, tokenizer, terms[language]) for language in terms}
        for one, other in combinations(sorted(terms), 2):
            pair = vectors[one], vectors[other]
            row = {"arm": arm, "one": one, "other": other, "cka": analysis.cka(*pair)}
            row |= {"cka_chance": analysis.chance_cka(*pair)}
            near = analysis.retrieval(*pair)
            row |= {"retrieval": near["mean"], "chance": near["chance"], "distance": analysis.distance(one, other)}
            found.append(row)
    return pd.DataFrame(found)


def word_counts(folder: Path, documents: int) -> dict[str, analysis.Counter]:
    """Word frequencies of the first documents of each corpus."""
    return {
        name: analysis.word_counts(islice(packing.corpus(folder, *name.rsplit("-", 1)), documents))
        for name in packing.corpora(folder)
    }


def fertility(folder: Path, counts: Mapping[str, analysis.Counter], arm: str) -> pd.DataFrame:
    """Word pieces a word in every corpus, with the tokenizer of an arm: columns domain, language, pieces a word."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "models" / arm))
    rows = [(*name.rsplit("-", 1), analysis.fertility(words, tokenizer.tokenize)) for name, words in counts.items()]
    return pd.DataFrame(rows, columns=["domain", "language", "pieces a word"])


def medical(folder: Path, language: str) -> list[str]:
    """The domains of which the run has a corpus in a language, general text left out."""
    named = (name.rpartition("-") for name in packing.corpora(folder))
    return [domain for domain, _, of in named if of == language and domain != "general"]


def mention_recall(folder: Path, trained: Sequence[str]) -> pd.DataFrame:
    """Recall of each fit on mentions seen in training, else in the run's medical text of that language, else."""
    tables = []
    for task in (name for name in trained if is_ner(folder, name)):
        rows = pd.concat([scores.read_predictions(path) for path in fits(folder, task)])
        rows = rows[rows["test"] == task]
        language = specs(folder)[task]["language"]
        texts = (text for domain in medical(folder, language) for text in packing.corpus(folder, domain, language))
        mentions = {folded(text) for text in rows.loc[rows["kind"] == "gold", "text"]}
        seen = analysis.found_in_text(mentions, texts)
        tables.append(analysis.recall_by_group(rows, train=train_mentions(folder, task), adaptation=seen))
    columns = [*scores.FIT, "group", "gold", "found", "recall"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)

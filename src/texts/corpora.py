"""Domain corpora: texts normalised, told apart, kept clear of every held-out task document, and written by language.

What repeats what is defined in `texts.gate`, which checks the result without the index of `texts.repeats`.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from datasketch import MinHash, MinHashLSH

from common.progress import Line
from common.project import Mistake, write_json, write_table
from texts import languages, readers, sources, synthetic, tasks
from texts.cleaning import normalise
from texts.documents import Document, read_jsonl, shuffle_lines, write_jsonl
from texts.files import GROUP_CHARACTERS, cut
from texts.gate import gate
from texts.repeats import MOST_ALIKE, PERMUTATIONS, Repeats, hashes, runs

ENDINGS = (".jsonl", ".heldout.jsonl")
COUNTED = ("documents", "characters", "words")
EVERY = 20  # of so many documents of a part one is set aside for the held-out loss
HOPELESS = 100_000  # an endless source that repeats itself so often in a row will not fill a corpus
ENOUGH = 0.9  # of a corpus' characters: below it a text that does not fit is left out, and others are tried
PIECE = 0.1  # of the held-out characters: own texts are cut to it, so that some can be set aside
REMEDIES = {  # of a corpus with too little text, by the commonest reason
    "other language": "see whether the texts are in the language that they are listed under",
    "task document": "give texts that are in no dev or test part of a task",
    "near task document": "give texts that are in no dev or test part of a task",
    "patient of a task": "give texts of patients who are in no dev or test part of a task",
    "too long": "raise corpus.characters",
    "kept": "raise corpus.heldout_characters, or give more or shorter texts",  # none is held out
}

Texts = Mapping[str, Mapping[str, Mapping[str, Iterable[Document]]]]
Rows = list[dict[str, Any]]
Why = tuple[str, str]


@dataclass(frozen=True)
class Limits:
    """What is kept of a corpus, in characters, and what counts as a near duplicate."""

    characters: int | Mapping[str, int]  # of a corpus, at most; or by domain
    heldout_characters: int  # of these set aside for the held-out loss, at most
    near_duplicate: float  # estimated Jaccard similarity of two texts from which the later one is removed
    remove_leaks: bool = True  # what repeats task documents goes; if not, it is for the gate to find

    def __post_init__(self) -> None:
        if not 0 < self.near_duplicate <= MOST_ALIKE:
            raise Mistake(f"near_duplicate is {self.near_duplicate}; give a number above 0, at most {MOST_ALIKE}")

    def of(self, domain: str) -> Self:
        """The same with one number of characters, that of a domain."""
        return self if isinstance(self.characters, int) else replace(self, characters=self.characters[domain])


class Vocabulary:
    """Different words of a text that comes in pieces, as 64 bits each."""

    def __init__(self) -> None:
        self.seen, self.new, self.size = np.empty(0, np.uint64), list[np.ndarray](), 0

    def add(self, words: np.ndarray) -> None:
        """Note a piece's words."""
        self.new.append(np.unique(words))
        self.size += len(self.new[-1])
        if self.size > max(2**20, len(self.seen)):
            len(self)

    def __len__(self) -> int:
        self.seen, self.new, self.size = np.unique(np.concatenate([self.seen, *self.new])), [], 0
        return len(self.seen)


class Corpus:
    """One domain and language: what became of its documents, and those set aside for the held-out loss."""

    def __init__(self, against: Repeats, removed: Mapping[str, Repeats], limits: Limits) -> None:
        self.against, self.removed, self.limits = against, removed, limits
        self.keys: dict[int, str] = {}
        self.index = MinHashLSH(threshold=limits.near_duplicate, num_perm=PERMUTATIONS)
        self.empty = MinHash(num_perm=PERMUTATIONS, hashfunc=int)
        self.sketches: list[tuple[str, np.ndarray]] = []
        self.counts: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3, int))  # see COUNTED
        self.vocabulary = Vocabulary()
        self.repeated: Rows = []
        self.aside: list[Document] = []

    def _judge(self, document: Document, part: str, key: int, words: np.ndarray, full: bool, fits: bool) -> Why:
        """Why a document is not kept, and what it repeats; empty strings for one that is kept.

        Text that the project writes itself is in the language it is said to be in, and that check is the slowest.
        """
        if not len(words):
            return "no words", ""
        if key in self.keys:
            return "exact duplicate", self.keys[key]
        self.keys[key] = document.id
        known = (self.against, self.removed.get(part)) if self.limits.remove_leaks else ()
        if known and document.patient in self.against.patients:
            return "patient of a task", document.patient
        for repeats in filter(None, known):
            reason, other = repeats.find(key, words)
            if other:
                return reason, other
        if full:
            return "over the limit", ""
        if part != "synthetic" and languages.other(document.text, document.language, len(words)):
            return "other language", ""
        if not fits:
            return "too long", ""
        return self._near(document.id, words)

    def _near(self, id: str, words: np.ndarray) -> tuple[str, str]:
        """("near duplicate", id) of an earlier text with enough runs of words in common; else it is remembered."""
        sketch = self.empty.copy()
        found = runs(words, 1) & np.uint64(0xFFFFFFFF)
        for at in range(0, len(found), 4096):  # in pieces, as each makes a table of runs by permutations
            sketch.update_batch(found[at : at + 4096].tolist())
        for at in sorted(self.index.query(sketch)):
            if np.mean(self.sketches[at][1] == sketch.hashvalues) >= self.limits.near_duplicate:
                return "near duplicate", self.sketches[at][0]
        self.index.insert(len(self.sketches), sketch, check_duplication=False)
        self.sketches.append((id, sketch.hashvalues.astype(np.uint32)))
        return "", ""

    def documents(self, parts: Mapping[str, Iterable[Document]]) -> Iterator[Document]:
        """Stream the documents to train on, of the parts in turn; own and `removed` ones are read to their end."""
        streams, most = {part: iter(documents) for part, documents in parts.items()}, self.limits.characters
        kept, lost, full = 0, 0, False
        while streams:
            for part in list(streams):
                finite = sources.is_own(part) or part in self.removed
                raw = None if full and not finite else next(streams[part], None)
                if raw is None:
                    del streams[part]
                    continue
                document = replace(raw, id=f"{part}/{raw.id}", text=normalise(raw.text, raw.language))
                size, (key, words) = len(document.text), hashes(document.text)
                reason, other = self._judge(document, part, key, words, full, fits=kept + size <= most)
                if other:
                    self.repeated.append({"part": part, "document": document.id, "reason": reason, "repeats": other})
                if reason == "too long" and (full := kept > ENOUGH * most):
                    reason = "over the limit"
                if not reason:
                    reason = "held out" if self._spare(part, size) else "kept"
                    kept += size
                lost = 0 if reason in ("kept", "held out") else lost + 1
                if lost > HOPELESS and not (full or finite):
                    raise Mistake(f"part {part}: {lost:,} texts in a row are of no use; change corpus.characters")
                self.counts[part, reason] += (1, size, len(words))
                if reason == "held out":
                    self.aside.append(document)
                elif reason == "kept":
                    self.vocabulary.add(words)
                    yield document

    def _spare(self, part: str, size: int) -> bool:
        """Whether a document is the one of `EVERY` of its part that is set aside, and there is room for it."""
        before = self.counts[part, "kept"][0] + self.counts[part, "held out"][0]
        return before % EVERY == 0 and sum(len(d.text) for d in self.aside) + size <= self.limits.heldout_characters


def _check(domain: str, language: str, counts: Mapping[str, int], limits: Limits) -> None:
    """Mistake unless a corpus has a text to train on, and one for the held-out loss where that is wanted."""
    if counts["kept"] and (counts["held out"] or not limits.heldout_characters):
        return
    reasons = sorted((reason for reason in counts if counts[reason]), key=lambda reason: -counts[reason])
    told = ", ".join(f"{counts[reason]:,} {reason}" for reason in dict.fromkeys([*reasons, "kept", "held out"]))
    remedy = REMEDIES.get(reasons[0] if reasons else "", "give it more and different texts")
    raise Mistake(f"corpora.{domain}.{language}: {sum(counts.values()):,} texts read: {told}; {remedy}")


def with_progress(documents: Iterable[Document], what: str) -> Iterator[Document]:
    """Pass documents on, and leave how many there were, their size and its growth a second as progress."""
    line, began, number, size = Line(), time.monotonic(), 0, 0
    for document in documents:
        number, size = number + 1, size + len(document.text)
        if line.due():
            pace = size / (time.monotonic() - began)
            line.leave(f"{what}  {number:,} texts  {size / 1e6:,.1f} million characters  {pace:,.0f} a second")
        yield document


def build(
    folder: Path,
    texts: Texts,
    heldout: Iterable[Document],
    limits: Limits,
    remove: Mapping[str, Iterable[Document]] = {},
    seed: int = 0,
) -> tuple[Rows, Rows]:
    """Write <domain>-<language>.jsonl and .heldout.jsonl to `folder`; return counts by reason, and what repeats what.

    `texts`: domain -> language -> part -> documents, which are streamed. `heldout`: documents of dev and test sets,
    whose repetitions are removed everywhere. `remove`: part -> further documents whose repetitions it loses; such a
    part is read to its end. Rows: domain, language, part, reason, documents, characters, words, where the reasons add
    up to what was read; and domain, language, part, document, reason, repeats. words.csv has the words of what is kept
    and how many are different. Documents to train on stand in the random order that `seed` gives, so that whatever an
    arm reads of them is a sample of all parts. Memory holds hashes of the texts, and the documents that are set aside.
    Mistake for a corpus that has nothing to train on, or nothing held out although `limits` ask for it.
    """
    against, removed = Repeats(heldout), {part: Repeats(documents) for part, documents in remove.items()}
    counts: Rows = []
    repeated: Rows = []
    sizes: Rows = []
    for old in folder.glob("*.jsonl"):  # of a profile that listed other domains or languages
        old.unlink()
    for domain, language in [(domain, language) for domain, by in texts.items() for language in by]:
        corpus, place = Corpus(against, removed, limits.of(domain)), {"domain": domain, "language": language}
        for end, documents in zip(ENDINGS, (corpus.documents(texts[domain][language]), corpus.aside), strict=True):
            write_jsonl(folder / f"{domain}-{language}{end}", with_progress(documents, f"{domain}-{language}"))
        shuffle_lines(folder / f"{domain}-{language}{ENDINGS[0]}", [seed])
        found = {key: dict(zip(COUNTED, n.tolist(), strict=True)) for key, n in corpus.counts.items() if n[0]}
        by_reason: Counter[str] = Counter()
        for (_, reason), n in found.items():
            by_reason[reason] += n["documents"]
        _check(domain, language, by_reason, limits)
        counts += [{**place, "part": part, "reason": reason, **n} for (part, reason), n in found.items()]
        repeated += [{**place, **row} for row in corpus.repeated]
        kept = sum(n["words"] for (_, reason), n in found.items() if reason == "kept")
        sizes.append({**place, "words": kept, "different words": len(corpus.vocabulary)})
    write_table(folder / "words.csv", pd.DataFrame(sizes))
    return counts, repeated


def make(
    folder: Path, listed: Mapping[str, Mapping[str, Sequence[str]]], seed: int, limits: Limits
) -> tuple[Rows, Rows]:
    """`build` and `gate` the corpora of a run whose tasks are written; `folder` is the run's.

    `listed`: domain -> language -> parts of data/sources.yaml, own files, or "synthetic". Mistake unless the counts of
    listed parts, and of what is removed from one that is alone in its corpus, are the listed ones.
    """
    places = [(domain, language) for domain, by in listed.items() for language in by]
    texts: dict[str, dict[str, dict[str, Iterable[Document]]]] = {domain: {} for domain in listed}
    real, remove, removed = [], {}, {}
    for domain, language in places:
        texts[domain][language] = place = {}
        for part in listed[domain][language]:
            if part == "synthetic":
                place[part] = synthetic.documents(domain, language, seed)
                continue
            entry = {} if sources.is_own(part) else sources.entry("parts", part)
            place[part] = _documents(part, language, limits)
            if "counts" in entry:
                real.append(place[part])
            if "remove" in entry:
                remove[part] = [d for task in entry["remove"] for s in readers.tasks(task).values() for d in s]
            if len(listed[domain][language]) == 1 and limits.remove_leaks:
                removed |= {(domain, language, reason): number for reason, number in entry.get("removed", {}).items()}
    rows, repeated = build(folder / "corpora", texts, tasks.held_out(folder), limits, remove, seed)
    deque(chain.from_iterable(real), maxlen=0)  # what is over the limit is counted too
    found = {(row["domain"], row["language"], row["reason"]): row["documents"] for row in rows}
    for key, number in removed.items():
        if (got := found.get(key, 0)) < number or (got > number and "task" not in key[2]):  # other tasks repeat more
            raise Mistake(f"{' '.join(key)}: {got} removed, {sources.LISTED.name} lists {number}; mend it")
    written = (folder / "corpora" / f"{domain}-{language}{end}" for domain, language in places for end in ENDINGS)
    gate(with_progress(chain.from_iterable(map(read_jsonl, written)), "gate"), tasks.held_out(folder))
    return rows, repeated


def _documents(part: str, language: str, limits: Limits) -> Iterator[Document]:
    """The texts of a part of data/sources.yaml, or of own files, the long ones of these cut."""
    if not sources.is_own(part):
        return readers.part(part)
    from texts import own  # here, as most runs have none

    return cut(own.documents(part, language), max(GROUP_CHARACTERS, int(PIECE * limits.heldout_characters)))


def terms(listed: Mapping[str, Mapping[str, Sequence[str]]]) -> pd.DataFrame:
    """Concepts in several languages (concept, language, term, label): the lexicons' for synthetic text, else HPO's."""
    made_up = any("synthetic" in parts for by in listed.values() for parts in by.values())
    rows = synthetic.parallel_terms() if made_up else readers.parallel_terms()
    return pd.DataFrame(rows, columns=["concept", "language", "term", "label"])


def note_origin(
    folder: Path, listed: Mapping[str, Mapping[str, Sequence[str]]], wanted: Sequence[dict[str, Any]]
) -> None:
    """Write corpora/origin.json (is any text synthetic?) and corpora/sources.json (what was read, and its checksum)."""
    parts = {part for by in listed.values() for names in by.values() for part in names}
    parts |= {spec["source"] for spec in wanted}
    write_json(folder / "corpora" / "origin.json", {"synthetic": "synthetic" in parts})
    write_json(folder / "corpora" / "sources.json", sources.provenance(sorted(parts - {"synthetic"})))

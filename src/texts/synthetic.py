"""Synthetic medical text in Dutch, Romanian and Spanish, made from the project's own lexicons and grammars.

The same arguments give the same text in every process. It is no evidence for any claim: see data/SYNTHETIC.md.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import count as counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from common.project import DATA, Mistake, read_yaml
from texts.documents import PARTS, Document, Note, Patient, Span

LANGUAGES, DOMAINS = ("nl", "ro", "es"), ("general", "biomedical", "clinical")
FILES = {"ANAT": "anatomy", "CHEM": "chemicals", "DISO": "disorders", "PROC": "procedures"}
LOGISTICS = "logistics"  # distractors: clinic words that are no entity
HIV_TEST = "hiv_test"  # the concept of procedures.tsv that makes a patient tested
AMBIGUOUS = {"general": 0.0, "biomedical": 0.25, "clinical": 0.35, "ner": 0.6}  # share of the sentences
MEDICAL = 0.1  # share of general documents that are about medicine, as in an encyclopaedia
OTHER_FORMS = {"general": 0.0, "biomedical": 0.2, "clinical": 0.55}  # share of mentions not in their base form
DISTRACTORS = 0.2  # share of the {ANY} slots
POSITIVE = 0.1  # share of the patients

Words = tuple[str, tuple[str, ...], tuple[str, ...]]  # base form, abbreviations and synonyms, inflected forms
Parts = tuple[Any, ...]  # of str = literal, (name, mark) = slot, list of Parts = draw one
Pools = dict[str, list[tuple[Words, ...]]]  # by label; its groups are drawn equally often


class Concept(NamedTuple):
    """A lexicon line: a term and its other forms in each language; `indicator` = HIV indicator condition."""

    id: str
    label: str
    terms: dict[str, str]
    forms: dict[str, tuple[str, ...]]
    indicator: bool


class Event(NamedTuple):
    """What a patient's note (counted from 0) says: a kind of statement (grammar key "screening") on a concept."""

    note: int
    kind: str
    concept: str
    indicator: bool


def _rows(path: Path, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines of a lexicon and the place of each; Mistake where a line does not fit the columns."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells, where = line.split("\t"), f"{path.name}, line {number}"
        if len(cells) != len(columns) or (number == 1 and cells != columns):
            raise Mistake(f"{where}: found {cells}; give the {len(columns)} columns {columns}, a tab between them")
        row = dict(zip(columns, cells, strict=True))
        if empty := [name for name in columns if not name.endswith("_forms") and not row[name].strip()]:
            raise Mistake(f"{where}: column {empty[0]!r} is empty; fill it in")
        if number > 1:
            yield where, row


@lru_cache
def lexicon(folder: Path = DATA / "lexicons") -> tuple[Concept, ...]:
    """All medical concepts; Mistake where a line is malformed or a form already belongs to another concept."""
    concepts: list[Concept] = []
    owners: dict[str, str] = {}
    columns = ["concept", *LANGUAGES, *(f"{language}_forms" for language in LANGUAGES)]
    for label, name in FILES.items():
        for where, row in _rows(folder / f"{name}.tsv", columns + ["hiv_indicator"] * (label == "DISO")):
            forms = {lang: tuple(filter(None, row[f"{lang}_forms"].split("|"))) for lang in LANGUAGES}
            flag = row.get("hiv_indicator", "0")
            if flag not in ("0", "1"):
                raise Mistake(f"{where}: hiv_indicator is {flag!r}; allowed: 0, 1")
            names = [f"{lang} {form.casefold()}" for lang in LANGUAGES for form in (row[lang], *forms[lang])]
            for key in (row["concept"], *names):
                if key in owners:
                    raise Mistake(f"{where}: {key!r} is already on {owners[key]}; remove it from one of the two")
                owners[key] = where
            concepts.append(Concept(row["concept"], label, {x: row[x] for x in LANGUAGES}, forms, flag == "1"))
    return tuple(concepts)


@lru_cache
def _general(language: str) -> dict[str, list[str]]:
    """The non-medical words by kind."""
    kinds: dict[str, list[str]] = {}
    for _, row in _rows(DATA / "lexicons" / "general.tsv", ["kind", *LANGUAGES]):
        kinds.setdefault(row["kind"], []).append(row[language])
    return kinds


@lru_cache
def held_back() -> frozenset[str]:
    """Half of the concepts of every type and of the distractors, the same in all languages: never in NER training."""
    kinds = {label: [c.id for c in lexicon() if c.label == label] for label in FILES}
    kinds[LOGISTICS] = _general("nl")[LOGISTICS]
    return frozenset(i for kind, ids in kinds.items() for i in Random(f"held back/{kind}").sample(ids, len(ids) // 2))


def _words(concept: Concept, language: str) -> Words:
    """A concept's forms by kind: an inflection begins as the base does and is about as long."""
    base, forms = concept.terms[language], concept.forms[language]
    inflected = tuple(f for f in forms if f[:3].lower() == base[:3].lower() and len(f) >= len(base) - 2)
    return base, tuple(f for f in forms if f not in inflected), inflected


def _pools(language: str, *groups: Callable[[str], bool]) -> Pools:
    """The words of each label, one group for each test of a concept's id."""
    entries = [(c.label, c.id, _words(c, language)) for c in lexicon()]
    pairs = zip(_general("nl")[LOGISTICS], _general(language)[LOGISTICS], strict=True)
    entries += [(LOGISTICS, dutch, (word, (), ())) for dutch, word in pairs]
    return {x: [tuple(w for y, i, w in entries if x == y and g(i)) for g in groups] for x in (*FILES, LOGISTICS)}


TOKEN = re.compile(r"\{(\d+-\d+|\w+)([~^]?)\}|([\[\]|])|([^\[\]|{}]+)|(.)")


def _compile(template: str, known: set[str], where: str) -> Parts:
    """A template's parts: {slot}, {5-20}, [optional], [one|of|these]; Mistake at what is not understood."""
    stack: list[list[list[Any]]] = [[[]]]  # open brackets, the alternatives in each, their parts
    for name, mark, bracket, literal, wrong in TOKEN.findall(template):
        if wrong or (name[:1].isalpha() and name not in known) or (bracket in ("]", "|") and len(stack) == 1):
            raise Mistake(f"{where}: {wrong or bracket or name!r} in {template!r}; slots: {', '.join(sorted(known))}")
        if bracket == "[":
            stack.append([[]])
        elif bracket == "|":
            stack[-1].append([])
        elif bracket == "]":
            options = [tuple(option) for option in stack.pop()]
            stack[-1][-1].append(options + [()] * (len(options) == 1))
        else:
            stack[-1][-1].append(literal or (name, mark))
    if len(stack) > 1:
        raise Mistake(f"{where}: a [ without its ] in {template!r}; close it")
    return tuple(stack[0][0])


@lru_cache
def _grammar(domain: str, language: str) -> dict[str, tuple[Parts, ...]]:
    """Compiled templates by key: the words, "revealing", "ambiguous" and the kinds of statements of "screening"."""
    rules, shared = (read_yaml(DATA / "grammars" / f"{name}.yaml")[language] for name in (domain, "shared"))
    groups = {**_general(language), **shared, **rules.pop("words"), **rules.pop("screening", {}), **rules}
    known = {*groups, *FILES, "ANY", "LIST", "HIV"}
    return {key: tuple(_compile(str(x), known, f"{domain}.yaml, {language}, {key}") for x in templates)
            for key, templates in groups.items()}  # fmt: skip


class _Writer:
    """Draws sentences of one register and language, each with the spans of its mentions."""

    def __init__(self, domain: str, language: str, random: Random, pools: Pools, ambiguous: float) -> None:
        self.random, self.pools, self.ambiguous = random, pools, ambiguous
        self.grammar, self.share, self.labels = _grammar(domain, language), OTHER_FORMS[domain], tuple(FILES)

    def sentence(self, kind: str = "") -> tuple[str, list[Span]]:
        """A sentence or note line (of a kind, a key of the grammar) that begins with a capital, and its mentions."""
        kind = kind or ("ambiguous" if self.random.random() < self.ambiguous else "revealing")
        self.text, self.spans = "", []
        self._write(self.random.choice(self.grammar[kind]))
        return self.text, self.spans

    def _write(self, parts: Parts) -> None:
        for part in parts:
            if isinstance(part, str):
                self._add(part)
            elif isinstance(part, list):
                self._write(self.random.choice(part))
            else:
                self._slot(*part)

    def _slot(self, name: str, mark: str) -> None:
        if name in self.pools:
            self._mention(name, mark)
        elif name == "LIST":
            for place in range(self.random.randint(2, 4)):
                self._add(", " if place else "")
                self._slot("ANY", "")
        elif name == "ANY":
            free = self.random.random() < DISTRACTORS
            self._mention(LOGISTICS if free else self.random.choice(self.labels), "any")
        elif name[0].isdigit():
            low, high = name.split("-")
            self._add(str(self.random.randint(int(low), int(high))).zfill(len(low)))
        else:
            self._write(self.random.choice(self.grammar[name]))

    def _mention(self, label: str, mark: str) -> None:
        base, short, inflected = self.random.choice(self.random.choice(self.pools[label]))
        if mark in ("~", "^"):  # the first inflected form (Romanian nominative) or the last (genitive)
            text = (base, *inflected)[min(1, len(inflected)) if mark == "~" else -1]
        else:
            forms = short + inflected[:1] if mark else short
            text = self.random.choice(forms) if forms and self.random.random() < self.share else base
        start = len(self.text)
        self._add(text)
        if label in FILES:
            self.spans.append(Span(start, len(self.text), label))

    def _add(self, text: str) -> None:
        if not self.text:  # a Dutch ij is one capital letter
            text = text[:2].upper() + text[2:] if text.startswith("ij") else text[:1].upper() + text[1:]
        self.text += text


def _check(value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Mistake(f"synthetic text: {value!r} is not known; allowed: {', '.join(allowed)}")


def documents(domain: str, language: str, seed: int) -> Iterator[Document]:
    """Endless unlabelled documents of 3 to 10 sentences (clinical: lines); Mistake on an unknown domain or language."""
    _check(domain, DOMAINS)
    _check(language, LANGUAGES)
    random = Random(f"{domain}/{language}/{seed}")
    pools, kinds = _pools(language, lambda _: True), (domain, "biomedical") if domain == "general" else (domain,)
    writers = [_Writer(kind, language, random, pools, AMBIGUOUS[kind]) for kind in kinds]
    joint = "\n" if domain == "clinical" else " "
    for number in counter():
        writer = writers[-1] if random.random() < MEDICAL else writers[0]
        text = joint.join(writer.sentence()[0] for _ in range(random.randint(3, 10)))
        yield Document(f"{domain}-{language}-{number:06d}", language, text)


def ner_documents(language: str, split: str, count: int, seed: int) -> Iterator[Document]:
    """`count` clinical notes of 30 to 80 words with exact spans; half of the dev and test mentions are held back."""
    _check(language, LANGUAGES)
    _check(split, PARTS)
    random, held, made = Random(f"ner/{language}/{split}/{seed}"), held_back(), 0
    groups = [lambda i: i not in held, lambda i: i in held][: 1 if split == "train" else 2]
    writer = _Writer("clinical", language, random, _pools(language, *groups), AMBIGUOUS["ner"])
    while made < count:
        text, spans, words = "", [], random.randint(30, 60)
        while len(text.split()) < words:
            line, found = writer.sentence()
            if len(text.split()) + len(line.split()) <= 80:
                spans += [Span(len(text) + s.start, len(text) + s.end, s.label) for s in found]
                text += line + "\n"
        if crc32(text.encode()) % len(PARTS) == PARTS.index(split):  # so no text can be in two splits
            yield Document(f"ner-{language}-{split}-{made:06d}", language, text.rstrip("\n"), tuple(spans))
            made += 1


@lru_cache
def _screening() -> tuple[tuple[list[Concept], list[Concept], Concept], Pools]:
    """Indicator conditions, other conditions and the HIV test; the Dutch pools without indicators and HIV test."""
    indicators, test = [c for c in lexicon() if c.indicator], next(c for c in lexicon() if c.id == HIV_TEST)
    pools = _pools("nl", lambda i: i not in {test.id, *(c.id for c in indicators)})
    others = [c for c in lexicon() if c.label == "DISO" and not c.indicator]
    return (indicators, others, test), {**pools, "HIV": [(_words(test, "nl"),)]}


def _plan(random: Random, positive: bool) -> list[list[tuple[str, Concept]]]:
    """The statements (kind, concept) of each note of one patient, oldest note first, at most three a note."""
    (indicators, others, test), _ = _screening()
    weights = [1 / (rank + 1) ** 2 for rank in range(len(indicators))]  # few conditions are common, as in practice
    own, rival = random.choices(indicators, weights, k=2)
    while rival is own:
        rival = random.choices(indicators, weights)[0]
    plan: list[list[tuple[str, Concept]]] = [[] for _ in range(min(12, 1 + int(random.expovariate(1 / 1.6))))]
    first, last = random.randrange(len(plan)), len(plan) - 1
    case = "positive" if positive else random.choices(("tested", "mentioned", "plain"), (25, 35, 40))[0]
    if case in ("positive", "tested"):
        affirmed = [note for note in range(first, last + 1) if note == first or random.random() < 0.6]
        for note in affirmed:
            plan[note].append(("affirmed", own))
    if case == "tested":
        plan[random.randint(affirmed[-1], last)].append(("tested", test))
    elif first and random.random() < 0.4:  # a test that came too early
        plan[random.randrange(first)].append(("tested", test))
    if random.random() < 0.15:
        plan[random.randint(first, last)].append(("declined", test))
    for _ in range(random.randint(1, 3) if case == "mentioned" else random.random() < 0.25):
        events = random.choice(plan)
        if len(events) < 3:
            events.append((random.choice(("negated", "family", "hypothetical")), rival))
    for events in plan:
        if len(events) < 3 and random.random() < 0.5:
            kind = random.choices(("affirmed", "negated", "family", "hypothetical"), (6, 2, 1, 1))[0]
            events.insert(random.randint(0, len(events)), (kind, random.choice(others)))
    return plan


def _screening_note(writer: _Writer, events: list[tuple[str, Concept]]) -> str:
    """The note of 2 to 4 lines and 10 to 30 words that says `events` in their order, among other lines."""
    random, (_, pools) = writer.random, _screening()
    while True:
        lines = []
        for kind, concept in events:
            writer.pools = {**pools, "DISO": [(_words(concept, "nl"),)]}
            lines.append(writer.sentence(kind)[0])
        writer.pools = pools
        for _ in range(random.randint(max(0, 2 - len(lines)), 4 - len(lines))):
            lines.insert(random.randint(0, len(lines)), writer.sentence()[0])
        if 10 <= len(" ".join(lines).split()) <= 30:
            return "\n".join(lines)


def patients_with_events(count: int, seed: int, split: str) -> Iterator[tuple[Patient, tuple[Event, ...]]]:
    """`patients` with the truth behind each: what its notes say, in their order."""
    _check(split, PARTS)
    random = Random(f"screening/{split}/{seed}")
    writer = _Writer("clinical", "nl", random, _screening()[1], ambiguous=0.0)
    positives = max(1, round(count * POSITIVE))
    labels = random.sample([1] * positives + [0] * (count - positives), count)
    for number, label in enumerate(labels):
        plan, day, notes = _plan(random, bool(label)), date(2015, 1, 1) + timedelta(random.randrange(2500)), []
        for events in plan:
            notes.append(Note(day.isoformat(), _screening_note(writer, events)))
            day += timedelta(random.randint(3, 200))
        truth = (Event(note, kind, c.id, c.indicator) for note, events in enumerate(plan) for kind, c in events)
        yield Patient(f"patient-{split}-{number:05d}", "nl", label, tuple(notes)), tuple(truth)


def patients(count: int, seed: int, split: str) -> Iterator[Patient]:
    """`count` Dutch patients, exactly round(count * POSITIVE) of them positive, and at least one.

    Positive: an indicator condition of the patient is affirmed, and no HIV test is done in the same note or later.
    """
    return (patient for patient, _ in patients_with_events(count, seed, split))


def keyword_terms() -> dict[str, list[str]]:
    """All Dutch forms of the indicator conditions ("indicators") and of the HIV test ("tests")."""
    chosen = {"indicators": [c for c in lexicon() if c.indicator], "tests": [c for c in lexicon() if c.id == HIV_TEST]}
    return {key: [form for c in cs for form in (c.terms["nl"], *c.forms["nl"])] for key, cs in chosen.items()}


def parallel_terms() -> Iterator[tuple[str, str, str, str]]:
    """(concept, language, term, label) of every base term, three rows a concept."""
    return ((c.id, language, c.terms[language], c.label) for c in lexicon() for language in LANGUAGES)

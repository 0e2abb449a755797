"""From the files of a source to documents with character spans; every reading is checked against its listed counts.

A reader takes (path, content) pairs sorted by path, the language, and a counter of blemishes: what the files hold that
is no text or no valid mention. Blemishes are counted, never repaired or dropped in silence.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, chain, pairwise
from pathlib import PurePosixPath
from typing import Any

from lxml import etree

from common.project import Mistake, digest
from texts import sources
from texts.bulk import articles, opus
from texts.documents import Document, Span
from texts.files import GROUP_CHARACTERS, GROUP_SENTENCES, Files, Reader, grouped, text_of
from texts.standoff import brat, multiclinner

TAG = re.compile(r"([BI])-(\S+)")
LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()\n]|\([^()\n]*\)?)*\)")
MARKUP = re.compile(r"<[^>\n]*>|^#+|^[|\s-]+$|(?<!\w)[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}(?!\w)|\\(?=[^\w\s])", re.M)
# openEHR: quoted strings, the fields that hold prose, and the marker of text left in English.
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
FIELD = re.compile(rf"\b(?:text|description|comment|purpose|use|misuse|keywords) = <((?:{QUOTED.pattern}[, ]*)+)", re.S)
NOT_TRANSLATED = re.compile(r"\([a-z]{2}\)\s*$")


def _sentences(path: str, content: bytes, columns: int) -> Iterator[list[tuple[int, list[str]]]]:
    """The (line number, fields) rows of each sentence of a tab-separated file; comments stay out."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*text_of(path, content).split("\n"), ""], start=1):
        fields = line.split("\t")
        if not line.strip():
            if rows:
                yield rows
            rows = []
        elif len(fields) == columns:
            rows.append((number, fields))
        elif not line.startswith("#" if columns == 10 else "# "):  # of three or four columns a # may be a token
            raise Mistake(f"{path}, line {number}: {line[:60]!r} has {len(fields)} columns, expected {columns}")


def conll_tab(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each sentence of token, lemma, BIO tag, MSD; its text is the tokens joined by spaces."""
    for path, content in files:
        for number, rows in enumerate(_sentences(path, content, 4)):
            tagged = [(line, fields[0], fields[2], " ") for line, fields in rows]
            yield _tagged(path, number, language, tagged, blemishes)


def conllu_misc(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each CoNLL-U sentence; its tenth column has BioNERLabel and SpaceAfter; ranges are left out."""
    for path, content in files:
        for number, rows in enumerate(_sentences(path, content, 10)):
            tagged = []
            for line, fields in rows:
                misc = dict(item.partition("=")[::2] for item in fields[9].split("|"))
                if fields[0].isdigit():
                    space = "" if misc.get("SpaceAfter") == "No" else " "
                    tagged.append((line, fields[1], misc.get("BioNERLabel", "O"), space))
            yield _tagged(path, number, language, tagged, blemishes)


def _tagged(
    path: str, number: int, language: str, tagged: list[tuple[int, str, str, str]], blemishes: Counter[str]
) -> Document:
    """A document of (line, token, BIO tag, space); a mention starts at B- only and takes in the I- of its label."""
    text, before, begun, spans = "", "", False, []
    for line, token, tag, space in tagged:
        found = TAG.fullmatch(tag)
        label = found[2] if found else ""
        if found and found[1] == "B":
            spans.append(Span(len(text), len(text) + len(token), label))
            begun = True
        elif label and label == before and begun:
            spans[-1] = replace(spans[-1], end=len(text) + len(token))
        elif label and label != before:
            blemishes["I- without a beginning"] += 1
            begun = False
        elif tag in ("", "o"):
            blemishes["lower-case o" if tag else "empty tag"] += 1
        elif not label and tag != "O":
            raise Mistake(f"{path}, line {line}: tag {tag!r} of {token!r}; allowed: O, B-LABEL, I-LABEL")
        text, before = text + token + space, label
    return Document(f"{PurePosixPath(path).stem}-{number}", language, text.rstrip(" "), tuple(spans))


def plain(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each text file that is not blank."""
    for path, content in files:
        text = text_of(path, content)
        if text.strip():
            yield Document(PurePosixPath(path).stem, language, text)
        else:
            blemishes["blank file"] += 1


def wikineural(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for 20 neighbouring sentences of number, token, tag; tokens are joined by spaces."""
    for path, content in files:
        lines = (" ".join(fields[1] for _, fields in rows) for rows in _sentences(path, content, 3))
        yield from grouped(path, language, lines, GROUP_SENTENCES, lambda _: 1)


def ronec(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for 20 neighbouring sentences of a JSON list; `tokens` are joined after `space_after`."""
    for path, content in files:
        pairs = (zip(i["tokens"], i["space_after"], strict=True) for i in json.loads(text_of(path, content)))
        lines = ("".join(token + " " * space for token, space in sentence).strip() for sentence in pairs)
        yield from grouped(path, language, lines, GROUP_SENTENCES, lambda _: 1)


def tei(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """Documents of about 2,000 characters of a novel's body: its paragraphs, verses and headings."""
    for path, content in files:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False))
        elements = (e for body in root.iter("{*}body") for e in body.iter("{*}p", "{*}l", "{*}head"))
        lines = (" ".join("".join(element.itertext()).split()) for element in elements)
        yield from grouped(path, language, lines, GROUP_CHARACTERS)


def openehr(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each archetype (ADL 1.4): the prose of its sections in `language`; what is English is counted."""
    section = re.compile(rf'^\t\t\["{language}"\] = <\n(.*?)^\t\t>', re.MULTILINE | re.DOTALL)
    for path, content in files:
        fields = (field[1] for part in section.finditer(text_of(path, content)) for field in FIELD.finditer(part[1]))
        said = [text.replace('\\"', '"') for field in fields for text in QUOTED.findall(field) if text.strip()]
        english = [text for text in said if NOT_TRANSLATED.search(text)]
        blemishes["characters not translated"] += sum(map(len, english))
        if len(said) > len(english):
            text = "\n".join(text for text in said if text not in english)
            yield Document(PurePosixPath(path).stem, language, text)


def terms(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for 20 neighbouring terms of an HPO table; terms left in English are counted."""
    for path, content in files:
        named = (term for _, term in _translated(path, content, blemishes))
        yield from grouped(path, language, named, GROUP_SENTENCES, lambda _: 1)


def _translated(path: str, content: bytes, blemishes: Counter[str]) -> Iterator[tuple[str, str]]:
    """(HPO id, term) of the translated labels or synonyms of a table; its template header and definitions stay out."""
    for row in csv.DictReader(text_of(path, content).split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE):
        concept, term = row["subject_id"] or "", (row["translation_value"] or "").strip()
        if concept.startswith("HP:") and row.get("predicate_id", "rdfs:label") == "rdfs:label":
            if "NOT_TRANSLATED" in (row.get("translation_status"), row.get("comment")):
                blemishes["characters not translated"] += len(term)
            elif term:
                yield concept, term


def markdown(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """Documents of about 2,000 characters of a Markdown text, its mark-up and link addresses taken out."""
    for path, content in files:
        text = MARKUP.sub("", LINK.sub(r"\1", text_of(path, content)))
        lines = (" ".join(line.replace("|", " ").split()) for line in text.split("\n"))
        yield from grouped(path, language, lines, GROUP_CHARACTERS)


READERS: dict[str, Reader] = {
    reader.__name__: reader
    for reader in (
        brat,
        multiclinner,
        conll_tab,
        conllu_misc,
        plain,
        wikineural,
        ronec,
        tei,
        openehr,
        terms,
        markdown,
        opus,
        articles,
    )
}


def part(name: str) -> Iterator[Document]:
    """Stream the documents of a part of data/sources.yaml; Mistake at their end unless the counts are those listed.

    A part without counts was not read yet by whoever listed it: what is found is printed.
    """
    entry = sources.entry("parts", name)
    if "split" not in entry:
        return _read(f"part {name}", entry, entry["language"], Counter())
    labelled = tasks(entry["task"])[entry["split"]]
    documents = (Document(d.id, d.language, d.text) for d in labelled)
    return _counted(f"part {name}", documents, entry["counts"], Counter())


def _read(what: str, entry: dict[str, Any], language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """Read and count the documents of an entry with `reader`, `source`, `files` and `counts`."""
    files = sources.read_files(entry["source"], entry.get("files"))
    return _counted(what, _documents(what, entry["reader"], files, language, blemishes), entry.get("counts"), blemishes)


def _documents(what: str, reader: str, files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """What a reader makes of the files; Mistake naming the file that is not of the reader's format."""
    now = ["its files"]

    def followed() -> Iterator[tuple[str, bytes]]:
        for path, content in files:
            now[0] = path
            yield path, content
            now[0] = "its files"

    try:
        yield from READERS[reader](followed(), language, blemishes)
    except (KeyError, TypeError, ValueError, SyntaxError) as error:  # lxml's is a SyntaxError
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        told = f"reader {reader!r} cannot read it ({reason}); fetch it anew, or mend `reader` in {sources.LISTED.name}"
        raise Mistake(f"{what}: {now[0]}: {told}") from None


def _counted(
    what: str, documents: Iterable[Document], counts: dict[str, Any] | None, blemishes: Counter[str]
) -> Iterator[Document]:
    """Pass documents on; at their end Mistake where a count is not that of `counts`, or without them print what came.

    No other blemishes may occur than those in `counts`.
    """
    found: dict[str, Any] = {"documents": 0, "characters": 0, "overlapping": 0, "entities": Counter()}
    for document in documents:
        found["documents"] += 1
        found["characters"] += len(document.text)
        found["entities"].update(span.label for span in document.spans)
        found["overlapping"] += sum(b.start < a.end for a, b in pairwise(document.spans))
        yield document
    found["blemishes"] = {blemish: number for blemish, number in blemishes.items() if number}
    if counts is None:
        sizes = {"documents": found["documents"], "characters": found["characters"], **found["entities"]}
        told = ", ".join(f"{number:,} {of}" for of, number in (sizes | found["blemishes"]).items())
        print(f"{what}: {told}; {sources.LISTED.name} lists no counts to compare")
        if not found["documents"]:
            raise Mistake(f"{what}: no file of its source is one of it; look at `files` in {sources.LISTED.name}")
        if 20 * blemishes["misplaced mention"] > found["entities"].total():
            raise Mistake(
                f"{what}: more than one in twenty mentions do not say what stands at their offsets; look at them"
            )
        return
    for key, listed in {"blemishes": {}, **counts}.items():
        if found[key] != listed:
            raise Mistake(f"{what}: {key} {found[key]}, {sources.LISTED.name} lists {listed}; mend one of them")


def tasks(name: str) -> dict[str, list[Document]]:
    """The train, dev and test documents of a task of data/sources.yaml, with the mentions of scored labels only.

    Raw files and splits are checked against their listed counts.
    """
    entry, raw = sources.entry("tasks", name), {}
    for key, reading in entry["raw"].items():
        raw[key] = list(_read(f"task {name}, {key}", reading, entry["language"], Counter()))
    if "matched" in entry:
        raw |= _matched(raw[entry["matched"]["of"]], {s: raw[key] for s, key in entry["matched"]["by"].items()})
    if "drawn" in entry:
        raw |= _drawn(raw[entry["drawn"]["of"]], entry["drawn"]["shares"])
    splits = {}
    for split, spec in entry["splits"].items():
        scored = []
        for document in (d for key in spec["of"] for d in raw[key] if d.id not in spec.get("without", ())):
            spans = tuple(span for span in document.spans if span.label in entry["labels"])
            scored.append(replace(document, spans=spans))
        splits[split] = list(_counted(f"task {name}, {split}", scored, spec.get("counts"), Counter()))
        if twice := [id for id, number in Counter(d.id for d in scored).items() if number > 1]:
            raise Mistake(f"task {name}, {split}: several documents are {twice[0]!r}; give every file its own name")
        if "counts" not in spec and not any(document.spans for document in scored):
            found = f"no {' or '.join(entry['labels'])} in {len(scored):,} documents"
            raise Mistake(f"task {name}, {split}: {found}; look at the files, and at labels in {sources.LISTED.name}")
    return splits


def _matched(whole: list[Document], by: dict[str, list[Document]]) -> dict[str, list[Document]]:
    """Split `whole` by the texts of other documents, the rest is "train"; each document is taken once.

    Texts are compared without spaces and case; those that find no partner so, by letters and digits only.
    """
    taken: dict[int, str] = {}
    missing = [(split, document) for split, documents in by.items() for document in documents]
    for ignored in (re.compile(r"\s"), re.compile(r"[\W_]")):
        free: dict[str, list[int]] = {}
        for i in sorted(set(range(len(whole))) - taken.keys()):
            free.setdefault(ignored.sub("", whole[i].text).casefold(), []).append(i)
        wanted, missing = missing, []
        for split, document in wanted:
            if places := free.get(ignored.sub("", document.text).casefold()):
                taken[places.pop(0)] = split
            else:
                missing.append((split, document))
    if missing:
        split, document = missing[0]
        raise Mistake(f"{split} sentence {document.id}: has no partner in {len(whole)} sentences; check both sources")
    return {split: [d for i, d in enumerate(whole) if taken.get(i, "train") == split] for split in ("train", *by)}


def _drawn(whole: list[Document], shares: dict[str, float]) -> dict[str, list[Document]]:
    """Split `whole` by chance, the rest is "train"; the number that ids end on decides: translations stay together."""
    parts: dict[str, list[Document]] = {split: [] for split in ("train", *shares)}
    ends = dict(zip(shares, accumulate(shares.values()), strict=True))
    for document in whole:
        number = re.search(r"\d+$", document.id)
        if not number:
            raise Mistake(f"report {document.id}: its name does not end on a number, by which parts are drawn")
        draw = int(digest(str(int(number[0])).encode())[:8], 16) / 16**8
        parts[next((split for split, end in ends.items() if draw < end), "train")].append(document)
    return parts


def parallel_terms() -> Iterator[tuple[str, str, str, str]]:
    """(HPO id, language, term, "DISO") of each concept that has a Dutch and a Spanish label."""
    labels = {}
    for language, name in sources.PARALLEL.items():
        entry = sources.entry("parts", name)
        files = sources.read_files(entry["source"], entry.get("files"))
        labels[language] = dict(chain.from_iterable(_translated(*file, Counter()) for file in files))
    for concept in sorted(labels["nl"].keys() & labels["es"].keys()):
        yield from ((concept, language, found[concept], "DISO") for language, found in labels.items())

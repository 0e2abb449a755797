"""From the files of a source to documents with character spans; every reading is checked against its listed counts.

A reader takes (path, content) pairs sorted by path, the language, and a counter of blemishes: what the files hold that
is no text or no valid mention. Blemishes are counted, never repaired or dropped in silence.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from lxml import etree

from helpers import sources
from helpers.documents import Document, Span
from helpers.project import Mistake

Files = Iterable[tuple[str, bytes]]
Reader = Callable[[Files, str, Counter[str]], Iterator[Document]]

GROUP_CHARACTERS = 2000  # a document of a long text: whole paragraphs until it has this many
GROUP_SENTENCES = 20  # neighbouring sentences, or terms, that make a document
MENTION = re.compile(r"T\d+\t(\S+) (\d+) (\d+)((?:;\d+ \d+)*)\t(.*)")
TAG = re.compile(r"([BI])-(\S+)")
LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()\n]|\([^()\n]*\)?)*\)")
MARKUP = re.compile(r"<[^>\n]*>|^#+|^[|\s-]+$|(?<!\w)[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}(?!\w)|\\(?=[^\w\s])", re.MULTILINE)
# openEHR: a language's section, the fields in it that are prose, and the marker of text left in English.
FIELD = re.compile(r'\b(?:text|description|comment|purpose|use|misuse|keywords) = <((?:"(?:[^"\\]|\\.)*"[, ]*)+)', re.DOTALL)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
NOT_TRANSLATED = re.compile(r"\([a-z]{2}\)\s*$")


def _text(path: str, content: bytes) -> str:
    """A file's text without byte order mark, its lines ended by \\n."""
    return _decoded(path, content).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None


def brat(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each pair of .txt and .ann; only text-bound annotations (T) are read, which must be contiguous."""
    waiting: dict[str, tuple[str, bytes]] = {}
    for path, content in files:
        stem, other = path.rpartition(".")[0], waiting.pop(path.rpartition(".")[0], None)
        if other is None:
            waiting[stem] = (path, content)
            continue
        pair = dict([other, (path, content)])
        mentions = list(_brat_mentions(f"{stem}.ann", _text(f"{stem}.ann", pair[f"{stem}.ann"])))
        text = _decoded(f"{stem}.txt", pair[f"{stem}.txt"])
        # brat counts characters; which of them its server saw, where a file has a mark or \r\n, the mentions tell.
        candidates = dict.fromkeys((text, text.removeprefix("\ufeff"), _text(path, text.encode())))
        misplaced = {t: sum(t[span.start : span.end] != said for span, said in mentions) for t in candidates}
        text = min(misplaced, key=misplaced.__getitem__)
        if outside := [span for span, _ in mentions if not span.start < span.end <= len(text)]:
            raise Mistake(f"{stem}.ann: mention {outside[0].start} {outside[0].end} is not inside its text of {len(text)} characters")
        blemishes["misplaced mention"] += misplaced[text]
        yield Document(PurePosixPath(stem).name, language, text, tuple(sorted((s for s, _ in mentions), key=_place)))
    if waiting:
        raise Mistake(f"{next(iter(waiting.values()))[0]}: its .txt or .ann is missing; brat needs both")


def _brat_mentions(path: str, text: str) -> Iterator[tuple[Span, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line[0] in "#AREMN*":
            continue
        found = MENTION.fullmatch(line)
        if not found:
            raise Mistake(f"{path}, line {number}: {line[:60]!r} is no brat annotation; expected T1<tab>LABEL start end<tab>text")
        if found[4]:
            raise Mistake(f"{path}, line {number}: a mention in several pieces, {found[2]} {found[3]}{found[4]}; only one is supported")
        yield Span(int(found[2]), int(found[3]), found[1]), found[5]


def _place(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label


def _sentences(path: str, content: bytes, columns: int) -> Iterator[list[tuple[int, list[str]]]]:
    """The (line number, fields) rows of each sentence of a tab-separated file; comments stay out."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*_text(path, content).split("\n"), ""], start=1):
        fields = line.split("\t")
        if not line.strip():
            if rows:
                yield rows
            rows = []
        elif len(fields) == columns:
            rows.append((number, fields))
        elif not line.startswith("# "):
            raise Mistake(f"{path}, line {number}: {len(fields)} columns in {line[:60]!r}, expected {columns} between tabs")


def conll_tab(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each sentence of token, lemma, BIO tag, MSD; id is file-number from 0; text is tokens and spaces."""
    for path, content in files:
        for number, rows in enumerate(_sentences(path, content, 4)):
            blemishes["tokens"] += len(rows)
            tagged = [(fields[0], fields[2], " ") for _, fields in rows]
            yield _tagged(f"{PurePosixPath(path).stem}-{number}", language, tagged, blemishes, f"{path}, line {rows[0][0]}")


def conllu_misc(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each CoNLL-U sentence; tags from BioNERLabel and spaces from SpaceAfter of the tenth column."""
    for path, content in files:
        for number, rows in enumerate(_sentences(path, content, 10)):
            tagged = []
            for _, fields in rows:
                misc = dict(item.split("=", 1) for item in fields[9].split("|") if "=" in item)
                if fields[0].isdigit():  # neither a range nor an empty node
                    tagged.append((fields[1], misc.get("BioNERLabel", "O"), "" if misc.get("SpaceAfter") == "No" else " "))
            blemishes["tokens"] += len(tagged)
            yield _tagged(f"{PurePosixPath(path).stem}-{number}", language, tagged, blemishes, f"{path}, line {rows[0][0]}")


def _tagged(
    id: str, language: str, tagged: list[tuple[str, str, str]], blemishes: Counter[str], where: str
) -> Document:
    """A document of (token, BIO tag, space after it); a mention starts at B- only and takes in the I- of its label."""
    text, spans, inside = "", [], False
    for token, tag, space in tagged:
        start, found = len(text), TAG.fullmatch(tag)
        text += token
        if found and found[1] == "B":
            spans.append(Span(start, len(text), found[2]))
        elif found and inside and spans[-1].label == found[2]:
            spans[-1] = Span(spans[-1].start, len(text), found[2])
        elif found:
            blemishes["I- without a beginning"] += 1
            found = None
        elif tag in ("", "o"):
            blemishes["lower-case o" if tag else "empty tag"] += 1
        elif tag != "O":
            raise Mistake(f"{where}: tag {tag!r} of {token!r} is unknown; allowed: O, B-LABEL, I-LABEL")
        inside = found is not None
        text += space
    return Document(id, language, text.rstrip(" "), tuple(spans))


def plain(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each text file that is not blank."""
    for path, content in files:
        text = _text(path, content)
        if text.strip():
            yield Document(PurePosixPath(path).stem, language, text)
        else:
            blemishes["blank file"] += 1


def _grouped(id: str, language: str, pieces: Iterable[str], joint: str, size: int, full: int) -> Iterator[Document]:
    """Documents of neighbouring pieces: until `full` pieces, or where that is 0 until `size` characters."""
    group: list[str] = []
    characters = number = 0
    for piece in filter(None, pieces):
        group.append(piece)
        characters += len(piece)
        if len(group) == full or (not full and characters >= size):
            yield Document(f"{id}-{number}", language, joint.join(group))
            group, characters, number = [], 0, number + 1
    if group:
        yield Document(f"{id}-{number}", language, joint.join(group))

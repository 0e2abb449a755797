"""Labels that stand beside their text, as character offsets: brat's .ann files and MultiClinNER's tables."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from common.project import Mistake
from texts.documents import Document, Span
from texts.files import Files, text_of

LINE = re.compile(r"T\d+\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)\t(.*)")
BLANK = re.compile(r"T\d+\t[^\t]* \d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*\t.*")  # a LINE but for a blank in its label
ROW = re.compile(r"([^\t]+)\t(\S+)\t(\d{1,9})\t(\d{1,9})\t(.*)")
TAB = "\t"
OFFSETS = "mend the offsets: they count characters from 0, the second is the character after the last"
QUOTED = re.compile(r'"(.*)"', re.S)


class Mention(NamedTuple):
    """An annotation: where it was read, (start, end) of its pieces, and its text as annotated."""

    place: str
    label: str
    pieces: list[tuple[int, int]]
    said: str


def brat(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each pair of .txt and .ann, of whose lines only text-bound annotations (T) are read.

    A mention in several pieces is taken whole, from the first to the end of the last, and counted as a blemish.
    Mistake with file and line for a malformed line, or a mention outside the text.
    """
    for document, _ in annotated(files, language, blemishes):
        yield document


def annotated(files: Files, language: str, blemishes: Counter[str]) -> Iterator[tuple[Document, list[Mention]]]:
    """The documents of `brat`, each with its mentions as they were read."""
    waiting: dict[str, tuple[str, bytes]] = {}
    for path, content in files:
        stem, _, suffix = path.rpartition(".")
        if suffix not in ("txt", "ann"):
            raise Mistake(f"{path}: brat has .txt and .ann; narrow `files` in data/sources.yaml")
        if stem not in waiting:
            waiting[stem] = (path, content)
            continue
        pair = dict([waiting.pop(stem), (path, content)])
        mentions = list(_lines(f"{stem}.ann", text_of(f"{stem}.ann", pair[f"{stem}.ann"])))
        yield _document(f"{stem}.txt", pair[f"{stem}.txt"], mentions, language, blemishes), mentions
    for path, _ in waiting.values():
        raise Mistake(f"{path}: its .txt or .ann is missing; brat needs both")


def write(folder: Path, documents: Iterable[Document]) -> None:
    """Write documents as pairs of .txt and .ann for brat, each named after its id as far as a file can be."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = set[str]()
    for document in documents:
        stem = re.sub(r"[^\w.-]+", "_", document.id).strip(".")[:60] or "_"
        while stem.casefold() in taken:
            stem = f"{stem}_{len(taken)}_"
        taken.add(stem.casefold())
        said = ((s, re.sub(r"\s", " ", document.text[s.start : s.end])) for s in document.spans)
        lines = [f"T{n}\t{s.label} {s.start} {s.end}\t{text}\n" for n, (s, text) in enumerate(said, start=1)]
        (folder / f"{stem}.txt").write_bytes(document.text.encode())
        (folder / f"{stem}.ann").write_bytes("".join(lines).encode())


def _lines(path: str, text: str) -> Iterator[Mention]:
    """The mentions of a brat file."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and line[0] not in "#AREMN*":
            found = LINE.fullmatch(line)
            if not found:
                what = "a label with a blank" if BLANK.fullmatch(line) else f"{line.count(TAB) + 1} columns"
                raise Mistake(f"{path}, line {number}: found {what}, expected T1<tab>LABEL start end<tab>text")
            pieces = [(int(start), int(end)) for start, end in map(str.split, found[2].split(";"))]
            yield Mention(f"{path}, line {number}", found[1], pieces, found[3])


def multiclinner(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """A document for each .txt, labelled by the .tsv among the files, whose rows name it.

    A mention that stands twice counts once, and blanks at its ends are left out; both are counted as blemishes.
    Mistake with file and line for a malformed row, one of a file that is not there, or a mention outside the text.
    """
    texts, mentions = dict[str, tuple[str, bytes]](), dict[str, list[Mention]]()
    for path, content in files:
        name = PurePosixPath(path).stem
        if path.endswith(".tsv"):
            for of, mention in _rows(path, text_of(path, content)):
                mentions.setdefault(of, []).append(mention)
        elif name in texts:
            raise Mistake(f"{path}: has the name of {texts[name][0]}; narrow `files` in data/sources.yaml")
        else:
            texts[name] = (path, content)
    if unknown := mentions.keys() - texts.keys():
        name = min(unknown)
        raise Mistake(f"{mentions[name][0].place}: there is no text {name}.txt; put it beside the others")
    for name, (path, content) in texts.items():
        yield _scorable(_document(path, content, mentions.get(name, []), language, blemishes), blemishes)


def _rows(path: str, text: str) -> Iterator[tuple[str, Mention]]:
    """Name of the text and mention of each row of a table: filename, label, start, end, text; a header may lead.

    The text may go on over the next lines, and stand in quotes, as programs write tables.
    """
    rows: list[tuple[str, Mention]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if found := ROW.fullmatch(line):
            mention = Mention(f"{path}, line {number}", found[2], [(int(found[3]), int(found[4]))], found[5])
            rows.append((found[1].removesuffix(".txt"), mention))
        elif rows and ("\t" not in line or _in_quotes(rows[-1][1].said)):
            name, mention = rows[-1]
            rows[-1] = name, mention._replace(said=f"{mention.said}\n{line}")
        elif line and not (number == 1 and line.startswith("filename\t")):
            expected = "filename<tab>LABEL<tab>start<tab>end<tab>text"
            raise Mistake(f"{path}, line {number}: found {line[:60]!r}, expected {expected}")
    for name, mention in rows:
        said = mention.said.rstrip("\n")
        quoted = QUOTED.fullmatch(said)
        yield name, mention._replace(said=quoted[1].replace('""', '"') if quoted else said)


def _in_quotes(said: str) -> bool:
    """Whether a text that begins with a quote has not come to its end."""
    return said.startswith('"') and said.count('"') % 2 == 1


def _document(
    path: str, content: bytes, mentions: Sequence[Mention], language: str, blemishes: Counter[str]
) -> Document:
    """A text with its mentions; those whose text is not what stands at their offsets are kept and counted."""
    whole = text_of(path, content, exact=True)
    lines = whole.replace("\r\n", "\n").replace("\r", "\n")
    # Offsets count characters; whether a byte order mark or the \r of \r\n is one, the mentions' texts tell.
    candidates = dict.fromkeys((text_of(path, content), whole.removeprefix("\ufeff"), lines, whole))
    wrong = {one: sum(misplaced(one, mention) for mention in mentions) for one in candidates}
    text = min(wrong, key=wrong.__getitem__)
    for mention, (start, end) in ((m, piece) for m in mentions for piece in m.pieces):
        if not start < end <= len(text):
            what = f"lies outside the text ({len(text)})" if start < end else "is empty or ends before it starts"
            raise Mistake(f"{mention.place}: {start} {end} {what}; {OFFSETS}")
    blemishes["misplaced mention"] += wrong[text]
    blemishes["mention in several pieces"] += sum(len(mention.pieces) > 1 for mention in mentions)
    spans = [Span(min(m.pieces)[0], max(end for _, end in m.pieces), m.label) for m in mentions]
    spans.sort(key=lambda s: (s.start, s.end, s.label))
    return Document(PurePosixPath(path).stem, language, text, tuple(spans))


def _scorable(document: Document, blemishes: Counter[str]) -> Document:
    """A document with each mention once and without blanks at its ends: others no tagging of words could find."""
    said = [span for span in document.spans if document.text[span.start : span.end].strip()]
    blemishes["blank mention"] += len(document.spans) - len(said)
    trimmed = [_trimmed(document.text, span) for span in said]
    blemishes["blank at an end"] += sum(one != other for one, other in zip(trimmed, said, strict=True))
    blemishes["repeated mention"] += len(trimmed) - len(set(trimmed))
    return replace(document, spans=tuple(sorted(set(trimmed), key=lambda s: (s.start, s.end, s.label))))


def _trimmed(text: str, span: Span) -> Span:
    """A mention without the blanks at its ends."""
    said = text[span.start : span.end]
    return Span(span.start + len(said) - len(said.lstrip()), span.end - len(said) + len(said.rstrip()), span.label)


def misplaced(text: str, mention: Mention) -> bool:
    """Whether something else than a mention's text stands at its offsets, blanks apart."""
    return _blanks_alike(" ".join(text[start:end] for start, end in mention.pieces)) != _blanks_alike(mention.said)


def _blanks_alike(text: str) -> str:
    """A text with a single space wherever it has blanks or ends a line."""
    return re.sub(r"\s+", " ", text)

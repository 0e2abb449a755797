"""From the bytes of a file to text, and from the pieces of a text to documents: what the readers share."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import PurePosixPath

from common.project import Mistake
from texts.documents import Document

Files = Iterable[tuple[str, bytes]]  # (path, content), sorted by path
Reader = Callable[[Files, str, Counter[str]], Iterator[Document]]

GROUP_CHARACTERS = 2000  # a document of a long text: whole paragraphs until it has this many
GROUP_SENTENCES = 20  # neighbouring sentences, or terms, that make a document


def text_of(path: str, content: bytes, exact: bool = False) -> str:
    """A file's text, unless `exact` without byte order mark and with \\n as the end of lines; Mistake if not UTF-8."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None
    return text if exact else text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def grouped(
    path: str, language: str, pieces: Iterable[str], full: int, size: Callable[[str], int] = len
) -> Iterator[Document]:
    """Documents of neighbouring pieces, a line each, whose sizes add up to `full` or more; the last has the rest."""
    id = "-".join(PurePosixPath(path).with_suffix("").parts[-2:])
    group, held, number = [], 0, 0
    for piece in chain(filter(None, pieces), [None]):
        if group and (piece is None or held >= full):
            yield Document(f"{id}-{number}", language, "\n".join(group))
            group, held, number = [], 0, number + 1
        if piece is not None:
            group.append(piece)
            held += size(piece)


def cut(documents: Iterable[Document], most: int) -> Iterator[Document]:
    """The documents, longer ones than `most` characters in pieces, which end with a paragraph, line or word."""
    for document in documents:
        text, start, number = document.text.rstrip(), 0, 0
        while len(text) - start > most:
            found = (text.rfind(mark, start + most // 2, start + most) for mark in ("\n\n", "\n", " "))
            end = next((place for place in found if place > 0), start + most)
            number += 1
            yield replace(document, id=f"{document.id}, piece {number}", text=text[start:end])
            start = end
        yield replace(document, id=f"{document.id}, piece {number + 1}", text=text[start:]) if number else document

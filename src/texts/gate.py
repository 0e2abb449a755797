"""The gate: no text of a corpus repeats a held-out task document; it looks at all of them, without an index.

A text repeats another one when both are equal without case and spaces, or nearly: when more than a third of the
different runs of 5 words of either occur in the other. Texts of fewer than 13 words can only be equal. Runs of 13 words
(Brown et al. 2020, appendix C) would miss a text of which every twentieth word was changed: it keeps a third of them,
and three quarters of its runs of 5.
"""

import re
from collections import Counter
from collections.abc import Iterable

from common.project import Mistake
from texts.cleaning import normalise
from texts.documents import Document

RUN = 5  # words
SHARE = 1 / 3  # of the runs of a text; in the replica's texts nothing lies between 0.27 and 0.57
SHORT = 13  # words; a text below that shares runs by chance
NAMED = 20  # leaks, in a message
WORD = re.compile(r"\w+")


class Leak(Mistake):
    """A held-out task document is repeated in a corpus."""


def _plainly(document: Document) -> tuple[str, set[tuple[str, ...]]]:
    text = normalise(document.text, document.language).casefold()
    words = WORD.findall(text)
    runs = set(zip(*(words[i:] for i in range(RUN)), strict=False)) if len(words) >= SHORT else set()
    return "".join(text.split()), runs


def gate(documents: Iterable[Document], heldout: Iterable[Document]) -> int:
    """How many `documents` there are; Leak names those that repeat a `heldout` one, or are of the same patient."""
    whole: dict[str, str] = {}
    owners: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    patients: set[str] = set()
    for document in heldout:
        squeezed, runs = _plainly(document)
        whole[squeezed] = document.id
        patients.add(document.patient)
        for run in runs:
            owners.setdefault(run, []).append((document.id, len(runs)))
    checked, leaks = 0, []
    for document in documents:
        squeezed, runs = _plainly(document)
        shared = Counter(owner for run in runs if run in owners for owner in owners[run])
        near = [id for (id, size), count in shared.most_common() if count > SHARE * min(size, len(runs))]
        if squeezed in whole or near:
            leaks.append(f"{document.id} of a corpus repeats {whole.get(squeezed) or near[0]}")
        elif document.patient and document.patient in patients:
            leaks.append(f"{document.id} of a corpus is of {document.patient}, a patient of a dev or test part")
        checked += 1
    if leaks:
        more = f"; and {len(leaks) - NAMED:,} more" if len(leaks) > NAMED else ""
        raise Leak(
            f"leak of dev or test text: {'; '.join(leaks[:NAMED])}{more}; "
            "set corpus.remove_leaks to true, or take them out of the source"
        )
    return checked

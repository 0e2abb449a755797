"""What a model must beat: a look-up of training mentions; for screening a keyword rule, or a patient's words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from common.project import Mistake
from texts.documents import Document, Patient, Span

WORD = re.compile(r"\w+|[^\w\s]")
NAMES = ("dictionary", "keywords", "words")  # where tables name an arm
SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
COGNATE = 4  # letters
# Dutch, whole words: cues that a condition is denied, another person's or only thought of, the kinds that ConText looks
# for (Harkema et al. 2009).
DENIED = ("geen", "niet", "nooit", "zonder", "ontkent", "uitgesloten", "nee", "noch")
# fmt: off
OF_OTHERS = (
    "moeder", "vader", "broer", "zus", "oma", "opa", "zoon", "dochter", "oom", "tante", "partner", "familie", "fam",
)
# fmt: on
THOUGHT_OF = ("mogelijk", "dd", "cave", "denken aan", "verdenking", "bang", "indien", "als", "risico")
CUES = (*DENIED, *OF_OTHERS, *THOUGHT_OF)

Dictionary = dict[tuple[str, ...], str]


def of_task(kind: str, source: str) -> str:
    """The name of a task's baseline: the keyword rule is one for the study that synthetic patients are made after."""
    if kind == "ner":
        return "dictionary"
    return "keywords" if source == "synthetic" else "words"


def cognate(word: str) -> str:
    """The first letters of a word without accents: words of two languages that share them count as cognates.

    Four letters, as in Simard, Foster and Isabelle (1992), Using cognates to align sentences in bilingual corpora.
    """
    plain = (letter for letter in unicodedata.normalize("NFD", word.casefold()) if not unicodedata.combining(letter))
    return "".join(plain)[:COGNATE]


def build_dictionary(documents: Sequence[Document], form: Callable[[str], str] = str.casefold) -> Dictionary:
    """Words of each mention, in their `form` -> its most frequent label (of equals the first in the alphabet).

    What a look-up in `documents` themselves finds wrongly more often than rightly is left out: one comma that is
    labelled would make every comma an entity.
    """
    votes: dict[tuple[str, ...], Counter[str]] = {}
    for document, span in ((one, span) for one in documents for span in one.spans):
        votes.setdefault(_words(document, span, form), Counter())[span.label] += 1
    every = {words: min(labels, key=lambda label: (-labels[label], label)) for words, labels in votes.items()}
    surplus: Counter[tuple[str, ...]] = Counter()  # right less wrong
    for document in documents:
        gold = set(document.spans)
        for span in look_up(document, every, form):
            surplus[_words(document, span, form)] += 1 if span in gold else -1
    return {words: label for words, label in every.items() if surplus[words] >= 0}


def _words(document: Document, span: Span, form: Callable[[str], str]) -> tuple[str, ...]:
    """The words of a span, each in its form."""
    return tuple(map(form, WORD.findall(document.text[span.start : span.end])))


def look_up(document: Document, dictionary: Dictionary, form: Callable[[str], str] = str.casefold) -> tuple[Span, ...]:
    """Mentions of `dictionary` in the text by their words' `form`, left to right, the longest first, no overlaps."""
    # Words are found before folding: folding can change a text's length and so its offsets.
    words = [(form(match.group()), match.start(), match.end()) for match in WORD.finditer(document.text)]
    longest = max(map(len, dictionary), default=0)
    found, i = [], 0
    while i < len(words):
        for length in range(min(longest, len(words) - i), 0, -1):
            label = dictionary.get(tuple(word for word, _, _ in words[i : i + length]))
            if label is not None:
                found.append(Span(words[i][1], words[i + length - 1][2], label))
                i += length - 1
                break
        i += 1
    return tuple(found)


def keyword_score(patient: Patient, *, indicators: Sequence[str], tests: Sequence[str]) -> int:
    """Mentions of indicator terms in the notes after the patient's last HIV test, sentences with a cue left out.

    `indicators`, `tests`: forms of the terms, compared as whole words whatever their case. A note counts as a test
    when it names one in a sentence without a cue. Cues: `CUES`, that something is not so, not here or not now.
    """
    indicator, test, cue = _any_of(indicators), _any_of(tests), _any_of(CUES)
    score = 0
    for note in reversed(patient.notes):
        affirmed = [sentence for sentence in SENTENCE.split(note.text) if not cue.search(sentence)]
        if any(test.search(sentence) for sentence in affirmed):
            break
        score += sum(len(indicator.findall(sentence)) for sentence in affirmed)
    return score


def word_scores(train: Sequence[Patient], others: Sequence[Sequence[Patient]]) -> list[list[float]]:
    """Log-odds of groups of patients by logistic regression on the words of their notes (TF-IDF), fitted to `train`.

    Labels weigh the same together, however rare one is.
    """
    # Here, as the front door has no use for it.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [[" ".join(note.text for note in patient.notes) for patient in some] for some in (train, *others)]
    vectors = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True)
    model = make_pipeline(vectors, LogisticRegression(class_weight="balanced", max_iter=1000))
    model.fit(texts[0], [patient.label for patient in train])
    return [model.decision_function(some).tolist() for some in texts[1:]]


@cache
def _compiled(forms: tuple[str, ...]) -> re.Pattern[str]:
    if not forms:
        raise Mistake("keywords: no terms; give at least one form each of indicators and tests")
    longest_first = sorted(map(re.escape, forms), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)


def _any_of(forms: Sequence[str]) -> re.Pattern[str]:
    """A pattern that finds any of `forms` as whole words."""
    return _compiled(tuple(forms))

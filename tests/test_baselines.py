"""The baselines on texts short enough to check by eye."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.project import Mistake
from evidence import baselines
from texts.documents import Document, Note, Patient, Span


def document(name, text, **mentions):
    """A document whose mentions are given as label=[text, …]."""
    spans = [Span(text.index(m), text.index(m) + len(m), label) for label, found in mentions.items() for m in found]
    return Document(name, "es", text, tuple(spans))


TRAIN = [
    document("1", "insuficiencia renal aguda", DISO=["insuficiencia renal aguda"]),
    document("2", "la insuficiencia renal", DISO=["insuficiencia renal"]),
    document("3", "renal", ANAT=["renal"]),
    document("4", "renal", PROC=["renal"]),
    document("5", "renal", PROC=["renal"]),
]


def found(text):
    """What look-up finds in a text."""
    spans = baselines.look_up(Document("x", "es", text), baselines.build_dictionary(TRAIN))
    return [(text[span.start : span.end], span.label) for span in spans]


def test_longest_mention_wins_and_majority_labels():
    assert found("Insuficiencia  renal aguda, fallo renal") == [
        ("Insuficiencia  renal aguda", "DISO"),
        ("renal", "PROC"),
    ]
    assert found("insuficiencia renal crónica") == [("insuficiencia renal", "DISO")]
    assert found("suprarenal, insuficiencia") == []


def test_equal_votes_take_the_first_label_of_the_alphabet():
    dictionary = baselines.build_dictionary([document("1", "x", PROC=["x"]), document("2", "x", ANAT=["x"])])
    assert dictionary == {("x",): "ANAT"}


def test_an_empty_dictionary_finds_nothing():
    assert baselines.look_up(TRAIN[0], {}) == ()


@given(st.lists(st.sampled_from(["Renal", "insuficiencia", "aguda", "İ", "ß", ",", "x"]), max_size=15))
def test_spans_do_not_overlap_and_lie_on_the_text(words):
    text = " ".join(words)
    dictionary = baselines.build_dictionary(TRAIN)
    spans = baselines.look_up(Document("x", "es", text), dictionary)
    assert all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))
    found = [(text[s.start : s.end].casefold().split(), s.label) for s in spans]
    assert all(dictionary[tuple(words)] == label for words, label in found)


TERMS = {"indicators": ["herpes zoster", "CIN"], "tests": ["hiv-test"]}


@pytest.mark.parametrize(
    ("notes", "score"),
    [
        (["Herpes zoster. Later nog eens herpes zoster en CIN."], 3),
        (["Geen herpes zoster."], 0),
        (["Geen koorts. Wel herpes zoster."], 1),
        (["vaccin en herpes zosters"], 0),
        (["Herpes zoster. HIV-test verricht."], 0),
        (["Herpes zoster.", "HIV-test negatief."], 0),
        (["HIV-test negatief.", "Herpes zoster."], 1),
        (["Herpes zoster.", "Er werd geen hiv-test verricht."], 1),
        ([], 0),
    ],
)
def test_keyword_score(notes, score):
    patient = Patient("p", "nl", 1, tuple(Note(f"2020-01-{day:02}", text) for day, text in enumerate(notes, 1)))
    assert baselines.keyword_score(patient, **TERMS) == score


def test_no_terms_is_a_mistake():
    with pytest.raises(Mistake, match="keywords: no terms"):
        baselines.keyword_score(Patient("p", "nl", 0, (Note("2020-01-01", "x"),)), indicators=[], tests=["hiv-test"])


def patients(*notes):
    """Patients with some notes each, of which those that name a fever are positive."""
    made = (tuple(Note(f"2020-01-0{at}", said) for at, said in enumerate(some, start=1)) for some in notes)
    return [Patient(str(n), "nl", int("koorts" in " ".join(x.text for x in some)), some) for n, some in enumerate(made)]


def test_word_scores_find_the_word_that_decides_in_any_note():
    train = patients(*[["Geen klachten.", "Hoge koorts"], ["Goede nacht", "Wond"], ["Wond", "geen klachten"]] * 4)
    dev = patients(["Koorts, wond"], ["wond"], ["niets", "KOORTS"], ["Iets anders"])
    (on_dev,) = baselines.word_scores(train, (dev,))
    assert min(on_dev[0], on_dev[2]) > max(on_dev[1], on_dev[3])


def test_word_scores_do_not_depend_on_how_rare_a_label_is():
    """One patient in ten: without weights nobody would be more likely to have the condition than not."""
    rare = patients(["koorts"], *[["wond"]] * 9)
    ((fever, wound),) = baselines.word_scores(rare, (patients(["koorts"], ["wond"]),))
    assert fever > 0 > wound


@pytest.mark.parametrize(
    ("kind", "source", "name"),
    [("ner", "monero", "dictionary"), ("screening", "synthetic", "keywords"), ("screening", "data/private/x", "words")],
)
def test_the_baseline_of_a_task(kind, source, name):
    assert baselines.of_task(kind, source) == name


@pytest.mark.parametrize(
    ("word", "form"),
    [("Diabetes", "diab"), ("diábético", "diab"), ("ȘOC", "soc"), ("ß", "ss"), (",", ","), ("ii", "ii")],
)
def test_words_that_begin_alike_are_cognates(word, form):
    assert baselines.cognate(word) == form


def test_a_look_up_by_cognates_finds_words_of_another_language():
    spanish = [document("1", "fibrilación auricular y asma", DISO=["fibrilación auricular"], CHEM=["asma"])]
    text = "Fibrilatie (auriculair). Atriumfibrilatie, ASMA; as."
    dictionary = baselines.build_dictionary(spanish, baselines.cognate)
    assert dictionary == {("fibr", "auri"): "DISO", ("asma",): "CHEM"}
    found = baselines.look_up(Document("x", "nl", text), dictionary, baselines.cognate)
    assert [(text[s.start : s.end], s.label) for s in found] == [("ASMA", "CHEM")], "a bracket stands between"
    text = text.replace("(", "")
    found = baselines.look_up(Document("x", "nl", text), dictionary, baselines.cognate)
    assert [text[s.start : s.end] for s in found] == ["Fibrilatie auriculair", "ASMA"]


def test_what_is_more_often_no_mention_is_not_looked_up():
    """A comma labelled once would else be found everywhere; what is right as often as wrong stays."""
    text = "fiebre, tos, asma y 2,4 D"
    labelled = document("1", text, DISO=["fiebre", "asma"], CHEM=[","])
    halves = document("2", "tos y fiebre, tos", DISO=["tos"])  # tos: right once, wrong twice; fiebre: right once of two
    assert baselines.build_dictionary([labelled, halves]) == {("fiebre",): "DISO", ("asma",): "DISO"}
    once = document("3", "Asma", CHEM=["Asma"])  # of another type is wrong, too
    assert baselines.build_dictionary([labelled, once, once]) == {("fiebre",): "DISO", ("asma",): "CHEM"}
    assert baselines.build_dictionary([document("4", "de dos a dos", CHEM=["dos a dos"])]) == {
        ("dos", "a", "dos"): "CHEM"
    }

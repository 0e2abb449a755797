"""The language check: short texts and mixed terms pass, another language does not."""

import pytest

from texts import languages, synthetic

TEXTS = {
    "nl": "De patiënt kwam gisteren naar de spoedeisende hulp omdat zij al drie dagen koorts had en slecht kon slapen. "
    "Bij het onderzoek hoorden wij een zacht geruis, en de huid was rood en warm op de rug en op de beide armen.",
    "ro": "Bolnavul a venit ieri la camera de gardă pentru că avea febră de trei zile și nu putea să doarmă bine. "
    "La examinare am auzit un suflu slab, iar pielea era roșie și caldă pe spate și pe ambele brațe, fără durere.",
    "es": "La paciente vino ayer a urgencias porque tenía fiebre desde hacía tres días y no podía dormir bien. "
    "En la exploración se oía un soplo suave, y la piel estaba roja y caliente en la espalda y en los dos brazos.",
    "en": "The patient came to the emergency room yesterday because she had had a fever for three days. "
    "On examination we heard a faint murmur, and the skin was red and warm on the back and on both of the arms, too.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_is_of_its_language_and_of_no_other(language):
    text = TEXTS[language]
    count = len(text.split())
    assert languages.other(text, language, count) == ""
    assert {languages.other(text, listed, count) for listed in TEXTS if listed != language} == {language}


def test_short_texts_and_unknown_languages_are_not_judged():
    assert languages.other("acute myocardial infarction", "es", 3) == ""
    assert languages.other(TEXTS["en"], "sv", 40) == ""


@pytest.mark.parametrize("language", ["nl", "ro", "es"])
@pytest.mark.parametrize("domain", ["general", "biomedical", "clinical"])
def test_synthetic_text_passes(domain, language):
    made = synthetic.documents(domain, language, 5)
    texts = [next(made).text for _ in range(200)]
    assert not [text for text in texts if languages.other(text, language, len(text.split()))]

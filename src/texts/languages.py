"""The language check: a text that is listed under one language and surely written in another one."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

# The study's languages and those that texts in them are mixed with or taken for.
LANGUAGES = ("nl", "ro", "es", "en", "de", "fr", "it", "pt", "ca", "gl", "la", "hu")
WORDS = 40  # fewer say too little
CHARACTERS = 1000  # from the beginning; more only take longer
SURE = 0.999  # of 30,000 texts of the replica it takes out five, all of them half English or in Catalan


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier


def other(text: str, language: str, words: int) -> str:
    """The language that a text of so many words is surely written in, if it is not `language`; else empty.

    Probabilities are py3langid's, over `LANGUAGES`; a listed language that is none of them is not checked.
    """
    if words < WORDS or language not in LANGUAGES:
        return ""
    found, probability = _identifier().classify(text[:CHARACTERS])
    return found if found != language and probability >= SURE else ""

"""Normalising a text: clean, stable, and the same as the plain way of doing it."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from texts import cleaning


@given(st.text())
def test_normalise_is_stable_and_clean(raw):
    once = cleaning.normalise(raw, "ro")
    assert cleaning.normalise(once, "ro") == once
    assert not any(c in once for c in "\r\t\x00\ufeff\u200b\xadşţ")
    assert "  " not in once
    assert "\n\n\n" not in once
    assert once == once.strip()


@given(st.text(alphabet="ab \n\t\r\v\x00\xa0\u2003\u2028\x85\u200bş]\\^-e\u0301", max_size=30))
def test_normalise_looks_before_it_replaces_and_changes_nothing_by_it(raw):
    plain = raw.replace("\r\n", "\n").replace("\r", "\n").translate(cleaning.CONTROLS)
    plain = re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFC", plain)))
    assert cleaning.normalise(raw, "es") == re.sub(r"\n{3,}", "\n\n", plain).strip()


def test_normalise():
    raw = "\ufeffUno\r\n dos\u00a0 tres \n\n\n\n cuatro\x07 cin\u00adco e\u0301"
    assert cleaning.normalise(raw) == "Uno\ndos tres\n\ncuatro cinco é"
    assert cleaning.normalise("aşa şi ţară", "ro") == "așa și țară"
    assert cleaning.normalise("aşa", "es") == "aşa"


def test_what_nobody_sees_is_taken_out():
    assert cleaning.normalise("in\u00adfec\u200bție\ufeff\x07") == "infecție"


def test_folded_levels_case_and_space():
    assert cleaning.folded("  Diabet \n ZAHARAT ") == "diabet zaharat"

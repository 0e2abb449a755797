"""Formats of sources, from small files written here; and the counts of the real ones."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sources import MIRROR, MIRRORED, needs_mirror

from common.project import Mistake
from texts import readers, sources, standoff
from texts.documents import Document, Span


def read(reader, files, language="es"):
    """(documents, blemishes that occurred) of files given as path -> text or bytes."""
    blemishes = Counter()
    pairs = [(path, text if isinstance(text, bytes) else text.encode()) for path, text in sorted(files.items())]
    documents = list(reader(pairs, language, blemishes))
    return documents, {blemish: number for blemish, number in blemishes.items() if number}


def mentions(document):
    return [(document.text[s.start : s.end], s.label) for s in document.spans]


BRAT = {
    "a/1.txt": "Toma aspirina y niño.\nOtra aspirina.",
    "a/1.ann": "T2\tCHEM 27 35\taspirina\nT1\tCHEM 5 13\taspirina\n#1\tAnnotatorNotes T1\t1234\nR1\tX Arg1:T1\n",
    "a/2.txt": "",
    "a/2.ann": "",
}


def test_brat():
    (first, empty), blemishes = read(readers.brat, BRAT)
    assert first == Document("1", "es", BRAT["a/1.txt"], (Span(5, 13, "CHEM"), Span(27, 35, "CHEM")))
    assert mentions(first) == [("aspirina", "CHEM")] * 2
    assert empty == Document("2", "es", "")
    assert blemishes == {}


def test_brat_mention_in_several_pieces_is_taken_whole():
    text = "dolor en brazo y pierna"
    lines = ["T1\tDISO 0 8;17 23\tdolor en pierna", "T2\tDISO 0 14\tdolor en brazo"]
    (document,), blemishes = read(readers.brat, {"1.txt": text, "1.ann": "\n".join(lines)})
    assert mentions(document) == [("dolor en brazo", "DISO"), (text, "DISO")]
    assert blemishes == {"mention in several pieces": 1}


def test_brat_mention_in_the_wrong_place_is_kept_and_counted():
    (document,), blemishes = read(readers.brat, {"1.txt": "Toma aspirina hoy", "1.ann": "T1\tCHEM 6 14\taspirina\n"})
    assert document.spans == (Span(6, 14, "CHEM"),)
    assert blemishes == {"misplaced mention": 1}


@pytest.mark.parametrize(
    ("text", "offset"),
    [("uno\r\ndos tres", 9), ("uno\r\ndos tres", 8), ("\ufeffuno dos tres", 9), ("\ufeffuno dos tres", 8)],
)
def test_brat_offsets_with_marks_and_windows_line_ends(text, offset):
    (document,), blemishes = read(
        readers.brat, {"1.txt": text, "1.ann": f"\ufeffT1\tX {offset} {offset + 4}\ttres\r\n"}
    )
    assert mentions(document) == [("tres", "X")]
    assert blemishes == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("T1\tCHEM 0 4;6 99\tToma", "outside"),
        ("T1\tCHEM 0 4;\tToma", "expected"),
        ("T1 CHEM 0 4 Toma", "expected T1<tab>LABEL"),
        ("T1\tCHEM zero 4\tToma", "expected"),
        ("T1\tCHEM 4 4\t", "is empty or ends before it starts"),
        ("T1\tCHEM 4 2\tma", "is empty or ends before it starts"),
        ("T1\tCHEM 2 99\tma", "outside"),
        ("hello", "expected"),
    ],
)
def test_brat_names_file_and_line(line, words):
    with pytest.raises(Mistake) as caught:
        read(readers.brat, {"a/1.txt": "Toma aspirina", "a/1.ann": "#1\tnote\n" + line})
    assert "a/1.ann, line 2" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ROWS = "filename\tlabel\tstart_span\tend_span\ttext\n"


def test_multiclinner():
    table = ROWS + (
        "2.txt\tDISEASE\t5\t13\thoge\nkoo\n"  # over two lines, after \r\n
        '1\tDISEASE\t8\t12\t"""A"" "\n1\tDISEASE\t8\t11\t"""A"""\n'  # in quotes, and again without a blank
        "2\tDISEASE\t0\t3\tUit\n\n"  # misplaced
        "1\tDISEASE\t7\t8\t \n"  # a blank
    )
    texts = {
        "x/txt/1.txt": 'Koorts, "A" griep',
        "x/txt/2.txt": "\ufeffEen\r\nhoge\nkoorts",
        "x/txt/3.txt": "\ufeffNiets",
    }
    found, blemishes = read(readers.multiclinner, {"x/tsv/x.tsv": table, **texts})
    assert [document.id for document in found] == ["1", "2", "3"]
    assert mentions(found[0]) == [('"A"', "DISEASE")]
    assert mentions(found[1]) == [("Een", "DISEASE"), ("hoge\nkoo", "DISEASE")]
    assert found[2] == Document("3", "es", "Niets")
    assert blemishes == {"misplaced mention": 1, "blank at an end": 1, "repeated mention": 1, "blank mention": 1}


def test_multiclinner_a_quote_that_is_never_closed_takes_no_row_with_it():
    table = ROWS + '1\tX\t0\t2\t"A\n1\tX\t3\t4\tB\n'
    (document,), blemishes = read(readers.multiclinner, {"x.tsv": table, "1.txt": '"A B'})
    assert (mentions(document), blemishes) == ([('"A', "X"), ("B", "X")], {})


def test_multiclinner_files_of_one_name_are_refused():
    with pytest.raises(Mistake, match=r"b/1\.txt: has the name of a/1\.txt; narrow"):
        read(readers.multiclinner, {"a/1.txt": "x", "b/1.txt": "y"})


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("counted", ["mark", "end", "both", "none"])
def test_multiclinner_offsets_however_they_were_counted(mark, end, counted):
    before = (bool(mark) and counted in ("mark", "both")) + 3 + (len(end) if counted in ("end", "both") else 1)
    table = ROWS + f"1\tX\t{before}\t{before + 4}\ttres"
    (document,), blemishes = read(readers.multiclinner, {"x.tsv": table, "1.txt": f"{mark}uno{end}tres"})
    assert (mentions(document), blemishes) == ([("tres", "X")], {})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (ROWS + "1\tDISEASE\t0\t4\tToma\n1\tDISEASE\tzero\t4\tToma", r"x\.tsv, line 3: found '1\\tDISEASE\\tzero"),
        (ROWS + "\nToma aspirina", "line 3: found 'Toma aspirina', expected filename<tab>LABEL"),
        (ROWS + "1\tDISEASE\t0\t99\tToma", r"x\.tsv, line 2: 0 99 lies outside the text"),
        ("2\tDISEASE\t0\t4\tToma", r"x\.tsv, line 1: there is no text 2\.txt"),
        ("1 DISEASE 0 4 Toma", r"x\.tsv, line 1: found '1 DISEASE 0 4 Toma'"),
        ('1\tDISEASE\t0\t4\t"To\n1\tma"\n1\tx\n', r"x\.tsv, line 3: found '1\\tx'"),
        (f"1\tDISEASE\t0\t{'9' * 5000}\tToma", r"x\.tsv, line 1: found"),
    ],
)
def test_multiclinner_names_file_and_line(table, words):
    with pytest.raises(Mistake, match=words) as caught:
        read(readers.multiclinner, {"x.tsv": table, "1.txt": "Toma aspirina"})
    assert "\n" not in str(caught.value)


def test_brat_needs_both_files_and_utf8():
    with pytest.raises(Mistake, match=r"a/1.ann: its .txt or .ann is missing"):
        read(readers.brat, {"a/1.ann": ""})
    with pytest.raises(Mistake, match=r"a/1.json: brat has .txt and .ann"):
        read(readers.brat, {"a/1.ann": "", "a/1.json": "{}", "a/1.txt": ""})
    with pytest.raises(Mistake, match=r"1.txt: byte 2 is not UTF-8"):
        read(readers.brat, {"1.ann": "", "1.txt": b"ni\xf1o"})


TAB = """Infarct\tinfarct\tB-DISO\tNc
de\tde\tI-DISO\tSp
miocard\tmiocard\tI-DISO\tNc
și\tși\to\tCr
inima\tinimă\tI-ANAT\tNc
lor\tlor\tI-ANAT\tPp

la\tla\t\tSp
aspirina\taspirină\tB-CHEM\tNc
pacient\tpacient\tI-DISO\tNc
insulina\tinsulină\tB-CHEM\tNc
zinc\tzinc\tB-CHEM\tNc
"""


@pytest.mark.parametrize(
    "change", [str, lambda t: "\ufeff" + t.replace("\n", "\r\n"), lambda t: f"\n\n{t}\n\n".replace("\n\n", "\n \n")]
)
def test_conll_tab(change):
    documents, blemishes = read(readers.conll_tab, {"x/Corpus.txt": change(TAB)}, "ro")
    assert [d.id for d in documents] == ["Corpus-0", "Corpus-1"]
    assert documents[0].text == "Infarct de miocard și inima lor"
    assert mentions(documents[0]) == [("Infarct de miocard", "DISO")]
    assert mentions(documents[1]) == [("aspirina", "CHEM"), ("insulina", "CHEM"), ("zinc", "CHEM")]
    assert blemishes == {"lower-case o": 1, "empty tag": 1, "I- without a beginning": 2}


def test_conll_tab_names_file_and_line():
    with pytest.raises(Mistake, match=r"x.txt, line 2: 'de\\tde' has 2 columns, expected 4"):
        read(readers.conll_tab, {"x.txt": "a\ta\tO\tN\nde\tde\n"})
    with pytest.raises(Mistake, match=r"x.txt, line 1: tag 'B' of 'a'; allowed: O, B-LABEL"):
        read(readers.conll_tab, {"x.txt": "a\ta\tB\tN\n"})


@given(
    st.lists(
        st.tuples(st.text("abș", min_size=1), st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "", "o"])), min_size=1
    )
)
def test_every_b_is_one_mention_of_whole_tokens(tokens):
    (document,), _ = read(readers.conll_tab, {"x.txt": "\n".join(f"{t}\t{t}\t{tag}\tN" for t, tag in tokens)})
    assert document.text.split(" ") == [token for token, _ in tokens]
    assert [s.label for s in document.spans] == [tag[2:] for _, tag in tokens if tag.startswith("B-")]
    assert [document.text[s.start : s.end].split(" ")[0] for s in document.spans] == [
        t for t, tag in tokens if tag[:1] == "B"
    ]
    assert all(a.end < b.start for a, b in zip(document.spans, document.spans[1:], strict=False))


def test_conllu_misc():
    rows = [
        ("1", "Infarct", "BioNERLabel=B-DISO"),
        ("2-3", "deloc", "_"),
        ("2", "de", "BioNERLabel=I-DISO|SpaceAfter=No"),
        ("3", ",", "SpaceAfter=No"),
        ("3.1", "gol", "_"),
    ]
    text = "# sent_id = 1\n# text = Infarct de,\n" + "\n".join("\t".join([i, t, *"_______", m]) for i, t, m in rows)
    (document,), _ = read(readers.conllu_misc, {"dev.conllu": text}, "ro")
    assert document.text == "Infarct de,"
    assert mentions(document) == [("Infarct de", "DISO")]


def test_plain_text():
    documents, blemishes = read(readers.plain, {"a/1.txt": "\ufeffuno\r\ndos", "a/2.txt": " \n", "a/3.txt": ""})
    assert documents == [Document("1", "es", "uno\ndos")]
    assert blemishes == {"blank file": 2}


def test_wikineural_groups_neighbouring_sentences():
    text = "\n\n".join(f"0\tOración\tO\n1\t{i}\tO\n2\t.\tO" for i in range(45))
    documents, _ = read(readers.wikineural, {"data/es/val.conllu": text})
    assert [len(d.text.split("\n")) for d in documents] == [20, 20, 5]
    assert documents[0].text.split("\n")[1] == "Oración 1 ."
    assert len({d.id for d in documents}) == 3


def test_ronec():
    sentence = {"tokens": ["Bună", "ziua", "!"], "space_after": [True, False, False]}
    (document,), _ = read(readers.ronec, {"data/valid.json": json.dumps([sentence] * 2)}, "ro")
    assert document.text == "Bună ziua!\nBună ziua!"


def test_tei_reads_the_body_only():
    paragraphs = "".join(f"<p>Párrafo  {i} <hi>con</hi>\n énfasis {'x' * 990}.</p>" for i in range(5))
    text = f"""<?xml version="1.0"?><TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><title>No</title></teiHeader>
        <text><front><p>No</p></front><body><div><head>Uno</head>{paragraphs}</div></body></text></TEI>"""
    documents, _ = read(readers.tei, {"level1/A.xml": text})
    assert [d.text[:9] for d in documents] == ["Uno\nPárra", "Párrafo 2", "Párrafo 4"]
    assert all("No" not in d.text and "con énfasis" in d.text for d in documents)
    assert {d.text.count("\n") for d in documents[:2]} == {2, 1}


ADL = """archetype (adl_version=1.4)
language
\ttranslations = <
\t\t["nl"] = <
\t\t\tauthor = <
\t\t\t\t["name"] = <"Jan">
\t\t\t>
\t\t>
\t>
description
\tdetails = <
\t\t["nl"] = <
\t\t\tpurpose = <"Om de \\"score\\" vast te leggen.">
\t\t\tuse = <"*To record the score. (en)">
\t\t\tkeywords = <"hart", "long">
\t\t\tmisuse = <"">
\t\t\tcopyright = <"Iemand">
\t\t>
\t\t["es"] = <
\t\t\tpurpose = <"Registrar.">
\t\t>
\t>
\t\t["nl"] = <
\t\t\titems = <
\t\t\t\t["at0000"] = <
\t\t\t\t\ttext = <"Bloeddruk">
\t\t\t\t\tdescription = <"Eerste regel.

Tweede regel.">
\t\t\t\t>
\t\t\t>
\t\t>
"""


@pytest.mark.parametrize("change", [str, lambda t: "\ufeff" + t.replace("\n", "\r\n")])
def test_openehr_sections_of_one_language(change):
    (document,), blemishes = read(readers.openehr, {"x/a.v1.adl": change(ADL)}, "nl")
    assert document.text == 'Om de "score" vast te leggen.\nhart\nlong\nBloeddruk\nEerste regel.\n\nTweede regel.'
    assert blemishes == {"characters not translated": len("*To record the score. (en)")}
    assert read(readers.openehr, {"x/a.v1.adl": change(ADL)}, "ro") == ([], {})


def test_terms_of_labels_and_synonyms():
    labels = "subject_id\tpredicate_id\ttranslation_value\ttranslation_status\n" + "".join(
        f"HP:{i}\trdfs:label\tTérmino \"{i}\tOFFICIAL\n" for i in range(25)
    )  # fmt: skip
    labels += "HP:9\tIAO:0000115\tUna definición\tOFFICIAL\nHP:9\trdfs:label\tSome term\tNOT_TRANSLATED\n"
    documents, blemishes = read(readers.terms, {"hp-es.tsv": labels})
    assert [d.text.count("\n") + 1 for d in documents] == [20, 5]
    assert documents[1].text.startswith('Término "20\n')
    assert blemishes == {"characters not translated": len("Some term")}
    synonyms = (
        "subject_id\ttranslation_value\tcomment\nID\tAL oboInOwl:hasExactSynonym@nl\t\nHP:1\tOvererving\tCANDIDATE\n"
    )
    assert [d.text for d in read(readers.terms, {"s.tsv": synonyms})[0]] == ["Overerving"]


def test_markdown_without_its_mark_up():
    text = (
        "<meta http-equiv='x' />\n\n##Besluit tabak\n\n### Artikel  1  \n\n1.  Zie [artikel 2 (oud)]"
        "(../../wet/(x/README.md), *Onze Minister:* H<sub>2</sub>O en snake_case.\n\n| a | b |\n| --- | --- |\n"
    )
    (document,), _ = read(readers.markdown, {"wet/BWBR1/README.md": text}, "nl")
    assert document.text == "Besluit tabak\nArtikel 1\n1. Zie artikel 2 (oud), Onze Minister: H2O en snake_case.\na b"
    assert document.id.startswith("BWBR1")


@pytest.fixture
def catalogue(monkeypatch):
    """Small MoNERo-like and brat tasks in place of the listed ones; a test may change the counts."""
    tab = {"m.txt": "".join(f"{w}\t_\tB-X\t_\n.\t_\tO\t_\n\n" for w in ("unu", "50%", "doi;", "trei", "patru"))}
    dev = {"dev.conllu": "\t".join(["1", "50", *"________"]) + "\n" + "\t".join(["2", "%.", *"________"]) + "\n"}
    test = {"test.conllu": "\t".join(["1", "DOI.", *"________"]) + "\n"}
    brat = {"b/1.txt": "a b c", "b/1.ann": "T1\tX 0 1\ta\nT2\tUNCLEAR 2 3\tb\nT3\tX 2 5\tb c\n"}
    files = {"tab": tab, "dev": dev, "test": test, "brat": brat}
    listed = {
        "tasks": {
            "matched": {
                "language": "ro",
                "labels": ["X"],
                "raw": {
                    "all": {"source": "tab", "reader": "conll_tab", "counts": {"documents": 5, "entities": {"X": 5}}},
                    "d": {"source": "dev", "reader": "conllu_misc", "counts": {}},
                    "t": {"source": "test", "reader": "conllu_misc", "counts": {}},
                },
                "matched": {"of": "all", "by": {"dev": "d", "test": "t"}},
                "splits": {name: {"of": [name], "counts": {}} for name in ("train", "dev", "test")},
            },
            "scored": {
                "language": "es",
                "labels": ["X"],
                "raw": {"train": {"source": "brat", "reader": "brat", "counts": {"overlapping": 1}}},
                "splits": {
                    "train": {"of": ["train"], "counts": {"documents": 1, "overlapping": 0}},
                    "test": {"of": ["train"], "without": ["1"], "counts": {}},
                },
            },
        },
        "parts": {
            "ro_train": {
                "source": "tab",
                "language": "ro",
                "task": "matched",
                "split": "train",
                "counts": {"documents": 3},
            }
        },
    }
    monkeypatch.setattr(sources, "catalogue", lambda: listed)
    pairs = {id: [(path, text.encode()) for path, text in sorted(found.items())] for id, found in files.items()}
    monkeypatch.setattr(sources, "read_files", lambda id, *_: iter(pairs[id]))
    return listed


def test_split_by_the_sentences_of_a_treebank(catalogue):
    splits = readers.tasks("matched")
    assert {split: [d.text for d in documents] for split, documents in splits.items()} == {
        "train": ["unu .", "trei .", "patru ."],
        "dev": ["50% ."],  # by characters without spaces
        "test": ["doi; ."],  # by letters and digits only, case ignored
    }
    assert [d.text for d in readers.part("ro_train")] == ["unu .", "trei .", "patru ."]
    assert all(not d.spans for d in readers.part("ro_train"))


def test_a_sentence_without_partner(catalogue):
    catalogue["tasks"]["matched"]["raw"]["d"]["source"] = "brat"
    catalogue["tasks"]["matched"]["raw"]["d"]["reader"] = "brat"
    with pytest.raises(Mistake, match="dev sentence 1: has no partner in 5 sentences"):
        readers.tasks("matched")


def test_labels_that_are_not_scored_are_dropped(catalogue):
    splits = readers.tasks("scored")
    assert splits["train"][0].spans == (Span(0, 1, "X"), Span(2, 5, "X"))
    assert splits["test"] == []


def test_documents_of_one_name_are_refused(catalogue, monkeypatch):
    """Scores, draws and windows go by the name: what two files say would be one document's."""
    files = [(f"{place}/1.{end}", b"") for place in "ab" for end in ("ann", "txt")]
    monkeypatch.setattr(sources, "read_files", lambda *_: iter(files))
    catalogue["tasks"]["scored"]["raw"]["train"]["counts"] = {}
    catalogue["tasks"]["scored"]["splits"]["train"]["counts"] = {}
    with pytest.raises(Mistake, match="task scored, train: several documents are '1'; give every file its own name"):
        readers.tasks("scored")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"documents": 2}, "documents 1"),
        ({"entities": {"X": 3}}, "entities"),
        ({"characters": 6}, "characters 5"),
        ({"blemishes": {"misplaced mention": 1}}, "blemishes"),
        ({"overlapping": 2}, "overlapping 1"),
    ],
)
def test_counts_are_asserted(catalogue, counts, words):
    catalogue["tasks"]["scored"]["raw"]["train"]["counts"] = counts
    with pytest.raises(Mistake, match=f"task scored, train: {words}.* sources.yaml lists"):
        readers.tasks("scored")


ENTITIES = {
    "monero": {"train": (4050, 11_140), "dev": (443, 1_367), "test": (491, 1_626)},
    "pharmaconer": {"train": (500, 3_733), "dev": (250, 1_882), "test": (250, 1_842)},
    "cantemist": {"train": (751, 9_737), "dev": (247, 2_618), "test": (300, 3_633)},
}


def real(monkeypatch, cache):
    """Have sources read from the mirror, and nothing from the network."""
    for name, value in (("CACHE", cache), ("MIRROR", MIRROR), ("OFFLINE", "1")):
        monkeypatch.setenv(f"HELPERS_{name}", str(value))


@pytest.mark.mirror
@needs_mirror
@pytest.mark.parametrize("name", ENTITIES)
def test_real_tasks(name, tmp_path, monkeypatch):
    real(monkeypatch, tmp_path)
    splits = readers.tasks(name)
    assert {split: (len(found), sum(len(d.spans) for d in found)) for split, found in splits.items()} == ENTITIES[name]
    texts = {split: {"".join(d.text.split()).casefold() for d in found} for split, found in splits.items()}
    assert not texts["train"] & texts["test"]
    assert not texts["dev"] & texts["test"]
    if name == "cantemist":
        dropped = sources.entry("tasks", name)["splits"]["dev"]["without"]
        folder = "cantemist/dev-set2/cantemist-ner/"
        raw = dict(sources.read_files("es_cantemist", [f"{folder}*.txt"]))
        assert {"".join(raw[f"{folder}{id}.txt"].decode().split()).casefold() for id in dropped} <= texts["test"]


@pytest.mark.mirror
@needs_mirror
def test_real_parts(tmp_path, monkeypatch):
    real(monkeypatch, tmp_path)
    for name in (
        name for name, part in sources.catalogue()["parts"].items() if part["source"] in MIRRORED
    ):  # each asserts its counts at its end
        ids = [document.id for document in readers.part(name)]
        assert len(set(ids)) == len(ids), f"{name}: ids repeat"
    found = list(readers.parallel_terms())
    assert len(found) == 2 * len({concept for concept, *_ in found}) == 24_896


GOOD = {
    "tei": b"<TEI><text><body><p>una</p></body></text></TEI>",
    "ronec": b'[{"tokens": ["una"], "space_after": [false]}]',
    "terms": b"subject_id\tpredicate_id\ttranslation_value\nHP:1\trdfs:label\tuna\n",
}


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        ("tei", b"<TEI><text><body><p>una"),
        ("ronec", b'[{"tokens": ["o", "zi"]}]'),
        ("ronec", b'[{"tokens": ["o", "zi"], "space_after": [true]}]'),
        ("ronec", b"[{"),
        ("terms", b"subject\ttranslation\nHP:1\tfiebre\n"),
    ],
)
def test_a_file_that_is_not_of_its_format_is_named(reader, content):
    files = [("one/good", GOOD[reader]), ("two/broken", content)]
    with pytest.raises(Mistake, match=rf"part x: two/broken: reader '{reader}' cannot read it") as error:
        list(readers._documents("part x", reader, iter(files), "es", Counter()))
    assert "\n" not in str(error.value)
    assert [d.text for d in readers._documents("part x", reader, iter(files[:1]), "es", Counter())] == ["una"]


def test_equal_sentences_are_matched_in_their_order():
    whole = [Document(str(i), "ro", text) for i, text in enumerate(("a b", "c", "a  B", "a b"))]
    found = readers._matched(whole, {"dev": [Document("d", "ro", "A b")], "test": [Document("t", "ro", "ab")]})
    assert {split: [d.id for d in some] for split, some in found.items()} == {
        "train": ["1", "3"], "dev": ["0"], "test": ["2"]
    }  # fmt: skip


@pytest.mark.parametrize("line", ["M1\tNegated T1", "N1\tReference T1 X:1\tuno", "*\tEquiv T1 T2", "#1\tNote T1\tx"])
def test_lines_of_brat_that_are_no_mentions_are_passed_over(line):
    files = [("x.ann", f"T1\tDISO 4 7;0 3\tuno dos\n{line}\n".encode()), ("x.txt", b"dos uno")]
    ((document, mentions),) = standoff.annotated(iter(files), "es", Counter())
    assert document.spans == (Span(0, 7, "DISO"),), "its pieces may stand in any order"
    assert len(mentions) == 1

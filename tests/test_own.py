"""Own files: read as they are meant, refused with file, line and field, and never with what a patient's note says."""

import json
import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from common.project import DATA, Mistake
from runner import settings
from texts import corpora, own, own_lines, sources, tasks
from texts.documents import PARTS, Document, Note, Patient, Span

SECRET = "Mevrouw Jansen"
NOTE = {"date": "2020-02-01", "text": f"{SECRET} heeft koorts."}
ENTITY = {"id": "d1", "text": "koorts en hoest", "spans": [{"start": 10, "end": 15, "label": "DISO"}]}


def written(path: Path, rows) -> Path:
    """A .jsonl file of rows, given as objects or as they stand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def people(prefix: str, count: int = 4) -> list[dict]:
    return [{"id": f"{prefix}{i}", "label": i % 2, "notes": [NOTE]} for i in range(count)]


def entities(prefix: str, count: int = 3) -> list[dict]:
    return [ENTITY | {"id": f"{prefix}{i}", "text": f"koorts en hoest {prefix}{i}"} for i in range(count)]


@pytest.fixture
def ward(tmp_path):
    """A hospital's files, as data/OWN.md asks for them."""
    written(
        tmp_path / "notes.jsonl", [{"text": f"Patiënt {i} heeft sinds {i} dagen pijn in de rug."} for i in range(40)]
    )
    for part in PARTS:
        written(tmp_path / "hiv" / f"{part}.jsonl", people(part))
        written(tmp_path / "findings" / f"{part}.jsonl", entities(part))
    return tmp_path


def test_a_file_and_a_folder_of_texts(tmp_path):
    file = written(tmp_path / "a.jsonl", ['\ufeff{"text": "een"}', "", {"id": "b", "text": "twee", "ward": 3}])
    assert list(own.documents(str(file), "nl")) == [Document("line 1", "nl", "een"), Document("b", "nl", "twee")]
    (tmp_path / "texts" / "below").mkdir(parents=True)
    (tmp_path / "texts" / "below" / "x.txt").write_text("drie")
    (tmp_path / "texts" / "x.txt").write_text("vier\r\nvijf")
    (tmp_path / "texts" / "blank.txt").write_text(" ")
    found = list(own.documents(f"{tmp_path}/texts/", "nl"))
    some = [Document("below/x", "nl", "drie"), Document("x", "nl", "vier\nvijf")]
    assert found == [some[0], Document("blank", "nl", " "), some[1]], "a blank one too, to be counted"
    for below in ("", "below"):
        (tmp_path / "texts" / below / "x.txt").write_text(" ")
    with pytest.raises(Mistake, match="texts: has no text"):
        own.check(str(tmp_path / "texts"), "nl")


def test_patients_have_their_notes_oldest_first(ward):
    later, sooner = NOTE | {"date": "2021-05-06"}, NOTE | {"date": "2019-12-31", "text": "Eerder."}
    written(ward / "hiv" / "dev.jsonl", [*people("dev"), {"id": "x", "label": 1, "notes": [later, sooner]}])
    found = own.task(str(ward / "hiv"), "screening", "nl", True)
    assert list(found) == ["train", "dev", "test"]
    notes = (Note("2019-12-31", "Eerder."), Note("2021-05-06", NOTE["text"]))
    assert found["dev"][-1] == Patient("x", "nl", 1, notes)


def test_texts_and_documents_say_whose_they_are(ward):
    written(ward / "notes.jsonl", [{"text": "een", "patient": "p1"}, {"text": "twee"}])
    assert [d.patient for d in own.documents(str(ward / "notes.jsonl"), "nl")] == ["p1", ""]
    for part, patient in (("train", "p1"), ("dev", "p2"), ("test", "p3")):
        written(ward / "findings" / f"{part}.jsonl", [row | {"patient": patient} for row in entities(part)])
    found = own.task(str(ward / "findings"), "ner", "nl", True)
    assert {d.patient for d in found["test"]} == {"p3"}
    written(ward / "findings" / "test.jsonl", [row | {"patient": "p1"} for row in entities("test")])
    with pytest.raises(
        Mistake, match=r"test\.jsonl, line 1: patient: is in train too; give all of a patient to one part"
    ):
        own.task(str(ward / "findings"), "ner", "nl", True)
    written(ward / "findings" / "test.jsonl", [row | {"patient": 7} for row in entities("test")])
    with pytest.raises(Mistake, match=r"test\.jsonl, line 1: patient: Input should be a valid string"):
        own.task(str(ward / "findings"), "ner", "nl", True)


def test_entities_from_lines_and_from_brat_are_the_same(ward):
    brat = [("brat", f"{part}/{row['id']}", row["text"]) for part in PARTS for row in entities(part)]
    for folder, name, said in brat:
        pair(ward / folder, name, said, "T1\tDISO 10 15\thoest\n")
    found = own.task(str(ward / "findings"), "ner", "nl", True)
    assert found["test"][0] == Document("test0", "nl", "koorts en hoest test0", (Span(10, 15, "DISO"),))
    same = {part: [replace(d, id=f"{part}/{d.id}") for d in documents] for part, documents in found.items()}
    assert own.task(str(ward / "brat"), "ner", "nl", True) == same
    assert list(own.task(str(ward / "brat"), "ner", "nl", False)) == ["test"]


def pair(folder: Path, name: str, text: str, lines: str) -> None:
    """A pair of brat files."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    (folder / f"{name}.ann").write_text(lines)


def test_brat_files_are_found_below_their_part_and_have_ids_by_it(tmp_path):
    for name in ("train/a", "dev/a", "test/a", "test/ward/a", "test/.ipynb_checkpoints/a"):
        pair(tmp_path, name, "hoest", "T1\tDISO 0 5\thoest\n")
    (tmp_path / "test" / "a.txt").rename(tmp_path / "test" / "a.TXT")
    (tmp_path / "test" / "a.ann").rename(tmp_path / "test" / "a.Ann")
    (tmp_path / "test" / "annotation.conf").touch()
    found = own.task(str(tmp_path), "ner", "nl", True)
    ids = {part: [d.id for d in documents] for part, documents in found.items()}
    assert ids == {"train": ["train/a"], "dev": ["dev/a"], "test": ["test/a", "test/ward/a"]}
    before = own.state(str(tmp_path))
    (tmp_path / "test" / "a.TXT").write_text("Hoest")
    assert own.state(str(tmp_path)) != before
    pair(tmp_path, "test/a", "hoest", "")
    with pytest.raises(Mistake, match=r"test/a\.ann: stands twice, in small letters and in capitals"):
        own.task(str(tmp_path), "ner", "nl", False)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("T1\tDISO 9 14\thoest\n", r", line 1: 9 14 is not where its text stands; mend the offsets or the text$"),
        ("#1\tx\nT1\tDISO 0 6;10 15\tkoorts hoest\n", r", line 2: is in 2 pieces; give it as one from start to end"),
        ("T1\tDISO 9 15\t hoest\n", r", line 1: begins or ends with a blank; mend the offsets"),
        ("T1\tDISO 10 15\thoest\nT2\tDISO 10 15\thoest\n", r", line 2: is the same as .*a\.ann, line 1; take one out"),
        ("T1\tall 10 15\thoest\n", r", line 1: label: 'all' means something else in tables of results"),
        ("T1\tSide effect 10 15\thoest\n", r", line 1: found a label with a blank, expected T1<tab>LABEL"),
        ("T1\tDISO 10 16\thoest\n", r", line 1: 10 16 lies outside the text \(15\); mend the offsets: they count"),
        ("T1 DISO 10 15 koorts\n", r", line 1: found 1 columns, expected T1<tab>LABEL"),
    ],
)
def test_a_mention_in_brat_that_is_not_as_asked_is_refused_without_its_text(tmp_path, lines, said):
    pair(tmp_path, "test/a", "koorts en hoest", lines)
    with pytest.raises(Mistake, match=r"test/a\.ann" + said) as refused:
        own.task(str(tmp_path), "ner", "nl", False)
    assert not re.search("koorts|hoest", str(refused.value))


def test_a_blank_document_in_brat_is_refused(tmp_path):
    pair(tmp_path, "test/a", "\n", "")
    with pytest.raises(Mistake, match=r"test/a\.txt: is blank; take it and its \.ann out"):
        own.task(str(tmp_path), "ner", "nl", False)


def test_accents_of_tasks_are_composed_and_mentions_moved_along(ward):
    apart = "patie\u0308nt: koorts, die\u0308t"  # as a Mac writes it
    at = apart.index("koorts")
    spans = [{"start": at, "end": at + 6, "label": "DISO"}, {"start": 0, "end": 8, "label": "WHO"}]
    written(ward / "findings" / "test.jsonl", [{"id": "x", "text": apart, "spans": spans}])
    (document,) = own.task(str(ward / "findings"), "ner", "nl", False)["test"]
    assert document.text == "patiënt: koorts, diët"
    assert [document.text[s.start : s.end] for s in document.spans] == ["patiënt", "koorts"]
    pair(ward / "brat", "test/x", apart, f"T1\tDISO {at} {at + 6}\tkoorts\n")
    assert own.task(str(ward / "brat"), "ner", "nl", False)["test"][0].spans == document.spans[1:]
    for start, end in ((0, 5), (5, 8)):
        cut = [{"start": start, "end": end, "label": "WHO"}]
        written(ward / "findings" / "test.jsonl", [{"id": "x", "text": apart, "spans": cut}])
        with pytest.raises(Mistake, match=r"line 1: spans\.0: cuts a letter from its accent"):
            own.task(str(ward / "findings"), "ner", "nl", False)
    note = {"date": "2020-01-01", "text": apart}
    written(ward / "hiv" / "test.jsonl", [*people("test"), {"id": "x", "label": 1, "notes": [note]}])
    assert own.task(str(ward / "hiv"), "screening", "nl", True)["test"][-1].notes[0].text == document.text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", r"hiv/train\.jsonl, line 5: no JSON at character \d+"),
        ("[1]", r"line 5: is no object; a line is"),
        ('{"id": "x", "label": 0, "label": 1, "notes": []}', r"line 5: has 'label' twice in one object; a line is"),
        (
            json.dumps({"id": "x", "label": 0, "notes": [NOTE]}).replace("}]", f', "text": "{SECRET}"}}]'),
            r"line 5: has 'text' twice in one object; a line is",
        ),
        ({"label": 1, "notes": [NOTE]}, r"line 5: id: is missing; a line is \{\"id\""),
        (
            {"id": "x", "label": 2, "notes": [NOTE]},
            r"line 5: label: found 2; allowed: 0 or 1, without quotes; a line is",
        ),
        ({"id": "x", "label": "1", "notes": [NOTE]}, r'line 5: label: found "1"; allowed: 0 or 1'),
        ({"id": "x", "label": "yes", "notes": [NOTE]}, r'line 5: label: found "yes"; allowed: 0 or 1'),
        ({"id": "x", "label": True, "notes": [NOTE]}, r"line 5: label: found true; allowed: 0 or 1"),
        ({"id": "x", "label": None, "notes": [NOTE]}, r"line 5: label: found null; allowed: 0 or 1"),
        ({"id": "x", "label": 1.0, "notes": [NOTE]}, r"line 5: label: found 1\.0; allowed: 0 or 1"),
        ({"id": "x", "label": SECRET, "notes": [NOTE]}, r"line 5: label: found something else; allowed: 0 or 1"),
        ({"id": "x", "label": [SECRET], "notes": [NOTE]}, r"line 5: label: found something else; allowed: 0 or 1"),
        ({"id": "\ud800", "label": 1, "notes": [NOTE]}, r"line 5: id: has half a character, \\ud800, at 0; write"),
        (
            {"id": "x", "label": 1, "notes": [NOTE | {"text": SECRET + "\udc00"}]},
            r"line 5: notes\.0\.text: has half a character, \\udc00, at 14",
        ),
        (
            {"id": "x", "label": 1, "notes": [{"text": SECRET}]},
            r"line 5: notes\.0\.date: is missing; give a date like .*; if it is unknown",
        ),
        ({"id": "x", "label": 1, "notes": []}, r"line 5: notes: .*at least 1 item"),
        ({"id": "x", "label": 1, "notes": SECRET}, r"line 5: notes: Input should be a valid list"),
        (
            {"id": "x", "label": 1, "notes": [NOTE, NOTE | {"date": "31-12-2020"}]},
            r"line 5: notes\.1\.date: is no date; give a date like",
        ),
        (
            {"id": "x", "label": 1, "notes": [NOTE | {"date": SECRET}]},
            r"line 5: notes\.0\.date: is no date; give a date like",
        ),
        (
            {"id": "x", "label": 1, "notes": [NOTE | {"date": 2020}]},
            r"line 5: notes\.0\.date: is no date; give a date like",
        ),
        ({"id": "x", "label": 1, "notes": [NOTE | {"text": "  "}]}, r"line 5: notes\.0\.text: is blank"),
        ('{"id": "x", "label": ' + "9" * 5000 + "}", r"line 5: has a number that is too long"),
        ("[" * 100000, r"line 5: is nested too deep"),
        ({"id": "x", "label": 1, "notes": [{"date": "2020-12-31"}]}, r"line 5: notes\.0\.text: is missing; a line is"),
        (
            {"id": "train0", "label": 1, "notes": [NOTE]},
            r"train\.jsonl, line 5: id: is that of .*/train\.jsonl, line 1; rename one",
        ),
        (
            {"id": "dev0", "label": 1, "notes": [NOTE]},
            r"dev\.jsonl, line 1: id: is that of .*/train\.jsonl, line 5; rename one",
        ),
    ],
)
def test_a_patient_that_is_not_as_asked_is_refused_without_repeating_the_note(ward, row, said):
    written(ward / "hiv" / "train.jsonl", [*people("train"), row])
    with pytest.raises(Mistake, match=said) as refused:
        own.task(str(ward / "hiv"), "screening", "nl", True)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        (
            [{"start": 10, "end": 99, "label": "DISO"}],
            r"line 4: spans\.0: 10 to 99 is not within the text's 15 characters",
        ),
        ([{"start": 5, "end": 5, "label": "DISO"}], r"line 4: spans\.0: 5 to 5 is not within"),
        ([{"start": 9, "end": 15, "label": "DISO"}], r"line 4: spans\.0: begins or ends with a blank"),
        ([{"start": 0, "end": 7, "label": "DISO"}], r"line 4: spans\.0: begins or ends with a blank"),
        ([{"start": 10, "end": 16, "label": "DISO"}], r"line 4: spans\.0: 10 to 16 is not within"),
        (
            [{"start": 0, "end": 6, "label": "DISO"}] * 2,
            r"line 4: spans\.1: is the same as .*line 4: spans\.0; take one out",
        ),
        ([{"start": -1, "end": 5, "label": "DISO"}], r"line 4: spans\.0\.start: .*greater than or equal to 0"),
        ([{"start": 0, "end": 5, "label": "two words"}], r"line 4: spans\.0\.label: has a blank"),
        ([{"start": 0, "end": 5, "label": ""}], r"line 4: spans\.0\.label: has a blank, or nothing in it"),
        ([{"start": 0, "end": 5, "label": "a\ud800"}], r"line 4: spans\.0\.label: has half a character"),
        ([{"start": 0, "end": 5, "label": 7}], r"line 4: spans\.0\.label: Input should be a valid string"),
        ([{"start": 0.5, "end": 5, "label": "DISO"}], r"line 4: spans\.0\.start: Input should be a valid integer"),
        ([{"begin": 0, "end": 5, "label": "DISO"}], r"line 4: spans\.0\.start: is missing; a line is"),
        (None, r"line 4: spans: Input should be a valid list"),
    ],
)
def test_an_entity_that_is_not_as_asked_is_refused(ward, spans, said):
    written(ward / "findings" / "test.jsonl", [*entities("test"), ENTITY | {"spans": spans}])
    with pytest.raises(Mistake, match=r"findings/test\.jsonl, " + said):
        own.task(str(ward / "findings"), "ner", "nl", True)


@pytest.mark.parametrize("name", ["all", "O", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "n/a"])
def test_a_label_that_tables_of_results_use_otherwise_is_refused(ward, name):
    span = {"start": 0, "end": 6, "label": name}
    written(ward / "findings" / "test.jsonl", [*entities("test"), ENTITY | {"spans": [span]}])
    with pytest.raises(Mistake, match=rf"line 4: spans\.0\.label: '{name}' means something else in tables of results"):
        own.task(str(ward / "findings"), "ner", "nl", True)


def test_all_that_pandas_reads_as_an_empty_cell_is_reserved():
    from pandas._libs.parsers import STR_NA_VALUES

    assert own_lines.RESERVED >= STR_NA_VALUES - {""}


def test_half_a_character_in_a_corpus_is_refused(tmp_path):
    file = written(tmp_path / "a.jsonl", [{"text": "goed"}, '{"text": "x\\ud800y"}'])
    with pytest.raises(Mistake, match=r"a\.jsonl, line 2: text: has half a character, \\ud800, at 1"):
        own.check(str(file), "nl")


def test_what_is_missing_is_named(ward):
    (ward / "hiv" / "dev.jsonl").unlink()
    with pytest.raises(Mistake, match=r"hiv/dev\.jsonl: is missing; a task has train, dev, test"):
        own.task(str(ward / "hiv"), "screening", "nl", True)
    assert len(own.task(str(ward / "hiv"), "screening", "nl", False)["test"]) == 4
    written(ward / "hiv" / "test.jsonl", [p | {"label": 0} for p in people("test")])
    with pytest.raises(Mistake, match=r"hiv/test: needs label 0 and label 1, each at least once; found \[0\]"):
        own.task(str(ward / "hiv"), "screening", "nl", False)
    written(ward / "hiv" / "test.jsonl", [])
    with pytest.raises(Mistake, match="hiv/test: is empty; give it some patients"):
        own.task(str(ward / "hiv"), "screening", "nl", False)
    written(ward / "hiv" / "test.jsonl", people("test"))
    with pytest.raises(Mistake, match="hiv/test: its first 1 patients need label 0 and label 1"):
        own.task(str(ward / "hiv"), "screening", "nl", False, {"test": 1})
    with pytest.raises(Mistake, match=r"test\.jsonl: is no folder; a task is a folder with train, dev, test"):
        own.task(str(ward / "hiv" / "test.jsonl"), "screening", "nl", True)
    (ward / "findings" / "test").mkdir()
    with pytest.raises(Mistake, match=r"findings/test: is a folder, and test\.jsonl stands beside it"):
        own.task(str(ward / "findings"), "ner", "nl", True)
    (ward / "findings" / "test").rmdir()
    written(ward / "findings" / "dev.jsonl", [d | {"spans": []} for d in entities("dev")])
    with pytest.raises(Mistake, match="findings/dev: has no labelled entity"):
        own.task(str(ward / "findings"), "ner", "nl", True)
    for name, said in (("empty", r"no \.txt file in this folder"), ("a.csv", "no .jsonl file and no folder")):
        (ward / "empty").mkdir(exist_ok=True)
        (ward / "a.csv").touch()
        with pytest.raises(Mistake, match=said):
            own.check(str(ward / name), "nl")
    with pytest.raises(Mistake, match="has no text"):
        own.check(str(written(ward / "none.jsonl", [""])), "nl")
    with pytest.raises(Mistake, match=r"line 2: id: is that of .*twice\.jsonl, line 1; give"):
        own.check(str(written(ward / "twice.jsonl", [{"id": "a", "text": "een"}, {"id": "a", "text": "twee"}])), "nl")
    (ward / "latin.jsonl").write_bytes('{"text": "Patiënt"}'.encode("latin-1"))
    with pytest.raises(Mistake, match=r"latin\.jsonl, line 1: byte \d+ is not UTF-8"):
        own.check(str(ward / "latin.jsonl"), "nl")


def test_what_cannot_be_read_is_named_and_nothing_is_left_out_in_silence(tmp_path):
    texts = tmp_path / "texts"
    (texts / "real").mkdir(parents=True)
    (texts / "real" / "a.txt").write_text("een")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("twee")
    (texts / "link").symlink_to(tmp_path / "elsewhere")
    (texts / "notes.txt").mkdir()  # a folder, whatever its name
    (texts / "notes.txt" / "c.txt").write_text("drie")
    assert [d.id for d in own.documents(str(texts), "nl")] == ["link/b", "notes.txt/c", "real/a"]
    before = own.state(str(texts))
    (texts / ".DS_Store").touch()
    (texts / ".ipynb_checkpoints").mkdir()
    (texts / ".ipynb_checkpoints" / "a.txt").write_text("een")
    assert own.state(str(texts)) == before
    assert len(list(own.documents(str(texts), "nl"))) == 3
    (texts / "real" / "a.txt").rename(texts / "real" / "a.TXT")
    assert "real/a" in [d.id for d in own.documents(str(texts), "nl")]
    (texts / "real" / "a.txt").write_text("nog een")
    with pytest.raises(
        Mistake, match=r"a\.(txt|TXT): stands twice, in small letters and in capitals; leave one of them"
    ):
        own.check(str(texts), "nl")
    (texts / "real" / "a.txt").unlink()
    for name in ("a.ann", "more.csv", "real/more.docx"):
        (texts / name).touch()
    with pytest.raises(Mistake, match=r"more\.csv: is no \.txt or \.ann file \(and 1 more\); save as \.txt"):
        own.check(str(texts), "nl")
    (texts / "more.csv").unlink()
    (texts / "real" / "more.docx").unlink()
    (texts / "a\nb.txt").touch()
    with pytest.raises(Mistake, match=r"a\\nb\.txt: a file's name is printable UTF-8; rename it"):
        own.check(str(texts), "nl")
    (texts / "a\nb.txt").unlink()
    os.mkfifo(texts / "pipe.txt")
    with pytest.raises(Mistake, match=r"pipe\.txt: is no file; take it out"):
        own.check(str(texts), "nl")
    (texts / "pipe.txt").unlink()
    (texts / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Mistake, match=r"gone\.txt: cannot be read \(No such file or directory\)"):
        own.check(str(texts), "nl")


def test_links_that_lead_upwards_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "a.txt").write_text("een")
        (tmp_path / "texts" / name / "all").symlink_to("..")
    with pytest.raises(Mistake, match=r"texts/one/all: is a link to a folder that it stands in; take it out"):
        own.state(str(tmp_path / "texts"))


def test_labels_are_composed_as_texts_are(ward):
    def read(label):
        spans = [{"start": 0, "end": 6, "label": label}]
        written(ward / "findings" / "test.jsonl", [{"id": "x", "text": "koorts", "spans": spans}])
        return own.task(str(ward / "findings"), "ner", "nl", False)["test"][0].spans[0].label

    assert read(unicodedata.normalize("NFD", "Síntoma")) == "Síntoma"
    with pytest.raises(Mistake, match="has a character that cannot be seen"):
        read("DISO\u200b")


def test_a_label_that_changes_makes_stale_even_with_the_time_of_before(ward):
    file, before = ward / "hiv" / "dev.jsonl", own.state(str(ward / "hiv"))
    at = file.stat()
    file.write_text(file.read_text().replace('"label": 1', '"label": 0', 1))
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    own.content.cache_clear()  # as in another process
    assert own.state(str(ward / "hiv")) != before


def example(ward: Path, change=lambda values: None, number: int = 1) -> str:
    """A profile of data/OWN.md: the first try (0), the whole one, that of mBERT; with the paths of `ward`."""
    text = re.findall(r"```yaml\n(.*?)```", (DATA / "OWN.md").read_text("utf-8"), re.S)[number]
    values = yaml.safe_load(text.replace("data/private", str(ward)))
    change(values)
    path = ward / "ward.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("number", [1, 2])
def test_the_profiles_of_the_page_are_valid_and_follow_their_files(ward, number):
    profile = settings.load(example(ward, number=number))
    profile.check_parts()
    profile.check_own()
    assert not profile.synthetic
    assert {item["task"]: item.get("reason") for item in profile.stages()[-1].parameters["family"]} == {
        "hiv": None,
        "findings": None,
    }
    before = [stage.parameters.get("data") for stage in settings.load(example(ward, number=number)).stages()]
    assert before == [stage.parameters.get("data") for stage in profile.stages()]
    written(ward / "notes.jsonl", [{"text": "iets anders"}])
    assert before != [stage.parameters.get("data") for stage in profile.stages()]


@pytest.mark.parametrize("shipped", ["replica", "replica-gpu", "full"])
def test_patients_can_be_screened_beside_the_tasks_of_every_profile_of_real_text(ward, shipped):
    listed = settings.load(shipped)
    own = {"name": "hiv", "kind": "screening", "language": "nl", "source": str(ward / "hiv")}
    tasks = [*(task.model_dump(exclude_defaults=True) for task in listed.tasks), own]
    file = ward / "beside.yaml"
    file.write_text(yaml.safe_dump({"extends": shipped, "description": "one more task", "tasks": tasks}), "utf-8")
    screening = settings.load(str(file)).screening
    assert screening.length >= listed.ner.length
    assert screening.learning_rate <= listed.ner.learning_rate


def test_the_first_try_of_the_page_is_valid_and_downloads_nothing(ward):
    profile = settings.load(example(ward, number=0))
    profile.check_parts()
    profile.check_own()
    assert sources.needed(profile.parts()) == [] and profile.synthetic
    assert profile.base.architecture == "modernbert", "no model of the hub"
    assert not any(item.get("reason") for item in profile.stages()[-1].parameters["family"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda v: v["corpora"].update(clinical={"nl": ["./nowhere"]}),
            r"corpora\.clinical\.nl: '\./nowhere' is not there",
        ),
        (lambda v: v["tasks"][0].update(source="./nowhere"), r"tasks\.hiv: '\./nowhere' is not there"),
        (lambda v: v["tasks"][1].update(common={"DISEASE": "DISO"}), r"has no label 'DISEASE'; allowed: DISO"),
        (lambda v: v["tasks"][0].update(common={"A": "A"}), "'hiv': common is for kind ner"),
        (lambda v: v["tasks"][0].update(trained=False), "'hiv': trained: false is for kind ner"),
        (lambda v: v.update(tasks=[v["tasks"][1] | {"trained": False, "keep": []}]), "tasks: none of them is trained"),
        (lambda v: v["tasks"][0].update(source="~nobody-at-all/hiv"), "there is no such user's folder"),
    ],
)
def test_a_profile_that_names_what_is_not_there_is_refused(ward, change, said):
    def looked_at():
        profile = settings.load(example(ward, change))
        profile.check_parts()
        profile.check_own()

    with pytest.raises(Mistake, match=said):
        looked_at()


def test_no_profile_takes_the_folder_of_a_shipped_one(ward):
    file = Path(example(ward)).rename(ward / "demo.yaml")
    content, told = file.read_text(), "'demo' is the name of a profile of the compendium and of its folder"
    with pytest.raises(Mistake, match=told):
        settings.load(str(file))
    file.write_text("name: mine\n" + content)
    assert settings.load(str(file)).run == "mine"
    renamed = file.rename(ward / "mine.yaml")
    renamed.write_text("name: demo\n" + content)
    with pytest.raises(Mistake, match=told):
        settings.load(str(renamed))


def test_corpora_are_built_of_own_files_without_what_a_test_patient_has(ward):
    secret = {"id": "copied", "text": NOTE["text"] + " " + " ".join(f"woord{i}" for i in range(30))}
    patient = {"id": "p", "label": 1, "notes": [NOTE | {"text": secret["text"]}]}
    written(ward / "hiv" / "test.jsonl", [*people("test"), patient])
    with (ward / "notes.jsonl").open("a") as file:
        file.write(json.dumps(secret) + "\n")
    notes, spec = str(ward / "notes.jsonl"), {"kind": "screening", "language": "nl", "trained": True, "documents": {}}
    tasks.build(ward, [spec | {"name": "hiv", "source": str(ward / "hiv"), "common": {}}], 1)
    limits = corpora.Limits(10**6, 200, 0.8)
    _, repeated = corpora.make(ward, {"clinical": {"nl": [notes]}}, 1, limits)
    found = {row["document"]: row["repeats"] for row in repeated if "task document" in row["reason"]}
    assert found == {f"{notes}/copied": "hiv/p 2020-02-01"}
    corpora.note_origin(ward, {"clinical": {"nl": [notes]}}, [spec | {"source": str(ward / "hiv")}])
    assert json.loads((ward / "corpora" / "origin.json").read_text()) == {"synthetic": False}
    told = json.loads((ward / "corpora" / "sources.json").read_text())
    assert set(told) == {notes, str(ward / "hiv")}


def test_documents_have_an_id_of_at_most_200_characters(ward):
    for id, said in (
        ("", "is blank"),
        (" \n", "is blank"),
        ("n" * 201, "at most 200 characters"),
    ):
        written(ward / "ents" / "train.jsonl", [{"id": id, "text": "koorts", "spans": []}])
        with pytest.raises(Mistake, match=rf"line 1: id: .*{said}"):
            own.task(str(ward / "ents"), "ner", "nl", True)


def test_ids_that_look_the_same_are_the_same(tmp_path):
    """A patient whose name is written in other characters, or with a blank behind it, is protected all the same."""
    rows = [
        {"text": "een", "patient": unicodedata.normalize(form, "José 1") + end}
        for form, end in (("NFC", " "), ("NFD", ""))
    ]
    found = {d.patient for d in own.documents(str(written(tmp_path / "a.jsonl", rows)), "nl")}
    assert found == {"José 1"}

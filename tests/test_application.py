"""Kept models on new texts: the same as in the run, brat's files there and back, and a line for each mistake."""

import json
import shutil
from collections import Counter

import pandas as pd
import pytest
from test_ner import saved, taught  # noqa: F401  (a fixture)
from transformers import AutoTokenizer

from common.project import Mistake
from evidence.scores import calibrated
from helpers import application, ner, screening
from texts import own, standoff
from texts.documents import Document, Note, Patient, Span

NEW = {"a": "El paciente niega fiebre y tos.", "ward/b": "tos\ny fiebre\ndesde ayer", "blank": "\n"}


@pytest.fixture(scope="module")
def tagger(saved, tmp_path_factory):  # noqa: F811
    """A tagger that has learnt a word, and where it is kept."""
    tagger = ner.Tagger(str(saved), AutoTokenizer.from_pretrained(saved), ["S"], 16, 4, 1)
    taught(tagger, [Document("d", "es", "niega fiebre y tos desde ayer", (Span(6, 12, "S"),))])
    folder = tmp_path_factory.mktemp("finetuned") / "findings"
    application.keep(folder, tagger, "card", kind="ner", language="es", labels=["S"])
    return tagger, folder


@pytest.fixture(scope="module")
def screener(saved, tmp_path_factory):  # noqa: F811
    """A screener, and where it is kept."""
    screener = screening.Screener(str(saved), AutoTokenizer.from_pretrained(saved), 16, 4, seed=1)
    folder = tmp_path_factory.mktemp("finetuned") / "hiv"
    how = {"aggregation": "maximum", "slope": 2.0, "intercept": -1.0, "threshold": 0.0}
    application.keep(folder, screener, "card", kind="screening", language="nl", **how)
    return screener, folder


@pytest.fixture
def texts(tmp_path):
    """New texts as a folder of files."""
    for name, text in NEW.items():
        file = tmp_path / "new" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path / "new"


def test_entities_of_new_texts_are_those_that_the_model_found_in_the_run(tagger, texts, tmp_path, capsys):
    in_run, folder = tagger
    assert application.main([str(folder), str(texts), str(tmp_path / "out")]) == 0
    assert "written" in capsys.readouterr().out
    documents = [Document(name.replace("/", "_"), "es", text) for name, text in NEW.items()]
    wanted = in_run.predict(documents, in_run.prepare(documents))
    assert any(wanted)
    files = ((path.name, path.read_bytes()) for path in sorted((tmp_path / "out").iterdir()))
    blemishes = Counter()
    found = {document.id: document for document in standoff.brat(files, "es", blemishes)}
    assert not any(blemishes.values())
    assert {d.id: [*found[d.id].spans] for d in documents} == {d.id: s for d, s in zip(documents, wanted, strict=True)}
    assert {d.id: found[d.id].text for d in documents} == {d.id: d.text for d in documents}


def test_texts_are_read_in_the_characters_that_models_learnt(tagger, tmp_path, monkeypatch):
    file = tmp_path / "new.jsonl"
    file.write_text(json.dumps({"id": "x", "text": "infecţie cafe\u0301"}), encoding="utf-8")
    seen = []
    monkeypatch.setattr(application, "tag", lambda folder, documents: seen.extend(documents) or documents)
    how = json.loads((tagger[1] / application.HOW).read_text())
    monkeypatch.setattr(application, "_how", lambda *_: how | {"language": "ro"})
    assert application.main([str(tagger[1]), str(file), str(tmp_path / "out")]) == 0
    assert seen[0].text == "infecție café"


def test_new_patients_get_score_probability_and_flag(screener, tmp_path, float32):
    in_run, folder = screener
    notes = [{"date": "2021-01-01", "text": "fiebre"}, {"date": "2020-01-01", "text": "tos seca"}]
    lines = [{"id": "p", "notes": notes}, {"id": "q", "notes": notes[:1]}]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert application.main([str(folder), str(tmp_path / "new.jsonl"), str(tmp_path / "out.csv")]) == 0
    table = pd.read_csv(tmp_path / "out.csv")
    patients = [
        Patient("p", "nl", 1, (Note("2020-01-01", "tos seca"), Note("2021-01-01", "fiebre"))),
        Patient("q", "nl", 1, (Note("2021-01-01", "fiebre"),)),
    ]
    scores = [float(x.max()) for x in in_run.predict(in_run.prepare(patients))]
    assert table["patient"].tolist() == ["p", "q"]
    assert table["score"].tolist() == pytest.approx(scores, rel=1e-5)
    assert table["probability"].tolist() == pytest.approx([*calibrated(logits=scores, slope=2.0, intercept=-1.0)])
    assert table["flagged"].tolist() == [int(score >= 0) for score in scores]


def test_new_patients_are_read_in_the_letters_of_the_corpora(screener, tmp_path, monkeypatch):
    file = tmp_path / "new.jsonl"
    file.write_text(json.dumps({"id": "p", "notes": [{"date": "2021-01-01", "text": "infecţie cafe\u0301"}]}), "utf-8")
    seen = []
    screen = application.screen
    monkeypatch.setattr(application, "screen", lambda *asked: seen.extend(asked[1]) or screen(*asked))
    how = json.loads((screener[1] / application.HOW).read_text())
    monkeypatch.setattr(application, "_how", lambda *_: how | {"language": "ro"})
    output = tmp_path / "deep" / "er" / "out.csv"
    assert application.main([str(screener[1]), str(file), str(output)]) == 0
    assert seen[0].notes[0].text == "infecție café" and output.is_file()


UNLABELLED = '{"kind": "ner", "language": "ro", "length": 32, "overlap": 8}'


def test_mistakes_are_a_line_and_leave_what_was_there(tagger, screener, texts, tmp_path, capsys):
    there, twice, broken = tmp_path / "there", tmp_path / "twice.jsonl", tmp_path / "broken.jsonl"
    there.mkdir()
    person = json.dumps({"id": "p", "notes": [{"date": "2021-01-01", "text": "tos"}]})
    twice.write_text(f"{person}\n{person}\n")
    broken.write_text('{"id": "p", "notes": []}')
    (empty := tmp_path / "empty.jsonl").write_text("")
    (dangling := tmp_path / "dangling").symlink_to(tmp_path / "nowhere")

    def damaged(name, file, content):
        model = shutil.copytree(tagger[1], tmp_path / name)
        (model / file).unlink() if content is None else (model / file).write_text(content)
        return model

    for model, given, output, said in (
        (tagger[1], texts, there, "is there already; name a new one"),
        (texts, texts, tmp_path / "out", "has no reading.json; give a model that a run kept"),
        (tagger[1], tmp_path / "nowhere", tmp_path / "out", "is no .jsonl file and no folder"),
        (screener[1], texts, tmp_path / "out", "is a folder; give a .jsonl file, a line a patient"),
        (screener[1], twice, tmp_path / "out", "line 2: id: is that of"),
        (screener[1], broken, tmp_path / "out", "line 1: notes: "),
        (screener[1], empty, tmp_path / "out", "is empty; give it some patients"),
        (tagger[1], empty, tmp_path / "out", "is empty; give it some texts"),
        (tagger[1], texts, broken / "out", "cannot be written (File exists); name another place"),
        (
            damaged("no_tokenizer", "tokenizer.json", None),
            texts,
            tmp_path / "out",
            "has no tokenizer.json; make it again",
        ),
        (damaged("weights", "model.safetensors", "cut"), texts, tmp_path / "out", "model.safetensors: damaged ("),
        (damaged("pieces", "tokenizer.json", "{"), texts, tmp_path / "out", "pieces: is damaged ("),
        (damaged("layout", "config.json", "{}"), texts, tmp_path / "out", "layout: is damaged ("),
        (damaged("labels", "reading.json", UNLABELLED), texts, tmp_path / "out", "reading.json: is damaged"),
        (damaged("reading", "reading.json", "[]"), texts, tmp_path / "out", "reading.json: is damaged; make it again"),
        (tagger[1], texts, dangling, "is there already"),
    ):
        assert application.main([*map(str, (model, given, output))]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
        assert not (tmp_path / "out").exists()
    assert not any(there.iterdir())
    with pytest.raises(Mistake, match="is a model of ner, not of screening"):
        application.screen(tagger[1], [])


def test_any_id_and_any_text_go_to_brat_and_back(tmp_path):
    spans = (Span(0, 7, "S"), Span(5, 10, "T"))
    ids = ["a", "a", "A", "a_1_", "a b", "a_b_5_", "a_b", "../../etc/x", "/abs", "..", "", "é" * 200, "no te: 1"]
    documents = [Document(id, "es", "tos\r\nse\tca fin ", spans) for id in ids]
    standoff.write(tmp_path / "out", documents)
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 2 * len(ids) and {path.parent for path in tmp_path.rglob("*.ann")} == {tmp_path / "out"}
    assert len({path.name.casefold() for path in written}) == len(written)
    files = ((path.name, path.read_bytes()) for path in written)
    for document in standoff.brat(files, "es", blemishes := Counter()):
        assert (document.text, document.spans) == (documents[0].text, spans)
    assert not any(blemishes.values())
    made = own.place(str(tmp_path)) / "test"
    (tmp_path / "out").rename(made)
    task = own.task(str(tmp_path), "ner", "es", trained=False)
    assert len(task["test"]) == len(ids), "a task of one's own can be made of it"

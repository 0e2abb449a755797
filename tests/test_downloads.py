"""Large public collections: from their places, on a local server in the real layout, to documents and a whole run."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import copied
from places import data_set, model, opus, parquet, record, served, zipped
from test_sources import MIRROR, MIRRORED, needs_mirror

from common.project import Mistake
from helpers import models
from runner import settings
from texts import readers, sources, synthetic

LISTED = sources.catalogue()["sources"]
NUMBER = LISTED["multiclinner"]["record"]
WIKIPEDIA, COMMIT = "wikimedia/wikipedia", LISTED["nl_wikipedia_dump"]["commit"]
SENTENCES = ["Lees de bijsluiter.", "Neem elke dag een tablet."]
EMEA = {
    "README": "",
    "EMEA/raw/nl/humandocs/EPAR/one/H-1-nl1.xml": opus(SENTENCES),
    "EMEA/raw/nl/humandocs/EPAR/two/H-2-nl1.xml": opus(["Bewaar het", "goed &amp; <b>droog</b>"]),
}
CASES = {
    f"MultiClinNER/MultiClinNER-{lang}/MultiClinNER-{lang}-{part}/MultiClinNER-{lang}-{part}-{kind}/{file}": said
    for lang, part, kind, file, said in [
        ("nl", "test_batch1", "disease", "txt/nl-1.txt", "\ufeffMan van 60 jaar.\nKoorts."),
        ("nl", "test_batch2", "symptom", "txt/nl-2.txt", "Vrouw van 40 jaar."),
        ("nl", "train", "disease", "txt/nl-3.txt", "Niet lezen."),
        (
            "nl",
            "train",
            "disease",
            "tsv/MultiClinNER-nl-train-disease.tsv",
            "filename\tlabel\tstart_span\tend_span\ttext\n",
        ),
        ("es", "test_batch1", "disease", "txt/es-1.txt", "Varón de 60 años."),
    ]
}
CASES |= {"__MACOSX/MultiClinNER/MultiClinNER-nl/MultiClinNER-nl-test_batch1/._nl-1.txt": b"\xff\xfe"}
FIRST = parquet(
    id=["7", "12"], title=["Hart", "Nier"], text=["Hart\n\nHet hart is een spier.", "De nier filtert bloed."]
)
SECOND = parquet(id=["9"], title=["Oor"], text=["Met het oor hoort men."])
PIECES = {f"train-0000{number}-of-00003.parquet": file for number, file in enumerate((FIRST, SECOND, b"third"))}
TEXTS = {
    "nl_emea": {"one-H-1-nl1-0": "\n".join(SENTENCES), "two-H-2-nl1-0": "Bewaar het\ngoed & droog"},
    "nl_multiclinner": {"nl-1": "Man van 60 jaar.\nKoorts.", "nl-2": "Vrouw van 40 jaar."},
    "nl_wikipedia_dump": {
        "7-0": "Hart\nHet hart is een spier.",
        "12-0": "De nier filtert bloed.",
        "9-0": "Met het oor hoort men.",
    },
}


def labelled(lang, kind, documents):
    """Reports and their table as MultiClinNER has them; what is labelled otherwise is left out."""
    folder = f"MultiClinNER/MultiClinNER-{lang}/MultiClinNER-{lang}-train/MultiClinNER-{lang}-train-{kind}"
    files, rows = {}, ["filename\tlabel\tstart_span\tend_span\ttext"]
    digits = 4 if lang == "ro" else 1  # leading zeros, should one of the languages have them
    for number, document in enumerate(documents, start=1):
        name = f"MultiClinNER-{lang}-train-{kind}-{number:0{digits}}"
        files[f"{folder}/txt/{name}.txt"] = f"\ufeff{document.text}"
        rows += [
            f"{name}\t{kind.upper()}\t{span.start}\t{span.end}\t{document.text[span.start : span.end]}"
            for span in document.spans
            if span.label == "DISO"
        ]
    return files | {f"{folder}/tsv/MultiClinNER-{lang}-train-{kind}.tsv": "\n".join(rows) + "\n"}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """OPUS, Zenodo and the hub: path -> content, and the paths that were asked for."""
    serves = {"/OPUS-EMEA/v3/raw/nl.zip": zipped(EMEA)}
    serves |= record(NUMBER, "Train data.zip", zipped(CASES))
    serves |= data_set(WIKIPEDIA, COMMIT, "20231101.nl", PIECES)
    for name in ("HELPERS_MIRROR", "HELPERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path / "cache"))
    with served(serves) as (address, asked):
        for name in ("HELPERS_ARCHIVES_URL", "HF_ENDPOINT"):
            monkeypatch.setenv(name, address)
        yield serves, asked


def left(tmp_path):
    found = (path for path in (tmp_path / "cache").iterdir() if path.name != "verified" and path.suffix != ".lock")
    return sorted(path.name for path in found)


@pytest.mark.parametrize("part", TEXTS)
def test_a_collection_is_fetched_once_and_read(places, part, tmp_path, capsys, monkeypatch):
    _, asked = places
    sources.check([part])
    assert not asked, "a check downloads nothing"
    found = list(readers.part(part))
    assert {document.id: document.text for document in found} == TEXTS[part]
    assert {document.language for document in found} == {"nl"}
    sizes = f"{len(found)} documents, {sum(len(document.text) for document in found)} characters"
    assert f"part {part}: {sizes}; sources.yaml lists no counts" in capsys.readouterr().out
    before = len(asked)
    monkeypatch.setenv("HELPERS_OFFLINE", "1")
    assert list(readers.part(part)) == found
    sources.check([part], None, True)
    assert len(asked) == before
    assert left(tmp_path) == [part if part == "nl_wikipedia_dump" else f"{sources.needed([part])[0]}.zip"]
    monkeypatch.setenv("HELPERS_MIRROR", str(tmp_path / "cache"))
    assert list(readers.part(part)) == found, "the cache serves as a mirror"


def test_two_runs_that_want_one_source_fetch_it_once(places):
    _, asked = places
    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(sources.at_hand, needed := sources.needed(["nl_emea"]) * 4)}
    assert len(found) == 1 and len(needed) == 4
    assert asked == ["/OPUS-EMEA/v3/raw/nl.zip"]


def test_of_a_data_set_only_the_needed_files_are_fetched(places, tmp_path):
    list(readers.part("nl_wikipedia_dump"))
    got = sorted((tmp_path / "cache/nl_wikipedia_dump").rglob("*.parquet"))
    assert [path.read_bytes() for path in got] == [FIRST, SECOND]


def test_provenance_has_the_checksum_of_what_was_read(places):
    found = sources.provenance(["nl_emea", "nl_wikipedia_dump"])
    lines = [f"{hashlib.sha256(content).hexdigest()}  20231101.nl/{name}\n" for name, content in PIECES.items()][:2]
    assert found["nl_wikipedia_dump"] == {
        "url": f"https://huggingface.co/datasets/{WIKIPEDIA}",
        "version": COMMIT,
        "licence": "CC-BY-SA-3.0, GFDL",
        "tree_sha256": hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
    }
    assert found["nl_emea"]["url"] == "https://object.pouta.csc.fi/OPUS-EMEA/v3/raw/nl.zip"
    assert found["nl_emea"]["version"] == ""


def test_a_task_without_its_labels_is_told(places):
    serves, _ = places
    cases = labelled("nl", "disease", synthetic.ner_documents("nl", "train", 40, 11))
    other = {name: text.replace("DISEASE", "ZIEKTE") for name, text in cases.items()}
    serves.update(record(NUMBER, "Train data.zip", zipped(other)))
    with pytest.raises(Mistake, match="task disease_nl, train: no DISEASE in .* documents; look at the files"):
        readers.tasks("disease_nl")


def test_a_part_without_any_file_is_told(places):
    serves, _ = places
    only = {name: text for name, text in CASES.items() if "-es-" not in name or "/MultiClinNER-es-train" in name}
    serves.update(record(NUMBER, "Train data.zip", zipped(only)))
    with pytest.raises(Mistake, match="part es_multiclinner: no file of its source is one of it"):
        list(readers.part("es_multiclinner"))


def test_a_table_that_counts_otherwise_is_told(places):
    serves, _ = places
    cases = labelled("nl", "disease", synthetic.ner_documents("nl", "train", 40, 11))
    moved = {name: text if name.endswith("tsv") else text.replace(".", "...") for name, text in cases.items()}
    serves.update(record(NUMBER, "Train data.zip", zipped(moved)))
    with pytest.raises(Mistake, match="task disease_nl, all: more than one in twenty mentions do not say"):
        readers.tasks("disease_nl")


def test_a_report_and_its_translations_are_in_the_same_part(places):
    """Parts are drawn by the number of a report: what is learnt in one language was not translated from a test."""
    serves, _ = places
    cases = {}
    for lang in ("nl", "ro"):
        cases |= labelled(lang, "disease", synthetic.ner_documents(lang, "train", 400, 11))
        cases |= labelled(lang, "symptom", synthetic.ner_documents(lang, "train", 400, 11))
    serves.update(record(NUMBER, "Train data.zip", zipped(cases)))
    found = [
        {part: sorted(int(d.id.rpartition("-")[2]) for d in items) for part, items in readers.tasks(task).items()}
        for task in ("disease_nl", "disease_ro", "symptom_nl")
    ]
    assert found[0] == found[1] == found[2]
    sizes = {part: len(numbers) for part, numbers in found[0].items()}
    assert sum(sizes.values()) == len({number for numbers in found[0].values() for number in numbers}) == 400
    assert 20 < sizes["dev"] < 60, "a tenth"
    assert 50 < sizes["test"] < 110, "a fifth"


RESOLVED = f"/datasets/{WIKIPEDIA}/resolve/{COMMIT}/20231101.nl/train-00001-of-00003.parquet"


@pytest.mark.parametrize(
    ("part", "path", "content", "said"),
    [
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", None, "source nl_emea: .*cannot be downloaded"),
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", b"<html>", "source nl_emea: .*damaged"),
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", zipped({"EMEA/raw/es/a.xml": ""}), r"has none of raw/nl/\*\*.xml"),
        (
            "nl_multiclinner",
            f"/records/{NUMBER}/files/Train%20data.zip",
            b"PK",
            "source multiclinner: .*cannot be down",
        ),
        ("nl_multiclinner", f"/api/records/{NUMBER}", b'{"files": []}', "no files; .* selects 0 of them"),
        ("nl_multiclinner", f"/api/records/{NUMBER}", b"gone", "source multiclinner: .*cannot be downloaded"),
        ("nl_multiclinner", f"/api/records/{NUMBER}", b'{"message": "moved"}', "multiclinner: .*cannot be downloaded"),
        (
            "nl_wikipedia_dump",
            RESOLVED,
            bytes(len(SECOND)),
            "source nl_wikipedia_dump: .*did not arrive as it is there",
        ),
        ("nl_wikipedia_dump", f"/api/datasets/{WIKIPEDIA}/tree/{COMMIT}/20231101.nl", b"[]", "has none of 20231101.nl"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_leaves_no_source(places, tmp_path, part, path, content, said):
    serves, _ = places
    whole = dict(serves)
    serves[path] = content
    with pytest.raises(Mistake, match=said) as caught:
        list(readers.part(part))
    assert "\n" not in str(caught.value)
    assert [name for name in left(tmp_path) if not name.startswith(".")] == []
    serves.update(whole)
    assert {document.id: document.text for document in readers.part(part)} == TEXTS[part], "the next try is sound"


def test_broken_files_of_collections():
    blemishes = Counter()
    files = {"a.xml": opus(SENTENCES)[:-9].encode(), "b.xml": b"", "c.xml": opus(SENTENCES).encode()}
    found = list(readers.opus(files.items(), "nl", blemishes))
    assert [document.text for document in found] == ["\n".join(SENTENCES)] * 2
    assert blemishes == {"broken XML": 2}
    for content in (b"PAR1 and no more", parquet(name=["a"])):
        with pytest.raises(Mistake, match=r"x\.parquet: no Parquet file of articles"):
            list(readers.articles([("x.parquet", content)], "nl", Counter()))


def test_lines_of_articles_have_single_blanks():
    content = parquet(id=["1", "2"], text=["een  \tzin\n\n twee \n", None])
    found = [document.text for document in readers.articles([("x.parquet", content)], "nl", Counter())]
    assert found == ["een zin\ntwee"]
    content = parquet(id=["12.5", "", "7"], text=["a", "b", "c"])
    ids = [document.id for document in readers.articles([("x.parquet", content)], "nl", Counter())]
    assert ids == ["12.5-0", ".article-0", "7-0"]


def made_up(domain, language, count):
    return [document.text for document in itertools.islice(synthetic.documents(domain, language, 11), count)]


def whole(folder):
    """All that the profile full reads, with made-up text and a small model in the place of mBERT."""
    serves = {}
    for id in MIRRORED:
        owner, repo, commit = (LISTED[id][key] for key in ("owner", "repo", "commit"))
        serves[f"/{owner}/{repo}/archive/{commit}.zip"] = MIRROR / f"{owner}__{repo}__{commit[:12]}.zip"
    cases = {}
    for lang in ("nl", "ro", "es"):
        leaflets = enumerate(made_up("biomedical", lang, 120))
        files = {f"EMEA/raw/{lang}/{number}.xml": opus(text.split("\n")) for number, text in leaflets}
        serves[f"/OPUS-EMEA/v3/raw/{lang}.zip"] = zipped(files)
        named = f"MultiClinNER/MultiClinNER-{lang}/MultiClinNER-{lang}-test_batch1"
        cases |= {f"{named}/txt/{number}.txt": text for number, text in enumerate(made_up("clinical", lang, 120))}
        cases |= labelled(lang, "disease", synthetic.ner_documents(lang, "train", 60, 11))
        articles = made_up("general", lang, 120)
        pieces = {"train-00000-of-00001.parquet": parquet(id=[str(n) for n in range(120)], text=articles)}
        serves |= data_set(WIKIPEDIA, COMMIT, f"20231101.{lang}", pieces)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    base = {"architecture": "bert", "vocabulary": 1000, "config": shape}
    small, tokenizer = models.start(base, made_up("general", "nl", 300), 1)
    for part in (small, tokenizer):
        part.save_pretrained(folder)
    full = settings.load("full").base
    return serves | record(NUMBER, "train.zip", zipped(cases)) | model(full.hub, full.revision, folder)


def front_door(root, address, *arguments):
    """The profile full at work in a copy of the project, with one server in the place of all public ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELPERS_", "HF_"))}
    kept |= {"PYTHONPATH": str(root / "src"), "HF_HOME": str(root / "hf"), "HELPERS_CACHE": str(root / "cache")}
    kept |= {"HELPERS_ARCHIVES_URL": address, "HF_ENDPOINT": address}
    command = [sys.executable, "-m", "runner.front_door", "full", *arguments]
    return subprocess.run(command, cwd=root, env=kept, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("offline", [[], ["--offline"]])
def test_a_base_that_cannot_be_had_is_told_before_any_work(tmp_path, offline):
    root = copied(tmp_path / "copy")
    with served({}) as (address, asked):
        done = front_door(root, address, "--set=compute.compiled=false", *offline)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run_all.sh: base: no model at 'google-bert/bert-base-multilingual-cased': ")
    assert done.stderr.count("\n") == 1
    assert bool(asked) is not bool(offline)


@pytest.mark.slow
@pytest.mark.mirror
@needs_mirror
def test_full_in_small_from_its_places_to_its_report(tmp_path):
    root = copied(tmp_path / "copy")
    values = {
        "corpus": {"characters": 40000, "heldout_characters": 4000},
        "pretrain": {"length": 64, "batch_rows": 8, "evaluations": 2, "heldout_rows": 8},
        "ner": {"seeds": [1], "length": 64, "overlap": 8, "epochs": 1, "patience": 1, "batch_rows": 8},
        "compute": {"threads": 1, "compiled": "false"},
    }
    changes = [f"{section}.{key}={value}" for section, keys in values.items() for key, value in keys.items()]
    changes += [
        "arms=[{name: base, tokens: 0}, {name: general, parent: base, text: {general: {nl: 1}}, tokens: 8192}, "
        "{name: clinical, parent: base, text: {clinical: {nl: 1}}, tokens: 8192}]",
        "tasks=[{name: monero, kind: ner, language: ro, source: monero, documents: {train: 40, dev: 20}}, "
        "{name: disease_es, kind: ner, language: es, source: disease_es, common: {DISEASE: DISEASE}}, "
        "{name: disease_nl, kind: ner, language: nl, source: disease_nl, trained: false, common: {DISEASE: DISEASE}}]",
    ]
    with served(whole(tmp_path / "model")) as (address, asked):
        done = front_door(root, address, *(f"--set={change}" for change in changes))
    assert done.returncode == 0, done.stdout + done.stderr
    run = root / "runs/full"
    read = json.loads((run / "provenance.json").read_text())["data"]
    assert {"nl_emea", "es_wikipedia_dump", "multiclinner", "ro_monero"} < set(read)
    assert all(len(source["tree_sha256"]) == 64 for source in read.values())
    assert (run / "models/base/model.safetensors").is_file()
    assert "C1" in (run / "report.html").read_text(encoding="utf-8")
    assert sum(path.endswith("model.safetensors") for path in asked) == 2, "asked whether it is there, then for it"

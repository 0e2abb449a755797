"""Large public collections: from a local server in the layout of the real places to documents."""

import hashlib
import http.server
import io
import json
import threading
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.project import Mistake
from texts import readers, sources

SENTENCES = ["Lees de bijsluiter.", "Neem elke dag een tablet."]
XML = '<?xml version="1.0" encoding="utf-8"?>\n<text><p id="1"><s id="1">{}</s>\n<s id="2">{}</s></p></text>\n'


def zipped(files):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def parquet(rows):
    held = io.BytesIO()
    names = ("id", "url", "title", "text")
    pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), held)
    return held.getvalue()


EMEA = zipped(
    {
        "README": "",
        "EMEA/raw/nl/humandocs/EPAR/one/H-1-nl1.xml": XML.format(*SENTENCES),
        "EMEA/raw/nl/humandocs/EPAR/two/H-2-nl1.xml": XML.format("Bewaar het", "goed & droog"),
    }
)
CASES = zipped(
    {
        f"MultiClinNER/MultiClinNER-{lang}/MultiClinNER-{lang}-{part}/MultiClinNER-{lang}-{part}-{kind}/{file}": said
        for lang, part, kind, file, said in [
            ("nl", "train", "disease", "txt/nl-1.txt", "\ufeffMan van 60 jaar.\nKoorts."),
            ("nl", "train", "disease", "tsv/nl-train-disease.tsv", "filename\tlabel\tstart_span\tend_span\ttext\n"),
            ("nl", "train", "symptom", "txt/nl-2.txt", "Vrouw van 40 jaar."),
            ("nl", "test", "disease", "txt/nl-3.txt", "Niet lezen."),
            ("es", "train", "disease", "txt/es-1.txt", "Varón de 60 años."),
        ]
    }
    | {"__MACOSX/MultiClinNER/MultiClinNER-nl/MultiClinNER-nl-train/._nl-1.txt": b"\xff\xfe"}
)
FIRST = parquet([("7", "", "Hart", "Hart\n\nHet hart is een spier."), ("12", "", "Nier", "De nier filtert bloed.")])
SECOND = parquet([("9", "", "Oor", "Met het oor hoort men.")])
COMMIT = sources.catalogue()["sources"]["nl_wikipedia_dump"]["commit"]
DATA_SET = "wikimedia/wikipedia"
WIKIPEDIA = {f"20231101.nl/train-0000{n}-of-00003.parquet": file for n, file in enumerate((FIRST, SECOND, b"third"))}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A local server in the layouts of OPUS, Zenodo and the hub: path -> content, and the paths that were asked for."""
    checksum = f"md5:{hashlib.md5(CASES, usedforsecurity=False).hexdigest()}"
    listed = [{"key": "Train data.zip", "checksum": checksum}, {"key": "guidelines.pdf", "checksum": "md5:0"}]
    serves = {
        "/OPUS-EMEA/v3/raw/nl.zip": EMEA,
        "/api/records/18772832": json.dumps({"files": listed}).encode(),
        "/records/18772832/files/Train%20data.zip": CASES,
    }
    tree = [{"type": "directory", "path": "20231101.nl/more", "oid": "0"}]
    for name, content in WIKIPEDIA.items():
        state = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        tree.append({"type": "file", "path": name, "oid": "0", "size": len(content), "lfs": state})
        serves[f"/datasets/{DATA_SET}/resolve/{COMMIT}/{name}"] = content
    serves[f"/api/datasets/{DATA_SET}/tree/{COMMIT}/20231101.nl"] = json.dumps(tree).encode()
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0].replace("%2F", "/")
            asked.append((self.command, path))
            content = serves.get(path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HELPERS_ARCHIVES_URL", "HF_ENDPOINT"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("HELPERS_MIRROR", "HELPERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path / "cache"))
    yield serves, asked
    server.shutdown()
    server.server_close()


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.name != "verified")


TEXTS = {
    "nl_emea": {"one-H-1-nl1-0": "\n".join(SENTENCES), "two-H-2-nl1-0": "Bewaar het\ngoed droog"},
    "nl_multiclinner": {"nl-1": "Man van 60 jaar.\nKoorts.", "nl-2": "Vrouw van 40 jaar."},
    "nl_wikipedia_dump": {
        "7-0": "Hart\nHet hart is een spier.",
        "12-0": "De nier filtert bloed.",
        "9-0": "Met het oor hoort men.",
    },
}


@pytest.mark.parametrize("part", TEXTS)
def test_a_collection_is_fetched_once_and_read(places, part, tmp_path):
    _, asked = places
    sources.check([part])
    assert not asked, "a check downloads nothing"
    found = list(readers.part(part))
    assert {document.id: document.text for document in found} == TEXTS[part]
    assert {document.language for document in found} == {"nl"}
    before = len(asked)
    assert list(readers.part(part, offline=True)) == found
    sources.check([part], None, True)
    assert len(asked) == before
    assert left(tmp_path) == [part if part == "nl_wikipedia_dump" else f"{sources.needed([part])[0]}.zip"]
    assert list(readers.part(part, tmp_path / "cache", True)) == found, "the cache serves as a mirror"


def test_of_a_data_set_only_the_needed_files_are_fetched(places, tmp_path):
    list(readers.part("nl_wikipedia_dump"))
    got = sorted((tmp_path / "cache/nl_wikipedia_dump").rglob("*.parquet"))
    assert [path.read_bytes() for path in got] == [FIRST, SECOND]


def test_provenance_has_the_checksum_of_what_was_read(places):
    found = sources.provenance(["nl_emea", "nl_wikipedia_dump"])
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in WIKIPEDIA.items()][:2]
    assert found["nl_wikipedia_dump"] == {
        "url": f"https://huggingface.co/datasets/{DATA_SET}",
        "version": COMMIT,
        "licence": "CC-BY-SA-3.0, GFDL",
        "tree_sha256": hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
    }
    assert found["nl_emea"]["url"] == "https://object.pouta.csc.fi/OPUS-EMEA/v3/raw/nl.zip"
    assert found["nl_emea"]["version"] == ""


@pytest.mark.parametrize(
    ("part", "path", "content", "said"),
    [
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", None, "source nl_emea: .*cannot be downloaded"),
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", b"<html>", "source nl_emea: .*damaged"),
        ("nl_emea", "/OPUS-EMEA/v3/raw/nl.zip", zipped({"EMEA/raw/es/a.xml": "<s/>"}), r"has none of raw/nl/\*\*.xml"),
        ("nl_multiclinner", "/records/18772832/files/Train%20data.zip", EMEA, "source multiclinner: .*cannot be down"),
        ("nl_multiclinner", "/api/records/18772832", b'{"files": []}', "no files; .* selects 0 of them"),
        ("nl_multiclinner", "/api/records/18772832", b"gone", "source multiclinner: .*cannot be downloaded"),
        (
            "nl_wikipedia_dump",
            f"/datasets/{DATA_SET}/resolve/{COMMIT}/20231101.nl/train-00001-of-00003.parquet",
            bytes(len(SECOND)),
            "source nl_wikipedia_dump: .*did not arrive as it is there",
        ),
        ("nl_wikipedia_dump", f"/api/datasets/{DATA_SET}/tree/{COMMIT}/20231101.nl", b"[]", "has none of 20231101.nl"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_leaves_no_source(places, tmp_path, part, path, content, said):
    serves, _ = places
    whole = dict(serves)
    serves.update({path: content})
    with pytest.raises(Mistake, match=said) as caught:
        list(readers.part(part))
    assert "\n" not in str(caught.value)
    assert [name for name in left(tmp_path) if not name.startswith(".")] == []
    serves.update(whole)
    assert {document.id: document.text for document in readers.part(part)} == TEXTS[part], "the next try is sound"


def test_broken_files_of_collections(places):
    serves, _ = places
    serves["/OPUS-EMEA/v3/raw/nl.zip"] = zipped(
        {
            "EMEA/raw/nl/a.xml": XML.format(*SENTENCES)[:-30],
            "EMEA/raw/nl/b.xml": "",
            "EMEA/raw/nl/c.xml": XML.format(*SENTENCES),
        }
    )
    found = list(readers.part("nl_emea"))
    assert [document.text for document in found][-1] == "\n".join(SENTENCES)
    assert len(found) >= 2
    other = io.BytesIO()
    pq.write_table(pa.table({"name": ["a"]}), other)
    for content in (b"PAR1 and no more", other.getvalue()):
        with pytest.raises(Mistake, match=r"x\.parquet: no Parquet file of articles"):
            list(readers.articles([("x.parquet", content)], "nl", {}))

"""Archives of sources: where they are looked for, how they are verified, and what is left when something goes wrong."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import served

from common.project import DATA, ROOT, Mistake
from texts import readers, sources

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOP = f"texts-{COMMIT}"
NEEDED = {"data/a.txt": b"een", "data/b.txt": "două".encode()}
MIRROR = Path(os.environ.get("HELPERS_MIRROR") or ROOT.parent / "shared" / "data")
# The others are large, and not read yet by who listed them.
MIRRORED = [id for id, source in sources.catalogue()["sources"].items() if source.get("owner") and "hub" not in source]
needs_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no folder of archives at {MIRROR}: set HELPERS_MIRROR")


def checksum(files):
    """The checksum as data/sources.yaml defines it, written down a second time."""
    lines = [hashlib.sha256(content).hexdigest() + "  " + path + "\n" for path, content in files.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def catalogue(tree_sha256):
    place = {"owner": "someone", "repo": "texts", "commit": COMMIT, "licence": "CC0", "tree_sha256": tree_sha256}
    source = {**place, "n_files": 2, "files": ["data/*.txt"], "parts": {}}
    part = {"source": "one", "remove": ["labelled"]}
    return {
        "sources": {"one": source},
        "parts": {"piece": part},
        "tasks": {"labelled": {"raw": {"x": {"source": "one"}}}},
    }


def write_zip(path, files, top=TOP):
    """An archive in the layout of a public one: a top folder, with more in it than the needed files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(f"{top}/", "")
        for name, content in {"README.md": b"not needed", "data/deep/c.txt": b"nor this", **files}.items():
            zipped.writestr(f"{top}/{name}", content)
    return path


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with the archive of source "one", which the catalogue lists; the cache is empty."""
    for name in ("HELPERS_MIRROR", "HELPERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "catalogue", lambda: catalogue(checksum(NEEDED)))
    return write_zip(tmp_path / "mirror" / f"someone__texts__{COMMIT[:12]}.zip", NEEDED).parent


class Folder(dict):
    """What lies in a folder, whatever the address before a file's name; files `slow` and `broken` are faults."""

    def __init__(self, path):
        self.path = path

    def get(self, address):
        file = self.path / Path(address).name
        return file if file.is_file() else None

    def faults(self):
        return [name for name in ("slow", "broken") if (self.path / name).exists()]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of archives in the public layout: (its folder of files, the paths that were asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    with served(Folder(folder), Folder(folder).faults) as (address, asked):
        monkeypatch.setenv("HELPERS_ARCHIVES_URL", address)
        yield folder, asked


def left(tmp_path):
    """What lies in the cache, stamps aside."""
    cache = tmp_path / "cache"
    return [p.name for p in cache.iterdir() if p.name != "verified" and p.suffix != ".lock"] if cache.is_dir() else []


def one_line(caught, *words):
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_reads_the_needed_files_only(mirror, monkeypatch):
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    assert list(sources.read_files("one")) == sorted(NEEDED.items())
    assert list(sources.read_files("one", ["data/b*"])) == [("data/b.txt", NEEDED["data/b.txt"])]


def test_mirror_from_the_environment_and_public_name(mirror, monkeypatch):
    next(mirror.iterdir()).rename(mirror / f"texts-{COMMIT}.zip")
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    assert dict(sources.read_files("one")) == NEEDED


def test_an_archive_is_hashed_once(mirror, monkeypatch):
    sources.check(["one"], mirror, True)
    hashed = []
    real = sources._inside
    monkeypatch.setattr(sources, "_inside", lambda *a: hashed.append(a) or real(*a))
    sources.check(["one"], mirror, True)
    assert not hashed
    archive = next(mirror.iterdir())
    os.utime(archive, ns=(0, archive.stat().st_mtime_ns + 1))
    sources.check(["one"], mirror, True)
    assert hashed


def test_wrong_checksum(mirror):
    write_zip(next(mirror.iterdir()), {**NEEDED, "data/b.txt": b"changed"})
    with pytest.raises(Mistake) as caught:
        sources.check(["piece"], mirror, True)
    one_line(caught, "one", "wrong checksum", "2 files", "replace")


def test_a_missing_needed_file(mirror):
    write_zip(next(mirror.iterdir()), {"data/a.txt": NEEDED["data/a.txt"]})
    with pytest.raises(Mistake) as caught:
        sources.check(["labelled"], mirror, True)
    one_line(caught, "wrong checksum", "1 files")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_archive(mirror, share, monkeypatch):
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    archive = next(mirror.iterdir())
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(Mistake) as caught:
        list(sources.read_files("one"))
    one_line(caught, "one", "damaged", "delete it")


def test_a_name_in_an_archive_that_is_no_text(mirror, monkeypatch):
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    with zipfile.ZipFile(archive := next(mirror.iterdir()), "w") as zipped:
        zipped.writestr("one-1/data/é.txt", "text")
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(Mistake) as caught:
        list(sources.read_files("one"))
    one_line(caught, "one", "damaged")


def test_damage_after_verification(mirror, monkeypatch):
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    sources.check(["one"], mirror, True)
    archive = next(mirror.iterdir())
    at = archive.stat().st_mtime_ns
    content = bytearray(archive.read_bytes())
    place = content.index(b"data/a.txt") + len("data/a.txt")
    content[place] ^= 0xFF
    archive.write_bytes(content)
    os.utime(archive, ns=(at, at))
    with pytest.raises(Mistake) as caught:
        list(sources.read_files("one"))
    one_line(caught, "damaged")


def test_missing_mirror_and_missing_archive(mirror, tmp_path):
    with pytest.raises(Mistake) as caught:
        sources.check(["one"], tmp_path / "nowhere", False)
    one_line(caught, "--mirror", "nowhere", "no such folder")
    next(mirror.iterdir()).unlink()
    with pytest.raises(Mistake) as caught:
        sources.check(["one"], mirror, False)
    one_line(caught, "someone__texts__0123456789ab.zip", f"texts-{COMMIT}.zip", "leave out --mirror")


def test_offline_without_cache(mirror, monkeypatch):
    with pytest.raises(Mistake) as caught:
        sources.check(["one"], None, True)
    one_line(caught, "one", "missing", "--offline", "--mirror DIR")
    monkeypatch.setenv("HELPERS_OFFLINE", "1")
    with pytest.raises(Mistake, match="--offline"):
        next(sources.read_files("one"))


def test_unknown_name(mirror):
    with pytest.raises(Mistake) as caught:
        sources.check(["nothing"], mirror, True)
    one_line(caught, "'nothing'", "allowed: piece")


def test_a_stamp_needs_no_writable_cache(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path / "file"))
    assert dict(sources.read_files("one")) == NEEDED


def test_download_then_offline(mirror, server, tmp_path, monkeypatch):
    folder, asked = server
    sources.check(["one"])
    assert not asked, "a check downloads nothing"
    write_zip(folder / f"{COMMIT}.zip", NEEDED)
    assert dict(sources.read_files("one")) == NEEDED
    assert asked == [f"/someone/texts/archive/{COMMIT}.zip"]
    monkeypatch.setenv("HELPERS_OFFLINE", "1")
    assert dict(sources.read_files("one")) == NEEDED
    sources.check(["one"], None, True)
    assert len(asked) == 1
    assert left(tmp_path) == [f"someone__texts__{COMMIT[:12]}.zip"]


@pytest.mark.parametrize("fault", ["absent", "wrong", "no zip"])
def test_a_failed_download_leaves_nothing(mirror, server, tmp_path, fault):
    folder, _ = server
    if fault == "wrong":
        write_zip(folder / f"{COMMIT}.zip", {"data/a.txt": b"other"})
    if fault == "no zip":
        (folder / f"{COMMIT}.zip").write_bytes(b"<html>try later</html>")
    with pytest.raises(Mistake) as caught:
        sources.at_hand("one")
    one_line(caught, "source one", {"wrong": "checksum", "no zip": "damaged"}.get(fault, "--mirror DIR"))
    assert left(tmp_path) == []


@pytest.mark.parametrize("meanwhile", ["same", "whole", "other"])
def test_a_download_that_broke_off_is_gone_on_with(mirror, server, tmp_path, meanwhile):
    folder, asked = server
    archive, name = folder / f"{COMMIT}.zip", f"someone__texts__{COMMIT[:12]}.zip"
    write_zip(archive, NEEDED | {"more": os.urandom(1 << 19)})
    (folder / "broken").touch()
    with pytest.raises(Mistake) as caught:
        sources.at_hand("one")
    one_line(caught, "source one", "--mirror DIR")
    assert left(tmp_path) == [f".{name}"], "no archive"
    part = tmp_path / "cache" / f".{name}" / "part"
    have = part.read_bytes()
    assert len(have) > 1 << 16
    assert archive.read_bytes().startswith(have)
    (folder / "broken").unlink()
    if meanwhile == "whole":  # killed before it was moved
        part.write_bytes(have := archive.read_bytes())
    if meanwhile == "other":
        write_zip(archive, NEEDED)
    assert dict(sources.read_files("one")) == NEEDED
    assert asked[1:] == [asked[0] + ("" if meanwhile == "other" else f" from {len(have) - 1}")]
    assert left(tmp_path) == [name]
    assert (tmp_path / "cache" / name).read_bytes() == archive.read_bytes()


def test_no_network(mirror, monkeypatch):
    monkeypatch.setenv("HELPERS_ARCHIVES_URL", "http://127.0.0.1:9")
    with pytest.raises(Mistake) as caught:
        sources.at_hand("one")
    one_line(caught, "cannot be downloaded", "try again")


def test_a_killed_download_leaves_no_archive(mirror, server, tmp_path):
    folder, asked = server
    write_zip(folder / f"{COMMIT}.zip", NEEDED)
    (folder / "slow").touch()
    program = f"""import test_sources as t
t.sources.catalogue = lambda: t.catalogue({checksum(NEEDED)!r})
t.sources.at_hand('one')"""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path})
    for _ in range(600):
        if list((tmp_path / "cache").glob(".*/*")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder / "slow").unlink()
    name = f"someone__texts__{COMMIT[:12]}.zip"
    assert left(tmp_path) == [f".{name}"]
    with pytest.raises(Mistake, match="--offline"):
        sources.check(["one"], None, True)
    assert dict(sources.read_files("one")) == NEEDED
    assert left(tmp_path) == [name]


@given(st.lists(st.text("ab/.", min_size=1, max_size=6), min_size=1, max_size=3), st.text("ab/.", max_size=6))
def test_a_star_stays_within_a_folder(globs, path):
    expected = any(glob.count("/") == path.count("/") for glob in globs) and any(
        re.fullmatch(re.escape(glob) + "[^/]*", path) for glob in globs
    )
    assert bool(sources._pattern(tuple(glob + "*" for glob in globs)).match(path)) == expected


def test_the_list_of_sources():
    listed = sources.catalogue()
    cards = (DATA / "CARDS.md").read_text(encoding="utf-8")
    for id, source in listed["sources"].items():
        assert re.fullmatch("[0-9a-f]{40}", source.get("commit", COMMIT))
        assert re.fullmatch("[0-9a-f]{64}", source["tree_sha256"]) if id in MIRRORED else "tree_sha256" not in source
        assert sum(key in source for key in ("url", "record", "commit")) == 1
        assert source["licence"]
        assert source["evidence"]
        assert f"`{id}`" in cards, f"{id} has no card"
        sources._pattern(tuple(source["files"]))
    for name, part in listed["parts"].items():
        assert part["language"] in ("nl", "ro", "es")
        assert part["domain"] in ("general", "biomedical", "clinical")
        assert part.get("reader") in readers.READERS or part["split"] in listed["tasks"][part["task"]]["splits"]
        assert name.startswith(part["language"])
        assert set(part.get("counts", ())) >= ({"documents", "characters"} if part["source"] in MIRRORED else set())
    for task in listed["tasks"].values():
        assert set(task["splits"]) == {"train", "dev", "test"}
    health, general = (set((DATA / f"nl_laws_{w}.txt").read_text().split()) for w in ("health", "general"))
    assert not health & general


def test_where_a_source_is_at_hand(mirror, server, tmp_path, monkeypatch):
    folder, _ = server
    row = {"source": "one", "licence": "CC0", "from": "https://github.com/someone/texts"}
    assert sources.where(["one"]) == [row | {"at hand": "not yet"}]
    write_zip(folder / f"{COMMIT}.zip", NEEDED)
    sources.at_hand("one")
    assert sources.where(["one"]) == [row | {"at hand": "in the cache"}]
    monkeypatch.setenv("HELPERS_MIRROR", str(tmp_path / "nothing"))
    assert sources.where(["one"])[0]["at hand"] == "not yet"
    monkeypatch.setenv("HELPERS_MIRROR", str(mirror))
    assert sources.where(["one"])[0]["at hand"] == "in the mirror"
    own = {"source": "./notes", "licence": sources.OWN, "from": "", "at hand": "your files"}
    assert sources.where(["one", "./notes"])[1:] == [own]


def test_provenance_names_commit_and_checksum():
    found = sources.provenance(["monero", "es_cantemist_background"])
    listed = sources.catalogue()["sources"]
    assert set(found) == {"ro_monero", "ro_simonero_ud", "es_pharmaconer", "es_cantemist"}
    assert found["ro_monero"]["url"] == "https://github.com/iliemihai/MoNERo"
    assert found["ro_monero"]["version"] == listed["ro_monero"]["commit"]
    assert found["ro_monero"]["tree_sha256"] == listed["ro_monero"]["tree_sha256"]


@pytest.mark.mirror
@needs_mirror
def test_the_real_archives_are_verified_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path))
    start = time.perf_counter()
    sources.check(MIRRORED, MIRROR, True)
    cold = time.perf_counter() - start
    sources.check(MIRRORED, MIRROR, True)
    again = time.perf_counter() - start - cold
    print(f"check of {len(MIRRORED)} archives: {cold:.2f} s, again {again:.3f} s")
    assert cold < 10
    assert again < 1

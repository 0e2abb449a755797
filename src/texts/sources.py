"""Sources of text: found in a folder, the cache or on the network, verified by the checksum of their files.

`data/sources.yaml` lists them. One is an archive, or the folder of a data set's files. A stamp in the cache remembers
what was verified by its path, sizes and times of change, so that it is hashed once. Environment: HELPERS_CACHE
(folder), HELPERS_MIRROR (folder of sources), HELPERS_OFFLINE (not empty: no network).
"""

import fcntl
import lzma
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from common.progress import Line
from common.project import DATA, Mistake, digest, read_yaml, write_atomically
from texts import downloads

LISTED = DATA / "sources.yaml"
PARALLEL = {"nl": "nl_hpo_labels", "es": "es_hpo_labels"}  # language -> the part that names the same concepts
OWN = "own files, not public"  # in the place of a licence
Content = Mapping[str, Callable[[], bytes]]
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, lzma.LZMAError, UnicodeDecodeError)


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """What data/sources.yaml says, by name: `sources`, `tasks`, and `parts`, each with its `source`."""
    listed = read_yaml(LISTED)
    sources = listed["sources"].items()
    return {**listed, "parts": {name: {"source": id, **part} for id, s in sources for name, part in s["parts"].items()}}


def entry(kind: str, name: str) -> dict[str, Any]:
    """The entry `name` of the catalogue's "sources", "tasks" or "parts"; Mistake where it is unknown."""
    entries = catalogue()[kind]
    if name not in entries:
        more = "" if kind == "sources" else ", synthetic; a path of own files has a / in it"
        raise Mistake(f"{LISTED.name}: {name!r} is not in {kind}; allowed: {', '.join(sorted(entries))}{more}")
    return entries[name]


def is_own(name: str) -> bool:
    """Whether a part or task of a profile is a path to own files (`texts.own`), which has a / in it."""
    return "/" in name


def needed(names: Iterable[str]) -> list[str]:
    """The ids of the sources that parts, tasks or sources of these names are read from."""
    listed, found = catalogue(), set()
    for name in names:
        if is_own(name):
            continue
        if name in listed["tasks"]:
            found |= {raw["source"] for raw in listed["tasks"][name]["raw"].values()}
        elif name not in listed["sources"]:
            part = entry("parts", name)
            found |= {part["source"], *needed([*part.get("remove", ()), *filter(None, [part.get("task")])])}
        else:
            found.add(name)
    return sorted(found)


def provenance(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Address, version, licence and checksum of each source behind `names`, by its id; of own files the path.

    Where data/sources.yaml has no checksum yet, it is that of the source at hand.
    """
    found = {}
    for id in needed(names):
        source = entry("sources", id)
        url, version = downloads.page(source)
        checksum = source.get("tree_sha256") or _verify(id, at_hand(id))
        found[id] = {"url": url, "version": version, "licence": source["licence"], "tree_sha256": checksum}
    return found | {name: {"licence": OWN} for name in names if is_own(name)}


def where(names: Iterable[str]) -> list[dict[str, str]]:
    """A row a source behind `names`, and one for own files: its licence, its address, and where it is at hand."""
    mirror, _ = _place(None, None)
    rows = []
    for id in needed(names):
        source = entry("sources", id)
        there = [path for path in (mirror / name for name in _names(id)) if path.exists()] if mirror else []
        state = "in the mirror" if there else "in the cache" if not mirror and _cached(id).exists() else "not yet"
        rows.append({"source": id, "licence": source["licence"], "from": downloads.page(source)[0], "at hand": state})
    own = ({"source": name, "licence": OWN, "from": "", "at hand": "your files"} for name in names if is_own(name))
    return [*rows, *own]


def check(names: Iterable[str], mirror: Path | None = None, offline: bool | None = None) -> None:
    """Mistake if a source behind `names` is missing or wrong; one that can still be downloaded passes, and waits."""
    mirror, offline = _place(mirror, offline)
    for id in needed(names):
        if mirror or offline or _cached(id).exists():
            at_hand(id, mirror, offline)


def check_mirror(mirror: Path) -> None:
    """Mistake unless it is a folder."""
    if not mirror.is_dir():
        raise Mistake(f"--mirror {mirror}: no such folder; give the folder that holds the sources")


def at_hand(id: str, mirror: Path | None = None, offline: bool | None = None) -> Path:
    """A verified source in the folder `mirror`, or else in the cache, downloaded if need be: a file or a folder."""
    mirror, offline = _place(mirror, offline)
    path = _in_mirror(id, mirror) if mirror else _cached(id)
    if not path.exists() and offline:
        raise Mistake(
            f"source {id}: {path} is missing and --offline forbids a download; leave it out or give --mirror DIR"
        )
    if not path.exists():
        with _alone(path):
            if not path.exists():  # or another run fetched it meanwhile
                _download(id, path)
    _verify(id, path)
    return path


def read_files(id: str, files: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Stream (path without the top folder, content) of a source's needed files, sorted by path; `files` selects some.

    `files`: globs in which `*` stays within a folder and `**` does not, or `@name` for a list of paths in data/.
    """
    path = at_hand(id)
    with _opened(id, path) as content:
        inside = _inside(content, files or entry("sources", id)["files"])
        for name in sorted(inside):
            yield name, inside[name]()


def _place(mirror: Path | None, offline: bool | None) -> tuple[Path | None, bool]:
    """Where sources come from: the arguments, or else the environment."""
    given = os.environ.get("HELPERS_MIRROR")
    mirror = mirror or (Path(given) if given else None)
    return mirror, bool(os.environ.get("HELPERS_OFFLINE")) if offline is None else offline


def _cached(id: str) -> Path:
    given = os.environ.get("HELPERS_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "multilingual-medical-bert"
    return folder / _names(id)[0]


def _names(id: str) -> list[str]:
    """What a source is called in the cache, and what else in a folder that somebody filled."""
    source = entry("sources", id)
    if source.get("hub"):
        return [id]
    if "commit" not in source:
        return [f"{id}.zip"]
    return [f"{source['owner']}__{source['repo']}__{source['commit'][:12]}.zip", "{repo}-{commit}.zip".format(**source)]


def _in_mirror(id: str, mirror: Path) -> Path:
    """A source in a folder that somebody filled, under one of its names."""
    check_mirror(mirror)
    for path in (mirror / name for name in _names(id)):
        if path.exists():
            return path
    wanted = " or ".join(_names(id))
    raise Mistake(f"source {id}: {mirror} has no {wanted}; add it, or leave out --mirror to download it")


def _download(id: str, path: Path) -> None:
    """Download a source to `path`, which appears only when it is complete and verified."""
    source, beside = entry("sources", id), path.with_name(f".{path.name}")  # where a failed try is gone on with
    told = f"source {id}: downloading {downloads.page(source)[0]}"
    print(told, flush=True)
    Line().leave(told)
    beside.mkdir(parents=True, exist_ok=True)
    try:
        got = downloads.fetch(source, beside)
    except Mistake as error:
        if not source.get("hub") and not (beside / "part").exists():  # nothing to go on from
            shutil.rmtree(beside, ignore_errors=True)
        raise Mistake(f"source {id}: {error}") from None
    try:
        _verify(id, got)
        os.replace(got, path)
    finally:
        if not source.get("hub"):  # of a data set what is there are complete files
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is at work on `path`; a file system without locks goes without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as held:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _verify(id: str, path: Path) -> str:
    r"""The checksum of a source's needed files; Mistake unless it is the listed one, or none is listed yet.

    It is the SHA-256 of the sorted lines "<sha256 of a file>  <path without the top folder>\n".
    """
    source = entry("sources", id)
    within = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    states = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in within]
    stamp = _cached(id).parent / "verified" / digest([states, source.get("tree_sha256"), source["files"]])
    if stamp.is_file():
        return stamp.read_text(encoding="utf-8").strip()
    with _opened(id, path) as content:
        inside = _inside(content, source["files"]).items()
        lines = sorted(f"{digest(read())}  {name}\n" for name, read in inside)
    if not lines:
        raise Mistake(f"source {id}: {path} has none of {', '.join(source['files'])}; look at what it holds")
    found = digest("".join(lines).encode())
    if found != source.get("tree_sha256", found):
        files = (
            f"{found} of {len(lines)} files, {LISTED.name} lists {source['tree_sha256'][:12]}… of {source['n_files']}"
        )
        raise Mistake(f"source {id}: wrong checksum of {path}: {files}; replace it by the commit's archive")
    with suppress(OSError):  # without a place for stamps sources are hashed each time
        write_atomically(stamp, f"{found}\n")
    return found


@contextmanager
def _opened(id: str, path: Path) -> Iterator[Content]:
    """What reads each file of a source, by its path there; what shows damage becomes a Mistake."""
    try:
        if path.is_dir():
            yield {file.relative_to(path).as_posix(): file.read_bytes for file in path.rglob("*") if file.is_file()}
            return
        with zipfile.ZipFile(path) as zipped:
            files = (i for i in zipped.infolist() if not (i.is_dir() or i.filename.startswith("__MACOSX/")))
            yield {info.filename.partition("/")[2]: partial(zipped.read, info) for info in files}
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Mistake(
            f"source {id}: {path} is damaged ({reason}); delete it, or put a sound copy in its place"
        ) from None


def _inside(content: Content, files: Sequence[str]) -> Content:
    """The files of a source that `files` selects."""
    return {name: read for name, read in content.items() if _pattern(tuple(files)).match(name)}


@cache
def _pattern(files: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for globs and for `@name`, a list of paths in data/."""
    listed = [(DATA / item[1:]).read_text(encoding="utf-8").split() if item[0] == "@" else [item] for item in files]
    paths = (re.escape(glob).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for globs in listed for glob in globs)
    return re.compile("|".join(f"(?:{path})\\Z" for path in paths))

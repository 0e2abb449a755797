"""Archives of public commits: found in a folder, the cache or on the network, verified by the checksum of their files.

`data/sources.yaml` lists them. A stamp in the cache remembers an archive that was verified by its path, size and time
of change, so that it is hashed once. Environment: HELPERS_CACHE (folder), HELPERS_MIRROR (folder of archives),
HELPERS_OFFLINE (not empty: no network), HELPERS_ARCHIVES_URL (in place of https://github.com).
"""

import hashlib
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from helpers.project import DATA, Mistake, digest, read_yaml, write_atomically

LISTED = DATA / "sources.yaml"
PARALLEL = {"nl": "nl_hpo_labels", "es": "es_hpo_labels"}  # language -> the part that names the same concepts
OWN = "own files, not public"  # in the place of a licence
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """What data/sources.yaml says, by name: `sources`, `tasks`, `parts` (each with its `source`) and `planned`."""
    listed = read_yaml(LISTED)
    sources = listed["sources"].items()
    return {**listed, "parts": {name: {"source": id, **part} for id, s in sources for name, part in s["parts"].items()}}


def entry(kind: str, name: str) -> dict[str, Any]:
    """The entry `name` of the catalogue's "sources", "tasks" or "parts"; Mistake where it is unknown."""
    entries = catalogue()[kind]
    if name not in entries:
        more = "" if kind == "sources" else "; a path of own files has a / in it"
        raise Mistake(f"{LISTED.name}: {name!r} is not in {kind}; allowed: {', '.join(sorted(entries))}{more}")
    return entries[name]


def is_own(name: str) -> bool:
    """Whether a part or task of a profile is a path to own files (`texts.own`), which has a / in it."""
    return "/" in name


def needed(names: Iterable[str]) -> list[str]:
    """The ids of the archives that parts, tasks or sources of these names are read from."""
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
    """Repository, commit, licence and checksum of each archive behind `names`, by its id; of own files the path."""
    kept = ("owner", "repo", "commit", "licence", "tree_sha256")
    found = {id: {key: entry("sources", id)[key] for key in kept} for id in needed(names)}
    return found | {name: {"licence": OWN} for name in names if is_own(name)}


def check(names: Iterable[str], mirror: Path | None = None, offline: bool | None = None) -> None:
    """Mistake if an archive behind `names` is missing or wrong; one that can still be downloaded passes, and waits."""
    mirror, offline = _place(mirror, offline)
    for id in needed(names):
        if mirror or offline or _cached(id).is_file():
            archive(id, mirror, offline)


def archive(id: str, mirror: Path | None = None, offline: bool | None = None) -> Path:
    """The verified archive of a source in the folder `mirror`, or without one in the cache, downloaded if need be."""
    mirror, offline = _place(mirror, offline)
    path = _in_mirror(id, mirror) if mirror else _cached(id)
    if not path.is_file() and offline:
        raise Mistake(
            f"source {id}: {path} is missing and --offline forbids a download; leave it out or give --mirror DIR"
        )
    if not path.is_file():
        _download(id, path)
    _verify(id, path)
    return path


def read_files(
    id: str, files: Sequence[str] | None = None, mirror: Path | None = None, offline: bool | None = None
) -> Iterator[tuple[str, bytes]]:
    """Stream (path without the top folder, content) of a source's needed files, sorted by path; `files` selects some.

    `files`: globs in which `*` stays within a folder, or `@name` for a list of paths in data/.
    """
    path = archive(id, mirror, offline)
    with _opened(id, path) as zipped:
        inside = _inside(zipped, files or entry("sources", id)["files"])
        for name in sorted(inside):
            yield name, zipped.read(inside[name])


def _place(mirror: Path | None, offline: bool | None) -> tuple[Path | None, bool]:
    """Where archives come from: the arguments, or else the environment."""
    given = os.environ.get("HELPERS_MIRROR")
    mirror = mirror or (Path(given) if given else None)
    return mirror, bool(os.environ.get("HELPERS_OFFLINE")) if offline is None else offline


def _cached(id: str) -> Path:
    source, given = entry("sources", id), os.environ.get("HELPERS_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "multilingual-medical-bert"
    return folder / f"{source['owner']}__{source['repo']}__{source['commit'][:12]}.zip"


def _in_mirror(id: str, mirror: Path) -> Path:
    """The archive in a folder of archives, under one of its two names."""
    if not mirror.is_dir():
        raise Mistake(f"--mirror {mirror}: no such folder; give the folder that holds the source archives")
    names = [_cached(id).name, "{repo}-{commit}.zip".format(**entry("sources", id))]
    for path in (mirror / name for name in names):
        if path.is_file():
            return path
    raise Mistake(f"source {id}: {mirror} has no {' or '.join(names)}; add it, or leave out --mirror to download it")


def _download(id: str, path: Path) -> None:
    """Download a source's archive to `path`, which appears only when it is complete and verified."""
    import pooch  # here, as most runs download nothing
    import requests

    base = os.environ.get("HELPERS_ARCHIVES_URL", "https://github.com").rstrip("/")
    url = base + "/{owner}/{repo}/archive/{commit}.zip".format(**entry("sources", id))
    pooch.get_logger().setLevel("WARNING")
    beside = path.with_name(f".{path.name}")
    shutil.rmtree(beside, ignore_errors=True)  # what a killed download left
    print(f"source {id}: downloading {url}", flush=True)
    try:
        beside.mkdir(parents=True)
        got = Path(pooch.retrieve(url, None, path.name, beside, downloader=pooch.HTTPDownloader(timeout=60)))
        _verify(id, got)
        os.replace(got, path)
    except (requests.RequestException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Mistake(f"source {id}: {url} cannot be downloaded ({reason}); try again, or give --mirror DIR") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _verify(id: str, path: Path) -> None:
    r"""Mistake unless the archive's needed files have the listed checksum.

    It is the SHA-256 of the sorted lines "<sha256 of a file>  <path without the top folder>\n".
    """
    source, at = entry("sources", id), path.stat()
    listed = source["tree_sha256"]
    stamp = _cached(id).parent / "verified" / digest([str(path.resolve()), at.st_size, at.st_mtime_ns, listed])
    if stamp.is_file():
        return
    with _opened(id, path) as zipped:
        inside = _inside(zipped, source["files"]).items()
        lines = sorted(f"{hashlib.sha256(zipped.read(info)).hexdigest()}  {name}\n" for name, info in inside)
    found = digest("".join(lines).encode())
    if found != listed:
        files = f"{found} of {len(lines)} files, {LISTED.name} lists {listed[:12]}… of {source['n_files']}"
        raise Mistake(f"source {id}: wrong checksum of {path}: {files}; replace it by the commit's archive")
    with suppress(OSError):  # without a place for stamps archives are hashed each time
        write_atomically(stamp, f"{id}\n")


@contextmanager
def _opened(id: str, path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`; what shows that it is damaged becomes a Mistake."""
    try:
        with zipfile.ZipFile(path) as zipped:
            yield zipped
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Mistake(
            f"source {id}: {path} is damaged ({reason}); delete it, or put a sound copy in its place"
        ) from None


def _inside(zipped: zipfile.ZipFile, files: Sequence[str]) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive that `files` selects, by path without the top folder."""
    named = ((info.filename.partition("/")[2], info) for info in zipped.infolist() if not info.is_dir())
    return {name: info for name, info in named if _pattern(tuple(files)).match(name)}


@cache
def _pattern(files: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for globs and for `@name`, a list of paths in data/."""
    listed = [(DATA / item[1:]).read_text(encoding="utf-8").split() if item[0] == "@" else [item] for item in files]
    paths = ("[^/]*".join(map(re.escape, glob.split("*"))) + r"\Z" for globs in listed for glob in globs)
    return re.compile("|".join(paths))

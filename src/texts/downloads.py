"""Where a source is downloaded from: a commit's archive, a file, a record of Zenodo, or a data set of the hub.

Environment: HELPERS_ARCHIVES_URL (in place of https://<host> of archives, files and records), HF_ENDPOINT (of the hub).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from common.project import Mistake, file_digest

Source = Mapping[str, Any]
GITHUB, HUB, ZENODO = "https://github.com", "https://huggingface.co/datasets", "https://zenodo.org"


def page(source: Source) -> tuple[str, str]:
    """The address that a reader of the source's provenance looks up, and the version there, empty where none is."""
    if "url" in source:
        return source["url"], ""
    if "record" in source:
        return f"{ZENODO}/records/{source['record']}", ""
    return f"{HUB if source.get('hub') else GITHUB}/{source['owner']}/{source['repo']}", source["commit"]


def fetch(source: Source, folder: Path) -> Path:
    """Download a source into `folder`; its archive, or the folder of its files. Mistake where it cannot be had."""
    import requests  # here, as most runs download nothing

    way: Callable[[Source, Path], Path] = _files if source.get("hub") else _archive
    try:
        return way(source, folder)
    except (requests.RequestException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Mistake(f"{page(source)[0]} cannot be downloaded ({reason}); try again, or give --mirror DIR") from None


def _archive(source: Source, folder: Path) -> Path:
    """A source that is one file."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    url, known = _of_record(source) if "record" in source else (_address(source), None)
    return Path(pooch.retrieve(url, known, "archive", folder, downloader=_continued))


def _continued(url: str, file: str, _: Any) -> None:
    """Download to a file (pooch's downloader); a try that broke off is gone on with, if that file is still the same."""
    import requests

    part, tag = Path(file).with_name("part"), Path(file).with_name("part.tag")
    asked, have = {"Accept-Encoding": "identity"}, 0
    with suppress(FileNotFoundError):
        have = max(part.stat().st_size - 1, 0)  # of a file that is there whole there is no rest to ask for
        asked |= {"Range": f"bytes={have}-", "If-Range": tag.read_text(encoding="utf-8")}
    with requests.get(url, headers=asked, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial:
            have = 0
        same = answer.headers.get("ETag", "W/")
        same = answer.headers.get("Last-Modified") if same.startswith("W/") else same
        tag.write_text(same, encoding="utf-8") if same else tag.unlink(missing_ok=True)
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            out.writelines(answer.iter_content(1 << 16))
    part.replace(file)


def _files(source: Source, folder: Path) -> Path:
    """The needed files of a data set of the hub, with the checksums that it has; those that are there already stay."""
    from huggingface_hub import HfApi, RepoFile
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    hub, repo = HfApi(os.environ.get("HF_ENDPOINT")), "{owner}/{repo}".format(**source)
    where: dict[str, Any] = {"repo_type": "dataset", "revision": source["commit"]}
    for within, globs in groupby(sorted(source["files"]), os.path.dirname):
        wanted = tuple(globs)
        listed = [file for file in hub.list_repo_tree(repo, within, **where) if isinstance(file, RepoFile)]
        for file in (file for file in listed if any(fnmatch(file.path, glob) for glob in wanted)):
            path = Path(hub.hf_hub_download(repo, file.path, local_dir=folder, **where))
            if file.lfs and file_digest(path) != file.lfs.sha256:
                path.unlink()
                raise ValueError(f"{file.path} did not arrive as it is there")
    return folder


def _address(source: Source) -> str:
    if "url" in source:
        return _elsewhere(source["url"])
    return _elsewhere("{0}/{owner}/{repo}/archive/{commit}.zip".format(GITHUB, **source))


def _elsewhere(url: str) -> str:
    """The address, at HELPERS_ARCHIVES_URL where that is given."""
    base = os.environ.get("HELPERS_ARCHIVES_URL")
    return base.rstrip("/") + urlunsplit(("", "", *urlsplit(url)[2:])) if base else url


def _of_record(source: Source) -> tuple[str, str]:
    """Address and checksum of the one file of a Zenodo record that `archive`, a glob, selects."""
    import requests

    answer = requests.get(_elsewhere(f"{ZENODO}/api/records/{source['record']}"), timeout=60)
    answer.raise_for_status()
    listed = {file["key"]: file["checksum"] for file in answer.json().get("files", ())}
    chosen = [name for name in listed if fnmatch(name.lower(), source["archive"])]
    if len(chosen) != 1:
        names = ", ".join(listed) or "no files"
        raise ValueError(f"the record has {names}; {source['archive']!r} selects {len(chosen)} of them, 1 is needed")
    url = f"{ZENODO}/records/{source['record']}/files/{quote(chosen[0])}?download=1"
    return _elsewhere(url), listed[chosen[0]]

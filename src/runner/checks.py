"""What is seen between the sections of a profile, and of its base on disk, before any work."""

from functools import cache
from pathlib import Path

from helpers.project import Mistake, digest, file_digest
from texts import own

MODEL = (".bin", ".json", ".model", ".safetensors", ".txt")  # files of a saved model and its tokenizer


def state(folder: str) -> str:
    """A digest of a base's files: other weights or another tokenizer make stale what was trained from them."""
    try:
        files = sorted(path for path in own.place(folder).glob("*") if path.suffix in MODEL and path.is_file())
        return digest([(path.name, _content(path, path.stat().st_mtime_ns)) for path in files])
    except OSError as error:
        raise Mistake(f"base.folder: {error.filename}: cannot be read ({error.strerror}); make it readable") from None


@cache
def _content(path: Path, changed: int) -> str:
    """The digest of a file as it is, worked out once a process: weights are large."""
    return file_digest(path)

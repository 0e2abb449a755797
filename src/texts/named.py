"""What a profile names of data/ and of own files: whether it is there, in which language, and with which labels."""

from common.project import DATA, read_yaml
from texts import own, sources, synthetic


def unreadable(kind: str, name: str, language: str) -> str:
    """Why own files or one of the "parts" or "tasks" of data/sources.yaml cannot be read as asked, or empty."""
    if name == "synthetic":
        known = synthetic.LANGUAGES
        return "" if language in known else f"synthetic text is written in {', '.join(known)}, not in {language}"
    if sources.is_own(name):
        return "" if own.place(name).exists() else f"{name!r} is not there; give a file or folder of yours"
    listed = sources.catalogue()[kind]
    if name not in listed:
        allowed = f"synthetic, {', '.join(sorted(listed))}, or a path with a / (data/OWN.md)"
        return f"{name!r} is unknown; allowed: {allowed}"
    found = listed[name]["language"]
    return "" if found == language else f"{name!r} is in {found}, not in {language}"


def labels(source: str) -> set[str]:
    """The labels of a task of entities that is made or public."""
    return {*(synthetic.FILES if source == "synthetic" else sources.entry("tasks", source)["labels"])}


def without_distance(one: str, other: str) -> str:
    """The pair of two languages if data/distances.yaml lacks it, or empty."""
    pair = "-".join(sorted((one, other)))
    return "" if one == other or pair in read_yaml(DATA / "distances.yaml")["syntactic"] else pair

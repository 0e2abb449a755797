"""One form of a text, whatever it was read from: characters, spaces and line ends made alike."""

import re
import unicodedata

SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")  # all but a single plain space
BREAKS = re.compile(r" \n ?|\n ")
# Left out: controls, soft hyphen, zero-width space, byte order mark. Line and paragraph separators end lines.
CONTROLS: dict[int, str | None] = dict.fromkeys([*range(32), *range(127, 160), 0xAD, 0x200B, 0xFEFF])
CONTROLS |= dict.fromkeys(map(ord, "\t\v\f"), " ") | dict.fromkeys(map(ord, "\n\x85\u2028\u2029"), "\n")
CONTROL = re.compile("[" + "".join(chr(code) for code in CONTROLS if chr(code) != "\n") + "]")
# Romanian texts mix the letters with a comma below and those with a cedilla, which stand for the same.
CEDILLAS = str.maketrans("şţŞŢ", "șțȘȚ")


def normalise(text: str, language: str = "") -> str:
    """Unicode NFC; controls taken out; runs of spaces made one; lines stripped, at most one blank line between them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.translate(CONTROLS) if CONTROL.search(text) else text  # few have one, and looking is faster
    text = BREAKS.sub("\n", SPACES.sub(" ", unicodedata.normalize("NFC", text)))
    return re.sub(r"\n{3,}", "\n\n", lettered(text, language)).strip()


def lettered(text: str, language: str) -> str:
    """A text in the letters that corpora of its language are written in, character by character."""
    return text.translate(CEDILLAS) if language == "ro" else text


def folded(text: str) -> str:
    """A mention's text with case and runs of white space levelled, the form in which mentions are compared."""
    return " ".join(text.casefold().split())

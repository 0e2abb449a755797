"""Readers of large public collections: the documents of an OPUS corpus, the articles of Wikipedia."""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import pyarrow.parquet as pq
from lxml import etree
from pyarrow import ArrowInvalid

from common.project import Mistake
from texts.documents import Document
from texts.files import GROUP_CHARACTERS, Files, grouped


def opus(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """Documents of about 2,000 characters of the sentences of OPUS's raw XML, a line each; broken XML is counted."""
    for path, content in files:
        parser = etree.XMLParser(resolve_entities=False, recover=True, huge_tree=True)
        root = etree.fromstring(content, parser) if content.strip() else None
        blemishes["broken XML"] += root is None or bool(parser.error_log)
        sentences = () if root is None else root.iter("{*}s")
        lines = (" ".join("".join(sentence.itertext()).split()) for sentence in sentences)
        yield from grouped(path, language, lines, GROUP_CHARACTERS)


def articles(files: Files, language: str, blemishes: Counter[str]) -> Iterator[Document]:
    """Documents of about 2,000 characters of the articles of Parquet files with the columns id and text."""
    columns = ["id", "text"]
    for path, content in files:
        try:
            file = pq.ParquetFile(BytesIO(content))
            if missing := set(columns).difference(file.schema_arrow.names):
                raise ArrowInvalid(f"no column {' or '.join(sorted(missing))}")
            for row in (row for batch in file.iter_batches(columns=columns) for row in batch.to_pylist()):
                lines = (" ".join(line.split()) for line in (row["text"] or "").split("\n"))
                yield from grouped(f"{row['id']}.article", language, lines, GROUP_CHARACTERS)
        except ArrowInvalid as error:
            raise Mistake(f"{path}: no Parquet file of articles ({' '.join(str(error).split())[:120]})") from None

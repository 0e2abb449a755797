"""The page of measured figures is the one that its files make."""

from benchmarks import show


def test_the_page_shows_the_files():
    assert (show.RESULTS / "README.md").read_text(encoding="utf-8") == show.page()
    assert show.page().count("\n## ") == len(list(show.RESULTS.glob("*.json")))

"""Domain corpora: what is told apart, what is removed, and the gate seen failing."""

import itertools
import json
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_languages import TEXTS
from test_sources import MIRROR, MIRRORED, needs_mirror

from common.project import Mistake
from helpers import transfer
from texts import corpora, repeats, sources, tasks
from texts.corpora import Limits
from texts.documents import Document, Note, Patient, Span, read_jsonl, write_jsonl
from texts.files import cut
from texts.gate import Leak, gate

LIMITS = Limits(characters=10**9, heldout_characters=0, near_duplicate=0.8)


def text(seed, words=60):
    """Some words that another seed's text shares no long run with."""
    return " ".join(random.Random(seed).choices([f"w{i}" for i in range(500)], k=words))


def documents(*texts, language="es"):
    return [Document(str(i), language, t) for i, t in enumerate(texts)]


def built(folder, texts, heldout=(), limits=LIMITS, **more):
    """Texts kept of one part, and its counts by reason."""
    rows, repeated = corpora.build(folder, {"clinical": {"es": {"p": documents(*texts)}}}, heldout, limits, **more)
    kept = [d.text for d in sorted(read_jsonl(folder / "clinical-es.jsonl"), key=lambda d: int(d.id.split("/")[1]))]
    return kept, {row["reason"]: row["documents"] for row in rows}, repeated


def test_exact_and_near_duplicates(tmp_path):
    one, two = text(1), text(2)
    nearly = one.replace("w", "W") + " fin"
    kept, counts, repeated = built(tmp_path, [one, two, f"  {one.upper()}\n", nearly, "", " . "])
    assert kept == [one, two]
    assert counts == {"kept": 2, "exact duplicate": 1, "near duplicate": 1, "no words": 2}
    assert [(r["document"], r["repeats"]) for r in repeated] == [("p/2", "p/0"), ("p/3", "p/0")]


def test_a_text_in_another_language_is_counted_and_left_out(tmp_path):
    kept, counts, repeated = built(tmp_path, [TEXTS["es"], TEXTS["en"], TEXTS["en"][:60]])
    assert (kept, repeated) == ([TEXTS["es"], TEXTS["en"][:60]], [])
    assert counts == {"kept": 2, "other language": 1}


def test_the_threshold_of_near_duplicates(tmp_path):
    words = text(1, 200).split()
    half = " ".join(words[:100] + text(9, 100).split())  # a third of the runs of either are shared
    assert built(tmp_path, [" ".join(words), half])[1] == {"kept": 2}
    low = Limits(10**9, 0, 0.2)
    assert built(tmp_path, [" ".join(words), half], limits=low)[1] == {"kept": 1, "near duplicate": 1}


@pytest.mark.parametrize("share", [0.0, 0.97, float("nan")])
def test_a_threshold_that_no_index_can_look_for_is_refused(share):
    with pytest.raises(Mistake, match="near_duplicate is .*; give a number above 0, at most 0.96"):
        Limits(10**9, 0, share)


def test_a_text_as_alike_as_the_threshold_is_a_near_duplicate(tmp_path, monkeypatch):
    same_words = f"{text(1)}!"  # all runs are shared, the characters are others
    monkeypatch.setattr(corpora.np, "mean", lambda equal: 0.8)
    assert built(tmp_path, [text(1), same_words])[1] == {"kept": 1, "near duplicate": 1}


def test_no_corpus_of_an_earlier_profile_stays(tmp_path):
    write_jsonl(tmp_path / "legal-nl.jsonl", documents("een wet"))
    built(tmp_path, [text(1)])
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == [
        "clinical-es.heldout.jsonl",
        "clinical-es.jsonl",
    ]


def test_duplicates_count_within_a_corpus_only(tmp_path):
    texts = {
        "general": {"es": {"a": documents(text(1))}},
        "clinical": {"es": {"b": documents(text(1)), "c": documents(text(1))}},
    }
    rows, _ = corpora.build(tmp_path, texts, [], LIMITS)
    assert [(r["domain"], r["part"], r["reason"]) for r in rows] == [
        ("general", "a", "kept"),
        ("clinical", "b", "kept"),
        ("clinical", "c", "exact duplicate"),
    ]


HELD = text(1, 100)


@pytest.mark.parametrize(
    ("leak", "reason"),
    [
        (HELD, "task document"),
        (HELD.upper().replace(" ", "\n"), "task document"),
        (HELD.replace(" ", ""), "task document"),
        (HELD + " y algo más", "near task document"),
        (" ".join(HELD.split()[:50]), "near task document"),  # all of its own runs
        (" ".join("cambio" if i % 20 == 10 else w for i, w in enumerate(HELD.split())), "near task document"),
        (text(5, 300) + " " + " ".join(HELD.split()[:50]) + " " + text(6, 300), "near task document"),
        (text(5, 3000) + " " + HELD + " " + text(6, 3000), "near task document"),  # all runs of the task's document
        (" ".join(HELD.split()[:30] + text(5, 200).split()), ""),  # less than a third of either
        (" ".join(HELD.split()[:12]), ""),  # too short to be told
    ],
)
def test_task_documents_are_removed_and_the_gate_sees_them(tmp_path, leak, reason):
    held = [Document("task/7", "es", HELD), Document("task/8", "es", "1."), Document("task/9", "es", "")]
    kept, counts, repeated = built(tmp_path, [text(2), leak, "1."], held)
    assert counts.get(reason or "kept", 0) >= 1
    assert leak in kept or reason
    assert [repeated[-1][key] for key in ("part", "document", "reason", "repeats")] == [
        "p",
        "p/2",
        "task document",
        "task/8",
    ]
    assert gate(read_jsonl(tmp_path / "clinical-es.jsonl"), held) == len(kept)
    if reason:
        with pytest.raises(Leak) as caught:
            gate(documents(text(2), leak), held)
        assert "1 of a corpus repeats task/7;" in str(caught.value)
        assert isinstance(caught.value, Mistake)
        assert "\n" not in str(caught.value)


def test_other_texts_of_a_patient_of_a_task_are_removed_and_the_gate_sees_them(tmp_path):
    held = [Document("hiv/p1 2020", "es", HELD, patient="p1"), Document("ner/7", "es", text(9))]
    texts = [Document("a", "es", text(2), patient="p1"), Document("b", "es", text(3), patient="p2")]
    texts.append(Document("c", "es", text(4)))
    asked = {"clinical": {"es": {"p": texts}}}
    rows, repeated = corpora.build(tmp_path, asked, held, LIMITS)
    assert {row["reason"]: row["documents"] for row in rows} == {"patient of a task": 1, "kept": 2}
    assert [(row["document"], row["repeats"]) for row in repeated] == [("p/a", "p1")]
    assert gate(read_jsonl(tmp_path / "clinical-es.jsonl"), held) == 2
    corpora.build(tmp_path, asked, held, Limits(10**9, 0, 0.8, remove_leaks=False))
    with pytest.raises(Leak, match="p/a of a corpus is of p1, a patient of a dev or test part; set corpus"):
        gate(read_jsonl(tmp_path / "clinical-es.jsonl"), held)


def test_texts_of_thirteen_words_are_compared_by_runs_and_a_third_of_them_is_not_enough():
    words = [f"v{i}" for i in range(13)]
    with pytest.raises(Leak):
        gate(documents(" ".join(["nuevo", *words])), documents(" ".join(words)))
    assert gate(documents(" ".join(["nuevo", *words[1:]])), documents(" ".join(words[:12]))) == 1, "too short"
    nine = documents(" ".join(words))  # of nine runs three are shared, then four
    for same, leaks in ((7, False), (8, True)):
        other = documents(" ".join([*words[:same], *(f"w{i}" for i in range(13 - same))]))
        assert bool(repeats.Repeats(nine).find(*repeats.hashes(other[0].text))[1]) == leaks, same
        try:
            assert gate(other, nine) == 1 and not leaks
        except Leak:
            assert leaks


def test_the_gate_passes_other_text():
    assert gate(documents(text(2), "corto"), documents(text(1), "otro")) == 2


@settings(max_examples=60)
@given(st.data())
def test_search_and_gate_agree_with_the_definition(data):
    """Share of the different runs of 5 words of either, counted a third way; small alphabets make many repeats."""
    words = st.lists(st.sampled_from("abc"), max_size=24)
    held = [data.draw(words), data.draw(words)]
    one = data.draw(
        st.one_of(words, words.map(lambda more: held[0] + more), words.map(lambda more: more + held[1][3:]))
    )

    def alike(a, b):
        runs = [{" ".join(x[i : i + 5]) for i in range(len(x) - 4)} if len(x) >= 13 else set() for x in (a, b)]
        shared = len(runs[0] & runs[1])
        return "".join(a) == "".join(b) or any(r and 3 * shared > len(r) for r in runs)

    expected = bool(one) and any(alike(one, other) for other in held if other)
    heldout = documents(*map(" ".join, held))
    key, hashed = repeats.hashes(" ".join(one))
    found = bool(repeats.Repeats(heldout).find(key, hashed)[1]) and bool(one)
    assert found == expected
    try:
        leak = not gate(documents(*[" ".join(one)] * bool(one)), heldout) and bool(one)
    except Leak:
        leak = True
    assert leak == expected


def test_no_held_out_documents(tmp_path):
    assert built(tmp_path, [text(1), text(2)])[1] == {"kept": 2}


def test_further_documents_of_one_part_only(tmp_path):
    texts = {"clinical": {"es": {"a": documents(text(1)), "b": documents(text(2))}}}
    rows, _ = corpora.build(tmp_path, texts, [], LIMITS, {"a": documents(text(1), text(2))})
    assert [(r["part"], r["reason"]) for r in rows] == [("a", "task document"), ("b", "kept")]


def test_limit_takes_parts_in_turn_and_reads_no_further(tmp_path):
    read = []

    def endless(part):
        for i in itertools.count():
            read.append(part)
            yield Document(str(i), "es", text(f"{part}{i}"))

    texts = {"general": {"es": {"a": endless("a"), "b": endless("b")}}}
    rows, _ = corpora.build(tmp_path, texts, [], Limits(5000, 0, 0.8))
    kept = list(read_jsonl(tmp_path / "general-es.jsonl"))
    size = sum(len(d.text) for d in kept)
    assert 4500 < size <= 5000
    assert {d.id for d in kept} == {f"{part}/{i // 2}" for i, part in zip(range(len(kept)), itertools.cycle("ab"))}
    assert len(read) == len(kept) + 1
    assert sum(r["characters"] for r in rows if r["reason"] == "kept") == size


def test_over_the_limit_is_still_judged_where_documents_are_removed(tmp_path):
    one = [text(i) for i in range(10)]
    limits = Limits(len(one[0]) + 10, 0, 0.8)
    _, counts, _ = built(tmp_path, [*one, one[3], text("held")], limits=limits, remove={"p": documents(text("held"))})
    assert counts == {"kept": 1, "over the limit": 9, "exact duplicate": 1, "task document": 1}


def test_a_text_that_is_too_long_ends_no_corpus(tmp_path):
    texts = [*(text(i) for i in range(5)), text("long", 5000), *(text(i) for i in range(10, 60))]
    kept, counts, _ = built(tmp_path, texts, limits=Limits(len(" ".join(texts[6:])), 0, 0.8))
    assert counts == {"kept": 50, "too long": 1, "over the limit": 1}
    assert kept == texts[:5] + texts[6:51]


def test_own_texts_are_cut_and_counted_to_their_end(tmp_path, run):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.txt").write_text("\n\n".join(text(i, 300) for i in range(60)))
    (folder / "b.txt").write_text("\n\n".join(text(i, 300) for i in range(100, 160)))
    rows, _ = corpora.make(run[0], {"clinical": {"es": [str(folder)]}}, 1, Limits(50_000, 5000, 0.8))
    counts = {row["reason"]: row["documents"] for row in rows}
    assert counts["held out"] >= 2 and counts["kept"] > 20 and counts["over the limit"] > 20
    assert sum(row["characters"] for row in rows) == pytest.approx(
        sum(f.stat().st_size for f in folder.iterdir()), 0.01
    )
    kept = {document.id for document in read_jsonl(run[0] / "corpora" / "clinical-es.jsonl")}
    assert f"{folder}/a, piece 2" in kept and f"{folder}/a" not in kept


def test_a_text_is_cut_at_a_paragraph_before_a_line_and_at_a_line_before_a_word():
    for whole, first in (
        ("aaa bb\n\nc\nd ee ff", "aaa bb"),
        ("aaa bbb\nd ee ff", "aaa bbb"),
        ("aaa bbb d ee", "aaa bbb d"),
    ):
        assert next(cut([Document("x", "es", whole)], 12 if len(whole) > 12 else 11)).text.rstrip() == first


@given(st.text(alphabet="ab \n", max_size=60), st.integers(2, 12))
def test_a_text_that_is_cut_loses_no_word(whole, most):
    pieces = [d.text for d in cut([Document("x", "es", whole)], most)]
    assert "".join(pieces).rstrip() == whole.rstrip()
    assert all(len(piece.rstrip()) <= most for piece in pieces)
    if max(map(len, whole.split()), default=0) <= most // 2:
        assert " ".join(pieces).split() == whole.split()


def test_how_far_it_is_is_left_for_who_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_PROGRESS", str(tmp_path / "progress"))
    clock = itertools.count()
    monkeypatch.setattr(corpora.time, "monotonic", lambda: next(clock))
    found = list(corpora.with_progress(documents(text(1), text(2)), "clinical-es"))
    assert found == documents(text(1), text(2))
    size = sum(map(len, (text(1), text(2)))) / 1e6
    assert (tmp_path / "progress").read_text().startswith(f"clinical-es  2 texts  {size:.1f} million characters  ")
    built(tmp_path, [text(3)])
    assert (tmp_path / "progress").read_text().startswith("clinical-es  1 texts  ")
    monkeypatch.delenv("HELPERS_PROGRESS")
    (tmp_path / "progress").unlink()
    assert list(corpora.with_progress(found, "clinical-es")) == found
    assert not (tmp_path / "progress").exists()


def test_an_endless_source_that_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "HOPELESS", 50)
    texts = {"general": {"es": {"a": (Document("x", "es", text(1)) for _ in itertools.count())}}}
    with pytest.raises(Mistake, match="part a: 51 texts in a row are of no use; change corpus.characters"):
        corpora.build(tmp_path, texts, [], LIMITS)
    texts["general"]["es"]["a"] = (Document(str(n), "es", text(n)) for n in itertools.count())
    with pytest.raises(Mistake, match="part a: 51 texts in a row are of no use"):
        corpora.build(tmp_path, texts, [], Limits(9, 0, 0.8))


def test_repeats_between_new_texts_are_no_reason_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "HOPELESS", 3)
    kept, counts, _ = built(tmp_path, [t for n in range(9) for t in [text(n)] * 3])
    assert (len(kept), counts) == (9, {"kept": 9, "exact duplicate": 18})
    known = [text(1)] * 9  # of a source with an end each text is accounted for
    assert built(tmp_path, [text(0), *known], remove={"p": documents(text(1))})[1]["exact duplicate"] == 8


def test_a_text_that_did_not_fit_makes_no_later_one_its_copy(tmp_path):
    long = text(1, 300)
    texts = [text(2), long, " ".join(long.split()[:280]), text(3)]
    kept, counts, _ = built(tmp_path, texts, limits=Limits(len(texts[0] + texts[2]) + 5, 0, 0.8))
    assert kept == [texts[0], texts[2]]
    assert counts == {"kept": 2, "too long": 1, "over the limit": 1}


def test_held_out_documents_are_spread_and_disjoint(tmp_path):
    texts = [text(i) for i in range(200)]
    limit = 6 * max(map(len, texts))
    kept, counts, _ = built(tmp_path, texts, limits=Limits(10**9, limit, 0.8))
    aside = [d for d in read_jsonl(tmp_path / "clinical-es.heldout.jsonl")]
    assert [d.id for d in aside] == [f"p/{i}" for i in range(0, 20 * len(aside), 20)]
    assert len(aside) == 6
    assert sum(len(d.text) for d in aside) <= limit
    assert not {d.text for d in aside} & set(kept)
    assert counts == {"kept": 194, "held out": 6}


@pytest.mark.parametrize(
    ("texts", "limits", "said"),
    [
        (
            [text(1), text(4)],
            LIMITS,
            r"2 texts read: 2 task document, 0 kept, 0 held out; give texts that are in no dev",
        ),
        ([TEXTS["en"]], LIMITS, r"1 texts read: 1 other language, 0 kept, 0 held out; see whether"),
        ([text(2, 900)], Limits(900, 0, 0.8), r"1 texts read: 1 too long, 0 kept, 0 held out; raise corpus.characters"),
        ([text(2), text(2)], Limits(900, 500, 0.8), r"1 held out, 1 exact duplicate, 0 kept; give it more and"),
        ([text(2), text(3)], Limits(900, 50, 0.8), r"2 kept, 0 held out; raise corpus.heldout_characters, or"),
        ([], LIMITS, r"0 texts read: 0 kept, 0 held out; give it more"),
    ],
)
def test_a_corpus_with_too_little_text_is_named_with_what_became_of_it(tmp_path, texts, limits, said):
    with pytest.raises(Mistake, match=r"^corpora\.clinical\.es: .*" + said):
        built(tmp_path, texts, documents(text(1), text(4)), limits)


def test_counts_add_up_to_what_was_read(tmp_path):
    texts = [text(i % 30) for i in range(100)]
    _, counts, _ = built(tmp_path, texts, documents(text(3)), Limits(6000, 1000, 0.8), remove={"p": []})
    assert sum(counts.values()) == 100


def test_the_same_twice(tmp_path):
    for name in ("a", "b"):
        built(tmp_path / name, [text(i % 40) for i in range(60)], documents(text(3)), Limits(9000, 1000, 0.8))
    for end in corpora.ENDINGS:
        assert (tmp_path / "a" / f"clinical-es{end}").read_bytes() == (
            tmp_path / "b" / f"clinical-es{end}"
        ).read_bytes()


def test_memory_does_not_grow_with_the_text(tmp_path):
    def peak(number, words):
        stream = (Document(str(i), "es", text(i, words)) for i in range(number))
        tracemalloc.start()
        corpora.build(tmp_path, {"general": {"es": {"a": stream}}}, [], LIMITS)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1, 10)  # what is made once
    few, many = peak(5, 5_000), peak(100, 5_000)
    assert (tmp_path / "general-es.jsonl").stat().st_size > 2_000_000
    assert many - few < 1_000_000


@given(st.lists(st.lists(st.integers(0, 50), max_size=30), max_size=30))
def test_different_words(pieces):
    vocabulary = corpora.Vocabulary()
    for piece in pieces:
        vocabulary.add(np.array(piece, np.uint64))
        vocabulary.size *= 10**6  # as if there were many
    assert len(vocabulary) == len(set().union(*pieces))


def test_words_of_a_corpus(tmp_path):
    rows = corpora.build(tmp_path, {"clinical": {"es": {"p": documents("uno dos uno", "Dos tres", ".")}}}, [], LIMITS)[
        0
    ]
    assert {r["reason"]: r["words"] for r in rows} == {"kept": 5, "no words": 0}
    assert (tmp_path / "words.csv").read_text() == "domain,language,words,different words\nclinical,es,5,3\n"


def test_runs_are_what_they_say():
    words = np.array([1, 2, 3, 1, 2, 3, 1, 2], np.uint64)
    assert len(repeats.runs(words)) == 0, "too short"
    assert len(repeats.runs(words, 1)) == 3
    assert len(repeats.runs(words[:3], 1)) == 1, "a run of all its words"
    assert set(repeats.runs(words[:6], 1)) < set(repeats.runs(words, 1))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with two written tasks, and two parts in the catalogue."""
    folder = tmp_path / "run"
    listed = [{"name": "ner", "kind": "ner"}, {"name": "screening", "kind": "screening"}]
    for split in ("train", "dev", "test"):
        write_jsonl(
            folder / "corpora" / "tasks" / "ner" / f"{split}.jsonl", [Document("1", "es", text(f"ner {split}"))]
        )
        patient = Patient(
            "9", "nl", 1, (Note("2020-01-01", text(f"note {split}")), Note("2020-01-02", text(f"more {split}")))
        )
        write_jsonl(folder / "corpora" / "tasks" / "screening" / f"{split}.jsonl", [patient])
    (folder / "corpora" / "tasks.json").write_text(json.dumps(listed))
    parts = {"plain": {}, "background": {"remove": ["ner"], "removed": {"task document": 3, "exact duplicate": 1}}}
    monkeypatch.setattr(sources, "catalogue", lambda: {"parts": parts})
    streams = {
        "plain": [text(1), text("ner test"), text("more dev"), text("note train")],
        "background": [text(1), text(1), *(text(f"ner {split}") for split in ("train", "dev", "test")), text(7)],
    }
    monkeypatch.setattr(corpora.readers, "part", lambda name: iter(documents(*streams[name])))
    monkeypatch.setattr(corpora.readers, "tasks", lambda name: {"train": documents(text("ner train"))})
    return folder, parts


def test_corpora_of_a_run(run):
    folder, parts = run
    listed = {"general": {"es": ["plain"], "nl": ["synthetic"]}, "clinical": {"es": ["background"]}}
    rows, _ = corpora.make(folder, listed, 1, Limits(20_000, 2000, 0.8))
    counts = {(r["domain"], r["language"], r["reason"]): r["documents"] for r in rows}
    assert counts["general", "es", "task document"] == 2, "a test document and a note of a dev patient"
    assert counts["clinical", "es", "task document"] == 3, "the train document of the part's tasks too"
    assert counts["general", "nl", "kept"] > 10
    assert {p.name for p in (folder / "corpora").glob("*.jsonl")} == {
        f"{name}{end}" for name in ("general-es", "general-nl", "clinical-es") for end in corpora.ENDINGS
    }
    parts["background"]["removed"]["task document"] = 2  # another task of the run may repeat more
    corpora.make(folder, {"clinical": {"es": ["background"]}}, 1, LIMITS)
    parts["background"]["removed"]["exact duplicate"] = 0
    with pytest.raises(Mistake, match="clinical es exact duplicate: 1 removed, sources.yaml lists 0"):
        corpora.make(folder, {"clinical": {"es": ["background"]}}, 1, LIMITS)
    parts["background"]["removed"]["exact duplicate"] = 1
    parts["background"]["removed"]["task document"] = 4
    with pytest.raises(Mistake, match="clinical es task document: 3 removed, sources.yaml lists 4"):
        corpora.make(folder, {"clinical": {"es": ["background"]}}, 1, LIMITS)


def test_the_gate_stops_a_run_and_names_all(run):
    folder, parts = run
    listed, limits = {"general": {"es": ["plain"]}, "clinical": {"es": ["background"]}}, Limits(10**9, 0, 0.8, False)
    parts["background"]["removed"] = {"task document": 99}  # is not counted when nothing is removed
    with pytest.raises(Leak) as caught:
        corpora.make(folder, listed, 1, limits)
    for leak in (
        ("plain/1", "ner/1"),
        ("plain/2", "screening/9"),
        ("background/3", "ner/1"),
        ("background/4", "ner/1"),
    ):
        assert "{} of a corpus repeats {}".format(*leak) in str(caught.value)
    assert "background/2" not in str(caught.value), "a train document is no leak"


def test_test_documents_that_the_training_part_has_are_counted(tmp_path, monkeypatch):
    parts = {"train": ["Febra  mare", "altul"], "dev": ["nou", "Altul"], "test": ["febra mare", "febră mare"]}
    made = {part: [Document(f"{part}{n}", "ro", text) for n, text in enumerate(texts)] for part, texts in parts.items()}
    monkeypatch.setattr(tasks.readers, "tasks", lambda name: made)
    sets = tasks.build(tmp_path, [{"name": "t", "source": "t", "documents": {}}], 1)
    assert sets.set_index("part")["also in train"].to_dict() == {"train": 0, "dev": 1, "test": 1}


def test_test_documents_that_another_task_trains_on_are_counted(tmp_path, monkeypatch):
    """Where both have a label in common, so that the other's models are tested here."""
    parts = {"a": {"train": ["eins", "zwei"], "test": ["x"]}, "b": {"test": ["Zwei", "drei"]}, "c": {"test": ["eins"]}}
    made = {
        name: {part: [Document(f"{part}{n}", "es", t) for n, t in enumerate(texts)] for part, texts in of.items()}
        for name, of in parts.items()
    }
    monkeypatch.setattr(tasks.readers, "tasks", made.get)
    common = {"a": {"A": "DISO"}, "b": {"B": "DISO"}, "c": {"C": "CHEM"}}
    wanted = [{"name": name, "source": name, "documents": {}, "common": common[name]} for name in parts]
    sets = tasks.build(tmp_path, wanted, 1)
    found = sets[sets["part"] == "test"].set_index("task")
    assert found["in train of others"].to_dict() == {"a": 0, "b": 1, "c": 0}
    made["a"]["test"] = [Document("test0", "es", "zwei")]  # its own training text is counted apart
    found = tasks.build(tmp_path, wanted, 1).query("part == 'test' and task == 'a'").iloc[0]
    assert (found["also in train"], found["in train of others"]) == (1, 0)
    assert not sets["also in train"].any()


@pytest.mark.parametrize(("language", "written"), [("ro", "infecție și"), ("nl", "infecţie şi")])
def test_tasks_are_written_in_the_letters_of_the_corpora(tmp_path, monkeypatch, language, written):
    """To a vocabulary learnt from corpora with commas below, a Romanian letter with a cedilla is unknown."""
    text, notes = "infecţie şi", (Note("2020-01-01", "infecţie şi"),)
    for kind, item in (
        ("ner", Document("a", language, text, (Span(0, 8, "DISO"),))),
        ("screening", Patient("p", language, 1, notes)),
    ):
        monkeypatch.setattr(tasks.readers, "tasks", lambda name, item=item: {"train": [item]})
        tasks.build(tmp_path, [{"name": kind, "source": kind, "kind": kind, "documents": {}}], 1)
        (made,) = tasks.split(tmp_path, kind, "train")
        assert (made.text if kind == "ner" else made.notes[0].text) == written
        assert getattr(made, "spans", ()) == getattr(item, "spans", ()), "offsets stay"


def test_medical_text_is_all_that_is_not_in_the_domain_general(tmp_path):
    for name in ("general-nl", "general_practice-nl", "clinical-nl", "clinical-es"):
        write_jsonl(tmp_path / "corpora" / f"{name}.jsonl", [])
    assert sorted(transfer.medical(tmp_path, "nl")) == ["clinical", "general_practice"]


def test_a_note_that_a_training_patient_has_too_is_counted_and_a_blank_one_is_not(tmp_path, monkeypatch):
    def patient(name, *notes):
        return Patient(name, "nl", 1, tuple(Note("2020-01-01", note) for note in notes))

    made = {
        "train": [patient("a", "eigen", "Dezelfde  nota", "")],
        "dev": [patient("b", "dezelfde nota", "anders"), patient("c", " ", "nieuw")],
        "test": [patient("d", "nieuw"), patient("e", "eigen dezelfde nota")],
    }
    monkeypatch.setattr(tasks.readers, "tasks", lambda name: made)
    sets = tasks.build(tmp_path, [{"name": "t", "source": "t", "kind": "screening", "documents": {}}], 1)
    assert sets.set_index("part")["also in train"].to_dict() == {"train": 0, "dev": 1, "test": 0}
    assert sets["characters"].sum() == sum(len(n.text) for items in made.values() for p in items for n in p.notes)


def test_nothing_of_an_earlier_choice_of_tasks_stays(tmp_path, monkeypatch):
    made = {part: documents(text(part)) for part in ("train", "dev", "test")}
    monkeypatch.setattr(tasks.readers, "tasks", lambda name: made)
    spec = {"kind": "ner", "source": "t", "documents": {}}
    tasks.build(tmp_path, [spec | {"name": "kept"}, spec | {"name": "gone"}], 1)
    del made["train"], made["dev"]
    tasks.build(tmp_path, [spec | {"name": "kept"}], 1)
    assert [p.relative_to(tmp_path / "corpora" / "tasks") for p in (tmp_path / "corpora").glob("tasks/*/*")] == [
        Path("kept/test.jsonl")
    ]
    with pytest.raises(Mistake, match=r"kept/train\.jsonl: is missing; run 01_build_corpora again"):
        tasks.split(tmp_path, "kept", "train")
    tasks.build(tmp_path, [spec | {"name": "kept", "trained": False}], 1)
    assert tasks.split(tmp_path, "kept", "train") == []
    (tmp_path / "corpora" / "statistics.csv").touch()
    monkeypatch.setattr(tasks, "write_jsonl", lambda path, items: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tasks.build(tmp_path, [spec | {"name": "kept"}], 1)
    assert list((tmp_path / "corpora").iterdir()) == []


def test_the_gate_names_some_of_very_many():
    with pytest.raises(Leak, match=r"; and 10 more; set corpus\.remove_leaks"):
        gate(documents(*[HELD] * 30), documents(HELD))


@pytest.mark.mirror
@needs_mirror
@pytest.mark.slow
def test_real_corpora(tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HELPERS_MIRROR", str(MIRROR))
    names = {"monero": "ro", "pharmaconer": "es", "cantemist": "es"}
    wanted = [{"name": n, "kind": "ner", "language": lang, "source": n, "documents": {}} for n, lang in names.items()]
    assert not tasks.build(tmp_path, wanted, 1)["also in train"].any()
    listed: dict[str, dict[str, list[str]]] = {}
    for name, part in sources.catalogue()["parts"].items():
        # General text is the larger half, and shares nothing with the tasks; every run checks it.
        if part["domain"] != "general" and set(sources.needed([name])) <= set(MIRRORED):
            listed.setdefault(part["domain"], {}).setdefault(part["language"], []).append(name)
    rows, repeated = corpora.make(tmp_path, listed, 1, Limits(10**9, 100_000, 0.8))
    found = {r["reason"]: r["documents"] for r in rows if r["part"] == "es_cantemist_background"}
    read = sum(found.values())
    different = read - found["exact duplicate"]
    assert (read, different, different - found["task document"]) == (4932, 4910, 3905)
    monero = {
        d.id: "".join(d.text.split()).casefold()
        for part in ("dev", "test")
        for d in tasks.split(tmp_path, "monero", part)
    }
    for end in corpora.ENDINGS:
        texts = {"".join(d.text.split()).casefold() for d in read_jsonl(tmp_path / "corpora" / f"biomedical-ro{end}")}
        assert not texts & set(monero.values())
    assert not [r for r in repeated if r["part"] == "ro_monero_train" and "task" in r["reason"]]


def test_what_is_kept_stands_in_a_random_order_of_its_own(tmp_path):
    """So that the first rows of a corpus are a sample of all of its parts, and the next ones another."""
    parts = {
        "short": documents(*(text(i, 30) for i in range(60))),
        "long": documents(*(text(i, 30) for i in range(100, 340))),
    }
    orders = []
    for seed in (1, 1, 2):
        texts = {"general": {"es": {name: iter(some) for name, some in parts.items()}}}
        corpora.build(tmp_path, texts, [], LIMITS, seed=seed)
        orders.append([document.id for document in read_jsonl(tmp_path / "general-es.jsonl")])
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2])
    halves = [sum(name.startswith("short") for name in half) for half in (orders[0][:150], orders[0][150:])]
    assert min(halves) > 20, "they alternate until the short part ends: all of it within the first 120"

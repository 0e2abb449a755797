"""Tagging: spans there and back, every gold entity scored once, nothing lost to windows or truncation."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from common.project import write_json
from engine import windows
from evidence import scores
from helpers import application, finetuning, models, ner, screening
from texts.documents import Document, Note, Patient, Span


def test_worked_case_there_and_back():
    text = "Febră de 39 °C, fără pneumonie."
    spans = (Span(0, 5, "DISO"), Span(21, 30, "DISO"))
    words = windows.words(text)
    tagged = ner.tag_words(spans, words)
    assert tagged == ["B-DISO", "O", "O", "O", "O", "O", "O", "B-DISO", "O"]
    assert tuple(ner.read_spans(tagged, words)) == spans


def test_of_overlapping_entities_the_longer_is_kept_and_the_other_counted():
    text = "carcinoma ductal infiltrante"
    document = Document("d", "es", text, (Span(0, 28, "X"), Span(10, 16, "X")))
    words = windows.words(text)
    assert ner.read_spans(ner.tag_words(document.spans, words), words) == [Span(0, 28, "X")]
    later = [Span(0, 7, "A"), Span(4, 19, "B")]
    assert ner.tag_words(later, windows.words("uno dos tres cuatro")) == ["O", "B-B", "I-B", "I-B"], "the longer one"
    assert ner.unreachable([document]) == 1
    assert ner.unreachable([Document("d", "es", text, (Span(0, 12, "X"),))]) == 1  # ends inside a word


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=20))
def test_spans_are_read_as_seqeval_reads_them(tagged):
    words = [(2 * i, 2 * i + 1) for i in range(len(tagged))]
    ours = [(s.label, s.start // 2, (s.end - 1) // 2) for s in ner.read_spans(tagged, words)]
    assert ours == get_entities(tagged)


@given(st.text(max_size=60))
def test_words_cover_all_but_white_space_in_order(text):
    spans = windows.words(text)
    assert all(a < b for a, b in spans) and all(b <= c for (_, b), (c, _) in pairwise(spans))
    assert "".join(text[a:b] for a, b in spans).split() == "".join(text.split()).split()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small BERT with a tokenizer of its own, saved to a folder."""
    tokenizer = models.train_tokenizer(["el paciente niega fiebre y tos seca desde ayer"] * 9, 120)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    models.save(BertForMaskedLM(config), tokenizer, folder / "model", "card")
    return folder / "model"


def test_a_base_from_a_folder_keeps_its_weights_and_tokenizer(saved):
    base = {"architecture": "", "hub": "", "revision": "", "folder": str(saved), "config": {}, "vocabulary": 0}
    model, tokenizer = models.start(base, [], 1)
    again = BertForMaskedLM.from_pretrained(saved)
    assert model.config.model_type == "bert"
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert tokenizer.tokenize("fiebre") == ["fiebre"]


def test_another_tokenizer_or_configuration_makes_a_fit_again(saved, tmp_path):
    arm = shutil.copytree(saved, tmp_path / "models" / "arm")
    values = {"tests": [], "share": 1.0, "fits": 1, "processes": 1}

    def fit(*arguments, **values):
        made.append(arguments)
        return pd.DataFrame({"document": []}), {}

    made = []
    for name in (None, None, "tokenizer.json", "config.json", "model.safetensors", "README.md"):
        with open(arm / (name or "history.csv"), "a") as file:
            file.write(" ")
        finetuning._once(tmp_path, "task", "arm", "arm", 1, fit, False, **values)
    assert len(made) == 4


HOW = {"kind": "ner", "language": "nl", "length": 8, "overlap": 2, "labels": ["X"]}


def test_a_kept_model_is_that_of_the_fit_that_was_asked_for(tmp_path):
    made = []

    def fit(folder, name, model, seed, key, *, kept, **values):
        made.append(seed)
        if kept:
            write_json(kept / application.HOW, HOW | {"key": key})
            save_file({"weight": torch.ones(2)}, kept / "model.safetensors")
            for name in ("config.json", "tokenizer.json"):
                (kept / name).touch()
        return pd.DataFrame({"document": []}), {}

    for seed, keep, makes in ((1, True, 1), (2, True, 1), (1, True, 1), (1, True, 0), (1, False, 0), (2, False, 0)):
        before = len(made)
        finetuning._once(tmp_path, "t", "arm", "arm", seed, fit, keep, tests=[], share=1.0, fits=1, processes=1)
        assert len(made) - before == makes, (seed, keep)
    row = json.loads((tmp_path / "predictions/t/arm/seed-1.json").read_text())
    assert application.key_of(tmp_path / "finetuned/t/arm") == row["key"]
    (tmp_path / "finetuned/t/arm/model.safetensors").write_text("damaged")
    assert application.key_of(tmp_path / "finetuned/t/arm") == ""
    save_file({"weight": torch.ones(2)}, tmp_path / "finetuned/t/arm/model.safetensors")
    (tmp_path / "finetuned/t/arm" / application.HOW).write_text("{")
    assert application.key_of(tmp_path / "finetuned/t/arm") == ""


def test_predictions_never_stand_beside_the_note_of_other_settings(tmp_path, monkeypatch):
    def fit(*arguments, learning_rate, **values):
        return pd.DataFrame({"document": [str(learning_rate)]}), {}

    def once(rate):
        values = {"tests": [], "share": 1.0, "fits": 1, "processes": 1, "learning_rate": rate}
        return finetuning._once(tmp_path, "t", "arm", "arm", 1, fit, False, **values)

    write = finetuning.write_atomically

    def killed_before_the_note(path, content):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write(path, content)

    once(0.1)
    monkeypatch.setattr(finetuning, "write_atomically", killed_before_the_note)
    with pytest.raises(KeyboardInterrupt):
        once(0.2)
    monkeypatch.setattr(finetuning, "write_atomically", write)
    once(0.1)
    assert pd.read_parquet(tmp_path / "predictions/t/arm/seed-1.parquet")["document"].tolist() == ["0.1"]


@pytest.mark.parametrize(("share", "left"), [(1.0, ["kept"]), (0.5, ["gone", "kept"])])
def test_models_that_are_no_longer_asked_for_are_gone(tmp_path, monkeypatch, share, left):
    for arm in ("kept", "gone"):
        (tmp_path / "finetuned/t" / arm).mkdir(parents=True)
    monkeypatch.setattr(finetuning, "_once", lambda *asked, **values: {"arm": asked[2], "keep": asked[6]})
    monkeypatch.setattr(finetuning, "task", lambda folder, name: {"kind": "ner", "source": "x", "trained": name == "t"})
    monkeypatch.setattr(finetuning.models, "sound", lambda folder: None)
    (tmp_path / "finetuned/t/.DS_Store").touch()
    with pytest.raises(models.Mistake, match="t: 1 arms and 0 seeds make no fit; give at least one of each"):
        finetuning.all_fits(tmp_path, "t", ["gone"], [], {}, share=share)
    with pytest.raises(models.Mistake, match=r"task 'other' is a test only \(trained: false\); fine-tune on another"):
        finetuning.all_fits(tmp_path, "other", ["gone"], [3], {}, share=share)
    table = finetuning.all_fits(tmp_path, "t", ["kept", "gone"], [3, 4], {}, ["kept"], share=share, fits=1)
    assert table["keep"].tolist()[-4:] == [True, False, False, False], "the first seed of one arm"
    assert len(table) == 4 + (share == 1), "the baseline learns from all items only"
    assert sorted(path.name for path in (tmp_path / "finetuned/t").glob("*/")) == left


def test_a_base_that_is_not_there_is_one_line():
    base = {"architecture": "", "hub": "", "revision": "", "folder": "no/such/folder", "config": {}, "vocabulary": 0}
    with pytest.raises(models.Mistake, match="no/such/folder") as error:
        models.start(base, [], 1)
    assert "\n" not in str(error.value)


def test_weights_that_were_cut_off_are_named(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "models" / "arm")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    for read in (lambda: models.load(folder), lambda: finetuning.all_fits(tmp_path, "none", ["arm"], [1], {})):
        with pytest.raises(models.Mistake, match=rf"{weights}: damaged \(.*\); delete {folder}") as error:
            read()
        assert "\n" not in str(error.value)
    base = {"architecture": "", "hub": "", "revision": "", "folder": str(folder), "config": {}, "vocabulary": 0}
    with pytest.raises(models.Mistake, match=f"no model at '{folder}'"):
        models.start(base, [], 1)


def test_a_model_that_does_not_exist_is_told_with_those_that_do(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "models" / "clinical")
    (tmp_path / "models" / ".clinical.new").mkdir()
    with pytest.raises(models.Mistake, match=r"models: has no model 'clinicl'; there are: clinical$"):
        models.load(tmp_path / "models" / "clinicl")


def test_a_base_without_word_pieces_is_refused(saved, tmp_path):
    model, pieces = models.load(saved)
    other = Tokenizer(BPE({piece: n for n, piece in enumerate([*models.SPECIAL.values(), "a"])}, []))
    models.save(model, PreTrainedTokenizerFast(tokenizer_object=other, **models.SPECIAL), tmp_path / "model", "card")
    with pytest.raises(models.Mistake, match="has a tokenizer of kind BPE; give one with word pieces"):
        models.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "nobert"}, "'nobert' is unknown"),
        ({"config": {"hiden_size": 32}}, "unknown key 'hiden_size'; allowed: .*hidden_size"),
        ({"config": {"hidden_size": 30, "num_attention_heads": 4}}, "makes no modernbert"),
        ({"config": {"classifier_dropout": 7.0}}, "makes no modernbert: dropout probability has to be between 0 and 1"),
        ({"config": {"initializer_range": -0.02}}, "base.config: initializer_range is -0.02; give 0 or more"),
        ({"config": {"output_attentions": True}}, "unknown key 'output_attentions'"),
        ({"architecture": "", "folder": "no/such/folder"}, "no model in 'no/such/folder'"),
    ],
)
def test_a_base_that_cannot_be_is_refused_before_anything_runs(change, said):
    base = {"architecture": "modernbert", "hub": "", "revision": "", "folder": "", "config": {}, "vocabulary": 9}
    models.check(base)
    with pytest.raises(models.Mistake, match=said) as error:
        models.check(base | change)
    assert "\n" not in str(error.value)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 150), min_size=1, max_size=4), st.integers(12, 40), st.data())
def test_every_word_is_scored_once_whatever_the_length(saved, counts, length, data):
    overlap = data.draw(st.integers(0, length - 3))
    tokenizer = models.load(saved)[1]
    texts = [[["tos", "pacientepaciente", "\u200b", "ayer"][i % 4] for i in range(count)] for count in counts]
    scored = [(w.text, word) for w in windows.cut(texts, tokenizer, length, overlap) for word in w.words]
    assert sorted(scored) == [(t, i) for t, count in enumerate(counts) for i in range(count)]
    assert all(len(w.ids) <= length for w in windows.cut(texts, tokenizer, length, overlap))


def test_predictions_do_not_depend_on_the_batch(saved):
    tokenizer = models.load(saved)[1]
    tagger = ner.Tagger(str(saved), tokenizer, ["A", "B"], 24, 8, seed=3)
    documents = [Document(str(i), "es", "el paciente niega fiebre y tos " * n) for i, n in enumerate((1, 7, 3))]
    together = tagger.predict(documents, tagger.prepare(documents))
    alone = [tagger.predict([d], tagger.prepare([d]))[0] for d in documents]
    assert together == alone


@pytest.mark.parametrize("architecture", ["modernbert", "bert"])
def test_a_layer_read_at_some_places_changes_no_logit_and_no_gradient(tmp_path, architecture):
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = {"architecture": architecture, "vocabulary": 60, "config": shape}
    models.save(*models.start(base, ["el paciente niega fiebre y tos"] * 9, 1), tmp_path / "arm", "")
    tagger = ner.Tagger(str(tmp_path / "arm"), models.load(tmp_path / "arm")[1], ["A"], 14, 6, seed=3)
    documents = [Document(str(n), "es", "el pacientepaciente niega fiebre " * n) for n in (1, 4)]
    prepared = tagger.prepare(documents)
    weights, found = dict(tagger.model.named_parameters()), []
    for whole in (False, True):
        tagger.model.eval().zero_grad()
        if whole:
            ids, attention = windows.pad(prepared, tagger.tokenizer.pad_token_id)
            logits = tagger.model(input_ids=ids, attention_mask=attention).logits
            logits = torch.cat([row[list(w.pieces)] for row, w in zip(logits, prepared, strict=True)])
        else:
            logits = tagger.logits(prepared)
        logits.square().sum().backward()
        found.append({"logits": logits.detach()} | {name: weight.grad for name, weight in weights.items()})
    assert len(found[0]["logits"]) == sum(len(w.pieces) for w in prepared) < sum(len(w.ids) for w in prepared)
    for name, one in found[0].items():
        torch.testing.assert_close(one, found[1][name], rtol=1e-4, atol=1e-6)


def taught(tagger, documents):
    """The windows of some documents that a tagger has learnt by heart."""
    prepared, targets = tagger.prepare(documents), tagger.targets(documents)
    optimizer = torch.optim.Adam(tagger.model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        tagger.loss(prepared, targets)[0].backward()
        optimizer.step()
    tagger.model.eval()
    return prepared


def test_a_tagger_learns_a_rule(saved):
    tokenizer = models.load(saved)[1]
    documents = [Document("d", "es", "niega tos y fiebre ayer", (Span(6, 9, "A"), Span(12, 18, "B")))]
    tagger = ner.Tagger(str(saved), tokenizer, ["A", "B"], 24, 8, seed=3)
    prepared = taught(tagger, documents)
    assert ner.dev_score(documents, tagger.predict(documents, prepared)) == 1.0
    assert ner.dev_score(documents, [[]]) == 0.0
    assert ner.dev_score(documents, [[Span(6, 9, "A"), Span(0, 5, "A")]]) == 0.5


def test_notes_are_read_newest_first_and_every_patient_gets_windows(saved):
    tokenizer = models.load(saved)[1]
    patient = Patient("p", "nl", 1, (Note("2020-01-01", "tos seca"), Note("2021-01-01", "fiebre ayer")))
    assert screening.text(patient, "[SEP]") == ["fiebre", "ayer", "[SEP]", "tos", "seca"]
    long = Patient("q", "nl", 0, tuple(Note("2020-01-01", "tos seca " * 9) for _ in range(3)))
    screener = screening.Screener(str(saved), tokenizer, 24, 8, seed=1)
    prepared = screener.prepare([patient, long])
    assert len(prepared[0]) == 1 and len(prepared[1]) > 2
    alone, together = screener.predict(prepared[1:])[0], screener.predict(prepared)[1]
    assert torch.allclose(alone, together, atol=1e-2)


def test_a_patient_of_many_notes_is_predicted_in_parts(saved, monkeypatch, float32):
    tokenizer = models.load(saved)[1]
    notes = tuple(Note("2020-01-01", f"tos seca {'fiebre ' * (n % 7)}ayer") for n in range(300))
    screener = screening.Screener(str(saved), tokenizer, 24, 8, seed=1)
    screener.model.classifier.weight.data *= 1e4  # windows differ clearly, so that their order shows
    prepared = screener.prepare([Patient("p", "nl", 1, notes), Patient("q", "nl", 0, notes[:3])])
    wanted, sizes = screener.logits(prepared), []
    logits = screener.logits
    monkeypatch.setattr(screener, "logits", lambda some: sizes.append(sum(map(len, some))) or logits(some))
    found = screener.predict(prepared)
    assert [len(x) for x in found] == [len(some) for some in prepared]
    assert max(sizes) <= 64 < len(prepared[0])
    torch.testing.assert_close(found[0], wanted[0].detach(), rtol=1e-4, atol=1e-4)
    assert found[0].std() > 0.1


def test_patients_are_flagged_from_the_threshold_on():
    dev, test = ([Patient(f"{part}{i}", "nl", i % 2, ()) for i in range(4)] for part in ("d", "t"))
    table, told = finetuning.patient_rows(dev, [0.0, 2.0, 1.0, 3.0], test, [1.9, 2.0, 2.1, -1.0])
    assert told["threshold"] == 2.0
    assert table.query("split == 'test'")["flagged"].tolist() == [0, 1, 1, 0]
    flat, _ = finetuning.patient_rows(dev, [3.0, 0.0, 2.0, 1.0], test, [0.0] * 4)
    assert flat["probability"].isna().all(), "scores that fall with the condition give none"


def test_sample_keeps_all_positives_and_the_asked_share():
    patients = [Patient(str(i), "nl", int(i % 10 == 0), ()) for i in range(100)]
    kept = screening.sample(patients, 3, seed=1)
    assert sum(p.label for p in kept) == 10 and len(kept) == 40
    assert kept == screening.sample(patients, 3, seed=1) != screening.sample(patients, 3, seed=2)
    assert screening.sample(patients, 0, seed=1) == patients
    assert len(screening.sample(patients, 1000, seed=1)) == len(patients), "no more than there are"
    assert {p.label for p in screening.sample(patients, 0.01, seed=1)} == {0, 1}, "one of another label at least"


def test_aggregations_by_hand():
    logits = torch.tensor([0.0, 2.0])
    values = {name: float(pool(logits)) for name, pool in screening.AGGREGATIONS.items()}
    assert values == pytest.approx({"smooth maximum": np.log(1 + np.exp(2)), "maximum": 2, "mean": 1})


AWKWARD = {
    "crlf": ("Toma\r\nhierro\r\n y agua", [(6, 12, "CHEM"), (17, 21, "CHEM")]),
    "combining": ("cafe\u0301 con an\u0303il", [(0, 5, "CHEM"), (10, 15, "CHEM")]),
    "nested": ("dolor en brazo", [(0, 14, "DISO"), (9, 14, "ANAT")]),
    "twice": ("hierro y hierro", [(0, 6, "CHEM"), (0, 6, "CHEM"), (9, 15, "CHEM")]),
    "whole": ("dolor en brazo y pierna", [(0, 14, "DISO"), (0, 23, "DISO")]),
    "long": ("uno " * 60 + "dolor muy fuerte" + " dos" * 60, [(240, 256, "DISO")]),
    "empty": ("", []),
}


def test_awkward_documents_scored_by_hand(saved):
    """What a tagger can say at best, through windows, tags and back, against counts made by hand."""
    documents = [Document(name, "es", text, tuple(Span(*s) for s in spans)) for name, (text, spans) in AWKWARD.items()]
    tagger = ner.Tagger(str(saved), AutoTokenizer.from_pretrained(saved), ["ANAT", "CHEM", "DISO"], 16, 4, 1)
    prepared, targets = tagger.prepare(documents), tagger.targets(documents)
    tagged = [np.zeros(len(target), int) for target in targets]
    for window in prepared:  # every word is said by the window that it belongs to
        tagged[window.text][list(window.words)] = targets[window.text][list(window.words)]
    predicted = [
        ner.read_spans([tagger.tags[n] for n in numbers], windows.words(document.text))
        for document, numbers in zip(documents, tagged, strict=True)
    ]
    rows = finetuning.entity_rows("t", documents, predicted)
    table = scores.counts(gold=rows[rows["kind"] == "gold"], predicted=rows[rows["kind"] == "predicted"])
    found = {name: tuple(int(n) for n in row) for name, row in zip(table.index, table.to_numpy(), strict=True)}
    assert found == {
        "crlf": (2, 0, 0),
        "combining": (2, 0, 0),
        "nested": (1, 0, 1),
        "twice": (2, 0, 1),
        "whole": (1, 0, 1),
        "long": (1, 0, 0),
    }
    assert ner.unreachable(documents) == 3

"""Model cards: what the hub reads of them, and what somebody has to know who passes a model on."""

import pandas as pd
import pytest
import yaml

from common.project import write_json
from helpers import model_cards


@pytest.fixture
def run(tmp_path):
    """A run's corpora: biomedical text in two languages, clinical notes of one's own, general text of two parts."""
    rows = [("general", "nl", "nl_wikipedia"), ("general", "nl", "nl_laws_general"), ("general", "ro", "ro_novels")]
    rows += [("clinical", "nl", "data/private/notes.jsonl")]
    table = pd.DataFrame(rows, columns=["domain", "language", "part"])
    (tmp_path / "corpora").mkdir()
    pd.concat([table.assign(reason="kept"), table.assign(reason="near copy")]).to_csv(
        tmp_path / "corpora/statistics.csv", index=False
    )
    write_json(tmp_path / "corpora/origin.json", {"synthetic": False})
    return tmp_path


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_a_card_names_what_was_read_and_under_which_licence(run):
    card = model_cards.card(run, "general", "base", {"general": {"nl": 1, "ro": 2.5}}, 60000, seed=13)
    assert head(card) == {"language": ["nl", "ro"], "license": "other", "pipeline_tag": "fill-mask"}
    assert "trained from `base` with 60,000 word pieces (seed 13)." in card
    assert "| general | nl | 1 | nl_wikipedia | CC-BY-NC-SA-4.0 |" in card
    assert "| general | ro | 2.5 | ro_novels |" in card
    assert card.count("nl_wikipedia") == 1 and "clinical" not in card
    assert model_cards.NOT_PUBLIC in card, "the run read notes; its tokenizer may have, too"


def test_a_part_s_licence_is_its_own_and_not_that_of_what_is_taken_out_of_it():
    assert model_cards._licence("es_multiclinner") == "CC-BY-4.0"
    assert model_cards._licence("nl_wikipedia") == "CC-BY-NC-SA-4.0"
    assert "MIT" in model_cards._licence("pharmaconer"), "a task"


def test_a_card_of_a_public_run_does_not_warn(run):
    table = pd.read_csv(run / "corpora/statistics.csv")
    table[~table["part"].str.contains("/")].to_csv(run / "corpora/statistics.csv", index=False)
    card = model_cards.card(run, "general", "base", {"general": {"nl": 1}}, 60000)
    assert not any(warning in card for warning in (model_cards.NOT_PUBLIC, model_cards.MADE_UP))


@pytest.mark.parametrize(
    ("base", "text", "said"),
    [
        ({"architecture": "modernbert", "hub": ""}, {"general": {"nl": 1}}, "trained from scratch with"),
        ({"architecture": "", "hub": "google-bert/x"}, {}, "go on from, from `google-bert/x`, as it is."),
        ({"architecture": "", "hub": "", "folder": "/secret/place"}, {}, "go on from, from a saved model, as it is."),
    ],
)
def test_where_a_first_arm_starts(run, base, text, said):
    card = model_cards.card(run, "base", "", text, 1000, base)
    assert said in card
    assert head(card).get("base_model") == (base.get("hub") or None)
    assert "/secret" not in card, "a path says more than a reader needs"


def test_a_card_of_random_weights_claims_no_training(run):
    card = model_cards.card(run, "untrained", "base", {}, 0, {}, True, seed=13)
    assert "Random weights in the shape of `base`, which have read nothing: a control." in card
    assert "trained from" not in card and "others go on from" not in card


def test_synthetic_text_is_said_to_be_so(run):
    write_json(run / "corpora/origin.json", {"synthetic": True})
    assert model_cards.MADE_UP in model_cards.card(run, "general", "base", {"general": {"nl": 1}}, 60000)

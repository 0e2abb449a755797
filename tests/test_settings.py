"""Profiles: every fault is one line before any work, values merge as said, and the notebooks' defaults are smoke's."""

import copy
import json
import re
import shutil

import pytest
import yaml
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from common import names
from common.project import Mistake
from evidence import fairness, testable
from runner import checks, keys, notebooks, profile, settings
from texts import sources

PROFILES = settings.names()


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_valid_and_its_stages_fit_the_notebooks(name):
    profile = settings.load(name)
    profile.check_parts()
    made: set[str] = set()
    for stage in profile.stages():
        page = notebooks.FOLDER / f"{stage.notebook}.ipynb"
        notebooks.check_parameters(stage.id, page, stage.parameters | stage.speed)
        assert set(stage.inputs) <= made, f"{stage.id} reads what no stage before it makes"
        made |= set(stage.outputs)


def test_notebook_defaults_are_the_smoke_values():
    seen = set()
    for stage in settings.load("smoke").stages():
        if stage.notebook in seen:
            continue
        seen.add(stage.notebook)
        declared = notebooks.declared(notebooks.FOLDER / f"{stage.notebook}.ipynb")
        injected = stage.parameters | stage.speed | {"data": declared.get("data", "")}
        assert {k: injected[k] for k in declared} == declared, stage.notebook


def followed(name):
    """The digests of what the stages of a profile read from data/."""
    return {s.id: s.parameters["data"] for s in settings.load(name).stages() if "data" in s.parameters}


def test_a_changed_data_file_makes_stale_what_reads_it(monkeypatch, tmp_path):
    data = shutil.copytree(profile.DATA, tmp_path / "data")
    monkeypatch.setattr(profile, "DATA", data)
    before = followed("smoke")
    distances = (data / "distances.yaml").read_text(encoding="utf-8")
    (data / "distances.yaml").write_text("# a remark\n" + distances)
    assert followed("smoke") == before
    (data / "distances.yaml").write_text(distances.replace("es-nl: 0.", "es-nl: 0.9"))
    changed = followed("smoke")
    assert [stage for stage in before if changed[stage] != before[stage]] == ["04_cross_lingual"]
    with open(data / "lexicons" / "general.tsv", "a", encoding="utf-8") as file:
        file.write("\n")
    assert followed("smoke")["01_build_corpora"] != before["01_build_corpora"]


@pytest.mark.parametrize(("source", "read"), [("ro_monero", True), ("es_cantemist", True), ("none_of_it", False)])
def test_a_changed_source_makes_stale_the_corpora_that_read_it(monkeypatch, source, read):
    before, catalogue = followed("replica"), copy.deepcopy(sources.catalogue())
    catalogue["sources"].setdefault(source, {})["commit"] = "0" * 40
    monkeypatch.setattr(sources, "catalogue", lambda: catalogue)
    changed = followed("replica")
    assert (changed["01_build_corpora"] != before["01_build_corpora"]) is read


def test_random_weights_are_fine_tuned_and_told_apart():
    stages = {stage.id: stage for stage in settings.load("smoke").stages()}
    said = {arm["arm"]: arm["parent"] for arm in stages["00_start_here"].parameters["arms"]}
    assert (said["base"], said["untrained"], said["general"]) == ("-", "random weights", "base")
    drawn = [name for name, stage in stages.items() if stage.parameters.get("random_weights")]
    assert drawn == ["02_pretrain-untrained"], "as the parent's, weights are those that the text left"
    assert "untrained" in stages["03_finetune-ner_es"].parameters["arms"]
    for name in ("04_cross_lingual", "05_figures"):  # of gains in loss and score they would be the outlier
        assert stages[name].parameters["arms"][:2] == ["base", "general"], name


def test_replaced_files_of_a_base_make_stale_what_starts_from_them(tmp_path):
    def bases():
        stages = settings.load("smoke", [f"base={{folder: {tmp_path}}}"]).stages()
        return [s.parameters["base"] for s in stages if s.notebook == "02_pretrain"]

    found = [bases()]
    for name in ("model.safetensors", "tokenizer.json", "README.md"):
        (tmp_path / name).write_text("other")
        found.append(bases())
    assert found[0] != found[1] != found[2] == found[3]
    assert [b for b in found[0] if b] == found[0][:1]  # the other arms start from this one
    assert "files" not in settings.load("smoke").stages()[2].parameters["base"]


def refused(folder, status, *sets):
    """What is said of a base in a folder."""
    profile = settings.load("smoke", [f"base={{folder: {folder}}}", *sets])
    stage = next(stage for stage in profile.stages() if stage.parameters.get("base"))
    recorded = {"parameters": stage.parameters, "product": stage.outputs[0]} if status else {}
    with pytest.raises(Mistake) as error:
        checks.base(profile, stage.parameters["base"], recorded)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_base_of_another_kind_or_too_short_is_refused(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "roberta", "max_position_embeddings": 514}))
    assert refused(tmp_path, False) == "base: is of model type 'roberta'; allowed: bert, modernbert"
    config.write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 80}))
    assert refused(tmp_path, False) == "profile smoke: ner.length: 96 is more than the base's 80 positions"
    longer = ["ner.length=80", "screening.length=80", "pretrain.length=81"]
    assert "pretrain.length: 81 is more" in refused(tmp_path, False, *longer)
    config.write_text("{")
    assert "base: no model at" in refused(tmp_path, False)


def test_a_base_without_word_pieces_of_its_own_is_refused_before_any_work(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512}))
    assert "base: no tokenizer at" in refused(tmp_path, False)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0, "[UNK]": 1}, []))).save_pretrained(tmp_path)
    assert "has a tokenizer of kind BPE; give one with word pieces" in refused(tmp_path, False)


def test_a_base_that_was_made_before_is_looked_at_where_it_was_saved(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "RUNS", tmp_path)
    saved = tmp_path / "smoke" / "models" / "base"
    saved.mkdir(parents=True)
    (saved / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 100}))
    assert "screening.length: 128 is more than the base's 100 positions" in refused(tmp_path / "gone", True)
    assert "no model in" in refused(tmp_path / "gone", False)


def test_a_base_from_scratch_is_as_long_as_its_configuration_says():
    change = "base={architecture: bert, vocabulary: 99, config: {max_position_embeddings: 64}}"
    profile = settings.load("smoke", [change])
    with pytest.raises(Mistake, match=r"ner\.length: 96 is more than the base's 64 positions"):
        checks.base(profile, profile.base.model_dump(), {})
    smoke = settings.load("smoke")
    checks.base(smoke, smoke.base.model_dump(), {})


FAULTS = [
    (["pretrain.nope=1"], r"pretrain\.nope: unknown key; allowed: seed, length, batch_rows"),
    (["nope=1"], r"nope: unknown key; allowed: name, description"),
    (["pretrian.length=64"], r"pretrian: unknown key; allowed: name, description"),
    (["corpus.characters.clinical=5"], r"'characters' of 'corpus\.characters\.clinical' is unknown"),
    (["tasks.ner_nl.keep=[clinical]"], r"'ner_nl': is not trained; leave out shares, share_arms and keep"),
    (["ner.negatives_per_positive=3"], r"ner\.negatives_per_positive: is of screening; leave it at 0"),
    (["figures.formats=[png]"], r"figures: formats: svg is missing; the report needs png, the paper svg"),
    (["figures.formats=[png, svg, png]"], r"formats: 'png' stands twice"),
    (["base.vocabulary_from=[]"], r"base: vocabulary_from is empty; give a domain"),
    (["base={hub: a/b, revision: " + 40 * "a" + ", config: {hidden_dropout_prob: 0.3}}"], r"from scratch; leave them"),
    (["base={folder: a/b, revision: " + 40 * "a" + "}"], r"a hub model, and no other, needs its revision"),
    (["name=replica"], r"smoke: 'replica' is the name of a profile of the compendium"),
    (
        ["corpora.clinical.nl=[]", "corpora.biomedical.nl=[]", "tasks.ner_es.arms=[clinical_nl]"],
        r"tasks: 'ner_es': none of its arms has text left; give it another one",
    ),
    (["cluster.partition=a b"], r"cluster\.partition: .*pattern"),
    (["cluster.gpus=-1"], r"cluster\.gpus: .*greater than or equal to 0"),
    (["pretrain.length=long"], r"pretrain\.length: .*integer.*'long'"),
    (["pretrain.length=4"], r"pretrain\.length: .*greater than or equal to 8"),
    (["ner.seeds=1"], r"ner\.seeds: .*list.*1"),
    (["pretrain.masking_rate=1.5"], r"pretrain\.masking_rate: .*less than 1"),
    (["pretrain.length=[1"], r"--set pretrain\.length=\[1: no readable YAML"),
    (["ner.overlap=95"], r"ner: overlap 95 must be below length - 2, which is 94"),
    (["ner.seeds=[-1]"], r"ner\.seeds\.0: .*greater than or equal to 0"),
    (["arms.clinical.tokens=7"], r"'clinical' has 7 tokens, less than one step of 1024"),
    (["arms.general_nl.text={general: {nl: 0}}"], r"'general_nl': weight of general/nl must be above 0"),
    (["tasks.ner_ro.documents={train: 4, test: 4}"], r"'ner_ro' has no documents for dev"),
    *[
        ([f"{change}"], said)
        for change, said in (
            ("arms.clinical.name=words", r"arms\.4\.name: 'words' cannot be used; .*none of dictionary, keyw"),
            ("arms.clinical.name=baseline", "'baseline' cannot be used"),
            ("tasks.ner_ro.name='2020'", r"tasks\.0\.name: '2020' cannot be used; allowed: small letters, .* first"),
            ("tasks.ner_ro.name='nan'", "'nan' cannot be used"),
            ("tasks.ner_ro.language=Dutch", r"tasks\.0\.language: 'Dutch' cannot be .*two or three small letters"),
            ("corpora.clinical.NL=[synthetic]", r"corpora\.clinical\.NL: 'NL' cannot be used; allowed: two or three"),
            ("corpora.clinical.nl-be=[synthetic]", r"clinical\.nl-be: 'nl-be' cannot be used"),
            ("corpora.my-notes={nl: [synthetic]}", r"corpora\.my-notes: 'my-notes' cannot be used; .*digits and _"),
            ("arms.clinical.text={clinical: {NL: 1}}", r"arms\.4\.text\.clinical\.NL: 'NL' cannot be used"),
        )
    ],
    (["tasks.ner_es.arms=[nobody]"], r"tasks: 'ner_es' names arm 'nobody'; allowed: \['base', 'untrained'"),
    (["tasks.ner_ro.arms=[base]"], r"tasks: 'ner_ro' names arm 'general'; allowed: \['base'\]"),
    (["tasks.ner_es.shares=[0.5]"], r"'ner_es' needs both shares and share_arms, or neither"),
    (["tasks.ner_ro.shares=[1.0]"], r"tasks\.0\.shares\.0: .*less than 1"),
    (["arms.clinical.copies=0"], r"arms\.4\.copies: .*greater than or equal to 1"),
    (["tasks.screening_nl.language=es"], r"synthetic screening is Dutch"),
    (["claims.draws=499"], r"claims\.draws: .*greater than or equal to 500"),
    (
        ["claims.family=[{claim: C4, task: ner_ro, arm: clinical, against: general, metric: f1, mentions: unseen}]"],
        r"mentions 'unseen' go with metric recall, found 'f1'",
    ),
    (["seed=2020-13-45"], r"--set seed=2020-13-45: no readable YAML: month must be in 1\.\.12"),
    (["tasks.ner_ro.documents={train: 5, train: 6}"], r"no readable YAML: key 'train' stands twice"),
    (["base={? [a, b] : 1}"], r"no readable YAML: .*unhashable"),
    (["tasks.ner_ro.common={DISO: all}"], r"tasks\.0\.common\.DISO: 'all' means something else in tables"),
    (["arms.nobody.tokens=1"], r"'nobody' of 'arms\.nobody\.tokens' is unknown"),
    (["arms.clinical.parent=nobody"], r"'clinical' has parent 'nobody'; allowed"),
    (["tasks.ner_ro.keep=[nobody]"], r"tasks: 'ner_ro' names arm 'nobody'; allowed: \['base', 'untrained'"),
    (["arms.clinical.text={law: {nl: 1}}"], r"'clinical' reads law/nl, which corpora does not list"),
    (["base.architecture=roberta"], r"base\.architecture: .*'bert' or 'modernbert', found 'roberta'"),
    (["base.folder=models/mine"], "give exactly one of architecture, hub, folder"),
    (["base={hub: some/model}"], "needs its revision"),
    (["analysis.control=nobody"], "analysis.control: 'nobody' is fine-tuned on no task; allowed: "),
    (
        [f"tasks.{task}.arms=[base, biomedical]" for task in ("ner_es", "screening_nl")]
        + ["tasks.screening_nl.keep=[]", "tasks.ner_ro.keep=[]"]
        + ["tasks.ner_ro.arms=[base]", "tasks.ner_ro.shares=[]", "tasks.ner_ro.share_arms=[]"],
        r"analysis.control: 'general' is fine-tuned on no task; allowed: \['base', 'biomedical'\]",
    ),
    (["corpus.near_duplicate=0.97"], r"corpus\.near_duplicate: .*less than or equal to 0\.96"),
    (["ner.seeds=[4294967296]"], r"ner\.seeds\.0: .*less than 4294967296"),
    (["seed=4294967296"], r"seed: .*less than 4294967296"),
    (["tasks.screening_nl.documents.dev=1"], r"'screening_nl' has a part of 1 patient; give it 2, one of each"),
    (["pretrain.masking_rate=0.005"], r"pretrain\.masking_rate 0\.005 masks 0 pieces of a row; allowed: from 1 to 61"),
    (["pretrain.masking_rate=0.97"], r"pretrain\.masking_rate 0\.97 masks 62 pieces of a row"),
    (["arms.clinical.masking_rate=0.99"], r"arms: 'clinical': masking_rate 0\.99 masks 63 pieces"),
    (["ner.seeds=[1, 3]"], r"2 copies, which ner\.seeds \[1, 3\] do not use .* or as many seeds in a row"),
    (["screening.seeds=[1, 2, 3]"], r"2 copies, which screening\.seeds \[1, 2, 3\] do not use .* on 'screening_nl'"),
    (
        ["claims.family=[{claim: C1, task: ner_ro, arm: x, against: base, metric: f1}]"],
        r"the profile has no arm 'x' \(it has base, untrained",
    ),
    (
        ["arms.untrained.tokens=2000", "arms.untrained.text={general: {nl: 1}}"],
        r"'untrained' has random_weights; give it a parent and tokens: 0",
    ),
    (["arms.untrained.parent=''", "base={folder: x}"], r"'untrained' has random_weights; give it a parent"),
    (["arms.general.parent=untrained"], r"'general' goes on from 'untrained', which learns nothing"),
    (["analysis.control=untrained"], r"control: 'untrained' is fine-tuned on no task; allowed: \['base', 'general'"),
    (["arms.clinical"], "no `=` found"),
    (["tasks.ner_ro.documents={train: -4, dev: 4, test: 4}"], r"documents\.train: .*greater than 0"),
    (["tasks=[]"], r"tasks: .*at least 1"),
    (["ner.seeds=[1, 1]"], r"ner\.seeds: 1 stands twice"),
    (["tasks.ner_es.arms=[base, general, base]"], r"tasks\.1\.arms: 'base' stands twice; take one out"),
    (["tasks.ner_ro.share_arms=[general, general]"], r"tasks\.0\.share_arms: 'general' stands twice"),
    (["tasks.ner_ro.shares=[0.5, 0.25, 0.5]"], r"tasks\.0\.shares: 0\.5 stands twice"),
    (["corpora.clinical.es=[synthetic, synthetic]"], r"corpora\.clinical\.es: 'synthetic' stands twice"),
    *[
        (
            [f"corpus.characters={value}"],
            r"corpus\.characters: must be a whole number above 0, or one for each domain; found",
        )
        for value in ("0", "many", "{}", "{general: 0, biomedical: 4, clinical: 3}", "true")
    ],
    (["corpus.characters={general: 9, clinical: 9}"], r"corpus\.characters: 'biomedical' is missing; give one number"),
    (["pretrain.learning_rate=.inf"], r"pretrain\.learning_rate: .*finite"),
    *[
        ([f"claims.family=[{{claim: C1, {item}}}]"], said)
        for item, said in (
            ("task: ner_ro, arm: base, against: base, metric: f1", "arm 'base' is compared with itself"),
            (
                "task: ner_ro, arm: base, against: general, metric: auprc",
                "'auprc' does not fit ner .*allowed: f1, recall",
            ),
            ("task: screening_nl, arm: base, against: general, metric: f1", "does not fit screening .*allowed: auprc"),
            ("task: screening_nl, arm: base, against: dictionary, metric: auprc", "allowed: keywords, or an arm"),
            ("task: screening_nl, test: ner_ro, arm: base, against: general, metric: auprc", "tested on itself only"),
            ("task: ner_ro, test: screening_nl, arm: base, against: general, metric: f1", "have no label in common"),
        )
    ],
    (
        [
            "tasks.ner_nl.common={}",
            "claims.family=[{claim: C3b, task: ner_ro, test: ner_nl, arm: base, against: dictionary, metric: f1}]",
        ],
        "tasks 'ner_ro' and 'ner_nl' have no label in common",
    ),
    (
        [
            "claims.family=[{claim: C1, task: ner_ro, arm: base, against: general, metric: f1}, "
            "{claim: C1, task: ner_ro, test: ner_ro, arm: base, against: general, metric: f1}]"
        ],
        "claim 'C1' has a comparison twice, on task 'ner_ro'",
    ),
    (
        [f"claims.family=[{', '.join(2 * ['{claim: C1, task: ner_ro, arm: base, against: general, metric: f1}'])}]"],
        "claim 'C1' has a comparison twice, on task 'ner_ro'",
    ),
]


@pytest.mark.parametrize(("sets", "said"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_fault_is_one_line(sets, said):
    with pytest.raises(Mistake) as error:
        settings.load("smoke", sets)
    assert re.search(said, str(error.value)), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("arms=null", r"arms: .*valid list, found None"),
        ("tasks=null", r"tasks: .*valid list, found None"),
        ("tasks=5", r"tasks: .*valid list, found 5"),
        ("tasks.ner_ro.arms=null", r"tasks\.0\.arms: .*valid list, found None"),
        ("tasks.ner_ro.share_arms=3", r"tasks\.0\.share_arms: .*valid list, found 3"),
        ("tasks.ner_ro.arms=[{a: 1}]", r"tasks\.0\.arms\.0: .*valid string, found {'a': 1}"),
        ("arms.clinical.parent=[base]", r"arms\.4\.parent: .*valid string, found \['base'\]"),
        ("arms.clinical.name=[x]", r"arms\.4\.name: .*valid string, found \['x'\]"),
    ],
)
def test_a_wrong_shape_is_named_though_a_corpus_is_empty(change, said):
    with pytest.raises(Mistake, match=said):
        settings.load("smoke", [change, "corpora.clinical.es=[]"])


def test_the_name_of_an_extended_profile_and_its_folder_are_its_own(tmp_path):
    (tmp_path / "one.yaml").write_text("name: ward_study\nextends: smoke")
    (tmp_path / "two.yaml").write_text("extends: one\nseed: 7")
    assert [settings.load(str(tmp_path / f"{n}.yaml")).run for n in ("one", "two")] == ["ward_study", "two"]


def test_a_list_that_holds_itself_is_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: smoke\nfigures: &a {formats: [*a]}")
    for name, sets in (("smoke", ["ner.seeds=&a [*a]"]), (str(tmp_path / "mine.yaml"), [])):
        with pytest.raises(Mistake, match="yaml: a list or key holds itself"):
            settings.load(name, sets)


def test_unknown_profile_and_files_that_are_no_profile(tmp_path):
    with pytest.raises(Mistake, match="'nope' is unknown; allowed: demo, full, replica"):
        settings.load("nope")
    with pytest.raises(Mistake, match="mine.yaml' is no file; allowed: demo"):
        settings.load(str(tmp_path / "mine.yaml"))
    contents = [("- a list", "found list"), ("a: [", "no readable YAML"), ("extends: x", "no profile")]
    for content, said in (*contents, ("a: 1\na: 2", "key 'a' stands twice.* line 2")):
        (tmp_path / "mine.yaml").write_text(content)
        with pytest.raises(Mistake, match=said):
            settings.load(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "corpora.clinical.es=[es_nothing]",
            "es: 'es_nothing' is unknown; allowed: synthetic, es_cantemist_background",
        ),
        ("corpora.clinical.es=[monero]", "corpora.clinical.es: 'monero' is unknown"),
        ("corpora.clinical.es=[nl_openehr]", "corpora.clinical.es: 'nl_openehr' is in nl, not in es"),
        ("tasks.ner_es.source=es_novels", "tasks.ner_es: 'es_novels' is unknown; allowed: synthetic, cantemist, "),
        ("tasks.ner_es.source=monero", "tasks.ner_es: 'monero' is in ro, not in es"),
        ("tasks=[{name: s, kind: screening, language: es, source: cantemist}]", "tasks.s: 'cantemist' has entities"),
        ("corpora.general.fr=[synthetic]", "corpora.general.fr: synthetic text is written in nl, ro, es, not in fr"),
        ("analysis.probe_words=4", "analysis.probe_words: 4 leaves ner_ro no word for each of its labels .* give 5"),
        (
            "tasks=[{name: a, kind: ner, language: es, source: disease_es, common: {DISEASE: D}},"
            " {name: b, kind: ner, language: fr, source: ./data, common: {X: D}}]",
            "tasks.a.common: a has labels in common with b, but data/distances.yaml has no es-fr; add it, or leave out",
        ),
        ("tasks.ner_es.common={DISSO: DISO}", "common: synthetic has no label 'DISSO'; allowed: ANAT, CHEM, DISO"),
        (
            "tasks=[{name: c, kind: ner, language: es, source: cantemist, common: {MORFO: DISO}}]",
            "tasks.c.common: cantemist has no label 'MORFO'; allowed: MORFOLOGIA_NEOPLASIA",
        ),
    ],
)
def test_what_cannot_be_read_as_asked_is_named(change, said):
    profile = settings.load("smoke", [change])
    with pytest.raises(Mistake, match=said):
        profile.check_parts()


def test_label_budgets_of_patients_have_both_labels_whatever_the_seed():
    budget = ["tasks.screening_nl.share_arms=[general]", "tasks.screening_nl.documents.train=40"]
    settings.load("smoke", [*budget, "tasks.screening_nl.shares=[0.9]"]).check_own()
    with pytest.raises(Mistake, match=r"screening_nl\.shares: 0\.05 of 40 patients, as seed 1 draws them"):
        settings.load("smoke", [*budget, "tasks.screening_nl.shares=[0.9, 0.05]"]).check_own()


def test_label_budgets_of_own_patients_have_both_labels(tmp_path):
    for part in ("train", "dev", "test"):
        notes = [{"date": "2020-01-01", "text": "Griep."}]
        rows = [{"id": f"{part}{i}", "label": int(i in (4, 6, 7)), "notes": notes} for i in range(8)]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = f"{{name: hiv, kind: screening, language: nl, source: {tmp_path}, shares: [0.25], share_arms: [general]}}"
    with pytest.raises(Mistake, match=r"tasks\.hiv\.shares: 0\.25 of 8 patients, as seed 0 draws them, have one label"):
        settings.load("smoke", [f"tasks=[{task}]", "screening.seeds=[5, 0]"]).check_own()


def test_terms_that_a_run_on_real_text_aligns_are_looked_for_with_its_sources():
    plain = ["corpora.biomedical.es=[es_openehr]", "corpora.biomedical.nl=[nl_openehr]"]
    assert {"nl_hpo_labels", "es_hpo_labels"} <= set(settings.load("replica", plain).parts())
    assert settings.load("smoke").parts() == []


def test_a_private_profile_is_found_by_its_name_and_never_listed(monkeypatch, tmp_path):
    private = shutil.copytree(settings.ROOT / "profiles", tmp_path / "profiles") / "private"
    private.mkdir(exist_ok=True)
    (private / "ward.yaml").write_text("extends: smoke\nseed: 7")
    (private / "demo.yaml").write_text("extends: smoke\nseed: 7")
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    assert (settings.load("ward").run, settings.load("ward").seed) == ("ward", 7)
    assert settings.load("demo").seed == 13
    assert "ward" not in settings.names()
    with pytest.raises(Mistake, match="'wart' is unknown; allowed: demo, full, [^w]*$"):
        settings.load("wart")


def test_values_merge_by_key_and_lists_are_replaced(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"extends": "smoke", "pretrain": {"length": 32}, "ner": {"seeds": [7, 8]}}))
    profile, smoke = settings.load(str(mine)), settings.load("smoke")
    assert profile.run == "mine"
    assert (profile.pretrain.length, profile.ner.seeds) == (32, [7, 8])
    assert profile.pretrain.batch_rows == smoke.pretrain.batch_rows
    changed = settings.load("smoke", ["arms.clinical.tokens=2048", "arms.clinical.learning_rate=0.01"])
    stage = next(stage for stage in changed.stages() if stage.id == "02_pretrain-clinical")
    assert (stage.parameters["tokens"], stage.parameters["learning_rate"]) == (2048, 0.01)


def test_one_changed_value_reaches_only_its_stages():
    before = {s.id: s.parameters for s in settings.load("smoke").stages()}
    for change, touched in (
        (
            "arms.clinical.tokens=9000",
            {"00_start_here", "02_pretrain-clinical", "02_pretrain-clinical.2", "05_figures"},
        ),
        ("tasks.ner_ro.shares=[0.25]", {"03_finetune-ner_ro", "05_figures"}),
        ("figures.dpi=99", {"05_figures"}),
        ("ner.epochs=3", {"03_finetune-ner_ro", "03_finetune-ner_es"}),
        ("pretrain.seed=99", {name for name in before if name.startswith("02_pretrain")}),
        ("seed=99", {"01_build_corpora", "05_figures"}),
    ):
        after = {s.id: s.parameters for s in settings.load("smoke", [change]).stages()}
        assert {name for name in before if before[name] != after[name]} == touched


def test_the_analysis_follows_every_arm_of_which_no_task_learns_too():
    task = "{name: ner_es, kind: ner, language: es, documents: {train: 5, dev: 4, test: 4}, arms: [general]}"
    stages = {s.id: s for s in settings.load("smoke", [f"tasks=[{task}]"]).stages()}
    read = {name.split("/")[1] for name in stages["04_cross_lingual"].inputs if name.startswith("models/")}
    assert read == set(stages["04_cross_lingual"].parameters["arms"])


@pytest.mark.parametrize("content", ["", "families:", "families: [a]", "- a", "stated: {}"])
def test_claims_without_families_are_one_line(monkeypatch, tmp_path, content):
    (tmp_path / "claims.yaml").write_text(content)
    monkeypatch.setattr(settings, "CLAIMS", tmp_path / "claims.yaml")
    with pytest.raises(Mistake, match=r"claims\.yaml: has no `families`"):
        settings.load("smoke")


def test_a_key_that_a_profile_does_not_spell_out_can_be_set():
    profile = settings.load("replica", ["tasks.monero.documents.train=50"])
    assert next(task for task in profile.tasks if task.name == "monero").documents == {"train": 50}


def test_stages_that_run_models_ask_a_cluster_for_gpus():
    asked = {s.notebook: s.resources for s in settings.load("full", ["cluster.account=lab-7"]).stages()}
    all_ask = {"mem_mb": 64000, "runtime": 1440, "slurm_account": "lab-7"}
    for notebook in ("02_pretrain", "03_finetune", "04_cross_lingual"):
        assert asked[notebook] == all_ask | {"cpus_per_task": 8, "gpu": 1}
    for notebook in ("00_start_here", "01_build_corpora", "05_figures"):
        assert asked[notebook] == all_ask
    small = settings.load("smoke", ["cluster.gpu_model=a100"]).stages()  # a model of no GPU is not asked for
    assert not any({"gpu", "gpu_model"} & stage.resources.keys() for stage in small)


def test_copies_have_seeds_of_their_own_and_parents_in_turn():
    profile = settings.load("smoke", ["arms.general.copies=2", "arms.clinical.parent=general"])
    made = {stage.parameters["arm"]: stage for stage in profile.stages() if stage.notebook == "02_pretrain"}
    parents = {name: made[name].parameters["parent"] for name in ("clinical", "clinical.2", "biomedical")}
    assert parents == {"clinical": "general", "clinical.2": "general.2", "biomedical": "base"}
    assert [made[name].parameters["seed"] for name in ("general", "general.2")] == [13, 14]
    assert "models/general.2/training.csv" in made["clinical.2"].inputs
    fit = next(stage for stage in profile.stages() if stage.id == "03_finetune-ner_es")
    assert fit.parameters["copies"] == {"general": 2, "clinical": 2}
    assert {"models/clinical/training.csv", "models/clinical.2/training.csv"} <= set(fit.inputs)
    assert [names.model_name("x", seed, 3) for seed in range(5)] == ["x.3", "x", "x.2", "x.3", "x"]


def test_an_arm_that_a_task_leaves_out_cannot_be_compared_on_it():
    profile = settings.load("smoke", ["tasks.ner_es.arms=[base, general, clinical]"])
    reasons = {item.arm: why_not(profile, item) for item in profile.claims.family if item.task == "ner_es"}
    assert reasons["biomedical"] == "arm 'biomedical' is not fine-tuned on task 'ner_es' (only base, general, clinical)"
    assert reasons["clinical"] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("arms.clinical.tokens=9000", "word pieces 21,000 and 18,000"),
        ("arms.clinical.learning_rate=0.001", "learning rates 0.001, 0.002 and 0.002"),
        ("arms.clinical.masking_rate=0.3", "masking rates 0.15, 0.3 and 0.15"),
        ("arms.clinical.passes=2", "passes over a text 1, 2 and 1"),
        ("pretrain.masking_rate=0.3", ""),
        ("arms.base.masking_rate=0.3", ""),  # of both
    ],
)
def test_arms_that_differ_in_more_than_their_texts_are_not_compared(change, said):
    profile = settings.load("smoke", [change])
    reasons = {(i.arm, i.against): why_not(profile, i) for i in profile.claims.family if i.task == "ner_es"}
    told = said and f"arms 'clinical' and 'general' differ in more than their texts: {said}"
    assert reasons["clinical", "general"] == told
    assert reasons["biomedical", "general"] == reasons["clinical", "dictionary"] == ""
    with_base = profile.claims.family[0].model_copy(update={"against": "base"})
    assert why_not(profile, with_base) == "", "which both go on from"


def test_two_steps_of_half_the_text_count_as_one_of_all_of_it():
    profile = settings.load("replica")
    item = profile.claims.family[1].model_copy(update={"arm": "sequential"})
    assert item.task == "pharmaconer" and why_not(profile, item) == ""


def test_no_shipped_comparison_is_between_unequal_arms():
    for name in settings.names():
        profile = settings.load(name)
        assert not [i for i in profile.claims.family if "more than their texts" in why_not(profile, i)], name


def test_rates_of_an_arm_that_reads_nothing_make_no_arms_unequal():
    arm = {"parent": "", "tokens": 0, "learning_rate": 0.5, "masking_rate": None, "passes": 1}
    line = [arm | {"name": "base"}, *(arm | {"name": n, "parent": "base", "tokens": 9} for n in ("one", "two"))]
    line[2]["parent"], rates = "", {"learning_rate": 0.5, "masking_rate": 0.15, "passes": 1}
    assert fairness.unequal(line, rates, "one", "two") == ""
    line[0]["learning_rate"] = 0.1
    assert fairness.unequal(line, rates, "one", "two") == ""
    line[0]["tokens"], line[2]["tokens"] = 1, 10
    assert "learning rates 0.1, 0.5 and 0.5" in fairness.unequal(line, rates, "one", "two")


def why_not(profile, item):
    return testable.reason(profile.model_dump(), item.model_dump())


def test_claims_that_cannot_be_tested_are_told_before_a_run():
    assert checks.untestable(settings.load("smoke")) == ""
    once = settings.load("smoke", ["screening.seeds=[1]", "arms.general.copies=1", "arms.clinical.copies=1"])
    why = "screening_nl, clinical: screening.seeds has one seed, at least 2 are needed"
    assert checks.untestable(once) == "".join(f"{c} cannot be tested by this run: {why}\n" for c in ("C1", "C2"))
    values = once.model_dump()
    values["claims"]["family"] = [item for item in values["claims"]["family"] if item["claim"] != "C4"]
    rows = {row["claim"]: row for row in testable.claims(values)}
    assert rows["C4"]["comparisons"] == 0 and rows["C4"]["reason"] == "the profile declares no comparison for it"
    assert rows["C3a"]["comparisons"] == 2 and rows["C3a"]["reason"] == ""


def other(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return {key: other(one) for key, one in value.items()}
    return value * 2 if isinstance(value, list) else value + ("x" if isinstance(value, str) else 1)


@pytest.mark.parametrize(
    "section", ["corpus", "pretrain", "ner", "screening", "analysis", "figures", "compute", "cluster"]
)
def test_every_key_of_a_section_changes_what_a_stage_is_given(section):
    """A key that nothing reads would be a setting without effect."""
    profile = settings.load("smoke", ["cluster.gpus=1"])
    values, given = getattr(profile, section), [vars(stage) for stage in profile.stages()]
    for key, value in values:
        changed = profile.model_copy(update={section: values.model_copy(update={key: other(value)})})
        if (section, key) != ("ner", "negatives_per_positive"):  # of screening; refused where it is not 0
            assert [vars(stage) for stage in changed.stages()] != given, key


def test_a_stage_asks_for_the_threads_of_all_its_fits():
    for threads, asked in ((3, 6), (0, 0)):  # 0: the whole processor
        profile = settings.load("smoke", ["compute.fits=2", f"compute.threads={threads}"])
        stage = next(s for s in profile.stages() if s.id == "03_finetune-ner_es")
        assert (stage.threads, stage.speed["threads"]) == (asked, threads)


def test_full_names_its_base():
    profile = settings.load("full")
    assert profile.base.hub == "google-bert/bert-base-multilingual-cased"
    assert re.fullmatch("[0-9a-f]{40}", profile.base.revision)
    assert not profile.synthetic


def reasons(profile):
    """Comparison -> why it cannot be made, of the claims' family."""
    family = profile.stages()[-1].parameters["family"]
    return {(item["claim"], item["task"], item["arm"]): item["reason"] for item in family if "reason" in item}


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_can_make_all_of_its_comparisons(name):
    found = {key: reason for key, reason in reasons(settings.load(name)).items()}
    # The replica has no clinical text but Spanish; what its arms share in Romanian is biomedical, and stands for both.
    assert not found


def test_what_needs_romanian_text_is_not_testable_without_it():
    profile = settings.load("replica", ["corpora.general.ro=[]", "corpora.biomedical.ro=[]"])
    assert all("ro" not in languages for languages in profile.corpora.values())
    assert all("ro" not in languages for arm in profile.arms for languages in arm.text.values())
    found = reasons(profile)
    assert found["C1", "monero", "clinical"].startswith("arm 'clinical' has read no medical text in ro")
    names = {("C1", "monero", "biomedical"), ("C1", "monero", "clinical"), ("C4", "monero", "biomedical")}
    assert set(found) == {*names, ("C3a", "pharmaconer", "ro_only")}
    assert found["C3a", "pharmaconer", "ro_only"].startswith("the profile has no arm 'ro_only' (it has base, untrained")


def test_an_arm_without_any_text_left_is_gone_with_those_after_it():
    profile = settings.load("smoke", ["arms.clinical_nl.parent=general_nl", "corpora.general.nl=[]"])
    assert [arm.name for arm in profile.arms] == ["base", "untrained", "general", "biomedical", "clinical"]
    lists = [f"tasks.ner_ro.{name}=[general_nl]" for name in ("share_arms", "keep")]
    lists.append("tasks.ner_ro.arms=[general_nl, base]")
    task = settings.load("smoke", ["corpora.general.nl=[]", *lists]).tasks[0]
    assert (task.arms, task.shares, task.share_arms, task.keep) == (["base"], [], [], [])


def test_a_task_that_was_taken_out_is_not_testable():
    profile = settings.load(
        "smoke", ["tasks=[{name: ner_es, kind: ner, language: es, documents: {train: 8, dev: 8, test: 8}}]"]
    )
    found = reasons(profile)
    assert found["C1", "ner_ro", "clinical"] == "the profile has no trained task 'ner_ro' (it has ner_es)"
    assert found["C3b", "ner_es", "clinical"] == "the profile has no task 'ner_nl' (it has ner_es)"
    assert ("C1", "ner_es", "clinical") not in found


def test_the_claims_are_part_of_a_profile_and_its_hash():
    claims = settings.load("smoke").claims
    assert list(claims.stated) == ["C1", "C2", "C3a", "C3b", "C4"]
    assert set(claims.rule) == {"supported", "contradicted", "inconclusive", "not testable here"}


def test_the_page_of_keys_is_made_from_them_and_says_what_each_is():
    made = keys.page()
    assert keys.PAGE.read_text(encoding="utf-8") == made, "python -m runner.labs makes it again"
    rows = [line.split(" | ") for line in made.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 80 and not [row[0] for row in rows if not row[1].strip()], "a key without a description"
    assert "| epochs | at most | `8` | `10` | `3` | `6` | `2` |" in made


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["corpora.clinical.nl=[]", "tasks.ner_ro.arms=clinical"], "tasks.*arms.*list"),
        (["base.config.hidden_size=2020-01-01"], "base.config.hidden_size"),
    ],
)
def test_a_value_of_another_kind_is_named(sets, told):
    with pytest.raises(Mistake, match=told):
        settings.load("smoke", sets)

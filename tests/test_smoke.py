"""The smoke profile from end to end through Papermill: products that fit together, and kills that change nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import torch
from conftest import copied
from safetensors.torch import load_file

from evidence import published, trainings
from helpers import application
from runner import paper, publishing, report, settings
from texts import tasks

pytestmark = pytest.mark.slow


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """The front door at work on the smoke profile, as the leader of a process group."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELPERS_")}
    command = [sys.executable, "-m", "runner.front_door", "smoke", "--offline", *arguments]
    environment = kept | {"PYTHONPATH": str(root / "src")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **pipes)


def finished(root: Path, *arguments: str) -> str:
    process = start(root, *arguments)
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def run(checkout) -> Path:
    finished(checkout)
    return checkout / "runs" / "smoke"


def killed_when(root: Path, pattern: str) -> None:
    """Start the run, and kill -9 all of it as soon as a file like `pattern` is there."""
    process = start(root)
    deadline = time.monotonic() + 300
    while not list((root / "runs" / "smoke").glob(pattern)):
        assert process.poll() is None, f"ended before {pattern} was there:\n{process.communicate()[0]}"
        assert time.monotonic() < deadline, f"{pattern} did not come"
        time.sleep(0.02)
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    ours = [int(line.split()[0]) for line in listing.splitlines() if str(root) in line]
    for pid in {process.pid, *ours}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def test_kills_in_training_change_no_result(run, tmp_path):
    """A run that lacks an arm and a task's fits, killed while it makes them, ends as the one that was not."""
    root = copied(tmp_path / "killed")
    shutil.copytree(run, root / "runs" / "smoke")
    profile = root / "profiles" / "smoke.yaml"
    profile.write_text(profile.read_text().replace("checkpoint_seconds: 20", "checkpoint_seconds: 0"))
    for lost in ("models/clinical", "predictions/ner_ro"):
        shutil.rmtree(root / "runs/smoke" / lost)
    others = {p: p.stat().st_mtime_ns for p in (root / "runs/smoke/models").glob("*/model.safetensors")}
    killed_when(root, "checkpoints/clinical/step-*")
    killed_when(root, "checkpoints/fits/ner_ro/clinical.2-2/step-*")
    fits = {p: p.stat().st_mtime_ns for p in (root / "runs/smoke/predictions/ner_ro").glob("*/*.parquet")}
    assert len(fits) >= 5
    (cut, _), (noted, _) = (fits.popitem() for _ in range(2))  # what a full disk may leave
    cut.write_bytes(cut.read_bytes()[:-100])
    noted.with_suffix(".json").write_text("{")
    finished(root)
    assert {p: p.stat().st_mtime_ns for p in others} == others, "a finished arm was trained again"
    assert {p: p.stat().st_mtime_ns for p in fits} == fits, "a finished fit was made again"
    for name in ("metrics", "comparisons", "masked_loss", "alignment"):
        stopped, whole = (pd.read_csv(r / f"results/{name}.csv") for r in (root / "runs/smoke", run))
        pd.testing.assert_frame_equal(stopped, whole)


def test_gold_in_is_gold_scored(run):
    for task in ("ner_ro", "ner_es"):
        gold = {}
        for test in ("ner_ro", "ner_es", "ner_nl"):
            lines = (run / f"corpora/tasks/{test}/test.jsonl").read_text().splitlines()
            gold[test] = sum(len(json.loads(line)["spans"]) for line in lines)
        for path in (run / f"predictions/{task}").glob("*/*.parquet"):
            rows = pd.read_parquet(path)
            assert rows[rows["kind"] == "gold"].groupby("test").size().to_dict() == gold
    fits = pd.read_csv(run / "predictions/ner_ro/fits.csv")
    assert set(fits["gold"]) == {gold["ner_ro"]} and set(fits["unreachable"]) == {0}


def test_metrics_are_those_of_the_predictions(run):
    metrics = pd.read_csv(run / "results/metrics.csv")
    rows = pd.read_parquet(run / "predictions/ner_es/clinical/seed-1.parquet").query("test == 'ner_es'")
    place = ["document", "start", "end", "label"]
    gold, found = (set(map(tuple, rows[rows["kind"] == k][place].to_numpy())) for k in ("gold", "predicted"))
    f1 = 2 * len(gold & found) / (len(gold) + len(found))
    fit = metrics.query("task == 'ner_es' and test == 'ner_es' and arm == 'clinical' and seed == 1")
    assert fit.query("metric == 'f1' and label == 'all'")["value"].item() == pytest.approx(f1)
    assert {"dictionary", "keywords", "base", "general", "clinical_nl"} <= set(metrics["arm"])
    assert {"ANAT", "CHEM", "DISO", "PROC", "all"} == set(metrics.query("task == 'ner_es'")["label"])


def test_general_text_is_as_new_to_its_arms_as_medical_text(run):
    for arm in ("general", "general_nl", "biomedical", "clinical", "clinical_nl"):
        read = pd.read_csv(run / f"models/{arm}/mixture.csv")
        assert len(read) and read["new"].tolist() == read["tokens read"].tolist(), arm


def test_random_weights_have_the_shape_of_the_base_and_read_nothing(run):
    base, drawn = (load_file(run / f"models/{name}/model.safetensors") for name in ("base", "untrained"))
    assert {k: v.shape for k, v in base.items()} == {k: v.shape for k, v in drawn.items()}
    changed = [k for k in base if not torch.equal(base[k], drawn[k])]
    assert any("attn" in k for k in changed) and any("embed" in k for k in changed)
    curve = pd.read_csv(run / "models/untrained/training.csv")
    losses = curve.drop(columns=["step", "tokens", "loss"])
    assert curve["tokens"].tolist() == [0] and np.allclose(losses, np.log(1000), atol=0.1), "as good as guessing"
    scored = pd.read_csv(run / "results/metrics.csv").query("arm == 'untrained' and metric in ('f1', 'auprc')")
    assert {"ner_ro", "ner_es", "screening_nl"} == set(scored["task"])
    for name in ("gains", "alignment", "masked_loss"):
        assert "untrained" not in set(pd.read_csv(run / f"results/{name}.csv")["arm"]), name


def test_copies_and_label_budgets_are_used(run):
    weights = [(run / f"models/{name}/model.safetensors").read_bytes() for name in ("clinical", "clinical.2")]
    assert weights[0] != weights[1]
    comparisons = pd.read_csv(run / "results/comparisons.csv")
    assert set(comparisons.query("arm == 'clinical'")["copies"]) == {2}
    assert set(comparisons.query("arm == 'biomedical' and against == 'general'")["copies"]) == {1}
    points, worth = (pd.read_csv(run / f"results/{name}.csv") for name in ("budgets", "worth"))
    assert points["arm"].tolist() == ["general"] * 2 + ["clinical"] * 2
    assert points["items"].tolist() == [12, 24] * 2
    assert worth["arm"].tolist() == ["clinical"]
    half, whole = (
        pd.read_parquet(run / f"predictions/ner_ro/{place}clinical/seed-1.parquet") for place in ("shares/0.5/", "")
    )
    assert set(half["test"]) == {"ner_ro"} < set(whole["test"])


def test_kept_models_find_again_what_they_found_in_the_run(run):
    kept = pd.read_parquet(run / "predictions/ner_ro/clinical/seed-1.parquet").query(
        "kind == 'predicted' and test == 'ner_ro'"
    )
    found = application.tag(run / "finetuned/ner_ro/clinical", tasks.split(run, "ner_ro", "test"))
    assert {(d.id, s.start, s.end, s.label) for d in found for s in d.spans} == {
        *kept[["document", "start", "end", "label"]].itertuples(index=False, name=None)
    }
    assert len(kept)
    kept = pd.read_parquet(run / "predictions/screening_nl/clinical/seed-1.parquet").query("split == 'test'")
    found = application.screen(run / "finetuned/screening_nl/clinical", tasks.split(run, "screening_nl", "test"))
    same = found.set_index("patient").loc[kept["patient"]]
    for column in ("score", "probability", "flagged"):
        assert same[column].tolist() == pytest.approx(kept[column].tolist(), rel=1e-4, abs=1e-5), column
    assert not (run / "finetuned/ner_es").exists()


def test_report_opens_without_a_network_and_its_links_work(run):
    html = (run / "report.html").read_text()
    assert "ynthetic" in html
    assert html.count("data:image/png;base64,") >= 4
    assert not re.findall(r"""(?:src|href)=["']https?://""", html.replace('href="https://github.com', ""))
    for link in re.findall(r'href="([^"#:]+)"', html):
        assert (run / link).exists(), link
    for page in (run / "notebooks").glob("*.html"):
        assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?://""", page.read_text()), page.name


def test_claims_and_provenance_are_complete(run):
    claims = json.loads((run / "results/claims.json").read_text())
    assert claims["synthetic"] is True
    assert [c["claim"] for c in claims["claims"]] == ["C1", "C2", "C3a", "C3b", "C4"]
    assert all(c["verdict"] in ("supported", "contradicted", "inconclusive") for c in claims["claims"])
    origin = json.loads((run / "provenance.json").read_text())
    stages = origin["stages"]
    assert {stage["id"] for stage in stages} == {stage.id for stage in settings.load("smoke").stages()}
    assert all(stage["seconds"] > 0 and stage["memory_mb"] > 50 and stage["status"] == "done" for stage in stages)
    assert origin["profile_sha256"] == json.loads((run / "plan.json").read_text())["profile_sha256"]
    assert (origin["packages"]["torch"], origin["run"]) == (version("torch"), "smoke")


def test_a_training_anew_is_added_to_the_published_numbers(run, tmp_path, monkeypatch):
    for module in (trainings, publishing):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "paper").mkdir()
    publishing.publish(run)
    anew = tmp_path / "runs" / "smoke"
    for folder in ("results", "corpora"):
        shutil.copytree(run / folder, anew / folder)
    origin = json.loads((run / "provenance.json").read_text())
    origin["profile"]["pretrain"]["seed"] += 2
    (anew / "provenance.json").write_text(json.dumps(origin))
    first = published.numbers(run)
    publishing.repeat(anew)
    found = published.compare(run, json.loads((run / "provenance.json").read_text()))
    assert (found["same_profile"], found["trainings"], found["count"]) == (True, 2, len(first))
    random = {row["name"] for row in first if row["tolerance"] > 1e-8}
    assert {row["name"] for row in found["rows"] if "again" in row} == random
    assert len(random) > 20
    page = report.render(run, json.loads((run / "provenance.json").read_text()))
    claims = json.loads((run / "results" / "claims.json").read_text())["claims"]
    assert page.count("<p>2 published runs that differ in the seeds of pre-training alone: ") == len(claims)
    assert "mean of 2 trainings" in page
    assert all(" in 2" in claim["again"] or " in 1, " in claim["again"] for claim in paper.numbers(run)["claims"])
    assert "Every arm is pre-trained once" not in page  # clinical is, twice


def test_every_notebook_runs_as_it_stands(run, tmp_path, monkeypatch):
    """From top to bottom in order, from notebooks/, with no parameters, as in JupyterLab after a run."""
    root = copied(tmp_path / "reader")
    shutil.copytree(run, root / "runs" / "smoke")
    for name in [name for name in os.environ if name.startswith("HELPERS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    for page in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(page, as_version=4)
        place = {"metadata": {"path": str(root / "notebooks")}}
        nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
        shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
        assert len(shown) >= 2, f"{page.stem} shows a reader nothing"
    kept = {path.name for path in (root / "runs/smoke/status").glob("*.json")}
    assert kept == {path.name for path in (run / "status").glob("*.json")}, "the notebooks' values are not the run's"


def test_labs_are_solved_by_their_solutions_and_say_no_without(run, checkout, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("HELPERS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(checkout / "src"))
    small = {"1_adaptation": {"tokens": 4000}, "2_evidence": {}, "3_leaks": {"tokens": 4000}}
    for name, values in small.items():
        how = {"parameters": {"run": "smoke", **values}, "kernel_name": "python3", "progress_bar": False}
        folder, done = checkout / "teaching", tmp_path / f"{name}.ipynb"
        papermill.execute_notebook(folder / "solutions" / f"{name}.ipynb", done, cwd=folder, **how)
        with pytest.raises(papermill.PapermillExecutionError, match="NameError"):
            papermill.execute_notebook(folder / f"{name}.ipynb", done, cwd=folder, **how)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("1_adaptation", '"general": {language: 1.0}},', '"biomedical": {language: 1.0}},'),
        ("2_evidence", '["document", "label", "start", "end"]', '["document", "start"]'),
        ("3_leaks", '"leaked": {language: 1.0}},', "},"),
    ],
)
def test_labs_refuse_a_wrong_answer(run, checkout, tmp_path, monkeypatch, name, right, wrong):
    for variable in [variable for variable in os.environ if variable.startswith("HELPERS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PYTHONPATH", str(checkout / "src"))
    text = (checkout / "teaching" / "solutions" / f"{name}.ipynb").read_text()
    changed = text.replace(json.dumps(right)[1:-1], json.dumps(wrong)[1:-1])
    assert changed != text
    (tmp_path / "wrong.ipynb").write_text(changed)
    how = {"parameters": {"run": "smoke"}, "kernel_name": "python3", "progress_bar": False, "cwd": tmp_path}
    with pytest.raises(papermill.PapermillExecutionError, match="AssertionError"):
        papermill.execute_notebook(tmp_path / "wrong.ipynb", tmp_path / "done.ipynb", **how)


def test_nothing_is_done_twice(run, checkout):
    began = time.time()
    finished(checkout)
    assert all(json.loads(path.read_text())["started"] < began for path in (run / "status").glob("*.json"))


def test_an_added_arm_leaves_the_others_alone(run, checkout):
    profile = checkout / "profiles/smoke.yaml"
    before, arms, after = re.fullmatch(r"(.*\narms:\n)(.*?)(\n\n.*)", profile.read_text(), re.DOTALL).groups()
    added = "  - {name: mixed, parent: clinical, text: {biomedical: {es: 1}}, tokens: 3000}"
    kept = kept_times(run)
    alone = "arms=[base, general, biomedical, clinical, general_nl, clinical_nl]"
    command = [sys.executable, "-m", "runner.front_door", "smoke", "--offline"]
    command += [f"--set=tasks.{task}.{alone}" for task in ("ner_es", "screening_nl")]  # one task has the new arm
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    how = {"cwd": checkout, "env": environment, "capture_output": True, "text": True, "check": True}
    profile.write_text(f"{before}{arms}\n{added}{after}")
    try:
        done = subprocess.run([*command, "--dry-run"], **how)
        assert "02_pretrain-mixed" in done.stdout
        assert "02_pretrain-clinical " not in done.stdout
        subprocess.run(command, **how)
    finally:
        profile.write_text(f"{before}{arms}{after}")
    assert {path: time for path, time in kept_times(run).items() if path in kept} == kept
    assert (run / "predictions/ner_ro/mixed/seed-2.parquet").is_file()


def kept_times(run: Path) -> dict[Path, int]:
    files = [*run.glob("models/*/model.safetensors"), *run.glob("predictions/*/*/*.parquet")]
    return {path: path.stat().st_mtime_ns for path in files}

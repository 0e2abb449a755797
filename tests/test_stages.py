"""The spine under a small project: what is stale, what a kill or an error leaves, and what comes back."""

import ast
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.project import Mistake, bare_code
from runner import notebooks, provenance, stages


def wait_for(condition, seconds=40.0):
    """Poll until `condition()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def status(project, stage):
    return stages.read_status(project.run_folder, stage)


def test_first_run_makes_every_product_and_page(finished):
    assert "report: runs/mini/report.html" in finished.first.stdout
    for stage in ("01_first", "02_fit-x", "02_fit-y", "03_join", "04_draw"):
        assert status(finished, stage)["status"] == "done"
        assert status(finished, stage)["memory_mb"] > 20
        assert (finished.run_folder / "notebooks" / f"{stage}.html").is_file()


def test_second_run_does_nothing(finished):
    finished.executed()
    done = finished.run("mini")
    assert (done.returncode, finished.executed()) == (0, [])
    assert done.stdout.count(" kept ") == 5


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ("colour=red", ["04_draw", "report"]),
        ("length=11", ["01_first", "02_fit-x", "02_fit-y", "03_join", "04_draw", "report"]),
        ("z=1", ["02_fit-z", "03_join", "04_draw", "report"]),
    ],
)
def test_dry_run_lists_only_what_depends_on_a_change(finished, change, stale):
    done = finished.run("mini", "--dry-run", "--set", change)
    assert [line.split()[0] for line in done.stdout.splitlines()] == stale
    assert finished.run("mini", "--dry-run").stdout == "nothing to do: all products are up to date\n"


def test_dry_run_names_the_changed_value(finished):
    assert "changed value: colour blue -> red" in finished.run("mini", "--dry-run", "--set", "colour=red").stdout


def test_prose_makes_nothing_stale_and_code_does(finished):
    file = finished.root / "notebooks" / "04_draw.py"
    original = file.read_text()
    file.write_text(original.replace("# # 04_draw", "# # Another title"))
    done = finished.run("mini", "--dry-run")
    assert done.stdout.splitlines()[1:] == ["nothing to do: all products are up to date"]
    helper = finished.root / "src" / "helpers" / "scribe.py"
    code = helper.read_text()
    helper.write_text(
        code.replace("Writes a product", "Puts down a product").replace(
            "    write_atomically", "    # why\n    write_atomically"
        )
    )
    assert "nothing to do" in finished.run("mini", "--dry-run").stdout
    helper.write_text(code.replace("return product", "return str(product)"))
    assert "its code changed" in finished.run("mini", "--dry-run").stdout
    helper.write_text(code)


def test_only_from_and_force_run_what_they_say(finished):
    finished.executed()
    for arguments, expected in (
        (["--only", "02_fit"], {"02_fit-x", "02_fit-y"}),
        (["--from", "03_join"], {"03_join", "04_draw"}),
        (["--force", "04_draw"], {"04_draw"}),
    ):
        assert finished.run("mini", *arguments).returncode == 0
        assert set(finished.executed()) == expected
    assert finished.run("mini", "--force", "--dry-run").stdout.count("asked for") == 6


def test_only_on_a_fresh_project_names_what_is_missing(project):
    done = project.run("mini", "--only", "03_join")
    assert done.returncode == 2
    assert "--only 03_join: it needs models/x/training.csv, which is not made yet" in done.stderr


def test_error_in_a_notebook_stops_the_run_names_the_cell_and_goes_on_after_the_fix(project):
    parameters = 'run = "mini"\narms = ["x"]'
    body = 'made = write("results/metrics.csv", "metric,value\\n")'
    project.write_notebook("03_join", parameters, f'extra = 1\n{body}\nraise ValueError("no such luck")')
    done = project.run("mini")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-3:]
    assert last == [
        'failed: stage 03_join, cell [3]: `raise ValueError("no such luck")`',
        "ValueError: no such luck",
        "kept notebook: runs/mini/notebooks/03_join.ipynb",
    ]
    kept = project.run_folder / "notebooks" / "03_join.ipynb"
    assert "no such luck" in kept.read_text()
    assert "no such luck" in kept.with_suffix(".html").read_text()
    assert "04_draw" not in project.executed()
    assert not (project.run_folder / "report.html").exists()
    project.write_notebook(
        "03_join",
        parameters,
        'made = write("results/metrics.csv", "task,test,language,arm,seed,split,label,metric,value\\n")',
    )
    assert project.run("mini").returncode == 0
    assert project.executed() == ["03_join", "04_draw"]
    project.write_notebook("03_join", parameters, "raise ValueError")
    told = {line.split()[0]: line.split()[1] for line in project.run("mini").stdout.splitlines() if line}
    assert (told["02_fit-x"], told["03_join"], told["04_draw"]) == ("kept", "failed", "waiting")


def test_dead_kernel_fails_the_stage(project):
    project.write_notebook("01_first", 'run = "mini"\nlength = 10', "os.kill(os.getpid(), 9)")
    done = project.run("mini")
    assert done.returncode == 1
    assert "failed: stage 01_first, cell [3]: `import os`\nDeadKernelError: the kernel died" in done.stderr


def test_page_that_cannot_be_written_fails_the_stage_and_says_so(project):
    (project.run_folder / "notebooks" / "01_first.html").mkdir(parents=True)
    done = project.run("mini")
    assert done.returncode == 1
    assert "failed: stage 01_first\nIsADirectoryError: " in done.stderr


def test_missing_product_fails_the_stage(project):
    project.write_notebook("01_first", 'run = "mini"\nlength = 10', "pass")
    done = project.run("mini")
    assert "Mistake: the notebook ended without making corpora/statistics.csv" in done.stderr


# Waits for ever the first time, as training that is killed; each start leaves its process id.
SLOW = """
import pathlib, time
from common.project import RUNS
starts = RUNS / "mini" / "models" / "starts"
starts.parent.mkdir(parents=True, exist_ok=True)
print(os.getpid(), file=starts.open("a"), flush=True)
time.sleep(0 if len(starts.read_text().split()) > 1 else 600)
"""


def alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_a_file_system_without_locks_ends_no_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(stages.fcntl, "flock", refuse)
    with stages.lock(tmp_path / "lock", "busy"):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("whom", ["group", "front door"])
def test_kill_nine_leaves_no_orphan_and_the_next_run_goes_on(project, whom):
    done = 'made = write("models/%s/training.csv" % arm, "loss\\n1\\n")'
    project.write_notebook("02_fit", 'run = "mini"\narm = "x"\npause = 0', SLOW + done)
    process = project.start("mini", "--jobs", "1")
    starts = project.run_folder / "models" / "starts"
    wait_for(lambda: starts.is_file() and starts.read_text().strip())
    kernel = starts.read_text().strip()
    second = project.run("mini")
    if whom == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(kernel), seconds=10)
    assert second.returncode == 2
    assert second.stderr.startswith(f"run_all.sh: runs/mini: another run is at work (process {process.pid} on ")
    assert "not finished (running)" in project.run("mini", "--dry-run").stdout
    project.executed()
    again = project.run("mini")
    assert again.returncode == 0, again.stdout + again.stderr
    assert sorted(project.executed()) == ["02_fit-x", "02_fit-y", "03_join", "04_draw"]


def test_need_makes_what_is_missing_and_says_so(project):
    def asked(product, **more):
        code = f"from runner import stages; print(stages.need('mini', {product!r}))"
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=project.root,
            env=project.environment() | more,
            text=True,
            capture_output=True,
        )

    inside = asked("models/x/training.csv", HELPERS_STAGE="03_join")
    assert "Mistake: stage 03_join needs models/x/training.csv, which no stage before it made" in inside.stderr
    first, last = asked("models/x/training.csv").stdout.splitlines()[-2:]
    assert first == "making what is needed first: the stages up to 02_fit-x of profile mini ..."
    assert last.endswith("runs/mini/models/x/training.csv")
    assert sorted(project.executed()) == ["01_first", "02_fit-x"]
    assert asked("02_fit-x").stdout.endswith("runs/mini\n")
    assert project.executed() == []
    assert "no stage of profile mini makes 'nothing'" in asked("nothing").stderr
    told = "no stage of profile mini makes '02_fit-w'; of its kind there are 02_fit-x, 02_fit-y"
    assert told in asked("02_fit-w").stderr


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Runs of 05 that were made with other values than stand in the notebook, and the names of a reader's kernel."""
    values = notebooks.declared(notebooks.FOLDER / "05_figures.ipynb")
    for run in ("smoke", "demo"):
        parameters = values | {"run": run, "draws": 7, "dpi": 8, "data": "a digest"}
        stage = {"id": "05_figures", "notebook": "05_figures", "parameters": parameters}
        stage |= {"inputs": ["results/metrics.csv"], "outputs": ["results/claims.json"]}
        (tmp_path / run / "status").mkdir(parents=True)
        (tmp_path / run / "plan.json").write_text(json.dumps({"stages": [stage]}))
        (tmp_path / run / "status" / "05_figures.json").write_text('{"status": "done"}')
    monkeypatch.setattr(stages, "RUNS", tmp_path)
    monkeypatch.delenv("HELPERS_STAGE", raising=False)
    names = values | {"of": "the reader"}
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(user_ns=names))
    return names


def test_values_of_one_run_are_not_mixed_into_another(reader, tmp_path):
    """A notebook opened by hand, its `run` changed and nothing else."""
    reader["run"] = "demo"
    said = r"draws = 7, not 1000 \(and 1 more\); open runs/demo/notebooks/05_figures.ipynb"
    with pytest.raises(Mistake, match=said):
        stages.need("demo", "results/claims.json")
    reader |= {"draws": 7, "dpi": 8}
    (tmp_path / "demo" / "results").mkdir()
    assert stages.need("demo", "results") == tmp_path / "demo" / "results"
    assert stages.read_status(tmp_path / "demo", "05_figures") == {"status": "done"}


def test_a_stage_tried_out_with_other_values_counts_as_not_made(reader, tmp_path):
    (tmp_path / "smoke" / "results").mkdir()
    assert stages.need("smoke", "results") == tmp_path / "smoke" / "results"
    assert stages.read_status(tmp_path / "smoke", "05_figures") == {}


def test_a_reader_is_told_of_what_is_older_than_what_it_was_made_from(reader, tmp_path, capsys):
    results = tmp_path / "smoke" / "results"
    results.mkdir()
    for name, made in (("metrics.csv", 100), ("claims.json", 200)):
        (results / name).write_text("")
        os.utime(results / name, (made, made))
    for product in ("05_figures", "results/claims.json"):
        stages.need("smoke", product)
        assert capsys.readouterr().out == ""
        os.utime(results / "metrics.csv", (300, 300))
        stages.need("smoke", product)
        told = "05_figures is older than results/metrics.csv, which it reads: run it again, or this page mixes both\n"
        assert capsys.readouterr().out == told
        os.utime(results / "metrics.csv", (100, 100))


def test_digest_follows_imports_and_ignores_prose(tmp_path, monkeypatch):
    def notebook(*cells):
        rows = [{"cell_type": "code", "source": [source], "metadata": {}} for source in cells]
        file = tmp_path / "one.ipynb"
        file.write_text(json.dumps({"cells": rows}))
        return notebooks.code_digest(file)

    assert notebook("a = 1  # why") == notebook("a = 1")
    assert notebook("a = 1") != notebook("a = 2")
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    (place := tmp_path / "src" / "helpers").mkdir(parents=True)
    (place / "first.py").write_text("def f():\n    from helpers import second")
    found = [(place / "second.py").write_text(a) and notebook("from helpers import first") for a in ("a = 1", "a = 2")]
    assert found[0] != found[1], "of what an imported module imports"
    told, bare = (ast.parse(f"def f():\n{prose}    return 1") for prose in ('    """Say."""\n', ""))
    assert bare_code(told) == bare_code(bare)


@pytest.mark.parametrize(
    ("cell", "injected", "message"),
    [
        ("a = 1", {"a": 2, "b": 1}, "has no parameter 'b'; allowed: a"),
        ("a = 1\nb = 2", {"a": 1}, "parameter 'b' of one.ipynb gets no value"),
        ("a = 1", {"a": 1.0}, "parameter 'a' of one.ipynb is int, found float"),
        ("a = 1", {"a": True}, "parameter 'a' of one.ipynb is int, found bool"),
        ("a = 1\na += 1", {"a": 1}, "parameters cell has `a += 1`; allowed: name = literal"),
        ("a = len('x')", {"a": 1}, "is no plain literal"),
    ],
)
def test_injected_parameters_must_be_the_declared_ones(tmp_path, cell, injected, message):
    file = tmp_path / "one.ipynb"
    file.write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": cell, "metadata": {"tags": ["parameters"]}}]})
    )
    with pytest.raises(Mistake, match=r"^(stage s|one.ipynb)") as caught:
        notebooks.check_parameters("s", file, injected)
    assert message in str(caught.value)


def test_pages_load_nothing(finished):
    for page in [*(finished.run_folder / "notebooks").glob("*.html"), finished.run_folder / "report.html"]:
        text = page.read_text()
        assert not re.findall(r"<script|<link[^>]+href=\"http|src=\"(?!data:)[^\"]", text), page


def test_links_of_the_report_lead_to_files(finished):
    text = (finished.run_folder / "report.html").read_text()
    links = [link for link in re.findall(r'href="([^"]+)"', text) if not link.startswith("data:")]
    assert len(links) > 10
    assert [link for link in links if not (finished.run_folder / link).exists()] == []


def test_provenance_names_everything(finished):
    origin = json.loads((finished.run_folder / "provenance.json").read_text())
    assert origin["packages"]["torch"].startswith("2.")
    assert origin["seeds"] == {"seed": 1}
    assert len(origin["profile_sha256"]) == 64
    assert [stage["id"] for stage in origin["stages"]] == ["01_first", "02_fit-x", "02_fit-y", "03_join", "04_draw"]
    assert all(stage["seconds"] > 0 and stage["memory_mb"] > 0 for stage in origin["stages"])
    assert {"commit", "dirty", "device", "python", "data", "seconds"} <= set(origin)


def test_the_commit_is_never_that_of_a_folder_around_the_compendium(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "another"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    found = provenance.commit()
    assert len(found["commit"]) == 40 and not found["dirty"]
    (tmp_path / "below").mkdir()
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "below")
    assert provenance.commit() == {"commit": None, "dirty": None}


def test_a_run_whose_folder_is_a_link_is_called_by_its_name(project, tmp_path):
    (tmp_path / "scratch").mkdir()
    project.run_folder.parent.mkdir()
    project.run_folder.symlink_to(tmp_path / "scratch")
    made_by = project.root / "src/runner/report.py"  # which is to tell how it was called
    text = made_by.read_text().replace("-> None:\n", '-> None:\n    (run / "called").write_text(str(run))\n')
    made_by.write_text(text)
    done = project.run("mini")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "scratch" / "called").read_text() == str(project.run_folder)

"""What run_all.sh says: one line for every mistake, before any work; a failed set-up never looks ready."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner import front_door as front_door_module
from runner import report, settings

ROOT = Path(__file__).resolve().parents[1]


def front_door(*arguments, **more):
    """Call the front door of this checkout as run_all.sh does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | more
    return subprocess.run(
        [sys.executable, "-m", "runner.front_door", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smoke", "--bogus"], "unrecognized arguments: --bogus"),
        (["smoke", "--jobs", "many"], "argument --jobs: found 'many', allowed is a whole number above 0"),
        (["smoke", "--only"], "argument --only: expected one argument"),
        (["smoke", "--only", ""], "--only: found nothing; give it a value, or leave it out"),
        (["smoke", "--mirror", ""], "--mirror: found nothing"),
        ([f"{300 * 'a'}.yaml"], "File name too long"),
        (["smoke", "--only", "a", "--from", "b"], "--only and --from exclude each other"),
        (["smoke", "--only", "a", "--force", "b"], "--force excludes --only and --from"),
        (["smoke", "--from", "a", "--force"], "--force excludes --only and --from"),
        (["smoke", "--list", "--status"], "--dry-run, --list and --status exclude each other"),
        (["nowhere"], "'nowhere' is unknown; allowed: "),
        (["nowhere.yaml"], "'nowhere.yaml'"),
        (["smoke", "--only", "09_nothing"], "stage '09_nothing' is unknown; allowed: 00_start_here, "),
        (["smoke", "--from", "09_nothing"], "stage '09_nothing' is unknown"),
        (["smoke", "--force", "09_nothing"], "stage '09_nothing' is unknown"),
        (["smoke", "--set", "pretrain.lenght=64"], "lenght: unknown key; allowed: "),
        (["smoke", "--set", "pretrain.length=long"], "pretrain.length"),
        (["smoke", "--set", "pretrain.length"], "no `=` found"),
        (["smoke", "--set", "tasks.ner_es.source=hiv"], "smoke: tasks.ner_es: 'hiv' is unknown; allowed: synthetic, "),
        (["smoke", "--mirror", "no/such/folder"], "--mirror no/such/folder: no such folder"),
    ],
)
def test_a_mistake_is_one_line_within_ten_seconds(arguments, message):
    start = time.monotonic()
    done = front_door(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("run_all.sh: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert time.monotonic() - start < 10


def test_compiling_needs_a_compiler_and_says_so(tmp_path):
    done = front_door("smoke", "--set", "compute.compiled=true", PATH=str(tmp_path))
    assert done.returncode == 2
    assert (
        done.stderr
        == "run_all.sh: compute.compiled: true needs a C++ compiler (g++ or clang++); install one, or set false\n"
    )


def test_front_door_imports_no_torch():
    code = (
        "import sys; from runner import front_door, settings; print('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True
    )
    assert done.stdout == b"False\n", done.stderr


def test_rows_that_are_longer_than_the_base_s_positions_are_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(front_door_module, "RUNS", tmp_path)
    with pytest.raises(front_door_module.Mistake, match=r"ner\.length: 9000 is more than the base's 8192 positions"):
        front_door_module.check(settings.load("smoke", ["ner.length=9000"]), None, False, work=True)


def test_unknown_key_in_a_file_is_one_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: smoke\ncolour: blue\n")
    done = front_door(str(file), "--dry-run")
    assert done.returncode == 2
    assert "mine.yaml: colour: unknown key" in done.stderr


def test_list_names_profiles_and_stages():
    done = front_door("smoke", "--list")
    assert done.returncode == 0
    for name in settings.names():
        assert name in done.stdout
    assert "02_pretrain-clinical" in done.stdout


def test_notebook_parameter_that_nobody_declares_is_refused(project):
    project.write_notebook("04_draw", 'run = "mini"', "pass")
    done = project.run("mini")
    assert done.returncode == 2
    assert done.stderr == "run_all.sh: stage 04_draw: 04_draw.ipynb has no parameter 'colour'; allowed: run\n"
    assert project.executed() == []


@pytest.mark.parametrize(
    ("parameters", "body", "said"),
    [
        ("x = {[1]: 2}", "pass", "`x = {[1]: 2}` is no plain literal; write its value"),
        ("x = 1", "%matplotlib inline", "is no Python; commands of IPython are not allowed: '%matplotlib inline'"),
    ],
)
def test_a_notebook_s_cell_that_is_not_as_allowed_is_told(project, parameters, body, said):
    project.write_notebook("04_draw", parameters, body)
    done = project.run("mini")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


def test_unwritable_runs_is_refused(project):
    (project.root / "runs").write_text("a file where the folder should be")
    done = project.run("mini")
    assert done.returncode == 2
    assert done.stderr.startswith("run_all.sh: runs/mini: cannot be written (")
    assert done.stderr.count("\n") == 1


def test_pairs_are_synced_from_the_newer_file(finished):
    script, notebook = (finished.root / "notebooks" / f"04_draw.{end}" for end in ("py", "ipynb"))
    original, before = script.read_text(), notebook.read_text()
    script.write_text(original.replace("# # 04_draw", "# # A title"))
    os.utime(script, (time.time() + 60,) * 2)
    assert finished.run("mini", "--dry-run").stdout.startswith("04_draw.ipynb was made again from 04_draw.py")
    assert "# A title" in notebook.read_text()
    assert (finished.root / "notebooks/04_draw.ipynb~").read_text() == before  # it may have been edited as well
    notebook.write_text(notebook.read_text().replace("# A title", "# 04_draw"))
    os.utime(notebook, (time.time() + 120,) * 2)
    assert finished.run("mini", "--dry-run").stdout.startswith("04_draw.py was made again from 04_draw.ipynb")
    assert "# # 04_draw" in script.read_text()
    assert "# # A title" in (finished.root / "notebooks/04_draw.py~").read_text()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("04_draw.py", "# %%\nif:\n", "04_draw.py, code cell 1, line 1: invalid syntax: 'if:'"),
        ("04_draw.ipynb", "{", "04_draw.ipynb: no readable notebook ("),
    ],
)
def test_a_broken_notebook_is_named_and_its_partner_left_alone(project, name, content, said):
    project.run("mini", "--dry-run")  # makes the pairs
    broken = project.root / "notebooks" / name
    partner = broken.with_suffix(".ipynb" if broken.suffix == ".py" else ".py")
    before = partner.read_text()
    broken.write_text(content)
    os.utime(broken, (time.time() + 60,) * 2)
    done = project.run("mini", "--dry-run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"run_all.sh: {said}")
    assert partner.read_text() == before


def test_a_damaged_status_counts_as_none(project):
    (project.root / "runs/mini/status").mkdir(parents=True)
    for content in ("{", "[]"):
        (project.root / "runs/mini/status/04_draw.json").write_text(content)
        done = project.run("mini", "--status")
        assert (done.returncode, done.stderr) == (0, "")
        assert "not run" in done.stdout


def test_publish_copies_claims(finished):
    old = finished.root / "figures" / "mini" / "of_a_task_that_went.png"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.touch()
    assert "published: figures/mini/" in finished.run("mini", "--publish").stdout
    assert not old.exists()
    assert (finished.root / "figures" / "mini" / "claims.json").is_file()


def test_one_stage_made_again_and_published_has_its_report_made_again_too(finished):
    page, stage = (finished.root / "runs/mini" / name for name in ("report.html", "status/04_draw.json"))
    before = page.stat().st_mtime_ns, stage.stat().st_mtime_ns
    assert finished.run("mini", "--only", "04_draw", "--publish").returncode == 0
    assert page.stat().st_mtime_ns > before[0]
    assert stage.stat().st_mtime_ns > before[1]


def test_paths_are_those_of_the_caller(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: smoke")
    (tmp_path / "archives").mkdir()
    done = front_door("mine.yaml", "--dry-run", "--mirror", "archives", HELPERS_CALLED_FROM=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    done = front_door("profiles/smoke.yaml", "--dry-run", "--mirror", "gone", HELPERS_CALLED_FROM=str(tmp_path))
    assert done.stderr.startswith(f"run_all.sh: --mirror {tmp_path}/gone: no such folder; give the folder")


def test_the_code_of_the_report_is_where_its_key_looks():
    assert all(file.is_file() for file in report.MADE_BY)


def test_publish_needs_claims_and_leaves_nothing_without_them(project):
    done = project.run("mini", "--only", "01_first", "--publish")
    assert done.returncode == 2
    assert "run_all.sh: --publish: runs/mini has no claims yet; let the run come to its end first\n" in done.stderr
    assert not (project.root / "figures").exists()


def test_repeat_is_refused_before_any_work_where_nothing_is_published(project):
    done = project.run("mini", "--repeat")
    told = "run_all.sh: --repeat: nothing is published in figures/mini/numbers.json; publish a run first\n"
    assert (done.returncode, done.stderr) == (2, told)
    assert not list((project.root / "runs/mini").glob("status/*.json"))


def test_a_reader_that_has_gone_ends_the_listing_without_a_word():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "runner.front_door", "smoke", "--list"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_status_of_a_run_that_never_was(project):
    done = project.run("mini", "--status")
    assert done.returncode == 0
    assert done.stdout.count("not run") == 5


def write_program(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path):
    """A checkout without environment, and a folder of programs that is all of its PATH; no Python yet."""
    root, programs = tmp_path / "checkout", tmp_path / "programs"
    programs.mkdir()
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_all.sh", "requirements.lock", "environment.yml"):
        shutil.copy(ROOT / name, root)
    for name in ("awk", "df", "dirname", "tail", "head", "grep", "sed", "cat", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    return root, programs


def set_up(bare, *arguments, **more):
    root, programs = bare
    environment = {"PATH": str(programs), "HOME": str(root)} | more
    return subprocess.run(
        ["/bin/bash", "./run_all.sh", *arguments], cwd=root, env=environment, text=True, capture_output=True
    )


def add_python(bare):
    write_program(bare[1] / "python3", f'exec {sys.executable} "$@"')


def one_line(done, text):
    assert done.returncode != 0
    assert text in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return True


def test_no_python(bare):
    assert one_line(set_up(bare), "no Python 3.11 or newer among python3 python3.13 python3.12 python3.11")


def test_too_old_a_python(bare):
    write_program(bare[1] / "python3", "exit 1")
    assert one_line(set_up(bare, PYTHON="python3"), "no Python 3.11 or newer among python3;")


def test_no_venv_module(bare):
    write_program(bare[1] / "python3", f'case "$*" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"')
    assert one_line(set_up(bare), "has no venv module; install it")


def test_too_little_disk(bare):
    add_python(bare)
    (bare[1] / "df").unlink()
    write_program(bare[1] / "df", 'echo header; echo "disk 9 9 1048576 1% /"')
    assert one_line(set_up(bare), "1 GB free at ")
    assert one_line(set_up(bare, "test", "--help"), "1 GB free at "), "pytest has a help of its own, which needs one"


def test_misspelt_option_is_told_before_the_set_up(bare):
    add_python(bare)
    assert one_line(set_up(bare, "--ofline"), "unrecognized arguments: --ofline")
    assert not (bare[0] / ".venv").exists()


def test_help_needs_no_environment(bare):
    add_python(bare)
    done = set_up(bare, "--help")
    assert done.returncode == 0
    for (
        option
    ) in "--dry-run --list --status --only --from --force --offline --mirror --jobs --set --publish --repeat".split():
        assert option in done.stdout


def test_no_network_leaves_no_environment_that_looks_ready(bare):
    add_python(bare)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        assert one_line(set_up(bare, **nowhere), "the package index cannot be reached")
    assert not (bare[0] / ".venv" / ".ready").exists()
    assert (bare[0] / ".venv-setup.log").is_file()


def test_no_start_parses_the_grammar_of_web_addresses():
    script = "import sys, runner, papermill, nbconvert; sys.exit('lark' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False
    )
    assert done.returncode == 0

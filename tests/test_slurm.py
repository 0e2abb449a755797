"""Stages as jobs of Slurm, whose commands tests/fake_slurm.py stands in for."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

FAKE = Path(__file__).with_name("fake_slurm.py")
COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel", "sinfo", "scontrol")


@pytest.fixture
def cluster(project, monkeypatch):
    """The folder of a cluster's jobs; its commands are on the path."""
    place = project.root / "cluster"
    (place / "bin").mkdir(parents=True)
    for name in COMMANDS:
        command = place / "bin" / name
        command.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        command.chmod(0o755)
    front_door = project.root / "src" / "runner" / "front_door.py"
    front_door.write_text(front_door.read_text().replace("SLURM_SECONDS = 100, 10", "SLURM_SECONDS = 100, 1"))
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(place))
    return place


def jobs(cluster):
    """Stage -> what its last job asked for, and how it ended."""
    found = [json.loads(file.read_text()) for file in sorted(cluster.glob("*.json"), key=lambda file: int(file.stem))]
    return {job["asked"]["comment"].removeprefix("rule_"): job for job in found}


def test_every_stage_is_a_job_that_asks_for_what_the_profile_says(project, cluster):
    right = (project.root / "notebooks" / "03_join.py").read_text()
    project.write_notebook("03_join", 'run = "mini"\narms = ["x"]', 'raise ValueError("no join")')
    done = project.run("mini", "--executor", "slurm", "--jobs", "2")
    assert "stages run as jobs of Slurm" in done.stdout
    assert done.returncode == 1
    assert "failed: stage 03_join" in done.stderr
    assert "ValueError: no join" in done.stderr
    sent = jobs(cluster)
    assert {name: job["state"] for name, job in sent.items()} == {
        **dict.fromkeys(("01_first", "02_fit-x", "02_fit-y"), "COMPLETED"),
        "03_join": "FAILED",
    }
    asked = sent["02_fit-x"]["asked"]
    assert asked.items() >= {"gpus": "1", "cpus-per-task": "2", "p": "gpus", "C": "a100&nvlink"}.items()
    assert "gpus" not in sent["01_first"]["asked"]
    assert (sent["01_first"]["asked"]["mem"], sent["01_first"]["asked"]["cpus-per-task"]) == ("500", "1")
    status = json.loads((project.run_folder / "status" / "02_fit-y.json").read_text())
    assert (status["status"], status["threads"]) == ("done", 2)

    (project.root / "notebooks" / "03_join.py").write_text(right)
    (project.root / "notebooks" / "03_join.ipynb").unlink()
    done = project.run("mini", "--executor", "slurm")
    assert done.returncode == 0, done.stderr
    assert [*jobs(cluster)][-2:] == ["03_join", "04_draw"]  # the report is made here
    assert len(list(cluster.glob("*.json"))) == 6
    assert (project.run_folder / "report.html").is_file()


def test_what_slurm_refuses_is_told_in_its_words(project, cluster):
    done = project.run("mini", "--executor", "slurm", "--set", "partition=nowhere")
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert not jobs(cluster)


def test_ended_by_hand_its_jobs_are_cancelled(project, cluster, monkeypatch):
    monkeypatch.setenv("FAKE_SLURM_PATIENCE", "0")
    project.write_notebook("01_first", 'run = "mini"\nlength = 10', "import time; time.sleep(300)")
    process = project.start("mini", "--executor", "slurm")
    deadline = time.monotonic() + 60
    while "sacct -X" not in (cluster / "calls").read_text() if (cluster / "calls").is_file() else True:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)  # Snakemake forgets its jobs for as long as it asks for them
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=60)
    assert jobs(cluster)["01_first"]["state"] == "CANCELLED"


def test_two_runs_do_not_work_on_one_stage(project, cluster):
    """A job lives on when the run that sent it is killed; the next run must not write beside it."""
    over = project.run_folder.parent / "over"
    wait = f"import pathlib, time\nover = pathlib.Path({str(over)!r})\n"
    wait += "for _ in range(600):\n    time.sleep(0 if over.exists() else 0.2)"
    project.write_notebook("01_first", 'run = "mini"\nlength = 10', wait)
    process = project.start("mini", "--executor", "slurm")
    deadline = time.monotonic() + 60
    while not (project.run_folder / "status" / "01_first.json").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)  # not the job, which has a session of its own
    process.communicate()
    done = project.run("mini", "--executor", "slurm")
    over.touch()
    assert done.returncode == 1
    assert "another run is at work on 01_first (process " in "".join(
        file.read_text() for file in (project.run_folder / "logs" / "slurm").rglob("*.log")
    )


def test_without_slurm_nothing_is_begun(project, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = project.run("mini", "--executor", "slurm")
    told = "run_all.sh: --executor slurm: no sbatch here; start it where jobs are sent from, or leave --executor out\n"
    assert (done.returncode, done.stderr) == (2, told)

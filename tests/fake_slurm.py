#!/usr/bin/env python3
"""Stands in for Slurm's commands, under their names, in the forms that Snakemake calls them: jobs run here, at once.

What was submitted is kept in the folder $FAKE_SLURM, a file a job: its options, its process and how it ended.
"""

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path(os.environ["FAKE_SLURM"])
PATIENCE = float(os.environ.get("FAKE_SLURM_PATIENCE", "30"))  # seconds
PARTITIONS = ("gpus", "main")
CODE = """
import json, os, subprocess, sys
file, command, log = sys.argv[1:]
with open(log, "w") as out:
    ended = subprocess.run(command, shell=True, stdout=out, stderr=out).returncode
job = json.load(open(file))
job["state"] = job["state"] if job["state"] == "CANCELLED" else "FAILED" if ended else "COMPLETED"
json.dump(job, open(file + ".new", "w"))
os.replace(file + ".new", file)
"""


def options(words: list[str]) -> dict[str, str]:
    """Long and short options of a command line, by name without dashes."""
    found = {}
    while words:
        name, given, value = words.pop(0).partition("=")
        takes_next = not given and words and not words[0].startswith("-")
        found[name.lstrip("-")] = words.pop(0) if takes_next else value
    return found


def sbatch(words: list[str]) -> None:
    asked = options(words)
    if asked["p"] not in PARTITIONS:
        sys.exit(f"sbatch: error: invalid partition specified: {asked['p']}")
    number = next(number for number in itertools.count(1) if put(number, asked))
    file, log = PLACE / f"{number}.json", asked["output"].replace("%j", str(number))
    environment = os.environ | {"SLURM_JOB_ID": str(number), "SLURM_GPUS": asked.get("gpus", "")}
    command = [sys.executable, "-c", CODE, str(file), asked["wrap"], log]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)  # who submits a job need not wait for it
    process = subprocess.Popen(command, env=environment, cwd=asked["D"], start_new_session=True, **quiet)
    file.with_suffix(".pid").write_text(str(process.pid))
    print(number)


def put(number: int, asked: dict[str, str]) -> bool:
    """Keep a job under its number, whole at once; False where another one has it: jobs are submitted side by side."""
    beside = PLACE / f"{os.getpid()}.new"
    beside.write_text(json.dumps({"id": number, "name": asked["job-name"], "state": "RUNNING", "asked": asked}))
    try:
        os.link(beside, PLACE / f"{number}.json")
    except FileExistsError:
        return False
    return True


def srun(words: list[str]) -> None:
    while words and words[0].startswith("-"):
        words.pop(0)
    os.execvp(words[0], words)


def told(words: list[str]) -> None:
    """The state of a run's jobs; it waits for one that runs, as who has to ask again waits longer."""
    name, deadline = options(words).get("name"), time.monotonic() + PATIENCE
    while True:
        jobs = [json.loads(file.read_text()) for file in sorted(PLACE.glob("*.json"))]
        jobs = [job for job in jobs if job["name"] == name]
        if time.monotonic() > deadline or all(job["state"] != "RUNNING" for job in jobs):
            break
        time.sleep(0.1)
    for job in jobs:
        print(f"{job['id']}|{job['state']}")


def scancel(words: list[str]) -> None:
    for number in (word for word in words if word.isdigit()):
        file = PLACE / f"{number}.json"
        beside = PLACE / f"{os.getpid()}.new"
        beside.write_text(json.dumps(json.loads(file.read_text()) | {"state": "CANCELLED"}))
        os.replace(beside, file)
        os.killpg(int(file.with_suffix(".pid").read_text()), signal.SIGTERM)


def sinfo(words: list[str]) -> None:
    print("PARTITION", *PARTITIONS, sep="\n", end="*\n")


def scontrol(words: list[str]) -> None:
    print("MaxArraySize = 1001\nMinJobAge = 300 sec")


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    with (PLACE / "calls").open("a") as calls:
        print(shlex.join([name, *sys.argv[1:]]), file=calls)
    {"sacct": told, "squeue": told}.get(name, globals().get(name, print))(sys.argv[1:])

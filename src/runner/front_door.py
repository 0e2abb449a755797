"""What run_all.sh starts: checks before any work, one Snakemake run with its progress, and the table at the end."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.project import ROOT, RUNS, Mistake
from runner import checks, notebooks, options, publishing, stages
from texts import sources

REPORT = "report"
COMPILERS = ("g++", "clang++")
REFRESH_SECONDS = 0.5
LINE_SECONDS = 60  # between progress lines when no terminal is attached
SLURM_JOBS, SLURM_SECONDS = 100, 10  # at a time; between looks at them
PATIENCE = 20  # seconds for Snakemake to end by itself after Ctrl-C


def check(profile: Any, mirror: str | None, offline: bool, work: bool, slurm: bool = False) -> None:
    """Everything that can be known to fail is refused here, before any work; `work` = it is more than a look.

    `slurm`: stages run on other machines, which may have a compiler where this one has none.
    """
    if mirror is not None:
        sources.check_mirror(Path(mirror))
    profile.check_own()
    for line in notebooks.sync_pairs():
        print(line)
    for stage in profile.stages():
        path = notebooks.FOLDER / f"{stage.notebook}.ipynb"
        notebooks.check_parameters(stage.id, path, stage.parameters | stage.speed)
    if not work:
        return
    if not (slurm or any(map(shutil.which, COMPILERS))) and any(s.speed.get("compiled") for s in profile.stages()):
        raise Mistake(
            f"compute.compiled: true needs a C++ compiler ({' or '.join(COMPILERS)}); install one, or set false"
        )
    for folder in (RUNS / profile.run, *(RUNS / profile.run / below for below in ("status", "logs"))):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            shown = os.path.relpath(folder, ROOT)
            raise Mistake(f"{shown}: cannot be written ({error.strerror}); make it writable") from None
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    for stage in (stage for stage in profile.stages() if stage.parameters.get("base")):
        checks.base(profile, stage.parameters["base"], stages.read_status(RUNS / profile.run, stage.id))
    if profile.parts():
        sources.check(profile.parts(), Path(mirror) if mirror else None, offline)


def check_slurm(run: str) -> None:
    """Mistake where no jobs can be sent to Slurm from."""
    if not (shutil.which("sbatch") and shutil.which("sinfo")):
        raise Mistake("--executor slurm: no sbatch here; start it where jobs are sent from, or leave --executor out")
    print(f"stages run as jobs of Slurm: `squeue --me` has those that wait, runs/{run}/logs/slurm what they say")


def chosen(stage: str, plan: list[Any]) -> list[str]:
    """The ids that a STAGE argument means: one stage, or all stages of one notebook."""
    found = [s.id for s in plan if stage in (s.id, s.notebook)] or [REPORT] * (stage == REPORT)
    if not found:
        allowed = dict.fromkeys([s.notebook for s in plan] + [s.id for s in plan] + [REPORT])
        raise Mistake(f"stage {stage!r} is unknown; allowed: {', '.join(allowed)}")
    return found


def selection(asked: Namespace, plan: list[Any], run: Path) -> list[str]:
    """Snakemake's arguments for --only, --from and --force: which rules count, which run again, which target."""
    if not (asked.only or asked.since):
        # Products that a reader made by hand, perhaps with other values, are no run's: no stage recorded them.
        again = [s.id for s in plan if (run / s.outputs[0]).exists() and not stages.read_status(run, s.id)]
        again += chosen(asked.force, plan) if asked.force not in (None, "*") else []
        force = ["--forceall"] if asked.force == "*" else ["--forcerun", *again] if again else []
        return [*force, "--", "report.html"]
    allowed = first = chosen(asked.only or asked.since, plan)
    for stage in plan if asked.since else []:
        if any(set(stage.inputs) & set(s.outputs) for s in plan if s.id in allowed):
            allowed = [*dict.fromkeys([*allowed, stage.id])]
    chain = [s for s in plan if s.id in allowed]
    targets = [out for s in chain for out in s.outputs]
    missing = [i for s in chain for i in s.inputs if i not in targets and not (run / i).exists()]
    if missing:
        what = "--only" if asked.only else "--from"
        raise Mistake(f"{what} {first[0]}: it needs {missing[0]}, which is not made yet; leave out {what}")
    whole = all((run / out).exists() for s in plan for out in s.outputs if out not in targets)
    if asked.since or first == [REPORT] or (asked.publish and whole):  # the paper has the numbers of what is published
        allowed, targets = [*allowed, REPORT], ["report.html"]
    return ["--allowed-rules", *allowed, "--forcerun", *first, "--", *targets]


def snakemake(run: Path, plan: Path, where: list[str], arguments: Iterable[str]) -> list[str]:
    """The Snakemake command line for a run's folder; `where`: from `here` or `on_slurm`, values of --config last."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(run)),
        *("--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"),
        *("--scheduler", "greedy", *where, f"plan={plan}", *arguments),
    ]


def here(jobs: int | None) -> list[str]:
    """Snakemake's arguments for stages on this machine, with so many cores (None: all)."""
    return ["--jobs", str(jobs or os.cpu_count() or 1), "--latency-wait", "2", "--config"]


def on_slurm(jobs: int | None, profile: Any) -> list[str]:
    """Snakemake's arguments for stages as jobs of Slurm, so many at a time; what each asks for is in the plan."""
    asked = ["--executor", "slurm", "--jobs", str(jobs or SLURM_JOBS), "--latency-wait", "60"]  # files may be seen late
    asked += ["--slurm-init-seconds-before-status-checks", str(SLURM_SECONDS)]
    asked += ["--slurm-logdir", f"{RUNS / profile.run}/logs/slurm"]
    return [*asked, "--config", f"cores={profile.cluster.cores}"]


def environment(local: bool = True) -> dict[str, str]:
    """Snakemake's environment, without anybody's settings; `local`: stages end when this process is killed."""
    ours = {"PYTHONPATH": str(ROOT / "src"), "SNAKEMAKE_PROFILE": "none"}
    return os.environ | ours | ({"HELPERS_FRONT_DOOR": str(os.getpid())} if local else {})


def dry_run(profile: Any, arguments: list[str]) -> int:
    """Print which stages would run and why."""
    run = RUNS / profile.run
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        stages.write_plan(plan, profile)
        place = run if run.is_dir() else Path(folder)
        command = snakemake(place, plan, here(None), ["--dry-run", *arguments])
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Mistake(f"Snakemake: {_last(done.stdout + done.stderr)}")
    rule, found = "", {}
    for line in (done.stdout + done.stderr).splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind in ("rule", "localrule"):
            rule = rest.rstrip(":")
        elif kind == "reason:" and rule:
            found[rule] = rest
    known = {stage.id: stage for stage in profile.stages()} | {REPORT: None}
    lines = [f"{name:<34} {_reason(found[name], run, stage)}" for name, stage in known.items() if name in found]
    print("\n".join(lines) or "nothing to do: all products are up to date")
    return 0


def _reason(text: str, run: Path, stage: Any) -> str:
    """Snakemake's reason for a rule in our words; names the changed values where the last run recorded them."""
    before = stages.read_status(run, stage.id) if stage else {}
    if text.startswith("Params have changed"):
        old = before.get("parameters", {})
        changed = [k for k, v in stage.parameters.items() if v != old.get(k, v)] if stage else []
        shown = [f"{k} {old[k]} -> {stage.parameters[k]}" for k in changed]
        shown = [words if len(words) < 60 else words.split()[0] for words in shown]
        return f"changed value: {'; '.join(shown)}" if shown else "its code changed"
    words = {
        "Missing output": f"not finished ({before['status']})" if before else "not made yet",
        "Input files updated": "follows from a stage above",
        "Updated input": "an input is newer",
        "Forced": "asked for",
        "Set of input files": "its set of inputs changed",
        "Incomplete": "was stopped before its end",
    }
    return next((ours for theirs, ours in words.items() if text.startswith(theirs)), text)


def _last(log: str) -> str:
    """What a log says last: a message of Slurm's, or else a line that is no place in Snakemake's code."""
    lines = [line.strip() for line in reversed(log.splitlines()) if line.strip() != "message: None"]
    messages = [line.removeprefix("message: ") for line in lines if line.startswith("message: ")]
    return next((line for line in [*messages, *lines] if line and not line.startswith('File "')), "no message")


def watch(process: Any, run: Path, plan: list[Any], since: float) -> None:
    """Follow the stages' status files until Snakemake ends: a line when one starts and ends, and live progress."""
    seen: dict[str, str] = {}
    live, spoke, ended = sys.stderr.isatty(), time.monotonic(), False
    clear = "\r\033[K" if live else ""
    while not ended:
        ended = process.poll() is not None  # before the last look, so that nothing is missed
        progress = []
        for number, stage in enumerate(plan, start=1):
            status = stages.read_status(run, stage.id)
            state = status.get("status", "") if status.get("started", 0) >= since else ""
            if state != seen.get(stage.id, ""):
                seconds = f" in {status['seconds']:.0f} s" if "seconds" in status else ""
                print(f"{clear}[{number}/{len(plan)}] {stage.id}: {state}{seconds}", file=sys.stderr, flush=True)
                seen[stage.id] = state
            with contextlib.suppress(FileNotFoundError):  # it goes when the stage ends
                words = (run / "status" / f"{stage.id}.progress").read_text(encoding="utf-8")
                progress += [f"{stage.id} {words.strip()}"] * (state == "running")
        line = " | ".join(progress)
        if live:
            print(clear + line[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
        elif line and time.monotonic() - spoke > LINE_SECONDS:
            print(line, file=sys.stderr, flush=True)
            spoke = time.monotonic()
        time.sleep(0 if ended else REFRESH_SECONDS)


def work(profile: Any, where: list[str], arguments: list[str]) -> int:
    """Write the plan, run Snakemake under the run's lock, and tell how it ended; 0 when everything passed."""
    run, plan, since = RUNS / profile.run, profile.stages(), time.time()
    held = stages.lock(run / ".lock", f"runs/{run.name}: another run is at work")
    stages.write_plan(run / "plan.json", profile)
    log = run / "logs" / "snakemake.log"
    log.parent.mkdir(exist_ok=True)
    command, local = snakemake(run, Path("plan.json"), where, arguments), "slurm" not in where  # " #" ends values
    with log.open("w", encoding="utf-8") as out, held:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment(local), pass_fds=[held.fileno()])
        try:
            watch(process, run, plan, since)
        except KeyboardInterrupt:
            # Snakemake was told by the terminal, too; told once more while it cancels jobs of Slurm it may hang.
            with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.terminate()  # of one that has ended: nothing
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            process.kill()
            process.wait()
    return summary(run, plan, since, process.returncode, log)


def summary(run: Path, plan: list[Any], since: float, code: int, log: Path) -> int:
    """Print the table of stages, then the report's path or, last, every failed stage's cell, error and notebook."""
    table(run, plan, since)
    shown = os.path.relpath(run, ROOT)
    if code == 0:
        if (run / "report.html").is_file():
            print(f"report: {shown}/report.html")
        return 0
    failed = [s for s in (stages.read_status(run, stage.id) for stage in plan) if s.get("status") == "failed"]
    failed = [s for s in failed if s["started"] >= since]
    for status in failed:
        where = f", cell [{status['cell']}]: `{status['line']}`" if status["cell"] is not None else ""
        print(f"failed: stage {status['id']}{where}", file=sys.stderr)
        print(f"{status['error']}: {status['message']}", file=sys.stderr)
        print(f"kept notebook: {shown}/notebooks/{status['id']}.ipynb", file=sys.stderr)
    if not failed:
        text = log.read_text(encoding="utf-8")
        print(f"stopped; the same command goes on from here ({_last(text)}; {shown}/logs/{log.name})", file=sys.stderr)
    return 1


def table(run: Path, plan: list[Any], since: float = float("inf")) -> None:
    """Print stage, status, seconds and product.

    `kept`: made by an earlier run (started before `since`); `waiting`: made then from what has yet to be made again.
    """
    late: set[str] = set()
    print(f"\n{'stage':<34} {'status':<9} {'seconds':>7}  product")
    for stage in plan:
        status = stages.read_status(run, stage.id)
        state = status.get("status", "not run")
        if state == "done" and status["started"] < since < float("inf"):
            state = "waiting" if late & set(stage.inputs) else "kept"
        if state not in ("done", "kept"):
            late |= set(stage.outputs)
        seconds = f"{status['seconds']:.1f}" if "seconds" in status else "-"
        print(f"{stage.id:<34} {state:<9} {seconds:>7}  {os.path.relpath(run, ROOT)}/{stage.outputs[0]}")


def listing(profile: Any) -> None:
    """Print every profile with its description, and the stages of one."""
    from runner import settings

    for name in settings.names():
        print(f"{name:<14} {' '.join(settings.load(name, []).description.split())}")
    print(f"\nstages of {profile.run}:\n" + "\n".join(f"  {stage.id}" for stage in profile.stages()))
    print(checks.untestable(profile), end="", flush=True)


def make_until(profile: Any, stage: Any) -> None:
    """Make a stage and what it needs, without words; for readers who open one notebook. Mistake when it fails."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        check(profile, os.environ.get("HELPERS_MIRROR"), bool(os.environ.get("HELPERS_OFFLINE")), work=True)
        code = work(profile, here(None), ["--", *stage.outputs])
    if code:
        raise Mistake(" ".join(told.getvalue().strip().splitlines()[-3:]))


def run(asked: Namespace) -> int:
    """Do what the options ask for; the exit status."""
    from runner import settings

    profile = settings.load(asked.profile, asked.set)
    plan, folder = profile.stages(), RUNS / profile.run
    if asked.list:
        listing(profile)
        return 0
    if asked.status:
        table(folder, plan)
        return 0
    arguments = selection(asked, plan, folder)
    if mirror := asked.mirror or os.environ.get("HELPERS_MIRROR"):  # stages start in another folder
        os.environ["HELPERS_MIRROR"] = str(Path(mirror).resolve())
    if asked.offline:
        os.environ["HELPERS_OFFLINE"] = "1"
    offline, slurm = bool(os.environ.get("HELPERS_OFFLINE")), asked.executor == "slurm"
    check(profile, asked.mirror, offline, work=not asked.dry_run, slurm=slurm)
    if asked.repeat:
        publishing.check_repeatable(profile)
    if asked.dry_run:
        return dry_run(profile, arguments)
    if slurm:
        check_slurm(profile.run)
    print(checks.untestable(profile), end="", flush=True)
    code = work(profile, on_slurm(asked.jobs, profile) if slurm else here(asked.jobs), arguments)
    if code == 0 and asked.publish:
        publishing.publish(folder)
    if code == 0 and asked.repeat:
        publishing.repeat(folder)
    return code


def main(arguments: list[str]) -> int:
    """The exit status of one call of run_all.sh: 2 for a user's mistake, told in one line."""
    try:
        code = run(options.parse(arguments))
        sys.stdout.flush()
        return code
    except Mistake as mistake:
        print(f"run_all.sh: {' '.join(str(mistake).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_all.sh: stopped; the same command goes on from here", file=sys.stderr)
        return 130  # a shell's status for this
    except BrokenPipeError:  # who read the output, as `head` does, has gone; what is left of it must not be tried again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as above
    except OSError as error:
        print(
            f"run_all.sh: {error.filename or 'a file'}: {error.strerror or error}; mend it, or give another",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

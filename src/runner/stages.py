"""One stage: its staleness key, and its execution by papermill with status, progress and a page; `need` for readers."""

import argparse
import fcntl
import json
import os
import platform
import re
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from common.project import ROOT, RUNS, Mistake, digest, write_atomically
from runner import machine, notebooks

POLL_SECONDS = 1.0


def write_plan(path: Path, profile: Any) -> None:
    """Write what a run will do as JSON: the resolved profile and its stages, for Snakefile, runner and report."""
    content = profile.model_dump(mode="json")
    plan = {
        "run": profile.run,
        "description": profile.description,
        "synthetic": profile.synthetic,
        "profile_sha256": digest(content),
        "profile": content,
        "stages": [asdict(stage) | {"key": key(stage)} for stage in profile.stages()],
    }
    write_atomically(path, json.dumps(plan, indent=1, ensure_ascii=False))


def read_plan(path: Path) -> dict[str, Any]:
    """The plan that `write_plan` made."""
    return json.loads(path.read_text(encoding="utf-8"))


def key(stage: Any) -> str:
    """Staleness key of a stage: the values that change its results, and the code that it runs."""
    code = notebooks.code_digest(notebooks.FOLDER / f"{stage.notebook}.ipynb")
    return f"{digest([stage.parameters, stage.outputs])[:16]}-{code[:16]}"


def lock(file: Path, told: str) -> IO[str]:
    """Hold a file's lock until this process, and those that inherit it, have ended; Mistake if another one holds it.

    `told`: how it begins. A file system without locks goes without.
    """
    held = file.open("a+", encoding="utf-8")
    for _ in range(10):  # what was killed a moment ago needs a second to be gone
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.4)
            continue
        except OSError:
            pass
        held.truncate(0)
        print(f"process {os.getpid()} on {platform.node()}", end="", file=held, flush=True)
        return held
    held.seek(0)
    raise Mistake(f"{told} ({held.read()}); let it end first")


def read_status(run: Path, stage: str) -> dict[str, Any]:
    """What the last execution of a stage recorded; empty before the first, or where the file is damaged."""
    try:
        found = json.loads((run / "status" / f"{stage}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def peak_memory() -> int:
    """Largest resident memory of any child process that has ended, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20)


def _environment(run: Path, stage: str, threads: int) -> dict[str, str]:
    """What the kernel finds in its environment."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **dict.fromkeys(names, str(threads)),
        # Threads that spin while they wait for one another crawl as soon as anything else wants a core.
        "OMP_WAIT_POLICY": "PASSIVE",
        # But two threads of a small model that never spin are as slow as one: a step of the replica's base takes 55 ms,
        # 36 with this many turns, 32 with endless ones; beside a busy program 54, 69 and 95 or more.
        "GOMP_SPINCOUNT": "1000",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONSTARTUP": str(Path(__file__).with_name("startup.py")),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "HELPERS_STAGE": stage,
        "HELPERS_PROGRESS": str(run / "status" / f"{stage}.progress"),
    }


def _die_with_driver() -> None:
    """End this process soon after its parent or the front door was killed: nobody would know of it any more.

    The kernel watches this process in the same way (ipykernel), so no orphan writes into a run that was started again.
    """
    parent, door = os.getppid(), int(os.environ.get("HELPERS_FRONT_DOOR", "0"))
    while True:
        time.sleep(POLL_SECONDS)
        try:
            os.kill(door, 0) if door else None
        except ProcessLookupError:
            parent = -1
        if os.getppid() != parent:
            os._exit(1)


def _fault(error: BaseException, page: Path) -> dict[str, Any]:
    """Cell, error and message of a failed execution; `cell` is the number in brackets in the kept notebook."""
    fault = {"error": type(error).__name__, "message": " ".join(str(error).split())[:1000], "cell": None, "line": ""}
    if all(hasattr(error, name) for name in ("exec_count", "source", "ename", "evalue")):
        fault |= {"error": error.ename, "message": error.evalue, "cell": error.exec_count}
        # The first arrow of a traceback points at the line of the cell; an error without one has no such line.
        arrow = re.search(r"^-+> *\d+ (.*)", re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)), re.M)
        fault["line"] = (arrow[1] if arrow else error.source).strip().split("\n")[0]
    elif type(error).__name__ == "DeadKernelError":
        # A kernel that dies may do so before it has told the number of its cell, so papermill's marks are counted.
        cells = [c for c in json.loads(page.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        ran = [c for c in cells if c["metadata"]["papermill"]["status"] != "pending"]
        fault |= {"message": "the kernel died (killed, or out of memory)", "cell": len(ran)}
        fault["line"] = "".join(ran[-1]["source"]).strip().split("\n")[0]
    return fault


def _execute(run: Path, stage: dict[str, Any], page: Path) -> None:
    """Run the stage's notebook with its parameters; it is saved after every cell."""
    import papermill

    papermill.execute_notebook(
        notebooks.FOLDER / f"{stage['notebook']}.ipynb",
        page,
        parameters=stage["parameters"] | stage["speed"],
        kernel_name="python3",
        cwd=notebooks.FOLDER,
        progress_bar=False,
        autosave_cell_every=30,
        shutdown_kernel="immediate",  # the graceful way sometimes waits five seconds for nothing
    )
    for product in stage["outputs"]:
        if not (run / product).exists():
            raise Mistake(f"the notebook ended without making {product}")


def run_stage(run: Path, name: str, threads: int) -> int:
    """Execute one stage of the run's plan; 0 when it passed. Status, notebook and page are written in any case."""
    stage = next(stage for stage in read_plan(run / "plan.json")["stages"] if stage["id"] == name)
    page, start = run / "notebooks" / f"{name}.ipynb", time.time()
    os.environ.update(_environment(run, name, threads))
    status = {k: stage[k] for k in ("id", "notebook", "parameters", "key")}
    status |= {"product": stage["outputs"][0], "threads": threads, "started": start, "status": "running"}
    status |= {"device": machine.device()}
    page.parent.mkdir(parents=True, exist_ok=True)

    def record(**values: Any) -> None:
        status.update(values)
        write_atomically(run / "status" / f"{name}.json", json.dumps(status, indent=1, ensure_ascii=False))

    record()
    threading.Thread(target=_die_with_driver, daemon=True).start()
    try:
        _execute(run, stage, page)
        outcome: dict[str, Any] = {"status": "done"}
    except Exception as error:  # whatever a notebook raises belongs into its status
        outcome = {"status": "failed", **_fault(error, page)}
    except KeyboardInterrupt:
        outcome = {"status": "stopped"}
    training = 0.0
    try:
        if page.is_file():
            training = notebooks.seconds(page, "training")
            notebooks.write_page(page)
    except Exception as error:  # such as a template of nbconvert that is not installed
        if outcome["status"] == "done":
            outcome = {"status": "failed", **_fault(error, page)}
    record(**outcome, seconds=round(time.time() - start, 1), training_seconds=training, memory_mb=peak_memory())
    (run / "status" / f"{name}.progress").unlink(missing_ok=True)
    return int(outcome["status"] != "done")


def need(run: str, product: str) -> Path:
    """The run's folder for a stage's id, or the path of a product; a reader of one notebook gets it made first."""
    from runner import settings

    place = RUNS / run / product
    inside = "HELPERS_STAGE" in os.environ  # a stage of a run: Snakemake saw to it that all is there
    if not inside:
        _by_hand(run)
        _tell_older(RUNS / run, product)
    if place.exists() or (inside and "/" not in product):
        return place if place.exists() else RUNS / run
    if inside:
        raise Mistake(f"stage {os.environ['HELPERS_STAGE']} needs {product}, which no stage before it made")
    profile = settings.load(run, [])
    folders = Path(product).parents[:-1]  # what stands beside or below a declared product has the same maker
    for test in (
        lambda stage: product == stage.id or product in stage.outputs,
        lambda stage: any(Path(out).parent in (Path(product), *folders) for out in stage.outputs),
    ):
        for stage in filter(test, profile.stages()):
            if not all((RUNS / run / out).exists() for out in stage.outputs):
                from runner import front_door

                print(f"making what is needed first: the stages up to {stage.id} of profile {run} ...", flush=True)
                front_door.make_until(profile, stage)
            return RUNS / run if product == stage.id else place
    alike = [stage.id for stage in profile.stages() if stage.id.split("-")[0] == product.split("-")[0]]
    told = f"; of its kind there are {', '.join(alike)}" if alike else ""
    raise Mistake(f"no stage of profile {run} makes {product!r}{told}")


def _tell_older(run: Path, product: str) -> None:
    """Print if what a reader asks for is older than what it was made from, as when that was tried with other values."""
    for stage in read_plan(run / "plan.json")["stages"] if (run / "plan.json").is_file() else ():
        made = [run / out for out in stage["outputs"] if (run / out).exists()]
        if made and product in (stage["id"], *stage["outputs"]):
            read = {name: (run / name).stat().st_mtime for name in stage["inputs"] if (run / name).exists()}
            newer = [name for name, changed in read.items() if changed > min(out.stat().st_mtime for out in made)]
            if newer:
                print(f"{stage['id']} is older than {newer[0]}, which it reads: run it again, or this page mixes both")


def _by_hand(run: str) -> None:
    """See to it that a reader's notebook with other values than the run's does not pass for a stage of the run.

    In the run that the notebook names by itself, which is there to be tried out, the stage counts as not made. Mistake
    for any other run.
    """
    from IPython import get_ipython

    known, plan = getattr(get_ipython(), "user_ns", {}), RUNS / run / "plan.json"
    for page in notebooks.FOLDER.glob("[0-9]*.ipynb") if plan.is_file() else ():
        names = notebooks.declared(page)
        here = [s for s in read_plan(plan)["stages"] if s["notebook"] == page.stem and known.keys() >= names.keys()]
        for stage in here:
            values = {name: value for name, value in stage["parameters"].items() if name != "data"}  # no reader has it
            other = [name for name, value in values.items() if known[name] != value]
            if not other or {"arm", "task"} & {*other}:  # the same, or another stage of this notebook
                continue
            if names["run"] != run:
                raise Mistake(
                    f"run {run!r} was made with {other[0]} = {values[other[0]]!r}, not {known[other[0]]!r}"
                    f"{f' (and {len(other) - 1} more)' if other[1:] else ''}; "
                    f"open runs/{run}/notebooks/{stage['id']}.ipynb, which has the run's values"
                )
            (RUNS / run / "status" / f"{stage['id']}.json").unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """`python -m runner.stages RUN_FOLDER STAGE --threads N`, as the Snakefile calls it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("stage")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run, stage = options.run.resolve(), options.stage
    try:  # a job that was sent to a cluster may live on when the run that sent it was killed
        held = lock(run / "status" / f"{stage}.lock", f"runs/{run.name}: another run is at work on {stage}")
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    with held:
        return run_stage(run, stage, options.threads)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The graph of the study: which notebook makes what from what.

The front door (./run_all.sh) writes the profile's plan, one entry a stage, and starts Snakemake in the run's folder
with that plan. Snakemake decides what is stale: missing products, newer inputs, or another `key` (the stage's values
and the code that it runs). One stage is one execution of one notebook in its own process:

    00_start_here
    01_build_corpora --> 02_pretrain-<arm> --> 03_finetune-<task> --> 04_cross_lingual --> 05_figures --> report
                         (one an arm,          (one a task)
                          after its parent)

A stage's `output` names only what it writes last, small tables: Snakemake deletes these before it runs the stage
again, while checkpoints and predictions stay, so that finished arms and fits are found and kept.
"""

import sys
from pathlib import Path

from common.project import RUNS
from runner import report, stages

PLAN = stages.read_plan(Path(config["plan"]))
RUN = RUNS / PLAN["run"]  # as it is called: its folder may be a link
PYTHON = sys.executable

localrules: report  # on a cluster, too: it takes seconds


rule report:
    # The page that a person opens first, and where everything came from.
    input: [product for stage in PLAN["stages"] for product in stage["outputs"]]
    output: "report.html", "provenance.json"
    params: key=report.key(PLAN)
    shell: "exec {PYTHON:q} -m runner.report {RUN:q}"


for place, stage in enumerate(PLAN["stages"]):

    rule:
        name: stage["id"]
        input: stage["inputs"]
        output: stage["outputs"]
        log: f"notebooks/{stage['id']}.ipynb"  # the executed notebook, kept when it fails
        params: key=stage["key"], id=stage["id"]
        priority: -place  # of stages that could run, the plan's first: a profile puts its longest task in front
        threads: stage["threads"] or config.get("cores") or workflow.cores
        resources: **stage["resources"]
        # `exec`: the stage is Snakemake's own child and notices when Snakemake is killed.
        shell: "exec {PYTHON:q} -m runner.stages {RUN:q} {params.id:q} --threads {threads}"

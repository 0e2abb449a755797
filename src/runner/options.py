"""The command line of run_all.sh, in the standard library only: a typing error is told before anything is installed."""

import argparse
import os
import sys
from typing import NoReturn

HELP = """examples:
  ./run_all.sh                                   the demo: synthetic text, two cores, no network after set-up
  ./run_all.sh replica --mirror archives         real public text, from a folder of downloaded archives
  ./run_all.sh demo --dry-run --set ner.epochs=4
                                                 what a changed value would make again
  ./run_all.sh demo --from 04_cross_lingual      this stage and all that follows from it
  ./run_all.sh test -k notebooks                 the tests; what follows goes to pytest

STAGE is a stage of --list, or a notebook's name for all its stages, for example 02_pretrain.
A killed or failed run goes on where it stopped when it is started again."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with status 2."""
        print(f"run_all.sh: {message}; see ./run_all.sh --help", file=sys.stderr)
        raise SystemExit(2)


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed is a whole number above 0")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Every option that run_all.sh knows."""
    it = _Parser(
        prog="./run_all.sh",
        usage="./run_all.sh [PROFILE|FILE.yaml] [options]\n       ./run_all.sh test [pytest arguments]",
        description="Make a run of the study below runs/PROFILE/: corpora, models, predictions, figures, report.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    it.add_argument("profile", nargs="?", default="demo", metavar="PROFILE", help="a profile's name or file (demo)")
    it.add_argument("--dry-run", action="store_true", help="list the stages that would run, and why")
    it.add_argument("--list", action="store_true", help="list the profiles, and the stages of PROFILE")
    it.add_argument("--status", action="store_true", help="show how far the run is")
    it.add_argument("--only", metavar="STAGE", help="run this stage again, alone")
    it.add_argument("--from", metavar="STAGE", dest="since", help="run this stage and all that follows from it again")
    it.add_argument(
        "--force", nargs="?", const="*", metavar="STAGE", help="run this stage (without STAGE: all) as if stale"
    )
    it.add_argument("--offline", action="store_true", help="use no network: mirror, cache and local models only")
    it.add_argument("--mirror", metavar="DIR", help="folder of source archives, in place of the network")
    it.add_argument("--jobs", type=_jobs, metavar="N", help="processor cores to use (all); of Slurm: jobs at a time")
    it.add_argument(
        "--executor", choices=("local", "slurm"), default="local", help="where stages run: here, or as jobs of Slurm"
    )
    it.add_argument("--set", action="append", default=[], metavar="key=value", help="change a value of the profile")
    it.add_argument("--publish", action="store_true", help="copy figures and claims to figures/PROFILE/ at the end")
    it.add_argument(
        "--repeat", action="store_true", help="add the numbers to the published ones (with --set pretrain.seed=N)"
    )
    return it


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options, or SystemExit(2) after one line that names what is wrong."""
    options = parser().parse_args(arguments)
    called_from = os.environ.get("HELPERS_CALLED_FROM", "")  # run_all.sh itself goes to the compendium's folder
    if options.mirror:
        options.mirror = os.path.join(called_from, options.mirror)
    if options.profile.endswith((".yaml", ".yml")) and os.path.isfile(os.path.join(called_from, options.profile)):
        options.profile = os.path.join(called_from, options.profile)
    for name, value in (("only", options.only), ("from", options.since), ("mirror", options.mirror)):
        if value == "":
            parser().error(f"--{name}: found nothing; give it a value, or leave it out")
    if sum(map(bool, (options.only, options.since))) > 1:
        parser().error("--only and --from exclude each other")
    if options.force and (options.only or options.since):
        parser().error("--force excludes --only and --from, which run their stage again in any case")
    if options.publish and options.repeat:
        parser().error("--publish and --repeat exclude each other")
    if sum((options.dry_run, options.list, options.status)) > 1:
        parser().error("--dry-run, --list and --status exclude each other")
    return options


if __name__ == "__main__":
    parse(sys.argv[1:])

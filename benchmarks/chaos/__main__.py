"""``python -m benchmarks.chaos``: gateways before five backends that fail by a seeded schedule."""

from __future__ import annotations

import argparse

from ..report import circumstances, progress, record
from . import SECONDS, SEED, SICK, measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    about = f"how long the schedule is (default {SECONDS:g}), or all backends are sick (default {SICK:g})"
    parser.add_argument("--seconds", type=float, metavar="N", help=about)
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"of the schedule (default {SEED})")
    parser.add_argument("--all-sick", action="store_true", help="all backends are sick at once, and come back one by one")
    parser.add_argument("--only", default="", metavar="NAME,…", help="measure these alone, such as polychat,reference")
    parser.add_argument("--record", action="store_true", help="append the table to benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    part = "outage" if arguments.all_sick else "schedule"
    seconds = arguments.seconds or (SICK if arguments.all_sick else SECONDS)
    only = tuple(name for name in arguments.only.split(",") if name)
    heading = circumstances()
    tables = list(measure(part, seconds=seconds, seed=arguments.seed, only=only))
    progress("")
    print("\n\n".join([heading, *map(str, tables)]))
    if arguments.record:
        record(heading, tables)


main()

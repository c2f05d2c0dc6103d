"""``python -m benchmarks [--record] [--python PATH] [NAME[/PART]]…``: run the measurements, or all, and print their tables."""

from __future__ import annotations

import argparse
from importlib import import_module

from .interpreters import run_on
from .report import circumstances, progress, record

ALL = ["imports", "help", "terminal", "providers", "vendors", "wires", "scans", "routing", "state", "gateway", "chaos"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--record", action="store_true", help="append the tables to benchmarks/RESULTS.md")
    parser.add_argument("--python", metavar="PATH", help="measure on this interpreter, with the locked packages")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(ALL)} (default: all)")
    arguments = parser.parse_args()
    if unknown := {name.partition("/")[0] for name in arguments.names} - set(ALL):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))} (there are {', '.join(ALL)})")
    if arguments.python:
        run_on(arguments.python, "benchmarks", [*(["--record"] if arguments.record else []), *arguments.names])
    heading, tables = circumstances(), []
    print(heading)
    for name in arguments.names or ALL:
        module, _, part = name.partition("/")
        for table in import_module(f"{__package__}.{module}").measure(*filter(None, [part])):
            progress("")
            print(f"\n{table}", flush=True)
            tables.append(table)
    if arguments.record:
        record(heading, tables)


main()

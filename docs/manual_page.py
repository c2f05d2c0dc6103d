"""Writes the manual page from the command's own parser. Run by ``make docs`` and ``make fix``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

NAME = "polychat.1"
_ABOUT = "one command for every chat backend"
_WIDTH = "80"


def page() -> str:
    """In a process of its own: what makes it replaces a part of Python's library."""
    environment = {**os.environ, "COLUMNS": _WIDTH}  # for the lines of usage
    words = [sys.executable, __file__, "-"]
    made = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603  # this file
    return made.stdout


def _made() -> str:
    """Without a date, so that it changes only with the command."""
    from build_manpages.manpage import Manpage

    from polychat.cli.arguments import parser

    made = Manpage(parser(), {"project_name": "polychat", "authors": ["polychat maintainers"], "description": _ABOUT})
    return re.sub(r'^(\.TH POLYCHAT "1") ".*', r'\1 "" "polychat" "User Commands"', str(made), count=1)


# Later versions of Python write the options of a command in another form.
PAGES = {NAME: page} if sys.version_info < (3, 13) else {}

if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(_made())
    else:
        Path(__file__).with_name(NAME).write_text(page(), encoding="utf-8")

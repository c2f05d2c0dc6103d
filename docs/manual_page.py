"""Writes the manual page from the command's own parser. Run by ``make docs`` and ``make fix``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from build_manpages.manpage import Manpage

from polychat.cli.arguments import parser

NAME = "polychat.1"
_ABOUT = "one command for every chat backend"
_WIDTH = "80"


def page() -> str:
    """Without a date, so that it changes only with the command."""
    os.environ["COLUMNS"] = _WIDTH  # for the lines of usage
    made = Manpage(parser(), {"project_name": "polychat", "authors": ["polychat maintainers"], "description": _ABOUT})
    return re.sub(r'^(\.TH POLYCHAT "1") ".*', r'\1 "" "polychat" "User Commands"', str(made), count=1)


# Later versions of Python write the options of a command in another form.
PAGES = {NAME: page} if sys.version_info < (3, 13) else {}

if __name__ == "__main__":
    Path(__file__).with_name(NAME).write_text(page(), encoding="utf-8")

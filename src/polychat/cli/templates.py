"""``polychat templates``."""

from __future__ import annotations

import argparse
import sys

from ..errors import BadInput
from . import ANSWERED, complain
from .template_files import Template, folder, template_file, template_files


def run(arguments: argparse.Namespace) -> int:
    """List, show or remove the person's templates. Raises ``BadInput`` for one that does not exist."""
    match arguments.action:
        case "path":
            print(folder())
        case "list":
            _list()
        case _ if arguments.name is None:
            raise BadInput(f"polychat templates {arguments.action} needs the NAME of a template", field="NAME")
        case "show":
            sys.stdout.write(template_file(arguments.name).read_text(encoding="utf-8", errors="replace"))
        case _:
            template_file(arguments.name).unlink()
            complain(f"the template {arguments.name} is removed", "note")
    return ANSWERED


def _list() -> None:
    files = template_files()
    width = max(map(len, files), default=0)
    for name, file in files.items():
        try:
            print(f"{name:<{width}}  {Template(file).summary()}".rstrip())
        except BadInput as error:
            complain(str(error), "warning")
    if not files:
        complain(f"no templates in {folder()}: polychat ask --save NAME … makes one", "note")

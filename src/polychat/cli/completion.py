"""``polychat completion``: what a shell offers for an unfinished command line.

A shell's script calls ``polychat completion SHELL --complete`` with the words so far. What is offered comes from the parser of
the command line, and from the configuration where a model is to be named, so an installed script stays true when a command
changes.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from ..errors import PolychatError
from . import ANSWERED, complain
from .arguments import parser

FILES = "files:"
"""In place of candidates: the shell offers the names of files, as it does for other commands."""
_BASH = r"""
_polychat() {
    local IFS=$'\n' line
    COMPREPLY=()
    while read -r line; do
        if [[ $line == files: ]]; then compopt -o default; return; fi
        [[ $line == */ ]] && compopt -o nospace
        COMPREPLY+=("$line")
    done < <(polychat completion bash --complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -F _polychat polychat
"""
_ZSH = r"""
#compdef polychat
_polychat() {
    local line value
    local -a plain open
    for line in "${(@f)$(polychat completion zsh --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        value=${line%%$'\t'*}
        if [[ $line == files: ]]; then _files; return
        elif [[ $value == */ ]]; then open+=("$value")
        elif [[ -n $line ]]; then plain+=("${value//:/\\:}:${line#*$'\t'}"); fi
    done
    (( $#plain )) && _describe -t values value plain
    (( $#open )) && compadd -S '' -a open
}
if [[ $funcstack[1] == _polychat ]]; then _polychat "$@"; else compdef _polychat polychat; fi
"""
_FISH = r"""
function __polychat_complete
    set -l words (commandline -opc)[2..] (commandline -ct)
    set -l lines (polychat completion fish --complete $words 2>/dev/null)
    if test "$lines[1]" = files:
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $lines
    end
end
complete -c polychat -f -a '(__polychat_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_USE = {
    "bash": "add to ~/.bashrc:  source <(polychat completion bash)",
    "zsh": "add to ~/.zshrc, after compinit:  source <(polychat completion zsh)",
    "fish": "run:  polychat completion fish > ~/.config/fish/completions/polychat.fish",
}


class Completion(NamedTuple):
    value: str
    about: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Print the script, or the candidates, a line each."""
    if arguments.complete is None:
        print(SCRIPTS[arguments.shell].lstrip())
        if sys.stdout.isatty():
            complain(_USE[arguments.shell], "note")
        return ANSWERED
    words = arguments.complete
    line = words[0] if arguments.shell == "bash" and words else ""
    found = candidates(_words_of(line) if arguments.shell == "bash" else words)
    if found is None:
        print(FILES)
    elif arguments.shell == "bash":
        _print_values(found, line)
    else:
        for candidate in found:
            print(f"{candidate.value}\t{candidate.about}")
    return ANSWERED


def _words_of(line: str) -> list[str]:
    """The words after the command's name; the last one is unfinished, and empty after a blank."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is not closed
        words = line.split()
    return [*words[1:], *([""] if line.endswith(" ") or len(words) < 2 else [])]


def _print_values(found: Iterable[Completion], line: str) -> None:
    """For bash, which ends words at ``:`` and ``=`` too: without what stands before them already."""
    typed = line.rpartition(" ")[2]
    done = max(typed.rfind(":"), typed.rfind("=")) + 1
    for candidate in found:
        print(candidate.value[done:])


def candidates(words: Sequence[str]) -> list[Completion] | None:
    """What the last word may become; ``None``: the name of a file."""
    *before, typed = words or [""]
    place = _Place(parser())
    for word in before:
        place.take(word)
    found = place.offered(typed)
    return None if found is None else [candidate for candidate in found if candidate.value.startswith(typed)]


class _Place:
    """Where in a command line the words so far lead."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._enter(top)

    def _enter(self, entered: argparse.ArgumentParser) -> None:
        self._parser = entered
        self._options = {name: action for action in entered._actions for name in action.option_strings}
        self._positionals = [action for action in entered._actions if not action.option_strings]
        self._pending: argparse.Action | None = None
        """An option whose value is next."""
        self._is_over = False
        """Whether ``--`` has ended the options."""

    def take(self, word: str) -> None:
        """A whole word."""
        if self._pending is not None:
            self._pending = None
        elif word == "--" and not self._is_over:
            self._is_over = True
        elif word.startswith("-") and word != "-" and not self._is_over:
            action = self._options.get(word)
            self._pending = action if action is not None and action.nargs != 0 else None
        elif self._positionals:
            first = self._positionals[0]
            if isinstance(first, argparse._SubParsersAction):
                if word in first.choices:
                    self._enter(first.choices[word])
            elif first.nargs not in ("*", "+"):
                del self._positionals[0]

    def offered(self, typed: str) -> list[Completion] | None:
        if self._pending is not None:
            return _values(self._pending, typed)
        name, equals, value = typed.partition("=")
        if not self._is_over and typed.startswith("-"):
            if equals and name in self._options:
                values = _values(self._options[name], value)
                return None if values is None else [Completion(f"{name}={one.value}", one.about) for one in values]
            return list(self._names())
        return _values(self._positionals[0], typed) if self._positionals else []

    def _names(self) -> Iterator[Completion]:
        """Each option by its longest name."""
        for action in dict.fromkeys(self._options.values()):
            if action.help != argparse.SUPPRESS:
                yield Completion(max(action.option_strings, key=len), _about(self._parser, action))


def _values(action: argparse.Action, typed: str) -> list[Completion] | None:
    """What an argument may be; ``None``: a file. Empty where nothing is known of it."""
    if isinstance(action, argparse._SubParsersAction):
        return [Completion(choice.dest, choice.help or "") for choice in action._choices_actions]
    if action.choices is not None:
        return [Completion(str(choice)) for choice in action.choices]
    metavar = str(action.metavar or "")
    for word, named in _NAMED.items():
        if word in metavar.split("|"):
            with suppress(PolychatError):  # of an invalid configuration, which the command itself reports
                return list(named(typed))
    return None if "FILE" in metavar or "." in metavar else []


def _about(of: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The first clause of its help."""
    text = " ".join(of._get_formatter()._expand_help(action).split()) if action.help else ""
    return re.split(r"[;:,] | \(", text, maxsplit=1)[0]


def target_names(typed: str) -> list[str]:
    """What a model's name may be that begins so; empty where the configuration is invalid."""
    with suppress(PolychatError):
        return [candidate.value for candidate in _targets(typed)]
    return []


def _targets(typed: str) -> Iterator[Completion]:
    """Routes, aliases and providers; after a provider's name, its models that are known without a request."""
    from ..backends.registry import user_registry
    from ..routing import ModelResolver

    registry = user_registry()
    provider, slash, _ = typed.partition("/")
    if slash:
        yield from (Completion(f"{provider}/{model}") for model in registry.find(provider).models())
        return
    yield from map(Completion, ModelResolver(registry).listed())
    vendors = registry.vendors()
    for backend in registry.every():
        row = vendors.get(backend.label)
        yield Completion(f"{backend.label}/", row.title if row is not None else backend.url)


def _vendors(typed: str) -> Iterator[Completion]:
    from ..backends.registry import user_registry

    return (Completion(name, row.title) for name, row in user_registry().vendors().items())


_NAMED: dict[str, Callable[[str], Iterator[Completion]]] = {"TARGET": _targets, "MODEL": _targets, "VENDOR": _vendors}
"""Metavars whose values the configuration has."""

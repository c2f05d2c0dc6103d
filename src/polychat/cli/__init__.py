"""The command: arguments for the client or the gateway, and output for the terminal."""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..errors import BadInput, PolychatError
from .arguments import parsed, parser

ANSWERED, FAILED, MISUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 the backend failed, 2 bad usage, 130 after Ctrl-C, 141 no reader."""
    _settle_streams()
    try:
        try:
            return _run(argv)
        finally:
            # Here and not when the interpreter ends, where a closed pipe or a full disk can only become a traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        if argv is None:  # this is the whole process, which ends with this code whatever is pressed from here on
            signal.signal(signal.SIGINT, _end_interrupted)  # the first call here: before it no other Ctrl-C can raise
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # or the interpreter's own end would die of it
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()  # the reader of our output has gone
        return PIPE_CLOSED
    except PolychatError as error:
        complain(str(error))
        return MISUSED if isinstance(error, BadInput) else FAILED
    except OSError as error:
        _discard_output()
        place = "the output cannot be written" if error.filename is None else str(error.filename)
        complain(f"{place}: {error.strerror or error}")
        return FAILED


def _run(argv: Sequence[str] | None) -> int:
    arguments = parsed(sys.argv[1:] if argv is None else argv)
    if arguments.command is None:
        parser("").print_help()
        return MISUSED
    _show_warnings_as_lines()
    return int(import_module(f".{arguments.command}", __package__).run(arguments))


def _settle_streams() -> None:
    """Make output impossible to fail on a letter: what the terminal's or the pipe's encoding lacks becomes ``?``.

    Where the process was started without one of its three streams, the null device takes its number, or a connection would.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.dup(null)
    os.close(null)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _end_interrupted(number: int, frame: object) -> None:
    """One more Ctrl-C while the process waits for its threads: what it had to write is written."""
    os._exit(INTERRUPTED)


def _discard_output() -> None:
    """Send what is left of the output nowhere, so that the exit does not fail on the flush."""
    with suppress(OSError, ValueError):  # a stream without a file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: str, kind: str = "error") -> None:
    """Print one line on stderr; do nothing if stderr is closed."""
    with suppress(OSError):
        print(f"polychat: {kind}: {message}", file=sys.stderr)


def print_json(value: object, *, indent: int | None = None, default: Callable[[object], Any] | None = None) -> None:
    """One JSON value on standard output; letters that its encoding lacks are written as JSON's escapes."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    plain = encoding not in ("utf-8", "utf8")
    # Half a surrogate pair, which a reply can hold and UTF-8 cannot: its escape is the one way to write it.
    text = json.dumps(value, indent=indent, ensure_ascii=plain, default=default)
    if not plain:
        text = text.encode("utf-8", "backslashreplace").decode()
    print(text)


def _show_warnings_as_lines() -> None:
    """Warnings as one line for a person, not as a place in our source."""
    import warnings

    def show(message: Warning | str, *_: object, **__: object) -> None:
        complain(str(message), "warning")

    warnings.showwarning = show

"""A program in a real terminal, tmux: what a test types, what its screen shows, and screens that are kept as text."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .patience import PATIENCE

MISSING = None if shutil.which("tmux") else "tmux is not installed: apt-get install tmux"
RENEWS = "RENEW_SCREENS" in os.environ
"""Whether kept screens are written anew in place of being compared."""
_SETTINGS = """
set -g default-terminal screen-256color
set -g status off
set -g remain-on-exit on
set -g escape-time 0
set -g history-limit 20000
"""
_CHANGING = (
    (re.compile(r"\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d+(\.\d+)? ms\b"), "N ms"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\$\d+\.\d+"), "$N"),
)
"""What is different in each run, and what stands for it."""


class Screen:
    """One program and its terminal."""

    def __init__(self, socket: str, output: asyncio.Event) -> None:
        self._socket, self._output = socket, output

    async def tmux(self, *words: str, piped: bytes | None = None) -> str:
        """A command of tmux, and what it prints."""
        process = await asyncio.create_subprocess_exec(
            *("tmux", "-u", "-S", self._socket, *words),
            stdin=asyncio.subprocess.DEVNULL if piped is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate(piped)
        assert process.returncode == 0, errors.decode()
        return out.decode()

    async def type(self, text: str) -> None:
        await self.tmux("send-keys", "-l", text)

    async def press(self, *keys: str) -> None:
        """Keys by tmux's names: ``Enter``, ``C-c``, ``M-Enter``."""
        await self.tmux("send-keys", *keys)

    async def send(self, line: str) -> None:
        """Type a line, and Enter."""
        await self.type(line)
        await self.press("Enter")

    async def clear(self) -> None:
        """Leave nothing but the prompt and the line below it."""
        await self.press("C-l")
        await self._until(self.text, r">\n+[^\n]+$")

    async def paste(self, text: str) -> None:
        """As a terminal does: in brackets, if the program asked for them."""
        await self.tmux("load-buffer", "-", piped=text.encode())
        await self.tmux("paste-buffer", "-p", "-r", "-d")

    async def resize(self, width: int, height: int) -> None:
        """Returns when the program can see the new size."""
        terminal = (await self.tmux("display-message", "-p", "#{pane_tty}")).strip()
        await self.tmux("resize-window", "-x", str(width), "-y", str(height))
        number = os.open(terminal, os.O_RDONLY | os.O_NOCTTY)
        try:
            async with asyncio.timeout(PATIENCE):
                while os.get_terminal_size(number) != (width, height):
                    await self._changed(0.02)
        finally:
            os.close(number)

    async def text(self, *, history: bool = False, styled: bool = False) -> str:
        """What is on the screen; with ``history``, also what has left it above; with ``styled``, colours as escapes."""
        words = [*(["-S", "-"] if history else []), *(["-e"] if styled else [])]
        return (await self.tmux("capture-pane", "-p", *words)).rstrip()

    async def process(self) -> int:
        """The number of the program's process."""
        return int(await self.tmux("display-message", "-p", "#{pane_pid}"))

    async def code(self) -> int:
        """The exit code of the program, once it has ended."""

        async def ended() -> str:
            """``1`` and the code. tmux 3.3 can miss a program's end under load, and asks for the code when told of it again."""
            state = await self.tmux("display-message", "-p", "#{pane_dead} #{pane_dead_status} #{pid}")
            dead, code, server = state.rstrip("\n").split(" ")
            if dead == "1" and not code:
                os.kill(int(server), signal.SIGCHLD)
            return f"{dead} {code}"

        return int((await self._until(ended, r"1 \d+")).split()[1])

    async def hang_up(self) -> None:
        """The terminal goes away. Returns when the program has ended."""
        number = os.pidfd_open(await self.process())
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(number, ended.set)
        try:
            await self.tmux("kill-server")
            async with asyncio.timeout(PATIENCE):
                await ended.wait()
        finally:
            loop.remove_reader(number)
            os.close(number)

    async def shows(self, *texts: str) -> str:
        """The screen as soon as it has all of these texts."""
        return await self._until(self.text, "".join(f"(?=.*{re.escape(text)})" for text in texts))

    async def is_as(self, kept: KeptScreens, name: str, *texts: str) -> None:
        """Returns when the screen is as the kept one of this name, which ``texts`` tell to be complete."""
        if RENEWS:
            await self.shows(*texts)
            kept.keep(name, await self._settled())
            return
        wanted, shown = kept.text(name), ""
        try:
            async with asyncio.timeout(PATIENCE):
                while (shown := masked(await self.text())) != wanted:
                    await self._changed()
        except TimeoutError:
            lines = difflib.unified_diff(wanted.split("\n"), shown.split("\n"), "kept", "shown", lineterm="", n=50)
            raise AssertionError(f"the screen {name!r} of {kept.file.name}:\n" + "\n".join(lines)) from None

    async def _until(self, read: Callable[[], object], pattern: str) -> str:
        text = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while not re.match(pattern, text := str(await read()), re.DOTALL):  # type: ignore[misc]
                    await self._changed()
                return text
        except TimeoutError:
            raise AssertionError(f"{pattern} does not come; the screen is\n{await self.text()}") from None

    async def _changed(self, seconds: float = 1.0) -> bool:
        """Returns when the program has written something, or after a while: a new size changes the screen by itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._output.wait()
                self._output.clear()
                return True
        return False

    async def _settled(self) -> str:
        """The screen when nothing more comes."""
        while await self._changed():
            pass
        return masked(await self.text())


class KeptScreens:
    """Screens in a file of text: each is a line with its name, then its lines."""

    _TITLE = "════ "

    def __init__(self, file: Path) -> None:
        self.file = file
        parts = file.read_text(encoding="utf-8").split(self._TITLE)[1:] if file.exists() and not RENEWS else []
        self._screens = dict(part.rstrip("\n").split("\n", 1) for part in parts)

    def text(self, name: str) -> str:
        assert name in self._screens, f"no screen {name!r} in {self.file}: run the test with RENEW_SCREENS=1"
        return self._screens[name]

    def keep(self, name: str, text: str) -> None:
        self._screens[name] = text
        self.file.parent.mkdir(exist_ok=True)
        parts = (f"{self._TITLE}{name}\n{text}\n" for name, text in self._screens.items())
        self.file.write_text("\n".join(parts), encoding="utf-8")


def masked(text: str) -> str:
    """Without what is different in each run, and without blanks at the ends of lines."""
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


@asynccontextmanager
async def on_screen(*words: str, env: Mapping[str, str], width: int = 80, height: int = 24) -> AsyncGenerator[Screen]:
    """The program in a terminal of this size, until the end of the block at most."""
    output = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="screen") as folder:  # the path of a socket must be short
        socket, settings, pipe = (os.path.join(folder, name) for name in ("s", "settings", "pipe"))
        Path(settings).write_text(_SETTINGS)
        os.mkfifo(pipe)
        number = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        loop.add_reader(number, lambda: (os.read(number, 1 << 16), output.set()))
        screen = Screen(socket, output)
        start = shlex.join(("env", "-i", *(f"{name}={value}" for name, value in env.items()), *words))
        begun = f"tmux wait-for begun; exec {start}"  # when its output is followed
        try:
            await screen.tmux("-f", settings, "new-session", "-d", "-x", str(width), "-y", str(height), begun)
            await screen.tmux("pipe-pane", "-O", f"exec cat > {shlex.quote(pipe)}")
            await screen.tmux("wait-for", "-S", "begun")
            yield screen
        finally:
            with suppress(AssertionError):
                await screen.tmux("kill-server")
            loop.remove_reader(number)
            os.close(number)

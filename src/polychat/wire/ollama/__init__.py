"""Ollama's own API, ``/api/chat`` and ``/api/generate``: both halves. JSON lines, streamed by default.

Sources: docs.ollama.com (api/chat, api/generate, api/errors, api/usage, capabilities/thinking, capabilities/tool-calling,
openapi.yaml), and ``api/types.go`` of github.com/ollama/ollama. The server ignores unknown fields.
"""

from typing import TYPE_CHECKING

from ..fields import support_table
from .adjustments import adjusted, continues
from .constants import NAME, VENDOR
from .errors import read_fault, write_fault
from .reply_reader import Reader, read_reply
from .reply_writer import generate_writer, writer
from .request_reader import read_generate_request, read_request
from .request_writer import path, write_request

SUPPORT = support_table(NAME)

if TYPE_CHECKING:
    from .. import ollama
    from ..contract import Continues, Wire

    _IMPLEMENTS: tuple[Wire, Continues] = (ollama, ollama)

__all__ = [
    "NAME",
    "SUPPORT",
    "VENDOR",
    "Reader",
    "adjusted",
    "continues",
    "generate_writer",
    "path",
    "read_fault",
    "read_generate_request",
    "read_reply",
    "read_request",
    "write_fault",
    "write_request",
    "writer",
]

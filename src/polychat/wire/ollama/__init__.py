"""Ollama's own API, ``/api/chat`` and ``/api/generate``: both halves. JSON lines, streamed unless told otherwise.

Sources: docs.ollama.com (api/chat, api/generate, api/errors, api/usage, capabilities/thinking, capabilities/tool-calling,
openapi.yaml), and ``api/types.go`` of github.com/ollama/ollama. The server passes over fields it does not know.
"""

from ..fields import fates
from .answer import generate_writer, writer
from .faults import read_fault, write_fault
from .names import NAME, VENDOR
from .parse import read_generate_request, read_request
from .reply import Reader, read_reply
from .request import path, write_request

FATES = fates(NAME)

__all__ = [
    "FATES",
    "NAME",
    "VENDOR",
    "Reader",
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

"""Gemini's generateContent and streamGenerateContent (events, or one JSON array), both halves, and its token counting.

Facts from https://ai.google.dev/api/generate-content, https://ai.google.dev/api/tokens, https://ai.google.dev/api/caching,
https://ai.google.dev/gemini-api/docs/thinking, …/thought-signatures, …/function-calling, …/google-search and the types of the
official Python client, google-genai 3.4.
"""

from typing import TYPE_CHECKING

from ..fields import support_table
from .adjustments import adjusted
from .constants import FOREIGN, NAME, VENDOR
from .errors import read_fault, write_fault
from .reply_reader import Reader, read_count, read_reply
from .reply_writer import write_count, writer
from .request_reader import read_count_request, read_request
from .request_writer import count_path, path, write_count_request, write_request

SUPPORT = support_table(NAME)

if TYPE_CHECKING:
    from .. import gemini
    from ..contract import Counts, Wire

    _IMPLEMENTS: tuple[Wire, Counts] = (gemini, gemini)

__all__ = [
    "FOREIGN",
    "NAME",
    "SUPPORT",
    "VENDOR",
    "Reader",
    "adjusted",
    "count_path",
    "path",
    "read_count",
    "read_count_request",
    "read_fault",
    "read_reply",
    "read_request",
    "write_count",
    "write_count_request",
    "write_fault",
    "write_request",
    "writer",
]

"""Gemini's generateContent and streamGenerateContent (events, or one JSON array), both halves, and its token counting.

Facts from https://ai.google.dev/api/generate-content, https://ai.google.dev/api/tokens, https://ai.google.dev/api/caching,
https://ai.google.dev/gemini-api/docs/thinking, …/thought-signatures, …/function-calling, …/google-search and the types of the
official Python client, google-genai 3.4.
"""

from ..fields import fates
from .adjusting import adjusted
from .answer import write_count, writer
from .faults import read_fault, write_fault
from .names import FOREIGN, NAME, VENDOR
from .parse import read_count_request, read_request
from .reply import Reader, read_count, read_reply
from .write import count_path, path, write_count_request, write_request

FATES = fates(NAME)

__all__ = [
    "FATES",
    "FOREIGN",
    "NAME",
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

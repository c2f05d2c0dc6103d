"""Anthropic Messages (``POST /v1/messages``), both halves, and its token counting.

Facts from https://platform.claude.com/docs/en/api/messages, …/build-with-claude/streaming, …/extended-thinking,
…/structured-outputs, …/api/errors, …/mid-conversation-system-messages and the types of the official Python client, 2.11.
"""

from ..fields import fates
from .adjusting import adjusted
from .answer import write_count, writer
from .faults import read_fault, write_fault
from .parse import read_count_request, read_request
from .reply import Reader, read_count, read_reply
from .words import NAME, VENDOR
from .write import count_path, path, write_count_request, write_request

FATES = fates(NAME)

__all__ = [
    "FATES",
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

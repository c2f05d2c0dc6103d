"""Anthropic Messages (``POST /v1/messages``), both halves, and its token counting.

Facts from https://platform.claude.com/docs/en/api/messages, …/build-with-claude/streaming, …/extended-thinking,
…/structured-outputs, …/api/errors, …/mid-conversation-system-messages and the types of the official Python client, 2.11.
"""

from typing import TYPE_CHECKING

from ..fields import support_table
from .adjustments import adjusted
from .constants import NAME, VENDOR
from .errors import read_fault, write_fault
from .generations import continues
from .reply_reader import Reader, read_count, read_reply
from .reply_writer import STREAM_TYPE, write_count, write_text_stream, writer
from .request_reader import read_count_request, read_request
from .request_writer import count_path, path, write_count_request, write_request
from .usual_replies import text_answer
from .usual_streams import text_stream, usual_stream
from .whole_reply_writer import write_text

SUPPORT = support_table(NAME)

if TYPE_CHECKING:
    from .. import anthropic
    from ..contract import Continues, Counts, ReadsStreamsWhole, ReadsTextAnswers, Wire, WritesText

    _IMPLEMENTS: tuple[Wire, Continues, Counts, ReadsStreamsWhole, ReadsTextAnswers, WritesText] = (anthropic,) * 6

__all__ = [
    "NAME",
    "STREAM_TYPE",
    "SUPPORT",
    "VENDOR",
    "Reader",
    "adjusted",
    "continues",
    "count_path",
    "path",
    "read_count",
    "read_count_request",
    "read_fault",
    "read_reply",
    "read_request",
    "text_answer",
    "text_stream",
    "usual_stream",
    "write_count",
    "write_count_request",
    "write_fault",
    "write_request",
    "write_text",
    "write_text_stream",
    "writer",
]

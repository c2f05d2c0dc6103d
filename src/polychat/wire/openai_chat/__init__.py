"""OpenAI's chat completions and its dialects at other vendors: both halves.

Sources: platform.openai.com/docs/api-reference/chat; for the dialects api-docs.deepseek.com (``reasoning_content``),
openrouter.ai/docs (``reasoning``, ``reasoning_details``, ``images``, errors inside a stream), console.groq.com/docs
(``x_groq``), docs.mistral.ai (content as a list of parts), docs.perplexity.ai (``citations``, ``search_results``),
ai.google.dev/gemini-api/docs/openai (``extra_content``).
"""

from typing import TYPE_CHECKING

from ..fields import support_table
from .adjustments import adjusted
from .completions import completion_writer, read_completion_request
from .constants import NAME, VENDOR
from .errors import read_fault, write_fault
from .message_reader import read_messages
from .reply_reader import Reader, read_reply
from .reply_writer import write_text, write_text_stream, writer
from .request_reader import read_format, read_request, read_tool_choice, read_tools
from .request_writer import path, write_request
from .usual_replies import text_answer
from .usual_streams import text_stream, usual_stream

SUPPORT = support_table(NAME)

if TYPE_CHECKING:
    from .. import openai_chat
    from ..contract import ReadsStreamsWhole, ReadsTextAnswers, Wire, WritesText

    _IMPLEMENTS: tuple[Wire, ReadsStreamsWhole, ReadsTextAnswers, WritesText] = (openai_chat,) * 4

__all__ = [
    "NAME",
    "SUPPORT",
    "VENDOR",
    "Reader",
    "adjusted",
    "completion_writer",
    "path",
    "read_completion_request",
    "read_fault",
    "read_format",
    "read_messages",
    "read_reply",
    "read_request",
    "read_tool_choice",
    "read_tools",
    "text_answer",
    "text_stream",
    "usual_stream",
    "write_fault",
    "write_request",
    "write_text",
    "write_text_stream",
    "writer",
]

"""OpenAI's chat completions, and the dialects that call themselves so: both halves.

Sources: platform.openai.com/docs/api-reference/chat; for the dialects api-docs.deepseek.com (``reasoning_content``),
openrouter.ai/docs (``reasoning``, ``reasoning_details``, ``images``, errors inside a stream), console.groq.com/docs
(``x_groq``), docs.mistral.ai (content as a list of parts), docs.perplexity.ai (``citations``, ``search_results``),
ai.google.dev/gemini-api/docs/openai (``extra_content``).
"""

from ..fields import fates
from .adjusting import adjusted
from .answer import writer
from .completions import completion_writer, read_completion_request
from .content import read_turns
from .faults import read_fault, write_fault
from .names import NAME, VENDOR
from .parse import read_format, read_request, read_tool_choice, read_tools
from .reply import Reader, read_reply
from .request import path, write_request

FATES = fates(NAME)

__all__ = [
    "FATES",
    "NAME",
    "VENDOR",
    "Reader",
    "adjusted",
    "completion_writer",
    "path",
    "read_completion_request",
    "read_fault",
    "read_format",
    "read_reply",
    "read_request",
    "read_tool_choice",
    "read_tools",
    "read_turns",
    "write_fault",
    "write_request",
    "writer",
]

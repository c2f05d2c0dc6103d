"""OpenAI's Responses API: items in, items out, and a stream of named events.

Sources: the types of OpenAI's official Python client (https://github.com/openai/openai-python, ``src/openai/types/responses``),
its API reference (https://platform.openai.com/docs/api-reference/responses and ``…/responses-streaming``) and its guides to
reasoning, function calling and conversation state (https://platform.openai.com/docs/guides).
"""

from typing import TYPE_CHECKING

from ..fields import support_table
from .adjustments import adjusted
from .constants import NAME, PREPARED, VENDOR
from .errors import read_fault, write_fault
from .listing import input_items, page_of
from .reply_reader import Reader, read_reply
from .reply_writer import writer
from .request_reader import read_request
from .request_writer import path, write_request
from .tool_names import name_earlier, with_client_names

SUPPORT = support_table(NAME)

if TYPE_CHECKING:
    from .. import openai_responses
    from ..contract import Wire

    _IMPLEMENTS: Wire = openai_responses

__all__ = [
    "NAME",
    "PREPARED",
    "SUPPORT",
    "VENDOR",
    "Reader",
    "adjusted",
    "input_items",
    "name_earlier",
    "page_of",
    "path",
    "read_fault",
    "read_reply",
    "read_request",
    "with_client_names",
    "write_fault",
    "write_request",
    "writer",
]

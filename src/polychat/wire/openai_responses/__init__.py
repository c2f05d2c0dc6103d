"""OpenAI's Responses API: items in, items out, and a stream of named events.

Sources: the types of OpenAI's official Python client (https://github.com/openai/openai-python, ``src/openai/types/responses``),
its API reference (https://platform.openai.com/docs/api-reference/responses and ``…/responses-streaming``) and its guides to
reasoning, function calling and conversation state (https://platform.openai.com/docs/guides).
"""

from ..fields import fates
from .adjusting import adjusted
from .answer import writer
from .fault import read_fault, write_fault
from .listing import input_items, page_of
from .names import NAME, VENDOR
from .parse import read_request
from .reply import Reader, read_reply
from .write import path, write_request

FATES = fates(NAME)

__all__ = [
    "FATES",
    "NAME",
    "VENDOR",
    "Reader",
    "adjusted",
    "input_items",
    "page_of",
    "path",
    "read_fault",
    "read_reply",
    "read_request",
    "write_fault",
    "write_request",
    "writer",
]

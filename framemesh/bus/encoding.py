"""Messages in key-value buckets and events: JSON, so that people can read them with any NATS tool."""

from typing import TypeVar

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def dump(message: Message) -> bytes:
    """A message as it is kept."""
    return MessageToJson(message, indent=None).encode()


def load(value: bytes, empty: M) -> M | None:
    """What is kept, as a message of the empty one's kind; none where it isn't one, such as one written by hand."""
    try:
        return Parse(value, empty, ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError):
        return None

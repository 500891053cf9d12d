"""What was said: the bodies of any API flavour as one list of messages with typed parts.

Works on parsed JSON and never raises: what it does not understand becomes a part of kind "json". A stream's objects are
put together to the one answer that they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heliconnect.conversation import anthropic, cohere, gemini, openai
from heliconnect.conversation.messages import Message, Part, error_message, mapped
from heliconnect.flavors import Flavor

__all__ = ["Message", "Part", "answered", "asked"]

_ASKED: dict[Flavor, Callable[[object], list[Message]]] = {
    Flavor.OPENAI_CHAT: openai.chat_asked,
    Flavor.OPENAI_RESPONSES: openai.responses_asked,
    Flavor.OPENAI_COMPLETIONS: openai.completions_asked,
    Flavor.EMBEDDINGS: openai.embeddings_asked,
    Flavor.ANTHROPIC: anthropic.asked,
    Flavor.GEMINI: gemini.asked,
    Flavor.COHERE: cohere.asked,
    Flavor.BEDROCK_CONVERSE: anthropic.converse_asked,
}
_ANSWERED: dict[Flavor, Callable[[Sequence[object]], list[Message]]] = {
    Flavor.OPENAI_CHAT: openai.chat_answered,
    Flavor.OPENAI_RESPONSES: openai.responses_answered,
    Flavor.OPENAI_COMPLETIONS: openai.completions_answered,
    Flavor.EMBEDDINGS: openai.embeddings_answered,
    Flavor.ANTHROPIC: anthropic.answered,
    Flavor.GEMINI: gemini.answered,
    Flavor.COHERE: cohere.answered,
    Flavor.BEDROCK_CONVERSE: anthropic.converse_answered,
}


def asked(flavor: Flavor, request: object) -> list[Message]:
    """The messages of a request, the system's first."""
    if request is None:
        return []
    read = _ASKED.get(flavor)
    found = _safely(read, request) if read is not None else []
    return found or [Message("request", (Part("json", data=request),))]


def answered(flavor: Flavor, answers: Sequence[object]) -> list[Message]:
    """The messages of an answer: its one object, or all of a stream's."""
    if not answers:
        return []
    failure = next((error for answer in answers if (error := error_message(answer)) is not None), None)
    read = _ANSWERED.get(flavor)
    found = _safely(read, answers) if read is not None else []
    if failure is not None:
        return [*found, failure]
    if found or (read is not None and _is_stream(answers[0])):
        return found
    return [Message("response", tuple(Part("json", data=answer) for answer in answers[:50]))]


def _is_stream(first: object) -> bool:
    """Whether an answer's first object opens a stream: one that says nothing has said nothing yet."""
    kind = str(mapped(first).get("object") or mapped(first).get("type"))
    return kind.endswith(".chunk") or kind in {"message_start", "response.created", "message-start"}


def _safely(read: Callable[..., list[Message]], value: object) -> list[Message]:
    try:
        return [message for message in read(value) if message.parts]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return []

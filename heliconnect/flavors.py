"""API flavours: which shape the bodies of a call have, told from its path, else from what was answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

__all__ = ["Flavor", "flavor_of"]


class Flavor(StrEnum):
    """A shape of request and answer, spoken by one provider or by many."""

    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    OPENAI_COMPLETIONS = "openai-completions"
    EMBEDDINGS = "embeddings"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    COHERE = "cohere"
    BEDROCK_CONVERSE = "bedrock-converse"
    OTHER = "other"


# The end of a path (without query) -> flavour; the first that matches counts. Sources: the providers' API references.
_PATHS: tuple[tuple[re.Pattern[str], Flavor], ...] = tuple(
    (re.compile(pattern), flavor)
    for pattern, flavor in (
        (r"/chat/completions$", Flavor.OPENAI_CHAT),
        (r"/responses(/[^/]+)?$", Flavor.OPENAI_RESPONSES),
        (r"/completions$", Flavor.OPENAI_COMPLETIONS),
        (r"/embeddings$|:(batchE|e)mbedContents?$|/v[12]/embed$", Flavor.EMBEDDINGS),
        (r"/v1/messages(/|$)|/anthropic/models/[^/]+:(streamR|r)awPredict$", Flavor.ANTHROPIC),
        (r":(streamG|g)enerateContent$", Flavor.GEMINI),
        (r"/v[12]/(chat|generate)$", Flavor.COHERE),
        (r"/model/[^/]+/converse(-stream)?$", Flavor.BEDROCK_CONVERSE),
    )
)


def flavor_of(path: str, request: object, answers: Sequence[object]) -> Flavor:
    """The flavour of a call; OTHER where neither path nor bodies tell.

    request is the parsed JSON of the request, answers the parsed JSON of the answer: one object, or a stream's.
    """
    path = path.partition("?")[0].rstrip("/")
    for pattern, flavor in _PATHS:
        if pattern.search(path):
            return flavor
    first = next((answer for answer in answers if isinstance(answer, Mapping)), {})
    return _by_shape(request if isinstance(request, Mapping) else {}, first)


def _by_shape(request: Mapping[str, object], answer: Mapping[str, object]) -> Flavor:
    kind = str(answer.get("object") or answer.get("type") or "")
    if kind.startswith("chat.completion"):
        return Flavor.OPENAI_CHAT
    if kind == "response" or kind.startswith("response."):
        return Flavor.OPENAI_RESPONSES
    if kind == "text_completion":
        return Flavor.OPENAI_COMPLETIONS
    if kind == "list" and "input" in request:
        return Flavor.EMBEDDINGS
    if kind in {"message", "message_start"}:
        return Flavor.ANTHROPIC
    if "candidates" in answer and "contents" in request:
        return Flavor.GEMINI
    return Flavor.OTHER

"""Session paths from a run tree: the names on the way from the outermost run to a model, without the plumbing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["is_plumbing", "run_path"]

# Names that LangChain and LangGraph give by themselves and that say nothing about the app.
_PLUMBING = re.compile(
    r"Runnable[A-Z]\w*(?:<.*>)?|LangGraph|ChannelWrite.*|ChannelRead.*|Branch<.*>|_write|_read|__start__|__end__"
    r"|call_model|Prompt|ChatPromptTemplate|LLMChain",
    re.DOTALL,
)


@lru_cache(maxsize=1024)
def is_plumbing(name: str) -> bool:
    """Whether a run's name comes from the framework, not from the app."""
    return _PLUMBING.fullmatch(name) is not None


def run_path(names: Iterable[str]) -> str:
    """One path of the names that say something: ("trip", "RunnableSequence", "ChatOpenAI") -> "trip/ChatOpenAI"."""
    return "/".join(name.replace("/", "-") for name in names if name and not is_plumbing(name))

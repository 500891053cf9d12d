"""Rules that take private text out of records before anything is written; what is passed on stays as it is.

A file in TOML, `heliconnect up --redact rules.toml`:

    [[rule]]
    regex = '\\b\\d{13,16}\\b'            # in bodies, in the values of headers, in the URL
    replace = "[card]"                  # default: [redacted]

    [[rule]]
    json_path = "$.messages[*].content" # a value of a JSON body, or of the JSON in each event of a stream
    of = "request"                      # or "response"; default: both

Rules are applied in order. A text that a stream spreads over several events is matched in each of them alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heliconnect.bodies import decoded
from heliconnect.errors import SettingsError
from heliconnect.exchange import Capture, Pairs
from heliconnect.protocol import REDACTED

__all__ = ["Redaction"]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\*|\d+)\]")
_KNOWN = frozenset({"regex", "json_path", "replace", "of"})
_SIDES = frozenset({"request", "response"})


@dataclass(frozen=True, slots=True)
class _Rule:
    sides: frozenset[str]
    replace: str
    regex: re.Pattern[str] | None = None
    path: tuple[str, ...] = ()


class Redaction:
    """The rules of one file."""

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._rules = tuple(rules)

    @classmethod
    def from_file(cls, path: Path) -> Redaction:
        """Raises SettingsError, saying which rule is wrong."""
        try:
            told = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"the redaction rules in {path} cannot be read: {error}") from error
        rules = told.get("rule")
        if not isinstance(rules, list) or told.keys() != {"rule"}:
            raise SettingsError(f"the redaction rules in {path} must be [[rule]] tables, and nothing else")
        return cls(_rule(number, rule) for number, rule in enumerate(rules, 1))

    def apply(self, capture: Capture) -> Capture:
        """A capture without what the rules name. Never raises: what cannot be read is not kept."""
        request, asked = self._side("request", capture.request_body, capture.request_headers)
        response, answered = self._side("response", capture.response_body, capture.response_headers)
        patterns = [rule for rule in self._rules if rule.regex is not None and "request" in rule.sides]
        url = _all(patterns, capture.target_url)
        return replace(
            capture,
            target_url=url,
            request_body=request,
            request_headers=asked,
            response_body=response,
            response_headers=answered,
        )

    def value(self, text: str) -> str:
        """The value of one of the request's headers without what the rules name."""
        return _all((rule for rule in self._rules if "request" in rule.sides), text)

    def _side(self, side: str, body: bytes, headers: Pairs) -> tuple[bytes, Pairs]:
        rules = [rule for rule in self._rules if side in rule.sides]
        if not rules:
            return body, headers
        patterns = [rule for rule in rules if rule.regex is not None]
        kept = tuple((name, _all(patterns, value)) for name, value in headers)
        if not body:
            return body, kept
        data, problem = decoded(body, dict(headers).get("content-encoding", ""))
        plain = tuple(pair for pair in kept if pair[0] != "content-encoding")
        if problem is not None:
            return b"", plain
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return body, kept  # pictures and sound
        for rule in rules:
            text = rule.regex.sub(rule.replace, text) if rule.regex is not None else _at_path(text, rule)
        return text.encode(), plain


def _all(rules: Iterable[_Rule], text: str) -> str:
    for rule in rules:
        if rule.regex is not None:
            text = rule.regex.sub(rule.replace, text)
    return text


def _rule(number: int, given: Any) -> _Rule:
    if not isinstance(given, Mapping) or not given.keys() <= _KNOWN:
        raise SettingsError(f"redaction rule {number}: expected {', '.join(sorted(_KNOWN))}, got {given!r}")
    if ("regex" in given) == ("json_path" in given):
        raise SettingsError(f"redaction rule {number}: expected either regex or json_path")
    side = given.get("of")
    if side is not None and side not in _SIDES:
        raise SettingsError(f'redaction rule {number}: of must be "request" or "response", got {side!r}')
    sides = _SIDES if side is None else frozenset({side})
    instead = str(given.get("replace", REDACTED))
    if "json_path" in given:
        return _Rule(sides, instead, path=_path(number, str(given["json_path"])))
    try:
        return _Rule(sides, instead.replace("\\", r"\\"), regex=re.compile(str(given["regex"])))
    except re.error as error:
        raise SettingsError(f"redaction rule {number}: {given['regex']!r} is no regular expression: {error}") from error


def _path(number: int, text: str) -> tuple[str, ...]:
    """The steps of a JSON path of names, indices and [*]: "$.messages[*].content" """
    steps = _STEP.findall(text[1:])
    whole = "".join(f".{name}" if name else f"[{index}]" for name, index in steps)
    if not text.startswith("$") or whole != text[1:] or not steps:
        raise SettingsError(f"redaction rule {number}: expected a path such as $.messages[*].content, got {text!r}")
    return tuple(name or f"[{index}]" for name, index in steps)


def _at_path(text: str, rule: _Rule) -> str:
    """A JSON text, or a stream of events with JSON in them, with the values at the rule's path replaced."""
    if text.lstrip()[:1] in {"{", "["}:
        return _in_json(text, rule)
    lines = text.split("\n")
    return "\n".join(
        f"data: {_in_json(line[5:].strip(), rule)}" if line.startswith("data:") else line for line in lines
    )


def _in_json(text: str, rule: _Rule) -> str:
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    found: list[bool] = []

    def replaced(_: Any) -> str:
        found.append(True)
        return rule.replace

    changed = _walk(parsed, rule.path, replaced)
    return json.dumps(changed, ensure_ascii=False) if found else text


def _walk(value: Any, path: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step in value:
        return {**value, step: _walk(value[step], rest, change)}
    if isinstance(value, list) and step == "[*]":
        return [_walk(one, rest, change) for one in value]
    if isinstance(value, list) and step[:1] == "[" and int(step[1:-1]) < len(value):
        index = int(step[1:-1])
        return [_walk(one, rest, change) if at == index else one for at, one in enumerate(value)]
    return value

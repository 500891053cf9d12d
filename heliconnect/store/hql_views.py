"""The views that a caller's own SQL can ask, as SQLite knows them.

Names and meanings are those of Helicone's table request_response_rmt: cost is billionths of a US dollar, tokens are
disjoint parts. NULL is unknown. Source: clickhouse/migrations of Helicone/helicone
"""

from __future__ import annotations

from heliconnect.store.hql import HqlColumn, HqlTable

__all__ = ["TABLES"]

_TIME = "strftime('%Y-%m-%d %H:%M:%f', {} / 1000 / 1000.0, 'unixepoch')"
_ENDED = "CAST(r.started_us + r.latency_ms * 1000 AS INTEGER)"
_PROVIDER = "CASE r.provider WHEN 'xai' THEN 'X' WHEN 'vertex' THEN 'GOOGLE' ELSE upper(r.provider) END"
_WRITES = (
    "CASE WHEN r.cache_write_tokens IS NULL AND r.cache_write_1h_tokens IS NULL THEN NULL"
    " ELSE coalesce(r.cache_write_tokens, 0) + coalesce(r.cache_write_1h_tokens, 0) END"
)
_BODY = "(SELECT unpacked(b.{}) FROM main.bodies AS b WHERE b.key = r.key)"
_FEEDBACK = (
    "(SELECT n.value = 'true' FROM main.notes AS n"
    " WHERE n.subject = r.request_id AND n.kind = 'feedback' AND n.name = '')"
)
_ID = HqlColumn("request_id", "Text", "r.request_id", "the id of the call")
_TOKENS = (
    HqlColumn("prompt_tokens", "Integer", "r.input_tokens", "input without caches and audio"),
    HqlColumn("prompt_cache_read_tokens", "Integer", "r.cache_read_tokens", "input that was read from a cache"),
    HqlColumn("prompt_cache_write_tokens", "Integer", _WRITES, "input that was written to a cache"),
    HqlColumn("prompt_audio_tokens", "Integer", "r.input_audio_tokens", "input that was audio"),
    HqlColumn("completion_tokens", "Integer", "r.output_tokens", "output without reasoning and audio"),
    HqlColumn("reasoning_tokens", "Integer", "r.reasoning_tokens", "output that was reasoning"),
    HqlColumn("completion_audio_tokens", "Integer", "r.output_audio_tokens", "output that was audio"),
    HqlColumn("total_tokens", "Integer", "r.total_tokens", "all of them together"),
)
_REQUESTS = HqlTable(
    "request_response_rmt",
    "main.requests AS r",
    (
        _ID,
        HqlColumn("request_created_at", "Text", _TIME.format("r.started_us"), "UTC: 2026-03-01 12:00:00.000"),
        HqlColumn("response_created_at", "Text", _TIME.format(_ENDED), "UTC, when the answer ended"),
        HqlColumn("started_us", "Integer", "r.started_us", "microseconds since 1970 UTC: the fast way to a time"),
        HqlColumn("latency", "Real", "r.latency_ms", "milliseconds"),
        HqlColumn("time_to_first_token", "Real", "r.first_byte_ms", "milliseconds"),
        HqlColumn("status", "Integer", "r.status", "of HTTP; -1 timed out, -3 cancelled"),
        HqlColumn("ended", "Text", "r.ended", "done, cancelled, cut, timeout or unreachable"),
        HqlColumn("error", "Text", "r.error", "what went wrong"),
        HqlColumn("model", "Text", "r.model", "the best known name of the model"),
        HqlColumn("request_model", "Text", "r.request_model", "the model that was asked for"),
        HqlColumn("response_model", "Text", "r.response_model", "the model that answered"),
        HqlColumn("provider", "Text", _PROVIDER, "as Helicone spells it: OPENAI"),
        HqlColumn("target_url", "Text", "r.target_url", "where the call went"),
        HqlColumn("is_stream", "Integer", "r.is_stream", "1 for an answer in parts"),
        *_TOKENS,
        HqlColumn("cost", "Integer", "r.cost_nano", "billionths of a US dollar, as Helicone keeps it"),
        HqlColumn("cost_usd", "Real", "r.cost_nano / 1000000000.0", "US dollars"),
        HqlColumn("cost_source", "Text", "r.cost_source", "the price list, provider, logged or cache"),
        HqlColumn("cache_reference_id", "Text", "r.cache_reference_id", "the record whose answer was given again"),
        HqlColumn("user_id", "Text", "r.user_id", "who the call was for"),
        HqlColumn("session_id", "Text", "r.session_id", "the session it was part of"),
        HqlColumn("session_name", "Text", "r.session_name", "the session's name"),
        HqlColumn("session_path", "Text", "r.session_path", "its place in the session: /search"),
        HqlColumn("properties", "JSON", "r.properties", "an object: json_extract(properties, '$.tier')"),
        HqlColumn("feedback", "Integer", _FEEDBACK, "1 good, 0 bad"),
        HqlColumn("request_body", "Text", _BODY.format("request"), "what was sent; slow over many calls"),
        HqlColumn("response_body", "Text", _BODY.format("response"), "what was answered; slow over many calls"),
        HqlColumn("size_bytes", "Integer", "r.request_size_bytes + r.response_size_bytes", "of both bodies"),
    ),
)
_PROPERTIES = HqlTable(
    "request_properties",
    "main.properties AS p JOIN main.requests AS r ON r.key = p.key",
    (
        _ID,
        HqlColumn("name", "Text", "p.name", "the property's name, in lower case"),
        HqlColumn("value", "Text", "p.value", "its value"),
    ),
)
_SCORES = HqlTable(
    "request_scores",
    "main.notes AS n JOIN main.requests AS r ON r.request_id = n.subject AND n.kind = 'score'",
    (
        _ID,
        HqlColumn("name", "Text", "n.name", "the score's name"),
        HqlColumn("value", "Real", "CAST(n.value AS REAL)", "its value"),
    ),
)
TABLES = (_REQUESTS, _PROPERTIES, _SCORES)

"""Token counts: each provider's report, made into disjoint parts that sum to its own totals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.exchange import Usage
from heliconnect.usage import billed_usage, reported_cost, usage_of

REPORTS = [
    pytest.param(
        [
            {
                "usage": {
                    "prompt_tokens": 100,
                    "completion_tokens": 50,
                    "total_tokens": 150,
                    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 6},
                    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5},
                }
            }
        ],
        Usage(
            input_tokens=30,
            cache_read_tokens=64,
            input_audio_tokens=6,
            output_tokens=25,
            reasoning_tokens=20,
            output_audio_tokens=5,
        ),
        id="openai-chat-caches-audio-and-reasoning-are-within-the-totals",
    ),
    pytest.param(
        [{"choices": [{}], "usage": None}, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}],
        Usage(input_tokens=3, output_tokens=4),
        id="openai-stream-only-the-last-chunk-reports",
    ),
    pytest.param(
        [{"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}}],
        Usage(input_tokens=3, output_tokens=4),
        id="groq-stream",
    ),
    pytest.param(
        [{"usage": {"prompt_tokens": 20, "completion_tokens": 4, "prompt_cache_hit_tokens": 16}}],
        Usage(input_tokens=4, cache_read_tokens=16, output_tokens=4),
        id="deepseek-cache-hits",
    ),
    pytest.param(
        [
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 115,
                    "completion_tokens_details": {"reasoning_tokens": 100},
                }
            }
        ],
        Usage(input_tokens=10, output_tokens=5, reasoning_tokens=100),
        id="xai-reasoning-stands-beside-the-completion",
    ),
    pytest.param(
        [{"usage": {"prompt_tokens": 7, "total_tokens": 7}}], Usage(input_tokens=7), id="embeddings-have-no-output"
    ),
    pytest.param(
        [
            {"type": "response.created", "response": {"usage": None}},
            {
                "type": "response.completed",
                "response": {
                    "usage": {
                        "input_tokens": 30,
                        "input_tokens_details": {"cached_tokens": 10},
                        "output_tokens": 12,
                        "output_tokens_details": {"reasoning_tokens": 8},
                    }
                },
            },
        ],
        Usage(input_tokens=20, cache_read_tokens=10, output_tokens=4, reasoning_tokens=8),
        id="responses-stream",
    ),
    pytest.param(
        [
            {
                "type": "message_start",
                "message": {
                    "usage": {
                        "input_tokens": 4,
                        "cache_creation_input_tokens": 100,
                        "cache_read_input_tokens": 50,
                        "cache_creation": {"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 30},
                        "output_tokens": 1,
                    }
                },
            },
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 25}},
        ],
        Usage(
            input_tokens=4,
            cache_read_tokens=50,
            cache_write_tokens=70,
            cache_write_1h_tokens=30,
            output_tokens=25,
        ),
        id="anthropic-stream-caches-stand-beside-the-input",
    ),
    pytest.param(
        [{"usage": {"input_tokens": 4, "cache_creation_input_tokens": 9, "output_tokens": 1}}],
        Usage(input_tokens=4, cache_write_tokens=9, output_tokens=1),
        id="anthropic-without-the-breakdown-of-writes",
    ),
    pytest.param(
        [
            {"usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10}},
            {
                "usageMetadata": {
                    "promptTokenCount": 100,
                    "toolUsePromptTokenCount": 7,
                    "cachedContentTokenCount": 40,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 80},
                        {"modality": "AUDIO", "tokenCount": 20},
                    ],
                    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
                    "candidatesTokenCount": 30,
                    "thoughtsTokenCount": 12,
                }
            },
        ],
        Usage(input_tokens=52, cache_read_tokens=40, input_audio_tokens=15, output_tokens=30, reasoning_tokens=12),
        id="gemini-stream-tools-count-as-input-thoughts-stand-beside",
    ),
    pytest.param(
        [{"usage": {"inputTokens": 5, "outputTokens": 6, "cacheReadInputTokens": 7, "cacheWriteInputTokens": 8}}],
        Usage(input_tokens=5, cache_read_tokens=7, cache_write_tokens=8, output_tokens=6),
        id="bedrock-converse",
    ),
    pytest.param(
        [
            {
                "type": "message-end",
                "delta": {"usage": {"billed_units": {"input_tokens": 2}, "tokens": {"input_tokens": 9}}},
            }
        ],
        Usage(input_tokens=9),
        id="cohere-what-the-model-saw",
    ),
    pytest.param([{"error": {"message": "no"}}], None, id="an-error-reports-nothing"),
    pytest.param([], None, id="nothing-was-answered"),
    pytest.param([{"usage": {"type": "duration", "seconds": 3}}], None, id="seconds-are-no-tokens"),
]


@pytest.mark.parametrize(("answers", "usage"), REPORTS)
def test_a_report_becomes_disjoint_parts(answers: list[object], usage: Usage | None) -> None:
    """One provider's report, one usage."""
    assert usage_of(answers) == usage


def test_contradictions_never_give_negative_counts() -> None:
    """More cached than prompted is cut to the prompt; the total stays the provider's."""
    usage = usage_of([{"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 64}}}])
    assert usage == Usage(input_tokens=0, cache_read_tokens=10)


NAMES = [
    *("usage", "usageMetadata", "meta", "message", "prompt_tokens", "input_tokens", "cached_tokens", "inputTokens"),
    *("prompt_tokens_details", "promptTokenCount", "tokens", "completion_tokens", "cache_creation", "cost"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**15) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3))
def test_any_json_gives_usage_or_none(answers: list[object]) -> None:
    """No JSON raises, and no count is negative."""
    usage = usage_of(answers)
    billed_usage(answers)
    cost = reported_cost(answers)
    assert usage is None or all(count is None or count >= 0 for count in (usage.total_input, usage.total_output))
    assert cost is None or cost >= 0


def test_cohere_is_billed_by_other_counts_than_it_saw() -> None:
    """What is charged are the billed units."""
    answers = [{"meta": {"tokens": {"input_tokens": 90}, "billed_units": {"input_tokens": 12, "output_tokens": 3}}}]
    assert billed_usage(answers) == Usage(input_tokens=12, output_tokens=3)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        pytest.param(0.00014, Decimal("0.00014"), id="number"),
        pytest.param(0, Decimal(0), id="free"),
        pytest.param("nan", None, id="not-a-number"),
        pytest.param(-1, None, id="negative"),
        pytest.param(None, None, id="absent"),
        pytest.param(True, None, id="boolean"),
    ],
)
def test_a_cost_that_the_answer_states(cost: object, expected: Decimal | None) -> None:
    """OpenRouter states what a call cost; what is no amount is not taken for one."""
    assert reported_cost([{"usage": {"prompt_tokens": 1, "cost": cost}}]) == expected

"""Settings: one variable decides the gateway; secrets stay hidden; mistakes are explained."""

from __future__ import annotations

import pytest

import heliconnect as hc
from heliconnect.settings import Gateway, Settings, configure, from_env, get_settings


@pytest.mark.parametrize(
    ("environ", "base_url", "gateway"),
    [
        pytest.param({}, "http://127.0.0.1:8787", Gateway.LOCAL, id="nothing-set-is-the-local-gateway"),
        pytest.param(
            {"HELICONE_API_KEY": "sk-helicone-a"}, "https://gateway.helicone.ai", Gateway.CLOUD, id="a-key-is-the-cloud"
        ),
        pytest.param(
            {"HELICONE_API_KEY": "sk-helicone-eu-a"},
            "https://gateway.eu.hconeai.com",
            Gateway.CLOUD,
            id="an-eu-key-is-the-eu-cloud",
        ),
        pytest.param(
            {"HELICONE_API_KEY": "k", "HELICONE_BASE_URL": "http://box:8787/"},
            "http://box:8787",
            Gateway.LOCAL,
            id="a-base-url-wins",
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "http://box:8585/v1/gateway"},
            "http://box:8585/v1/gateway",
            Gateway.SELF_HOSTED,
            id="helicones-own-self-host",
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "https://oai.helicone.ai/v1"},
            "https://oai.helicone.ai/v1",
            Gateway.CLOUD,
            id="todays-base-url-of-cloud-users",
        ),
    ],
)
def test_the_environment_names_the_gateway(environ: dict[str, str], base_url: str, gateway: Gateway) -> None:
    """HELICONE_API_KEY and HELICONE_BASE_URL, alone and together."""
    settings = from_env(environ)
    assert (settings.base_url, settings.gateway) == (base_url, gateway)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        pytest.param({"HELICONE_BASE_URL": "localhost:8787"}, "absolute http", id="relative-url"),
        pytest.param({"HELICONE_BASE_URL": "ftp://x"}, "absolute http", id="other-scheme"),
        pytest.param({"HELICONE_BASE_URL": "http://x:port"}, "absolute http", id="bad-port"),
        pytest.param({"HELICONNECT_PROVIDERS": "openai"}, "name=url", id="provider-without-url"),
        pytest.param({"HELICONNECT_PROVIDERS": "openai=x"}, "absolute http", id="provider-with-relative-url"),
        pytest.param({"HELICONNECT_DISABLED": "maybe"}, "1 or 0", id="flag"),
    ],
)
def test_a_value_that_cannot_be_used_is_explained(environ: dict[str, str], message: str) -> None:
    """The error says what was expected and what came; it is a ValueError too."""
    with pytest.raises(hc.SettingsError, match=message) as caught:
        from_env(environ)
    assert isinstance(caught.value, ValueError)


def test_the_key_never_shows() -> None:
    """Printing settings does not print the key."""
    assert "secret" not in repr(Settings(api_key="sk-helicone-secret"))


def test_providers_are_kept_by_origin() -> None:
    """Further providers are known by their origin, whatever path was given."""
    settings = from_env({"HELICONNECT_PROVIDERS": "openai=http://127.0.0.1:9000/v1, mine=https://LLM.example.com"})
    assert dict(settings.providers) == {"http://127.0.0.1:9000": "openai", "https://llm.example.com": "mine"}


def test_the_process_reads_its_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """get_settings() is stable; configure() reads again and applies changes."""
    monkeypatch.setenv("HELICONE_BASE_URL", "http://one:1")
    assert get_settings().base_url == "http://one:1"
    monkeypatch.setenv("HELICONE_BASE_URL", "http://two:2")
    assert get_settings().base_url == "http://one:1"
    assert configure(failover=False).base_url == "http://two:2"
    assert get_settings().failover is False


def test_a_key_given_in_code_chooses_its_cloud() -> None:
    """configure(api_key=...) is as good as HELICONE_API_KEY."""
    assert configure(api_key="sk-helicone-x").gateway is Gateway.CLOUD

"""Helicone's features by header, without any network: what a request asks for, and the state behind it.

`wishes` reads the headers, `caching` keeps answers, `limits` counts tokens in buckets, `retries` and `fallbacks` say
what to try next. The data plane's `FeaturedCall` does what they say.
"""

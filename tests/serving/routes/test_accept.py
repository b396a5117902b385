from __future__ import annotations

import pytest

from serving.routes.accept import prefers_json


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json, text/plain, */*",
        "text/html;q=0.5, application/json;q=0.6",
        "application/*",
        "*/*;q=0.1, application/json;q=0.2",
    ],
)
def test_json_is_preferred(accept: str) -> None:
    assert prefers_json(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
        "text/*, application/*",
        "text/html, application/json",
        "application/json;q=0",
        "application/json;q=nonsense",
        "image/png",
        ",;,=",
    ],
)
def test_html_is_for_everybody_else(accept: str) -> None:
    assert not prefers_json(accept)

"""Requests made up from the OpenAPI document that the real service gives."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serving.launch import RunningService
from serving.routes.openapi import OPERATIONS
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def operations(service: RunningService) -> dict[str, Any]:
    document: Any = schemathesis.openapi.from_url(
        f"{service.url}/openapi.json", timeout=PATIENCE_SECONDS
    )
    found = [result.ok() for result in document.get_all_operations()]
    return {f"{one.method.upper()} {one.path}": one for one in found}


NAMES = [f"{one.method} {one.path}" for one in OPERATIONS if one.path != "/openapi.json"]


def test_all_but_the_document_itself_is_tried(operations: dict[str, Any]) -> None:
    assert set(operations) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_made_up_is_answered_as_the_document_says(
    operations: dict[str, Any], name: str
) -> None:
    @settings(max_examples=10, suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=operations[name].as_strategy())
    def ask(case: Any) -> None:
        # That a name is known, and bytes are an image, is more than a schema can say.
        # A deadline of a millisecond is kept by an error of the server's, as documented.
        response = case.call_and_validate(
            excluded_checks=[positive_data_acceptance, not_a_server_error],
            timeout=PATIENCE_SECONDS,
        )
        assert response.status_code < 500 or response.status_code in (503, 504)

    ask()

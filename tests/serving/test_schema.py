"""What the OpenAPI description says, by a program that nobody here wrote: schemathesis tries to prove it wrong."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
schema = schemathesis.pytest.from_fixture("api")


@pytest.fixture(scope="module")
def api(served):
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


@schema.parametrize()
@settings(
    max_examples=8, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), deadline=None
)
def test_every_answer_is_as_described(case):
    case.call_and_validate(checks=CHECKS)


def test_it_has_examples(served):
    found = served.client.get("/openapi.json").json()
    assert set(found["paths"]) >= {"/v1/classify", "/v1/models/{name}", "/v2/models/{name}/infer", "/metrics"}
    ranked = found["components"]["schemas"]["Ranked"]["properties"]
    assert ranked["label"]["examples"] == ["daisy"]

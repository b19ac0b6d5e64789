"""What the OpenAPI description says, by a program that nobody here wrote: schemathesis tries to prove it wrong."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def test_every_answer_is_as_described(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @settings(max_examples=5, phases=[Phase.explicit, Phase.generate], deadline=None, database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case):
            case.call_and_validate(checks=CHECKS)

        ask()


def test_it_has_examples(served):
    found = served.client.get("/openapi.json").json()
    assert set(found["paths"]) >= {"/v1/classify", "/v1/models/{name}", "/v2/models/{name}/infer", "/metrics"}
    ranked = found["components"]["schemas"]["Ranked"]["properties"]
    assert ranked["label"]["examples"] == ["daisy"]

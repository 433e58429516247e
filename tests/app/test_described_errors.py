"""The description of the API tells of every error shape, so that programs need not guess."""

from typing import Any

from fastapi import FastAPI

from app.error_shape import ERRORS, ErrorOut


def test_every_described_route_tells_of_its_errors_in_our_shape(application: FastAPI) -> None:
    description = application.openapi()
    shape = {"$ref": "#/components/schemas/ErrorOut"}
    seen = 0
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            answers: dict[str, Any] = route["responses"]
            for status in ERRORS:
                content = answers[str(status)]["content"]
                assert content["application/json"]["schema"] == shape, f"{method} {path} {status}"
            assert any(status.startswith("2") for status in answers), f"{method} {path}"
            seen += 1
    assert seen > 40
    assert set(description["components"]["schemas"]["ErrorOut"]["properties"]) == set(ErrorOut.model_fields)


def test_errors_have_the_described_shape(api_server: Any) -> None:
    for method, path, status in (
        ("GET", "/api/problems", 401), ("GET", "/api/no-such-thing", 404), ("DELETE", "/api/problems", 405),
        ("POST", "/webhooks/lob", 401),
    ):  # fmt: skip
        answer = api_server.ask(method, path)
        assert answer.status == status
        ErrorOut.model_validate(answer.json())

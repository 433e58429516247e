"""The official descriptions as a second opinion: refuse what they would refuse.

Needs the development dependencies (openapi-schema-validator, referencing, PyYAML) and a folder with
`sendgrid_tsg_mail_v3.json.gz`, `twilio_api_v2010.json.gz` and `lob-api-bundled.yml.gz`.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FILES = {
    "sendgrid": "sendgrid_tsg_mail_v3.json.gz",
    "twilio": "twilio_api_v2010.json.gz",
    "lob": "lob-api-bundled.yml.gz",
}
SCHEMAS = {
    "sendgrid": "/components/requestBodies/PostMailSend/content/application~1json/schema",
    "twilio": (
        "/paths/~12010-04-01~1Accounts~1{AccountSid}~1Messages.json/post/requestBody/content"
        "/application~1x-www-form-urlencoded/schema"
    ),
    "lob": "/components/schemas/postcard_editable",
}


def official_rules(folder: Path) -> Callable[[str, Any], list[str]]:
    """Return a function from provider and body to what its description refuses, empty when it accepts."""
    # Imported here: the sandbox runs without the development dependencies unless it is given the descriptions.
    from openapi_schema_validator import OAS30WriteValidator
    from referencing import Registry
    from referencing.jsonschema import DRAFT4

    validators: dict[str, Any] = {}
    twilio_types: Mapping[str, Any] = {}
    for provider, file in FILES.items():
        description = _read(folder / file)
        _correct(provider, description)
        resource = DRAFT4.create_resource(description)
        registry: Registry[Any] = Registry().with_resource(f"urn:{provider}", resource)
        reference = {"$ref": f"urn:{provider}#{SCHEMAS[provider]}"}
        validators[provider] = OAS30WriteValidator(reference, registry=registry)
        if provider == "twilio":
            schema = registry.resolver().lookup(reference["$ref"]).contents
            twilio_types = schema["properties"]

    def refusals(provider: str, body: Any) -> list[str]:
        value = _typed(body, twilio_types) if provider == "twilio" else body
        found = validators[provider].iter_errors(value)
        return [f"{'.'.join(str(step) for step in error.absolute_path)} {error.message}".strip() for error in found]

    return refusals


def _read(file: Path) -> Any:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        if file.name.endswith(".json.gz"):
            return json.load(opened)
        import yaml  # a development dependency, as above

        return yaml.safe_load(opened)


def _correct(provider: str, description: Any) -> None:
    """Correct two slips, where the description contradicts its own documentation and the official SDKs."""
    if provider == "sendgrid":
        mail = description["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]
        mail["properties"]["custom_args"] = {"type": "object"}
    if provider == "lob":
        # An address abroad may well have a city, a state and a postal code.
        place = description["components"]["schemas"]["inline_address_intl"]["allOf"][2]
        place["anyOf"] = place.pop("oneOf")


def _typed(form: Mapping[str, str], types: Mapping[str, Any]) -> dict[str, Any]:
    """Give form values the types that the description asks for, where they can be read so."""
    readers: dict[str, Callable[[str], Any]] = {
        "integer": int,
        "number": float,
        "boolean": lambda text: {"true": True, "false": False}[text.lower()],
        "array": lambda text: [text],
    }
    typed: dict[str, Any] = dict(form)
    for name, text in form.items():
        reader = readers.get(types.get(name, {}).get("type", ""))
        if reader is not None:
            try:
                typed[name] = reader(text)
            except (ValueError, KeyError):
                continue
    return typed

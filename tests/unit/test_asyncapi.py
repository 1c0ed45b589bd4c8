"""docs/asyncapi.yaml is valid AsyncAPI, says what the models say, and its examples are right."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from alerts import reference
from alerts.alert import Alert, Status
from ingest import event_docs
from ingest.control import parse_control
from ingest.records import event_record, report_records
from ingest.schema import json_schema, parse_event, parse_report
from ingest.topics import TOPICS
from tests.docs import asyncapi

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text("utf-8"))
SPECIFICATION = ROOT / "tests" / "data" / "asyncapi" / "3.0.0-without-id.schema.json"
MESSAGES = DOCUMENT["components"]["messages"]


def validator(message: str, part: str = "payload") -> Draft202012Validator:
    """Judges a part of a message; references lead into the document."""
    whole = {**DOCUMENT, "$ref": f"#/components/messages/{message}/{part}"}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_document_is_generated() -> None:
    """It is what `make docs` writes."""
    assert (ROOT / "docs" / "asyncapi.yaml").read_text("utf-8") == asyncapi.text()


def test_it_is_valid_asyncapi() -> None:
    """The specification's own schema accepts it, and would refuse a document with a fault."""
    judge = Draft7Validator(json.loads(SPECIFICATION.read_text("utf-8")))
    assert [error.message[:200] for error in judge.iter_errors(DOCUMENT)] == []
    assert not judge.is_valid({**DOCUMENT, "asyncapi": "2.0.0"})
    assert not judge.is_valid({**DOCUMENT, "operations": {"x": {"action": "read"}}})


def test_every_reference_leads_somewhere() -> None:
    """No part refers to what is not there."""
    found = []

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                found.append(part["$ref"])
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(DOCUMENT)
    assert len(found) > 20
    for reference_ in found:
        at: Any = DOCUMENT
        for name in reference_.removeprefix("#/").split("/"):
            at = at[name]


def test_every_topic_is_a_channel() -> None:
    """Topics have their settings, and every channel is used."""
    channels = {one["address"]: one for one in DOCUMENT["channels"].values()}
    assert set(channels) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        settings = channels[topic.name]["bindings"]["kafka"]["topicConfiguration"]
        said = {name: value[0] if isinstance(value, list) else str(value)
                for name, value in settings.items()}  # fmt: skip
        assert said == dict(topic.settings)


@pytest.mark.parametrize("message", ["callback", "report", "control", "alert"])
def test_payloads_are_valid_schemas_with_valid_examples(message: str) -> None:
    """Each payload is a JSON Schema, accepts its example, and refuses another field."""
    Draft202012Validator.check_schema(MESSAGES[message]["payload"])
    (example,) = MESSAGES[message]["examples"]
    judge = validator(message)
    assert list(judge.iter_errors(example["payload"])) == []
    assert not judge.is_valid({**example["payload"], "body": "x"})
    assert not judge.is_valid({})


def test_the_examples_are_what_the_models_take() -> None:
    """What the document shows is read by the code."""
    shown = {name: json.dumps(one["examples"][0]["payload"])
             for name, one in MESSAGES.items() if "examples" in one}  # fmt: skip
    assert parse_event(shown["callback"]).sender == "acme-stripe"
    assert parse_report(shown["report"]).sent == 1198
    assert parse_control(shown["control"].encode(), None, unsigned=True).sender == "acme-stripe"
    assert Alert.from_json(shown["alert"].encode()) == reference.example(Status.OPEN)


def test_records_have_the_headers_that_are_described() -> None:
    """The headers of real records are valid by the document."""
    event = parse_event(json.dumps(MESSAGES["callback"]["examples"][0]["payload"]))
    report = parse_report(json.dumps(MESSAGES["report"]["examples"][0]["payload"]))
    for message, record in (("callback", event_record(event)), ("report", report_records(report, 1)[0])):  # fmt: skip # noqa: E501
        headers = {name: value.decode() for name, value in record.headers}
        assert list(validator(message, "headers").iter_errors(headers)) == []
        assert set(MESSAGES[message]["headers"]["required"]) == set(headers)


def test_it_says_what_the_json_schema_says() -> None:
    """The event of the document and docs/schema accept and refuse the same events."""
    alone, here = Draft202012Validator(json_schema()), validator("callback")
    event = json.loads(json.loads(event_docs.vectors_text())["events"][0]["canonical"])
    changes: list[dict[str, Any]] = [
        {}, {"schema": 2}, {"reason": None}, {"verdict": "verified"}, {"status": 99},
        {"sender": ""}, {"body_bytes": -1}, {"received_at": "now"}, {"ext": {"a": [1]}},
        {"verdict": "unverified", "reason": None}, {"source_ip": 7}, {"kind": "mail"},
    ]  # fmt: skip
    judged = [(alone.is_valid(event | one), here.is_valid(event | one)) for one in changes]
    assert {one == other for one, other in judged} == {True}
    assert {one for one, _ in judged} == {True, False}


def test_two_meanings_of_one_name_are_an_error() -> None:
    """Definitions of several models share names only where they are equal."""
    shared: dict[str, Any] = {"A": {"type": "string"}}
    with pytest.raises(ValueError, match="two different schemas are called A"):
        asyncapi.hoisted({"$defs": {"A": {"type": "integer"}}}, shared)

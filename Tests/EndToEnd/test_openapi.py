"""The document at /openapi.json, read by programs that know OpenAPI and not Knap."""

import copy
import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from rest import INPUT, Site, drop, tool

SEED = 20260728
EXAMPLES = 40

TREE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://tree.example/tree", "$dynamicAnchor": "node",
    "type": "object", "required": ["value"], "additionalProperties": False, "properties": {
        "value": {"$ref": "#/$defs/a~1b c"}, "children": {"type": "array", "items": {"$dynamicRef": "#node"}},
        "$ref": {"const": {"$ref": "#/$defs/none"}}, "twin": {"$ref": "#"}, "small": {"$ref": "#small"},
    },
    "$defs": {"a/b c": {"type": "integer"}, "leaf": {"$anchor": "small", "type": "integer", "maximum": 9}},
}
# What fits the tree's schema, and what does not.
FIT = [{"value": 1}, {"value": 1, "children": [{"value": 2, "children": []}]}, {"value": 1, "$ref": {"$ref": "#/$defs/none"}},
       {"value": 1, "twin": {"value": 2}}, {"value": 1, "small": 9}]
UNFIT = [{}, {"value": "1"}, {"value": 1, "children": [{}]}, {"value": 1, "$ref": 1}, {"value": 1, "twin": {}},
         {"value": 1, "small": 10}]


def checked(document):
    """The document, once it is one."""
    OpenAPIV31SpecValidator(document).validate()
    return document


def validator(document, schema):
    """For a schema as it is in the document, from where its references lead."""
    registry = Registry().with_resource("urn:document", Resource(contents=document, specification=DRAFT202012))
    schema = copy.deepcopy(schema)

    def absolute(part):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            if key == "$ref" and isinstance(value, str):
                part[key] = f"urn:document{value}"
            else:
                absolute(value)
    absolute(schema)
    return jsonschema.Draft202012Validator(schema, registry=registry)


def test_the_document_is_valid_and_its_schemas_mean_what_the_manifest_says(place):
    site = Site(place, place.serve())
    methods = {
        "echo": {"input": TREE, "output": TREE, "mutating": False},
        "greet": {"input": INPUT, "output": {"$ref": "elsewhere.json"}},
        "page": {"output_content_type": "text/html"}, "quiet": {"content_type": "application/octet-stream"},
        "events": {"streams": "out"}, "result": {"output": {"type": "object", "properties": {"n": {"type": "number"}}}}}
    drop(place, "POST /tree echo", "GET /tree echo", "PUT /people/{name} greet",
         "GET /people/{count} greet", "GET /files/{+name} greet", "POST /page page",
         "PUT /bytes quiet", "POST /events events", "GET /tree/again echo",
         tools=[tool("tree", "echo"), tool("page", "page"), tool("result", "result")], methods=methods)
    document = checked(site.get("/openapi.json").json)
    paths = document["paths"]
    operations = [each for path in paths.values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert [tag["name"] for tag in document["tags"]] == ["gateway", "obsidian", "web"]
    assert {tag for each in operations for tag in each["tags"]} == {"gateway", "obsidian", "web"}

    for body in [paths["/tools/tree"]["post"]["requestBody"], paths["/tree"]["post"]["requestBody"],
                 paths["/tools/tree"]["post"]["responses"]["200"]]:
        meant = validator(document, body["content"]["application/json"]["schema"])
        assert [meant.is_valid(value) for value in FIT + UNFIT] == [True] * len(FIT) + [False] * len(UNFIT)
        for value in FIT + UNFIT:
            assert site.post("/tools/tree", value).status == (200 if value in FIT else 400)

    # One path for templates of one shape; each operation's body is without what the path has.
    people = paths["/people/{count}"]
    assert [each["name"] for each in people["put"]["parameters"]] == ["count"]
    body = document["components"]["schemas"]["test.web.greet.put.body"]
    assert "name" not in body["properties"] and "count" in body["properties"]
    assert people["get"]["parameters"][0]["schema"] == {"type": "integer", "minimum": 1}
    query = {each["name"]: each for each in people["get"]["parameters"] if each["in"] == "query"}
    assert set(query) == set(INPUT["properties"]) - {"count"}
    tags = validator(document, query["tags"]["schema"])
    assert tags.is_valid(["a"]) and not tags.is_valid([1])
    assert "slashes" in paths["/files/{name}"]["get"]["parameters"][0]["description"]
    # What cannot be a part of the document is left out of it, and said to be.
    assert paths["/people/{count}"]["put"]["responses"]["200"]["content"] == {"application/json": {"schema": {}}}
    warnings = [each["reason"] for each in place.call("gateway.problems")["problems"]]
    assert any("elsewhere.json" in each for each in warnings)

    assert "text/event-stream" in paths["/events"]["post"]["responses"]["200"]["content"]
    assert paths["/page"]["post"]["responses"]["200"]["content"] == {"text/html": {"schema": {"type": "string"}}}
    assert "application/octet-stream" in paths["/bytes"]["put"]["requestBody"]["content"]


CONFIG = """
hooks = {hooks}

[dictionaries]
notes.values = ["Welcome.md", "Ideas", "Garden/Soil.md", "Garden", "Daily/2026-05-02.md", "New/Note.md"]
words.values = ["tomatoes", "soil", "tag:garden", "-", "2026-05-01", "[status:open]"]

[parameters]
"body.path" = {{ dictionary = "notes", probability = 0.5 }}
"body.to" = {{ dictionary = "notes", probability = 0.5 }}
"body.query" = {{ dictionary = "words", probability = 0.5 }}
"body.modified_since" = {{ dictionary = "words", probability = 0.5 }}

[[operations]]
include-tag = "obsidian"
# Its methods know of paths, dates and queries what no schema says; `fuzzing.py` looks at why they refuse.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409"]
"""


@pytest.mark.storms
def test_a_fuzzer_finds_nothing_that_the_document_does_not_say(place):
    site = Site(place, place.serve())
    place.wait_until_indexed()
    # Whatever fits comes back, read from path, query or body, and must fit as an answer too.
    drop(place, "GET /people/{name} echo", "DELETE /people echo", "PUT /people/{name}/{count} echo",
         "GET /files/{+name} echo", "PATCH /people echo", "POST /people echo",
         tools=[tool("echo", "echo")], methods={"echo": {"input": INPUT, "output": INPUT, "mutating": False}})
    folder = pathlib.Path(__file__).parent
    settings = place.root / "schemathesis.toml"
    settings.write_text(CONFIG.format(hooks=json.dumps(str(folder / "fuzzing.py"))))
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", f"{site.url}/openapi.json",
        "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--no-color", "-H", f"Authorization: Bearer {place.token}"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=place.root, timeout=110)
    print(f"seed {SEED}, {EXAMPLES} examples", result.stdout, result.stderr, sep="\n")
    assert result.returncode == 0, result.stdout[-8000:]
    assert site.get("/health").status == 200 and site.post("/tools/list_notes", {}).status == 200

"""REST beside MCP: tools and plugins' routes, spoken to without a client library."""

import json
import re
import subprocess
import time

import pytest

import plugins
from knap_host import Place, wait_for
from rest import INPUT, Site, drop, tool
from test_live_changes import command

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LARGEST = (64 << 20) + (64 << 10)

# Of every tool of the vault a call or more, in an order in which they make sense.
CALLS = [
    ("list_notes", {}), ("list_notes", {"path": "Garden", "limit": 1}), ("search_notes", {"query": "tomatoes"}),
    ("write_note", {"path": "New.md", "content": "# New\nSee [[Welcome]]. #fresh\n"}), ("read_note", {"path": "New"}),
    ("edit_note", {"path": "New", "find": "See", "content": "Look at"}), ("read_note", {"path": "New.md", "limit": 1}),
    ("note_links", {"path": "Welcome.md"}), ("move_note", {"path": "Welcome.md", "to": "Start.md"}),
    ("read_note", {"path": "New.md"}), ("list_tags", {}), ("query_notes", {"tag": "fresh"}), ("delete_note", {"path": "New.md"}),
    ("recent_changes", {"limit": 3}), ("history", {"limit": 2}), ("history", {"change": 1}), ("undo", {"changes": [4]}),
    ("edit_notes", {"operations": [{"operation": "write", "path": "Both", "content": "x"}, {"operation": "edit", "path": "Start", "content": "y"}]}),
    ("find_tools", {"query": "rename a note"}),
    ("rename_heading", {"path": "Start", "heading": "Welcome", "to": "Hello", "preview": True}), ("rename_tag", {"tag": "plant", "to": "plot"}),
    ("note_data", {"path": "Start.md", "processor": "links"}), ("list_tasks", {"status": "open"}), ("note_processing", {}), ("process_notes", {}),
    ("note_graph", {"path": "Start.md", "depth": 2}), ("unlinked_mentions", {"path": "Garden/Beans.md"}), ("build_context", {"path": "Start"}),
]


@pytest.fixture
def site(place):
    return Site(place, place.serve())


def without_times(value):
    """The vaults' notes were not copied at the same moment."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("modified", "changed", "created", "time")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def text_of(output, pointer):
    """An output as MCP's text: what the tool points at first, then the rest."""
    if pointer is None:
        return [output]
    rest = {key: value for key, value in output.items() if key != pointer}
    return [output[pointer]] + ([rest] if rest else [])


def test_the_example_of_the_readme_works_as_printed(place):
    home = place.root / "home"
    place.state = home / ".local/state/knap/Notes-1"
    del place.environment["KNAP_TOKEN"]
    site = Site(place, place.serve())
    place.wait_until_indexed()
    readme = (plugins.ROOT / "README.md").read_text()
    [example] = [block for block in re.findall(r"```sh\n(.*?)```", readme, re.S) if "/tools/" in block]
    script = example.replace("127.0.0.1:7420", f"{site.host}:{site.port}")
    ran = subprocess.run(["sh", "-ec", script], env={**place.environment, "HOME": str(home)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "Garden/Tomatoes.md" in [note["path"] for note in json.loads(ran.stdout)["notes"]], ran.stdout


def test_every_tool_of_the_vault_answers_what_it_answers_over_mcp(place):
    other = Place()
    try:
        over_rest, over_mcp = Site(place, place.serve()), Site(other, other.serve())
        listed = {each["name"]: each for each in over_rest.get("/tools").json["tools"]}
        assert {name for name, _ in CALLS} == set(listed) - {"use_tool"}
        assert "POST /tools/NAME" in listed["use_tool"]["unavailable"]
        place.wait_until_indexed()
        other.wait_until_indexed()
        for name, arguments in CALLS:
            answer = over_rest.post(f"/tools/{name}", arguments)
            assert answer.status == 200, (name, answer)
            result = over_mcp.tool_over_mcp(name, arguments)
            assert not result.get("isError"), result
            blocks = [block["text"] for block in result["content"]]
            pointer = "content" if name in ("read_note", "edit_note", "build_context") and "content" in answer.json else None
            expected = text_of(answer.json, pointer)
            given = [block if pointer and index == 0 else json.loads(block) for index, block in enumerate(blocks)]
            assert without_times(given) == without_times(expected), name
        here = {path.relative_to(place.vault): path.read_bytes() for path in place.vault.rglob("*.md")}
        there = {path.relative_to(other.vault): path.read_bytes() for path in other.vault.rglob("*.md")}
        assert here == there
    finally:
        other.close()


@pytest.mark.parametrize("name", ["read_note", "find_tools"])
def test_a_tool_is_described_by_its_name(site, name):
    described = site.get(f"/tools/{name}").json
    assert described["name"] == name and described["inputSchema"]["type"] == "object" and described["plugin"]


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

MISTAKES = [
    ("POST", "/tools/serch_notes", {}, {}, 404, "NOT_FOUND", "Did you mean search_notes?"),
    ("GET", "/tools/serch_notes", None, {}, 404, "NOT_FOUND", "Did you mean search_notes?"),
    ("POST", "/tools/search_notes", {}, {}, 400, "INVALID_ARGUMENT", "'query' is required"),
    ("POST", "/tools/search_notes", None, {}, 400, "INVALID_ARGUMENT", "'query' is required"),
    ("POST", "/tools/search_notes", [1], {}, 400, "INVALID_ARGUMENT", "must be a JSON object"),
    ("POST", "/tools/search_notes?query=x", {}, {}, 400, "INVALID_ARGUMENT", "into the body"),
    ("POST", "/tools/search_notes", b"{", JSON, 400, "INVALID_ARGUMENT", "not JSON"),
    ("POST", "/tools/search_notes", b'{"query": "\xff"}', JSON, 400, "INVALID_ARGUMENT", "not JSON"),
    ("POST", "/tools/search_notes", b"[" * 100000, JSON, 400, "INVALID_ARGUMENT", "not JSON"),
    ("POST", "/tools/search_notes", b"query=x", FORM, 415, None, "application/json"),
    ("POST", "/tools/search_notes", b"{}", {}, 415, None, "application/json"),
    ("POST", "/tools/search_notes", b"", {"Content-Length": str(LARGEST + 1)}, 413, None, str(LARGEST)),
    ("POST", "/tools/read_note", {"path": "Nowhere.md"}, {}, 404, "NOT_FOUND", "Nowhere"),
    ("POST", "/tools/write_note", {"path": "Welcome.md", "content": ""}, {}, 409, "ALREADY_EXISTS", "Welcome"),
    ("POST", "/tools/use_tool", {"name": "read_note"}, {}, 422, "FAILED_PRECONDITION", "by its own name"),
    ("PUT", "/tools/read_note", {}, {}, 405, None, "GET, HEAD, POST, OPTIONS"),
    ("POST", "/tools", {}, {}, 405, None, "GET, HEAD, OPTIONS"),
    ("DELETE", "/openapi.json", None, {}, 405, None, "GET, HEAD, OPTIONS"),
    ("GET", "/nowhere", None, {}, 404, "NOT_FOUND", "/openapi.json"),
    ("GET", "/tools/read_note/more", None, {}, 404, "NOT_FOUND", "/openapi.json"),
    ("GET", "/tools/", None, {}, 404, "NOT_FOUND", "no tool"),
    ("GET", "/%ff", None, {}, 400, "INVALID_ARGUMENT", "percent-encoded"),
    ("GET", "/tools", None, {"Authorization": None}, 401, None, "token"),
    ("GET", "/openapi.json", None, {"Authorization": "Bearer wrong"}, 401, None, "token"),
    ("POST", "/tools/list_notes", {}, {"Authorization": None, "Cookie": "knap_token=test-token"}, 401, None, "token"),
    ("GET", "/nowhere", None, {"Authorization": None}, 401, None, "token"),
]


def test_each_mistake_has_its_status_and_says_what_to_do(site):
    for method, path, body, headers, status, code, words in MISTAKES:
        answer = site.ask(method, path, body, headers)
        problem = answer.problem
        assert answer.status == status and problem.get("code") == code and words in problem["detail"], (method, path, answer)
        if status == 405:
            assert answer.headers["Allow"] == words
        if status == 401:
            assert answer.headers["WWW-Authenticate"] .startswith("Bearer")
    for headers in [{"Host": "evil.example"}, {"Origin": "http://evil.example"}]:
        assert site.ask("POST", "/tools/list_notes", {}, headers).status == 403


@pytest.mark.parametrize("path", ["/tools", "/tools/read_note", "/openapi.json", "/echo"])
def test_head_is_get_without_the_body_and_options_names_the_methods(place, site, path):
    drop(place, "GET /echo echo", "PUT /echo echo")
    got, head, options = site.get(path), site.ask("HEAD", path), site.ask("OPTIONS", path)
    assert got.status == head.status == 200 and head.body == b""
    assert dict(head.headers) == dict(got.headers)
    assert options.status == 204 and options.body == b"" and "Content-Length" not in options.headers
    allowed = options.headers["Allow"].split(", ")
    assert allowed[:2] == ["GET", "HEAD"] and allowed[-1] == "OPTIONS" and ("PUT" in allowed) == (path == "/echo")


CODES = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503,
         15: 500, 16: 401}


def test_what_a_method_fails_with_has_the_status_of_its_code_and_its_details(place, site):
    drop(place, "POST /fail/{status} fail", tools=[tool("fail", "fail")])
    for code, status in CODES.items():
        for answer in [site.post(f"/fail/{code}"), site.post("/tools/fail", {"status": code})]:
            problem = answer.problem
            assert answer.status == status and problem["detail"] == "as you wish", answer
            assert problem["details"]["why"] == "asked to"
            assert answer.headers["Retry-After"] == ("2" if status in (429, 503) else None)


def test_what_a_method_answers_comes_as_it_is(place, site):
    html = {"output_content_type": "text/html"}
    names = ["echo", "quiet", "garbled", "page", "split", "result", "blocks", "mistake", "ask"]
    drop(place, *[f"POST /{name} {name}" for name in names], tools=[tool(name, name) for name in names], methods={"page": html})
    for at in ["", "/tools"]:
        odd = b'{"b": 1.50,\n "a": [1e3, "\\u00fc"]}'
        answer = site.post(f"{at}/echo", odd, **{"Content-Type": "application/json; charset=utf-8"})
        assert answer.headers["Content-Type"] == "application/json"
        # Read and written once, by the Gateway: numbers and order stay.
        assert answer.body == '{"b":1.50,"a":[1e3,"ü"]}'.encode()
        assert site.post(f"{at}/quiet").body == b"{}"
        page = site.post(f"{at}/page")
        assert (page.headers["Content-Type"], page.body) == ("text/html; charset=utf-8", b"<p>Hello</p>")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert site.post(f"{at}/result").body == b'{"n":1.50}'
        assert site.post(f"{at}/blocks").json == {"content": [{"type": "text", "text": "Hello"}]}
        assert site.post(f"{at}/garbled").problem["code"] == "INTERNAL"
        split = site.post(f"{at}/split")
        assert split.problem["code"] == "INTERNAL" and "Set-Cookie" not in split.headers
        mistake = site.post(f"{at}/mistake")
        assert mistake.status == 422 and mistake.problem["detail"] == "There is no such city."
        asked = site.post(f"{at}/ask")
        assert asked.status == 422 and "elicitation/create" in asked.problem["detail"]


def test_a_tool_that_needs_more_of_its_client_says_so_and_is_not_in_the_document(place, site):
    needs = {"samples": {"client_capabilities": {"sampling": {}}}, "later": {"task": "required"}}
    drop(place, tools=[tool(name, "echo", **more) for name, more in needs.items()] + [tool("asks", "ask", interactive=True)])
    listed = {each["name"]: each for each in site.get("/tools").json["tools"]}
    paths = site.get("/openapi.json").json["paths"]
    for name in needs:
        refused = site.post(f"/tools/{name}", {})
        assert refused.status == 422 and refused.problem["detail"] == listed[name]["unavailable"]
        assert f"/tools/{name}" not in paths
    assert "unavailable" not in listed["asks"] and "/tools/asks" in paths
    assert site.post("/tools/asks", {}).status == 422


def test_a_tool_that_would_be_a_task_goes_on_in_place(place, site):
    drop(place, tools=[tool(name, name, interactive=True, task="decided") for name in ("later", "never")])
    assert site.post("/tools/later", {}).json == {"done": True}
    assert site.post("/tools/never", {}).problem["code"] == "ABORTED"


def test_a_call_belongs_to_the_trace_of_its_caller(place, site):
    drop(place, "GET /about about", tools=[tool("about", "about")])
    for ask in [lambda **headers: site.get("/about", **headers), lambda **headers: site.post("/tools/about", {}, **headers)]:
        assert ask(traceparent=TRACE).json == {"principal": "mcp-http", "trace": TRACE}
        for wrong in [TRACE.upper(), "00-0-0-0", "x" * 5000]:
            assert ask(traceparent=wrong).json["trace"] == ""


@pytest.mark.parametrize("path", ["/tools/wait", "/wait", "/events"])
def test_a_client_that_goes_away_cancels_its_call(place, site, path):
    streams = {"events": {"streams": "out"}}
    drop(place, "POST /wait wait", "POST /events events", "GET /state state",
         tools=[tool("wait", "wait")], methods=streams, deadline_ms=0)
    connection = site.begin("POST", path, {"then": "wait"})
    wait_for(lambda: site.get("/state").json == 1, "the call")
    connection.close()
    wait_for(lambda: site.get("/state").json == -1, "its cancellation")


def test_path_query_and_body_become_the_input_that_the_schema_describes(place, site):
    methods = {"echo": {"input": INPUT, "mutating": False}}
    drop(place, "GET /people/{name} echo", "DELETE /people echo", "PUT /people/{name}/{count} echo",
         "GET /files/{+name} echo", "PATCH /people echo", methods=methods)
    for method, path, body, expected in [
        ("GET", "/people/Ada", None, {"name": "Ada"}),
        ("GET", "/people/Ada?count=2&share=0.5&loud=true&tags=1&tags=b&ids=3", None,
         {"name": "Ada", "count": 2, "share": 0.5, "loud": True, "tags": ["1", "b"], "ids": [3]}),
        ("GET", "/people/A%2Fd+a%20%C3%BC?place=%7B%22x%22%3A1%7D", None, {"name": "A/d+a ü", "place": {"x": 1}}),
        ("GET", "/files/a/b%20c.md", None, {"name": "a/b c.md"}), ("GET", "/files/a%2Fb.md", None, {"name": "a/b.md"}),
        ("DELETE", "/people?name=12", None, {"name": "12"}), ("DELETE", "/people", None, {}),
        ("PUT", "/people/Ada/3", {"loud": False}, {"loud": False, "name": "Ada", "count": 3}),
        ("PUT", "/people/Ada/3", None, {"name": "Ada", "count": 3}), ("PATCH", "/people", {"count": 1}, {"count": 1}),
    ]:
        answer = site.ask(method, path, body)
        assert answer.status == 200 and answer.json == expected, (method, path, answer)
    for method, path, body, words in [
        ("GET", "/people/Ada?count=many", None, "count"), ("GET", "/people/Ada?count=0", None, "count"),
        ("GET", "/people/Ada?count=1&count=2", None, "2 times"), ("GET", "/people/Ada?nmae=x", None, "nmae"),
        ("GET", "/people/Ada?name=Bea", None, "part of the path"), ("GET", "/people/Ada?a=%ff", None, "percent-encoded"),
        ("PUT", "/people/Ada/three", {}, "count"), ("PUT", "/people/Ada/3", {"name": "Bea"}, "part of the path"),
        ("PUT", "/people/Ada/3", [], "JSON object"), ("PATCH", "/people?count=1", {}, "not behind a question mark"),
    ]:
        answer = site.ask(method, path, body)
        assert answer.status == 400 and words in answer.problem["detail"], (method, path, answer)


def test_a_method_that_takes_no_json_gets_the_body_as_it_is(place, site):
    plain = {"content_type": "text/plain", "output_content_type": "text/plain"}
    drop(place, "PUT /text echo", methods={"echo": plain})
    body = b'\xff\x00 "as it is"' * 1000
    answer = site.ask("PUT", "/text", body, {"Content-Type": "text/plain; charset=latin1"})
    assert answer.status == 200 and answer.body == body and answer.headers["Content-Type"] == "text/plain"
    assert site.ask("PUT", "/text", {"a": 1}).status == 415


def test_what_a_method_streams_goes_out_as_it_comes(place, site):
    streams = {"events": {"streams": "out"}, "pieces": {"streams": "out", "output_content_type": "application/x-pieces"}}
    drop(place, "POST /events events", "POST /pieces pieces", methods=streams, deadline_ms=300)
    items = "".join(f'event: message\ndata: {{"n":\ndata: {number}}}\n\n' for number in (1, 2, 3))
    told = site.post("/events")
    assert told.headers["Content-Type"] == "text/event-stream"
    assert told.body.decode() == items + 'event: result\ndata: "done"\n\n'
    failed = site.post("/events", {"then": "wait"}).body.decode()
    assert failed.startswith(items + "event: error\ndata: ") and '"code":"DEADLINE_EXCEEDED"' in failed
    assert site.post("/events", {"then": "nothing"}).problem["code"] == "NOT_FOUND"
    pieces = site.post("/pieces")
    assert pieces.headers["Content-Type"] == "application/x-pieces"
    assert pieces.body == b'{"n":\n1}{"n":\n2}{"n":\n3}"done"'
    assert site.post("/pieces", {"then": "nothing"}).status == 404
    with site.begin("POST", "/pieces", {"then": "wait"}) as connection:
        # No last chunk: the client knows that there was more to come.
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b'{"n":\n3}' in received and not received.endswith(b"0\r\n\r\n")


def test_a_new_generation_of_the_gateway_waits_for_no_stream_and_keeps_the_routes(place, site):
    drop(place, "POST /events events", "GET /greeting greet", methods={"events": {"streams": "out"}}, deadline_ms=0)
    with site.begin("POST", "/events", {"then": "wait"}) as connection:
        received = b""
        while b"3}" not in received:
            received += connection.recv(65536)
        began = time.monotonic()
        assert command(place, "plugins", "reload", "gateway").returncode == 0
        assert time.monotonic() - began < 5
        while chunk := connection.recv(65536):
            received += chunk
        assert b"event: error" in received and b"UNAVAILABLE" in received
    assert site.get("/greeting").json == "Hello"


def test_routes_come_change_and_go_with_their_plugin(place, site):
    assert site.get("/greeting").status == 404
    tags = [site.get("/openapi.json").headers["ETag"]]
    for version, greeting, path in [("1.0.0", "Hello", "/greeting"), ("1.1.0", "Hi", "/greeting"), ("2.0.0", "Hey", "/hello/{name}")]:
        drop(place, f"GET {path} greet", version=version, defines=[f'GREETING="{greeting}"'])
        document = wait_for(lambda: (at := site.get("/openapi.json")) and path in at.json["paths"] and at, "the route")
        tags.append(document.headers["ETag"])
        wait_for(lambda: site.get(path.replace("{name}", "Ada")).json == greeting, f"version {version}'s answer")
    assert site.get("/greeting").status == 404
    assert len(set(tags)) == 3 and tags[1] == tags[2]
    (place.state / "plugins/web.so").unlink()
    wait_for(lambda: site.get("/hello/Ada").status == 404, "the end of the route")
    assert site.get("/openapi.json").headers["ETag"] == tags[0]


def test_routes_that_cannot_be_are_reported_and_the_first_plugin_has_what_two_want(place, site):
    drop(place, "GET /notes/{+path} greet", "GET /mcp greet", "GET /{any} greet", defines=['GREETING="web"'])
    drop(place, "GET /notes/special greet", name="zeta", defines=['GREETING="zeta"'])
    assert site.get("/notes/special").json == "web"
    problems = [each for each in place.call("gateway.problems")["problems"] if each["severity"] == "error"]
    assert [(each["plugin"], each["item"]) for each in problems] == [
        ("web", "route GET /mcp"), ("web", "route GET /{any}"), ("zeta", "route GET /notes/special")]
    assert "GET /notes/{+path} of web" in problems[2]["reason"]
    doctor = command(place, "doctor")
    assert doctor.returncode == 78 and "GET /notes/special of zeta" in doctor.stdout, doctor
    page = site.get("/").body.decode()
    assert "GET /notes/{+path}" in page and "route GET /mcp" in page
    (place.state / "plugins/web.so").unlink()
    wait_for(lambda: site.get("/notes/special").body == b'"zeta"', "the other plugin's route")
    assert command(place, "doctor").returncode == 0


def test_the_document_is_the_same_for_the_same_plugins_and_is_sent_once(place, site):
    first = site.get("/openapi.json")
    assert first.headers["Content-Type"] == "application/json" and first.headers["Cache-Control"] == "no-cache"
    again = site.get("/openapi.json", **{"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
    assert again.status == 304 and again.body == b"" and again.headers["ETag"] == first.headers["ETag"]
    drop(place, "GET /greeting greet")
    wait_for(lambda: site.get("/openapi.json").body != first.body, "the route")
    (place.state / "plugins/web.so").unlink()
    wait_for(lambda: site.get("/openapi.json").body == first.body, "the end of the route")
    # The page links to it.
    cookie = site.get(f"/?token={place.token}", Authorization=None).headers["Set-Cookie"].split(";")[0]
    page = site.get("/", Authorization=None, Cookie=cookie).body.decode()
    [link] = re.findall(r'href="([^"]*)"', page)
    assert site.get(link, Authorization=None, Cookie=cookie).body == first.body

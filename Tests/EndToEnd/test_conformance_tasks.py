"""The official conformance suite's scenarios for the extension io.modelcontextprotocol/tasks (2026-07-28), replayed over both
transports. The suite's scenario is named where a test is one."""

import re

import pytest

from knap_host import wait_for
from mcp_wire import EVERYTHING, LEGACY, MODERN, PREFIX, TASKS, accepted, conformance_place, connect, sampled
from test_conformance_2025 import TRANSPORTS

WITH_TASKS = {**EVERYTHING, "extensions": {TASKS: {}}}
MISSING = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
OVER = ("completed", "failed", "cancelled")
ISO_8601 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
FIELDS = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"}
OPTIONAL = {"statusMessage", "pollIntervalMs"}
# What a task has besides, by its status.
MORE = {"working": set(), "input_required": {"inputRequests"}, "completed": {"result"}, "failed": {"error"}, "cancelled": set()}


@pytest.fixture(scope="module")
def place():
    with conformance_place() as place:
        yield place


@pytest.fixture(params=TRANSPORTS)
def client(place, request):
    with connect(place, request.param, MODERN, capabilities=WITH_TASKS) as client:
        yield client


def check(task, allowed):
    """Holds a task against the extension's definition of it. What the first revision of tasks had is not there any more."""
    members = set(task) - {"resultType", "_meta"}
    assert FIELDS <= members <= FIELDS | OPTIONAL | allowed, task
    assert re.fullmatch(ISO_8601, task["createdAt"]) and re.fullmatch(ISO_8601, task["lastUpdatedAt"]), task
    assert task["ttlMs"] is None or type(task["ttlMs"]) is int and task["ttlMs"] > 0, task
    assert type(task.get("pollIntervalMs", 1)) is int and task.get("pollIntervalMs", 1) > 0, task
    return task


def start(client, tool, arguments=None, **options):
    """Calls a tool that becomes a task; returns its id."""
    task = check(client.call(tool, arguments or {}, **options).result, set())
    assert task["resultType"] == "task" and task["status"] == "working", task
    return task["taskId"]


def get(client, task_id):
    task = client.request("tasks/get", {"taskId": task_id}).result
    assert task["resultType"] == "complete" and task["taskId"] == task_id
    check(task, MORE[task["status"]])
    assert MORE[task["status"]] <= set(task)
    if task["status"] == "input_required":
        client.schema.check("InputRequests", task["inputRequests"])
    if task["status"] == "completed":
        # The extension's own examples leave out what tells this result from others.
        client.schema.check("CallToolResult", task["result"])
    return task


def wait_until(client, task_id, *statuses):
    """Asks until the task has one of the statuses, or is over."""
    def reached():
        task = get(client, task_id)
        return task["status"] in (*statuses, *OVER) and task

    task = wait_for(reached, f"the task's being {statuses}")
    assert task["status"] in statuses, task
    return task


def acknowledged(answer):
    """Whether the answer is nothing but that the request was heard."""
    return {name: value for name, value in answer.result.items() if name != "_meta"} == {"resultType": "complete"}


def update(client, task_id, **responses):
    assert acknowledged(client.request("tasks/update", {"taskId": task_id, "inputResponses": responses}))


def cancel(client, task_id):
    assert acknowledged(client.request("tasks/cancel", {"taskId": task_id}))


# --- tasks-lifecycle

def test_a_tool_that_is_no_task_answers_at_once(client):
    result = client.call("greet", {"name": "World"}).result
    assert result["resultType"] == "complete" and result["content"][0]["text"] == "Hello, World!"
    assert not FIELDS & set(result)


def test_a_task_is_there_when_its_handle_is_and_has_the_result_in_the_end(client):
    task_id = start(client, "slow_compute", {"seconds": 0.2, "label": "life"})
    # tasks-strong-consistency-immediate-get: nothing lies between.
    get(client, task_id)
    task = wait_until(client, task_id, "completed")
    assert task["result"]["content"] == [{"type": "text", "text": "Computed life for 0.2 seconds"}]
    # tasks-wire-fields: it stays, and its result does not say once more which task it is of.
    assert f"{PREFIX}related-task" not in task["result"].get("_meta", {})
    assert get(client, task_id) == task


def test_a_task_says_how_far_it_is(client):
    task_id = start(client, "slow_compute", {"seconds": 3600, "label": "for ever"}, meta={"progressToken": "unused"})
    wait_for(lambda: get(client, task_id).get("statusMessage") == "Computing for ever", "the task's message")
    cancel(client, task_id)


def test_a_tool_that_failed_has_completed(client):
    result = wait_until(client, start(client, "failing_job"), "completed")["result"]
    assert result["isError"] is True and result["content"][0]["text"] == "The job failed as it should"


def test_a_failure_of_the_protocol_is_a_failure_of_the_task(client):
    error = wait_until(client, start(client, "protocol_error_job"), "failed")["error"]
    assert error == {"code": -32603, "message": "The job broke the protocol as it should", "data": {"job": "broken"}}


def test_a_cancelled_task_is_heard_and_then_cancelled(client):
    task_id = start(client, "slow_compute", {"seconds": 3600})
    cancel(client, task_id)
    wait_until(client, task_id, "cancelled")


def test_cancelling_stops_the_work(place, client):
    def at_work():
        return place.call("host.plugin", name="conformance")["calls"]["in_flight"]

    before = at_work()
    task_id = start(client, "slow_compute", {"seconds": 3600})
    wait_for(lambda: at_work() == before + 1, "the work's beginning")
    cancel(client, task_id)
    wait_for(lambda: at_work() == before, "the work's end")


@pytest.mark.parametrize("tool, arguments, status", [("failing_job", {}, "completed"), ("protocol_error_job", {}, "failed")])
def test_cancelling_what_is_over_is_heard_and_changes_nothing(client, tool, arguments, status):
    # A client cannot know that it comes too late.
    task_id = start(client, tool, arguments)
    task = wait_until(client, task_id, status)
    cancel(client, task_id)
    assert get(client, task_id) == task


# --- tasks-capability-negotiation, tasks-required-task-error

def test_the_extension_is_declared_and_nothing_of_its_first_revision(client):
    capabilities = client.request("server/discover").result["capabilities"]
    assert capabilities["extensions"][TASKS] == {}
    assert "tasks" not in capabilities


@pytest.mark.parametrize("method, more", [("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})])
def test_a_client_without_the_extension_reaches_no_task(client, method, more):
    task_id = start(client, "slow_compute", {"seconds": 3600})
    answer = client.request(method, {"taskId": task_id, **more}, capabilities=EVERYTHING)
    assert (answer.error["code"], answer.error["data"]) == (-32021, MISSING)
    assert answer.status in (None, 400)
    assert get(client, task_id)["status"] == "working"
    cancel(client, task_id)


def test_a_client_without_the_extension_gets_the_result_itself(client):
    result = client.call("slow_compute", {"seconds": 0, "label": "at once"}, capabilities={}).result
    assert result["resultType"] == "complete" and not FIELDS & set(result)
    assert result["content"][0]["text"].startswith("Computed at once")


def test_each_request_says_anew_whether_it_may_become_a_task(place):
    with connect(place, "http", MODERN, capabilities={}) as client:
        assert client.call("slow_compute", {"seconds": 0}).result["resultType"] == "complete"
        start(client, "slow_compute", {"seconds": 0}, capabilities={"extensions": {TASKS: {}}})


def test_a_tool_that_only_runs_as_a_task_is_refused_to_a_client_without_the_extension(client):
    answer = client.call("failing_job", {}, capabilities=EVERYTHING)
    assert (answer.error["code"], answer.error["data"]) == (-32021, MISSING)
    assert answer.status in (None, 400)


def test_a_client_of_the_handshake_era_gets_no_tasks(place):
    for transport in TRANSPORTS:
        with connect(place, transport, LEGACY, capabilities=WITH_TASKS) as client:
            assert client.call("slow_compute", {"seconds": 0, "label": "at once"}).text.startswith("Computed at once")
            assert client.call("failing_job", {}).result["isError"]
            assert client.request("tasks/get", {"taskId": "any"}, valid=False).error


# --- tasks-dispatch-and-envelope

@pytest.mark.parametrize("method, more", [("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})])
def test_a_task_that_there_is_not_is_an_error(client, method, more):
    answer = client.request(method, {"taskId": "nonexistent-12345", **more})
    assert answer.error["code"] == -32602
    assert answer.status in (None, 400)


@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
def test_methods_of_the_first_revision_are_gone(client, method):
    assert client.request(method, {"taskId": "any"}).error["code"] == -32601


def test_what_the_first_revision_asked_with_is_passed_over(client):
    params = {"name": "greet", "arguments": {"name": "legacy-hint"}, "task": {"ttl": 60000, "pollInterval": 100}}
    result = client.request("tools/call", params).result
    assert result["resultType"] == "complete" and result["content"][0]["text"] == "Hello, legacy-hint!"


def test_a_task_has_no_request_state(client):
    """tasks-request-state-removal: `check` and `get` allow none, whether the task works, waits or is over."""
    task_id = start(client, "confirm_delete", {"filename": "state.txt"})
    wait_until(client, task_id, "input_required")
    cancel(client, task_id)
    wait_until(client, task_id, "cancelled")


# --- tasks-request-headers

@pytest.mark.parametrize("headers, is_served", [
    ({}, True), ({"Mcp-Name": "another"}, False), ({"Mcp-Name": None}, False), ({"Mcp-Method": "tasks/cancel"}, False)])
def test_headers_name_the_task(place, headers, is_served):
    with connect(place, "http", MODERN, capabilities=WITH_TASKS) as client:
        task_id = start(client, "slow_compute", {"seconds": 3600})
        answer = client.request("tasks/get", {"taskId": task_id}, headers=headers)
        if is_served:
            assert answer.result["taskId"] == task_id
        else:
            assert (answer.status, answer.error["code"]) == (400, -32020)
        assert get(client, task_id)["status"] == "working"
        cancel(client, task_id)


# --- tasks-mrtr-input

@pytest.mark.parametrize("tool, arguments, key, answer, text", [
    ("confirm_delete", {"filename": "mrtr-resume.txt"}, "confirm", accepted(confirm=True), "Deleted mrtr-resume.txt"),
    ("confirm_delete", {"filename": "mrtr-resume.txt"}, "confirm", {"action": "cancel"}, "Kept mrtr-resume.txt")])
def test_a_task_asks_and_goes_on_with_the_answer(client, tool, arguments, key, answer, text):
    task_id = start(client, tool, arguments)
    task = wait_until(client, task_id, "input_required")
    assert {name: request["method"] for name, request in task["inputRequests"].items()} == {key: "elicitation/create"}
    # It is the same question until it is answered.
    assert get(client, task_id)["inputRequests"] == task["inputRequests"]
    update(client, task_id, **{key: answer})
    assert wait_until(client, task_id, "completed")["result"]["content"][0]["text"] == text


# --- tasks-mrtr-composition

def test_a_tool_asks_first_and_becomes_a_task_then(client):
    asked = client.call("test_tool_with_task").result
    assert asked["resultType"] == "input_required" and set(asked["inputRequests"]) == {"user_name"}
    task_id = start(client, "test_tool_with_task", responses={"user_name": accepted(name="Alice")})
    assert wait_until(client, task_id, "completed")["result"]["content"][0]["text"] == "Worked for Alice"


def test_a_tool_that_would_become_a_task_works_in_place_for_who_knows_no_tasks(place):
    with connect(place, "http", MODERN, capabilities={"elicitation": {}}) as client:
        done = client.call("test_tool_with_task", responses={"user_name": accepted(name="Bob")}).result
        assert done["resultType"] == "complete" and done["content"][0]["text"] == "Worked for Bob"


# --- tasks-mrtr-partial

def test_a_task_goes_on_when_the_last_of_its_questions_is_answered(client):
    task_id = start(client, "multi_input")
    assert set(wait_until(client, task_id, "input_required")["inputRequests"]) == {"first", "second"}
    update(client, task_id, first=accepted(name="Ada"))
    task = get(client, task_id)
    assert task["status"] == "input_required" and set(task["inputRequests"]) == {"second"}
    # What was answered, and what was never asked, is passed over.
    update(client, task_id, first=accepted(name="Eve"), third=accepted(name="Eve"))
    assert set(get(client, task_id)["inputRequests"]) == {"second"}
    update(client, task_id, second=accepted(name="Lovelace"))
    assert wait_until(client, task_id, "completed")["result"]["content"][0]["text"] == "Names: Ada, Lovelace"


def test_a_name_of_a_question_is_used_once(client):
    task_id = start(client, "confirm_delete", {"filename": "again.txt"})
    first = wait_until(client, task_id, "input_required")["inputRequests"]
    # This is no answer to a form, so the tool asks again.
    update(client, task_id, confirm=sampled("yes"))

    def asks_again():
        asked = get(client, task_id).get("inputRequests")
        return asked != first and asked

    second = wait_for(asks_again, "the next question")
    assert not set(first) & set(second)
    update(client, task_id, **{name: accepted(confirm=False) for name in second})
    assert wait_until(client, task_id, "completed")["result"]["content"][0]["text"] == "Kept again.txt"


def test_a_task_that_asks_can_be_cancelled_and_takes_no_answers_then(client):
    task_id = start(client, "confirm_delete", {"filename": "mrtr-input.txt"})
    wait_until(client, task_id, "input_required")
    cancel(client, task_id)
    wait_until(client, task_id, "cancelled")
    client.request("tasks/update", {"taskId": task_id, "inputResponses": {"confirm": accepted(confirm=True)}})
    assert get(client, task_id)["status"] == "cancelled"


def test_a_task_asks_only_what_its_client_can_be_asked(client):
    task_id = start(client, "confirm_delete", {"filename": "x"}, capabilities={"extensions": {TASKS: {}}})
    error = wait_until(client, task_id, "failed")["error"]
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"elicitation": {}}})


def test_a_tool_that_may_be_a_task_asks_a_client_without_the_extension_all_the_same(client):
    *needs, done = client.rounds(
        "tools/call", {"name": "confirm_delete", "arguments": {"filename": "x"}}, capabilities=EVERYTHING)
    assert [list(answer.result["inputRequests"]) for answer in needs] == [["confirm"]]
    assert done.text == "Deleted x"


# --- tasks-status-notifications

def test_a_subscriber_hears_what_becomes_of_its_task_and_of_no_other(client):
    task_id, other = (start(client, "confirm_delete", {"filename": name}) for name in ("mine.txt", "other.txt"))
    wait_until(client, task_id, "input_required")
    wait_until(client, other, "input_required")
    with client.listening(taskIds=[task_id]) as listener:
        assert listener.acknowledged["params"]["notifications"] == {"taskIds": [task_id]}
        update(client, other, confirm=accepted(confirm=True))
        wait_until(client, other, "completed")
        update(client, task_id, confirm=accepted(confirm=True))
        statuses = []
        while "completed" not in statuses:
            told = listener.next()
            assert told["method"] == "notifications/tasks"
            task = {name: value for name, value in told["params"].items() if name != "_meta"}
            assert told["params"]["_meta"] == {f"{PREFIX}subscriptionId": listener.request["id"]}
            assert task["taskId"] == task_id
            check(task, MORE[task["status"]])
            statuses.append(task["status"])
        # What it is at the start is told too, because it may have ended before it was listened for.
        assert statuses in (["input_required", "completed"], ["input_required", "working", "completed"])

    with client.listening(taskIds=[task_id, "no-such-task"]) as late:
        assert late.acknowledged["params"]["notifications"] == {"taskIds": [task_id]}
        assert late.next()["params"]["status"] == "completed"
        # It is what `tasks/get` says.
        assert task == {name: value for name, value in get(client, task_id).items() if name not in ("_meta", "resultType")}


def test_a_client_without_the_extension_hears_of_no_task(client):
    answer = client.request("subscriptions/listen", {"notifications": {"taskIds": ["any"]}}, capabilities={})
    assert (answer.error["code"], answer.error["data"]) == (-32021, MISSING)


# --- Beyond the suite

def test_a_task_is_there_for_another_connection_of_the_same_client(place):
    with connect(place, "http", MODERN, capabilities=WITH_TASKS) as first:
        task_id = start(first, "confirm_delete", {"filename": "elsewhere.txt"})
        wait_until(first, task_id, "input_required")
    with connect(place, "http", MODERN, capabilities=WITH_TASKS) as second:
        update(second, task_id, confirm=accepted(confirm=True))
        assert wait_until(second, task_id, "completed")["result"]["content"][0]["text"] == "Deleted elsewhere.txt"


def test_a_task_outlives_the_stdio_connection_that_began_it(place):
    with connect(place, "stdio", MODERN, capabilities=WITH_TASKS) as first:
        task_id = start(first, "confirm_delete", {"filename": "elsewhere.txt"})
    with connect(place, "stdio", MODERN, capabilities=WITH_TASKS) as second:
        wait_until(second, task_id, "input_required")
        update(second, task_id, confirm=accepted(confirm=True))
        assert wait_until(second, task_id, "completed")["result"]["content"][0]["text"] == "Deleted elsewhere.txt"


def test_a_task_is_found_after_the_gateway_was_reloaded(place):
    with connect(place, "http", MODERN, capabilities=WITH_TASKS) as client:
        waiting = start(client, "confirm_delete", {"filename": "kept.txt"})
        wait_until(client, waiting, "input_required")
        done = start(client, "failing_job")
        task = wait_until(client, done, "completed")
        reloaded = place.knap("plugins", "reload", "gateway", "--state", str(place.state))
        assert reloaded.returncode == 0, reloaded.stderr
        assert get(client, done)["result"] == task["result"]
        update(client, waiting, confirm=accepted(confirm=True))
        assert wait_until(client, waiting, "completed")["result"]["content"][0]["text"] == "Deleted kept.txt"

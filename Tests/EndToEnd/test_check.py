"""`knap check` itself: every planted fault is found by the test that is meant for it, and good plugins pass."""

import json
import pathlib
import shutil
import subprocess

import pytest

import plugins
from test_authoring import LANGUAGES, knap, new


TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
COUNT = {"type": "object", "properties": {"words": {"type": "integer", "minimum": 0}}, "required": ["words"]}
TOOL = {"kind": "tool", "name": "count_words", "description": "Count words.", "method": "test.planted.count_words",
        "annotations": {"readOnlyHint": True}}


def planted(place, fault=None, tool=TOOL, text=TEXT):
    library = place.root / "planted.so"
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-w", "-pthread",
         f"-I{plugins.ROOT}/PluginAPI/C/include", f"-I{plugins.ROOT}/PluginAPI/C/sdk", f"-DFAULT_{fault}",
         str(plugins.SOURCES / "planted.c"), "-lm", "-o", str(library)], check=True)
    plugins.embed(library, {
        "manifest": 1, "name": "planted", "version": "1.0.0", "abi": "draft", "extensions": ["knap.state/1"],
        "provides": [{"service": "test.planted", "version": "1.0.0", "methods": [
            {"name": "count_words", "description": "Count words.", "blocking": False, "input": text, "output": COUNT, "deadline_ms": 2000},
            {"name": "echo", "description": "Every item comes back.", "blocking": False, "streams": "both", "deadline_ms": 2000,
             "input": {"type": "object"}}]}],
        "contributes": {"mcp": [tool]},
    })
    return library


def check(place, library, *options):
    done = place.knap("check", str(library), "--json", "--seed", "7", *options, timeout=600)
    assert done.returncode in (0, 65), done.stderr
    result = json.loads(done.stdout)
    assert (done.returncode == 0) == (result["failed"] + result["crashed"] == 0)
    return result


# Each fault, and the test that finds it.
FAULTS = {
    "completes_twice": "calls", "never_completes": "calls", "borrowed_bytes_kept": "calls", "answer_beside_its_schema": "calls",
    "internal_error": "calls", "no_such_status": "calls", "result_without_size": "calls", "buffer_kept": "calls",
    "trusts_its_input": "garbage", "leaks_memory": "leaks", "leaks_descriptors": "leaks", "leaks_threads": "leaks",
    "changes_signals": "signals", "blocks_signals": "signals", "one_instance": "instances", "not_for_threads": "threads",
    "ignores_cancel": "cancel", "holds_the_thread": "blocking", "sends_without_credit": "streams",
    "extension_taken_for_granted": "bare_host", "beyond_the_size": "smaller_host", "answers_any_extension": "unknown_extension",
    "refuses_its_own_state": "state", "trusts_its_state": "state", "hook_completes_twice": "lifecycle",
    "suspend_never_completes": "lifecycle", "another_name": "entry", "another_table": "entry", "method_missing": "entry",
}
WARNINGS = {
    "slow_to_load": "load", "starts_a_thread_when_loaded": "load", "exports_more": "file", "starts_programs": "needs",
    "takes_any_revision": "state",
}


def test_a_plugin_that_keeps_to_the_rules_passes(place):
    result = check(place, planted(place))
    assert [each for each in result["tests"] if each["outcome"] != "passed"] == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.faults
def test_a_planted_fault_is_found(place, fault):
    [found] = check(place, planted(place, fault), "--only", FAULTS[fault])["tests"]
    assert found["outcome"] in ("failed", "crashed") and found["messages"], found


@pytest.mark.parametrize("fault", WARNINGS)
def test_what_is_unwise_is_warned_of(place, fault):
    [found] = check(place, planted(place, fault), "--only", WARNINGS[fault])["tests"]
    assert found["outcome"] == "warning" and found["messages"], found


@pytest.mark.parametrize("tool", [
    {"name": "count words"}, {"description": ""}, {"method": "test.planted.absent"}, {"name": "a" * 65},
    {"inputSchema": {"type": "string"}},
])
def test_a_tool_that_clients_refuse_is_found(place, tool):
    [found] = check(place, planted(place, tool={**TOOL, **tool}), "--only", "tools")["tests"]
    assert found["outcome"] == "failed", found


def test_the_seed_makes_the_same_inputs_again(place):
    library = planted(place, "trusts_its_input")
    first, again = (check(place, library, "--only", "garbage")["tests"] for _ in range(2))
    assert first[0]["outcome"] == again[0]["outcome"] == "crashed"


def test_people_see_each_test_with_its_sentence(place):
    shown = place.knap("check", str(planted(place, "completes_twice")), "--only", "calls", "--only", "load")
    assert shown.returncode == 65
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("passed   load") and any("completed twice" in line for line in lines), lines
    assert "1 passed, 1 failed (seed " in lines[-1]
    unknown = place.knap("check", str(place.root / "planted.so"), "--only", "cals")
    assert unknown.returncode == 64 and "calls" in unknown.stderr


@pytest.mark.compilers
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_project_passes(place, language):
    if not shutil.which(LANGUAGES[language][0]):
        pytest.skip(f"{LANGUAGES[language][0]} is not on this machine")
    library = pathlib.Path(knap(place, "plugins", "build", str(new(place, language))).strip())
    result = check(place, library)
    assert [each for each in result["tests"] if each["outcome"] not in ("passed", "skipped")] == []

"""`knap` as people and scripts use it."""

import json
import os
import re
import signal
import subprocess

from knap_host import KNAP, wait_for


def test_help_teaches_with_examples_and_lists_exit_codes(place):
    result = place.knap("--help")
    assert result.returncode == 0
    assert "EXAMPLES" in result.stdout and "EXIT CODES" in result.stdout


def test_commands_say_so_when_no_host_runs(place):
    result = place.knap("plugins", "list", "--state", str(place.state))
    assert result.returncode == 69
    assert "knap serve" in result.stderr or "no host" in result.stderr


def test_calls_plugins_doctor_plan_and_config_answer(place):
    place.serve()
    state = ["--state", str(place.state)]
    assert place.call("vault.read_note", path="Ideas")["path"] == "Ideas.md"
    plugins = json.loads(place.knap("plugins", "list", "--json", *state).stdout)
    plugins = plugins.get("plugins", plugins) if isinstance(plugins, dict) else plugins
    assert {plugin["name"]: plugin["state"] for plugin in plugins} == {"gateway": "active", "obsidian": "active"}
    assert "mcp.connect" in place.knap("plugins", "info", "gateway", "--json", *state).stdout
    assert place.knap("doctor", *state).returncode == 0
    assert "obsidian" in place.knap("plan", *state).stdout
    assert place.knap("config", "set", "gateway.list_budget_bytes", "30000", *state).returncode == 0
    assert json.loads(place.knap("config", "list", "--json", *state).stdout) == {"gateway": {"list_budget_bytes": 30000}}
    assert json.loads(place.knap("config", "get", "gateway.list_budget_bytes", "--json", *state).stdout) == 30000


def test_what_people_read_is_short_and_says_times_in_words(place):
    place.serve()
    state = ["--state", str(place.state)]
    info = place.knap("plugins", "info", "obsidian", *state).stdout
    assert re.search(r"^since: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", info, re.MULTILINE), info
    assert re.search("vault.search_notes +Full-text search", info) and "asks: read files: config:vaults" in info
    assert "additionalProperties" not in info and "misused" not in info and len(info.splitlines()) < 70, info
    assert "keep   gateway, obsidian" in place.knap("plan", *state).stdout
    assert place.knap("history", *state).stdout == "Nothing was changed yet.\n"
    assert "Nothing is set" in place.knap("config", "list", *state).stdout
    assert place.knap("plugins", "reload", "obsidian", *state).returncode == 0
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  reload  obsidian", place.knap("history", *state).stdout, re.MULTILINE)


def test_a_setting_that_the_schema_does_not_allow_is_refused_and_not_kept(place):
    place.serve()
    state = ["--state", str(place.state)]
    for setting, value in [("gateway.list_budget_bytes", "many"), ("gateway.colour", "red"), ("host.signatures", "perhaps"),
                           ("host.colour", "red")]:
        result = place.knap("config", "set", setting, value, *state)
        assert result.returncode == 65 and "does not fit" in result.stderr, result.stderr
    assert place.knap("config", "list", "--json", *state).stdout == "{}\n"


def test_commands_that_plugins_contribute_run_and_are_listed(place):
    place.serve()
    place.wait_until_indexed()
    result = place.knap("vault", "search", "compost", "--state", str(place.state), "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["total"] == 3


def test_a_failed_call_has_an_exit_code_and_a_message(place):
    place.serve()
    result = place.knap("call", "vault.read_note", '{"path": "Nothing"}', "--state", str(place.state))
    assert result.returncode == 66
    assert "there is no note 'Nothing'" in result.stderr


def test_a_mistyped_method_is_told_from_one_that_nobody_provides_now(place):
    place.serve()
    for method, code, told in [("vault.read_notes", "UNIMPLEMENTED", "vault has no method 'read_notes' (did you mean 'vault.read_note'?)"),
                               ("valt.read_note", "UNAVAILABLE", "(did you mean 'vault.read_note'?)"),
                               ("orchard.pick", "UNAVAILABLE", "no active plugin provides orchard.pick")]:
        result = place.knap("call", method, "--json", "--state", str(place.state))
        error = json.loads(result.stderr)["error"]
        assert result.returncode == 69 and error["code"] == code and told in error["message"], error


def test_a_secret_is_never_shown(place):
    place.serve()
    state = ["--state", str(place.state)]
    assert place.knap("config", "set", "--secret", "gateway.token", "hunter2-hunter2", *state).returncode == 0
    for arguments in (["list"], ["get", "gateway"], ["get", "gateway.token"]):
        shown = place.knap("config", *arguments, "--json", *state)
        assert shown.returncode == 0 and "hunter2" not in shown.stdout and place.token not in shown.stdout, arguments
        assert "(secret)" in shown.stdout
    assert (place.state / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_state_directory_serves_one_host_at_a_time(place):
    place.serve()
    second = place.knap("serve", "--vault", str(place.vault), "--state", str(place.state))
    assert second.returncode == 75
    assert "in use" in second.stderr


def test_an_orderly_stop_ends_with_0_and_leaves_no_socket(place):
    place.serve()
    process = place.processes[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert not (place.state / "control.sock").exists()


def test_a_relay_ends_with_its_client(place):
    relay = subprocess.Popen([KNAP, *place.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.environment)
    relay.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    relay.stdin.flush()
    assert json.loads(relay.stdout.readline())["id"] == 1
    relay.stdin.close()
    assert relay.wait(10) == 0
    relay.stdout.close()


def test_mcp_in_an_unbuilt_tree_fails_at_once(place, tmp_path):
    root = tmp_path / "Knap"
    (root / "Host").mkdir(parents=True)
    source = os.path.join(os.path.dirname(__file__), "../../Host/run")
    subprocess.run(["cp", source, str(root / "Host/run")], check=True)
    result = subprocess.run([str(root / "Host/run"), "mcp", "--vault", "."], capture_output=True, text=True, timeout=10)
    assert result.returncode == 78
    assert result.stdout == ""
    assert "not built" in result.stderr

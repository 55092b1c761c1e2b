"""The HTTP side, spoken to without a client library."""

import http.client
import json
import urllib.parse

import pytest

from knap_host import wait_for

LIST = {"jsonrpc": "2.0", "id": "a", "method": "tools/list"}


def post(endpoint, body, **headers):
    url = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    given = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    connection.request("POST", url.path, json.dumps(body), {k: v for k, v in given.items() if v is not None})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer test-token"}, 200),
        ({"Authorization": "Bearer test-token", "Origin": "http://evil.example"}, 403),
        ({"Authorization": "Bearer test-token", "Host": "evil.example"}, 403),
        ({"Authorization": "Bearer test-token", "Content_Type": "text/plain"}, 415),
    ],
)
def test_only_the_token_from_a_known_origin_gets_in(place, headers, status):
    code, answer, _ = post(place.serve(), LIST, **headers)
    assert code == status
    if status == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_health_needs_no_token_and_the_page_shows_vault_plugins_and_tools(place):
    endpoint = place.serve()
    url = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", "/health")
    health = connection.getresponse()
    assert health.status == 200 and json.loads(health.read())
    connection.close()
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", f"/?token={place.token}")
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (302, 303)
    cookie = answer.getheader("Set-Cookie")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    connection.close()
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", "/", headers={"Cookie": cookie.split(";")[0]})
    page = connection.getresponse().read().decode()
    for word in ["obsidian", "search_notes", "vault", "mcp"]:
        assert word in page
    connection.close()


def test_a_session_that_was_ended_stays_so_when_the_host_is_started_again_and_another_goes_on(place):
    initialize = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}

    def ask(verb, endpoint, session=None):
        url = urllib.parse.urlsplit(endpoint)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                   "Authorization": "Bearer test-token", **({"Mcp-Session-Id": session} if session else {})}
        message = LIST if session else initialize
        connection.request(verb, url.path, None if verb == "DELETE" else json.dumps(message), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    endpoint = place.serve()
    ended, kept = (ask("POST", endpoint).getheader("Mcp-Session-Id") for _ in range(2))
    assert ask("DELETE", endpoint, ended).status == 204
    wait_for(lambda: list(place.state.rglob("ended-sessions.json")), "the end on disk")
    place.processes[-1].kill()
    place.processes[-1].wait()
    endpoint = place.serve()
    assert [ask("POST", endpoint, session).status for session in [ended, kept]] == [404, 200]

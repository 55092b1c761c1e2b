"""Access tokens of an authorization server, from a server that issues them to the tools that they cover."""

import asyncio
import base64
import hmac
import json
import re
import time
import urllib.parse
import urllib.request

import pytest
from joserfc.jwk import ECKey
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import OAuthClientMetadata, OAuthToken

import plugins
from issuer import KINDS, Issuer
from knap_host import wait_for
from test_http import post
from test_official_client import http, text

WRITING = {"write_note", "edit_note", "move_note", "delete_note", "undo"}


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.stop()


def configure(place, settings):
    """Before the host starts."""
    place.state.mkdir(exist_ok=True)
    (place.state / "config.json").write_text(json.dumps({"gateway": settings}))


def serve(place, issuer, settings={}, **oauth):
    configure(place, {"oauth": {"issuer": issuer.identifier, **oauth}, **settings})
    return place.serve()


def ask(endpoint, token, method="tools/list", **params):
    """One request of the handshake era: status, the challenge's parameters, the answer."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    status, headers, content = post(endpoint, body, Authorization=token and f"Bearer {token}")
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', headers.get("WWW-Authenticate", "")))
    return status, challenge, json.loads(content) if content.startswith(b"{") else content.decode()


def call(endpoint, token, name, **arguments):
    return ask(endpoint, token, "tools/call", name=name, arguments=arguments)


def listed(endpoint, token):
    status, _, answer = ask(endpoint, token)
    assert status == 200, answer
    return {tool["name"] for tool in answer["result"]["tools"]}


def read(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


# Discovery


def test_a_client_without_a_token_is_told_where_and_for_what_to_get_one(place, issuer):
    endpoint = serve(place, issuer)
    status, challenge, _ = ask(endpoint, None)
    assert status == 401
    assert set(challenge) == {"scope", "resource_metadata"} and challenge["scope"] == "mcp:read mcp:write"
    expected = {
        "resource": endpoint, "resource_name": "Knap", "authorization_servers": [issuer.identifier],
        "scopes_supported": ["mcp:read", "mcp:write"], "bearer_methods_supported": ["header"],
    }
    assert read(challenge["resource_metadata"]) == expected
    assert read(urllib.parse.urljoin(endpoint, "/.well-known/oauth-protected-resource")) == expected


def test_the_resource_has_the_name_that_the_client_uses_and_the_port_that_is_served(place, issuer):
    endpoint = serve(place, issuer)
    port = urllib.parse.urlsplit(endpoint).port
    _, challenge, _ = ask(f"http://localhost:{port}/mcp", None)
    assert read(challenge["resource_metadata"])["resource"] == f"http://localhost:{port}/mcp"
    status, headers, _ = post(endpoint, {}, Host="localhost:1")
    assert status == 401 and f"http://localhost:{port}/" in headers["WWW-Authenticate"]
    # A token for another server on this machine does not become one for this by a Host field.
    token = issuer.token("http://localhost:1/mcp")
    assert post(endpoint, {}, Host="localhost:1", Authorization=f"Bearer {token}")[0] == 401
    for name in ("localhost", "127.0.0.1"):
        assert listed(endpoint, issuer.token(f"http://{name}:{port}/mcp"))


def test_without_an_issuer_there_is_no_metadata(place):
    endpoint = place.serve()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(urllib.parse.urljoin(endpoint, "/.well-known/oauth-protected-resource"))
    assert ask(endpoint, "a.b.c")[:2] == (401, {"error": "invalid_token"})


# Tokens


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_usual_algorithm_is_known(place, algorithm):
    issuer = Issuer(algorithm)
    endpoint = serve(place, issuer)
    assert WRITING <= listed(endpoint, issuer.token(endpoint))
    assert WRITING <= listed(endpoint, issuer.token([endpoint, "https://other.example"], header={"kid": None, "typ": "JWT"}))
    issuer.stop()


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(issuer, endpoint, algorithm="none"):
    return f"{encoded({'alg': algorithm, 'typ': 'at+jwt'})}.{encoded(issuer.claims(endpoint))}."


def signed_with_the_public_key(issuer, endpoint):
    header = {"alg": "HS256", "typ": "at+jwt", "kid": issuer.keys[0].kid}
    signed = f"{encoded(header)}.{encoded(issuer.claims(endpoint))}"
    # By hand: the library refuses to do this.
    signature = hmac.digest(issuer.keys[0].as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered(issuer, endpoint):
    header, _, signature = issuer.token(endpoint, "mcp:read").split(".")
    return f"{header}.{encoded(issuer.claims(endpoint))}.{signature}"


def signed_by_a_stranger(issuer, endpoint):
    known, issuer.keys = issuer.keys, [ECKey.generate_key("P-256", {"kid": issuer.keys[0].kid})]
    token = issuer.token(endpoint)
    issuer.keys = known
    return token


def with_its_own_key(issuer, endpoint):
    stranger = ECKey.generate_key("P-256", {"kid": "own"})
    known, issuer.keys = issuer.keys, [stranger]
    token = issuer.token(endpoint, header={"jwk": stranger.as_dict(private=False)})
    issuer.keys = known
    return token


BAD = {
    "nonsense": (lambda i, e: "nonsense", "neither"),
    "empty parts": (lambda i, e: "..", "not a JSON object"),
    "expired": (lambda i, e: i.token(e, exp=int(time.time()) - 60), "expired"),
    "not valid yet": (lambda i, e: i.token(e, nbf=int(time.time()) + 60), "not valid yet"),
    "no expiry": (lambda i, e: i.token(e, exp=None), "no expiry"),
    "expiry in words": (lambda i, e: i.token(e, exp="tomorrow"), "not a date"),
    "another audience": (lambda i, e: i.token("https://other.example/mcp"), "not for this server"),
    "the audience's parent": (lambda i, e: i.token(e.removesuffix("/mcp")), "not for this server"),
    "no audience": (lambda i, e: i.token(None), "not for this server"),
    "another issuer": (lambda i, e: i.token(e, iss="http://127.0.0.1:1"), "another issuer"),
    "an issuer with a slash": (lambda i, e: i.token(e, iss=f"{i.identifier}/"), "another issuer"),
    "no subject": (lambda i, e: i.token(e, sub=None), "no subject"),
    "a line break in the subject": (lambda i, e: i.token(e, sub="ada\nroot"), "no subject"),
    "alg none": (unsigned, "asymmetric"),
    "alg None": (lambda i, e: unsigned(i, e, "None"), "asymmetric"),
    "alg of the key, no signature": (lambda i, e: unsigned(i, e, "ES256"), "signature is wrong"),
    "HS256 with the public key": (signed_with_the_public_key, "asymmetric"),
    "unknown key": (lambda i, e: i.token(e, header={"kid": "unknown"}), "no such key"),
    "another algorithm than the key's": (lambda i, e: unsigned(i, e, "RS256"), "no such key"),
    "tampered": (tampered, "signature is wrong"),
    "signed by a stranger": (signed_by_a_stranger, "signature is wrong"),
    "brings its own key": (with_its_own_key, "no such key"),
    "cut": (lambda i, e: i.token(e)[:-6], "signature is wrong"),
    "another type": (lambda i, e: i.token(e, header={"typ": "logout+jwt"}), "type"),
    "critical extension": (lambda i, e: f"{encoded({'alg': 'ES256', 'crit': ['exp']})}.{encoded(i.claims(e))}.AAAA", "critical"),
    "too long": (lambda i, e: i.token(e, filler="x" * 20_000), "too long"),
}


def test_a_bad_token_is_refused_with_the_reason(place, issuer):
    endpoint = serve(place, issuer)
    assert listed(endpoint, issuer.token(endpoint))
    for name, (make, reason) in BAD.items():
        status, challenge, answer = ask(endpoint, make(issuer, endpoint))
        assert (status, challenge.get("error")) == (401, "invalid_token"), (name, answer)
        assert reason in challenge["error_description"], (name, challenge)
        assert challenge["resource_metadata"] and challenge["scope"], name


def test_a_token_that_was_good_is_refused_once_it_has_expired(place, issuer):
    endpoint = serve(place, issuer)
    # Within the leeway, so that it runs out during the test.
    token = issuer.token(endpoint, exp=int(time.time()) - 28)
    assert listed(endpoint, token)
    wait_for(lambda: ask(endpoint, token)[0] == 401, "the token's end", 10)


def test_the_static_token_works_beside_unless_it_is_turned_off(place, issuer):
    endpoint = serve(place, issuer)
    assert WRITING <= listed(endpoint, place.token)
    changed = json.dumps({"issuer": issuer.identifier, "static_token": False})
    assert place.knap("config", "set", "gateway.oauth", changed, "--state", str(place.state)).returncode == 0
    wait_for(lambda: ask(endpoint, place.token)[0] == 401, "the end of the static token")
    assert listed(endpoint, issuer.token(endpoint))


# The issuer's keys


def test_new_keys_of_the_issuer_are_found_and_old_ones_are_no_longer_taken(place, issuer):
    endpoint = serve(place, issuer)
    old = issuer.token(endpoint)
    assert listed(endpoint, old)
    issuer.rotate()
    assert listed(endpoint, issuer.token(endpoint))
    status, challenge, _ = ask(endpoint, old)
    assert status == 401 and "no such key" in challenge["error_description"]


def test_invented_keys_do_not_make_the_issuer_busy(place, issuer):
    endpoint = serve(place, issuer)
    for number in range(50):
        assert ask(endpoint, issuer.token(endpoint, header={"kid": f"invented-{number}"}))[0] == 401
    assert issuer.reads["/keys"] <= 6
    assert listed(endpoint, issuer.token(endpoint))


def test_a_known_key_outlives_the_issuer_and_an_unknown_one_is_nobodys_fault(place, issuer):
    endpoint = serve(place, issuer)
    assert listed(endpoint, issuer.token(endpoint))
    issuer.stop()
    assert listed(endpoint, issuer.token(endpoint, sub="bob"))
    status, _, answer = ask(endpoint, issuer.token(endpoint, header={"kid": "new"}))
    assert status == 503 and "keys cannot be read" in answer
    issuer.start()


def test_while_the_issuer_was_never_reached_the_static_token_works_and_others_are_told_to_wait(place, issuer):
    issuer.stop()
    endpoint = serve(place, issuer)
    assert listed(endpoint, place.token)
    status, _, answer = ask(endpoint, issuer.token(endpoint))
    assert status == 503 and "Try again" in answer
    issuer.start()
    assert listed(endpoint, issuer.token(endpoint))


@pytest.mark.parametrize("metadata", [
    "/.well-known/oauth-authorization-server/tenant", "/tenant/.well-known/openid-configuration",
    "/.well-known/openid-configuration/tenant"])
def test_the_metadata_is_found_wherever_a_standard_puts_it(place, metadata):
    class Elsewhere(Issuer):
        @property
        def documents(self):
            return {metadata: self.metadata, f"{self.path}/keys": super().documents[f"{self.path}/keys"]}

    issuer = Elsewhere(path="/tenant")
    endpoint = serve(place, issuer)
    assert listed(endpoint, issuer.token(endpoint))
    issuer.stop()


@pytest.mark.parametrize("change, status", [
    ({"metadata": {"issuer": "https://other.example"}}, 503),
    ({"metadata": {"jwks_uri": "http://other.example/keys"}}, 503),
    ({"metadata": {"jwks_uri": None}}, 503),
    ({"keys": b"not JSON"}, 503),
    ({"keys": b'{"keys": [' + b" " * 300_000 + b"]}"}, 503),
    ({"keys": {"keys": []}}, 503),
    ({"keys": {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key-1", "alg": "HS256"}]}}, 503),
    ({"keys": {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "key-1"}]}}, 503),
    # What is not known or not good does not spoil the rest.
    ({"more": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "new"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, 7]}, 200),
], ids=lambda value: json.dumps(value, default=str)[:40])
def test_metadata_and_keys_are_not_taken_as_they_come(place, issuer, change, status):
    original = issuer.documents
    keys = change.get("keys", {"keys": change.get("more", []) + original["/keys"]["keys"]})

    class Changed(type(issuer)):
        @property
        def documents(self):
            return {"/.well-known/oauth-authorization-server": {**issuer.metadata, **change.get("metadata", {})}, "/keys": keys}

    issuer.__class__ = Changed
    endpoint = serve(place, issuer)
    assert ask(endpoint, issuer.token(endpoint))[0] == status


def test_a_configured_address_of_the_keys_and_audience_are_used(place, issuer):
    endpoint = serve(place, issuer, jwks_uri=f"{issuer.identifier}/keys", audience="api://notes")
    assert listed(endpoint, issuer.token("api://notes"))
    assert ask(endpoint, issuer.token(endpoint))[0] == 401
    assert list(issuer.reads) == ["/keys"]


@pytest.mark.parametrize("oauth", [{"issuer": "http://issuer.example"}, {"issuer": "https://issuer.example/?tenant=1"},
                                   {"issuer": "https://issuer.example", "jwks_uri": "http://issuer.example/keys"}])
def test_an_issuer_in_the_clear_turns_http_off_and_says_so(place, oauth):
    configure(place, {"oauth": oauth})
    with pytest.raises(AssertionError, match="did not name"):
        place.serve()
    status = place.call("gateway.status")["http"]
    assert status["state"] == "failed" and "must be an https address" in status["reason"]


# Scopes


def test_a_reading_token_lists_finds_and_calls_what_reads_and_is_told_the_scope_for_the_rest(place, issuer):
    endpoint = serve(place, issuer)
    token = issuer.token(endpoint, "openid mcp:read")
    names = listed(endpoint, token)
    assert "read_note" in names and {"find_tools", "use_tool"} <= names and not WRITING & names
    assert call(endpoint, token, "list_notes")[0] == 200
    found = json.dumps(call(endpoint, token, "find_tools", query="write edit delete note")[2])
    assert not any(name in found for name in WRITING)
    note = {"path": "New.md", "content": "x"}
    for params in [{"name": "write_note", "arguments": note},
                   {"name": "use_tool", "arguments": {"name": "write_note", "arguments": note}}]:
        status, challenge, answer = ask(endpoint, token, "tools/call", **params)
        assert status == 403, answer
        assert challenge["error"] == "insufficient_scope" and challenge["scope"] == "mcp:read mcp:write"
        assert challenge["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")
        assert "write_note" in answer["error"]["message"] and "mcp:write" in answer["error"]["message"]
    assert not (place.vault / "New.md").exists()
    assert call(endpoint, issuer.token(endpoint, "mcp:write"), "write_note", path="New.md", content="x")[0] == 200
    assert (place.vault / "New.md").exists()


def test_in_the_stateless_era_too(place, issuer):
    endpoint = serve(place, issuer)
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "write_note", "arguments": {"path": "New.md", "content": "x"}, "_meta": meta}}
    status, headers, _ = post(
        endpoint, body, Authorization=f"Bearer {issuer.token(endpoint, 'mcp:read')}", MCP_Protocol_Version="2026-07-28",
        Mcp_Method="tools/call", Mcp_Name="write_note")
    assert status == 403 and 'error="insufficient_scope"' in headers["WWW-Authenticate"]


def test_a_token_without_a_known_scope_sees_nothing(place, issuer):
    endpoint = serve(place, issuer)
    token = issuer.token(endpoint, "openid")
    assert listed(endpoint, token) == {"find_tools", "use_tool"}
    assert ask(endpoint, token, "resources/list")[2]["result"]["resources"] == []
    assert ask(endpoint, token, "resources/templates/list")[2]["result"]["resourceTemplates"] == []
    assert ask(endpoint, token, "prompts/list")[2]["result"]["prompts"] == []
    for method, params in [("resources/read", {"uri": "vault:///Garden/Soil.md"}), ("prompts/get", {"name": "any"}),
                           ("completion/complete", {"ref": {"type": "ref/resource", "uri": "vault:///{+path}"},
                                                    "argument": {"name": "path", "value": ""}}),
                           ("tools/call", {"name": "read_note", "arguments": {"path": "Garden/Soil.md"}})]:
        status, challenge, _ = ask(endpoint, token, method, **params)
        assert (status, challenge["scope"]) == (403, "mcp:read"), method


def test_configured_scopes_replace_the_usual_ones(place, issuer):
    endpoint = serve(place, issuer, scopes={
        "notes:search": {"tools": ["search_*", "read_note"]}, "notes:read": {"read_only": True, "resources": True},
        "notes:delete": {"tools": ["delete_note"]}})
    own = {"find_tools", "use_tool"}
    searching, two = {"search_notes", "read_note"}, ["notes:search", "notes:delete"]
    for claims, expected in [({"scope": "notes:search"}, searching), ({"scope": None, "scp": two}, searching | {"delete_note"}),
                             ({"scope": "mcp:write"}, set())]:
        assert listed(endpoint, issuer.token(endpoint, **claims)) == expected | own
    token = issuer.token(endpoint, "notes:delete")
    for name, scope in [("search_notes", "notes:search notes:delete"), ("list_tags", "notes:read notes:delete"),
                        ("write_note", "notes:delete")]:
        status, challenge, answer = call(endpoint, token, name)
        assert (status, challenge["scope"]) == (403, scope), answer
    assert ask(endpoint, None)[1]["scope"] == "notes:search notes:read notes:delete"


def test_a_session_belongs_to_the_subject_of_the_token_that_began_it(place, issuer):
    endpoint = serve(place, issuer)
    ada, bob = (f"Bearer {issuer.token(endpoint, sub=name)}" for name in ("ada", "bob"))
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    session = post(endpoint, initialize, Authorization=ada)[1]["Mcp-Session-Id"]
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert post(endpoint, ping, Authorization=ada, Mcp_Session_Id=session)[0] == 200
    assert post(endpoint, ping, Authorization=bob, Mcp_Session_Id=session)[0] == 404
    assert post(endpoint, ping, Authorization=f"Bearer {place.token}", Mcp_Session_Id=session)[0] == 404


def test_plugins_are_called_on_behalf_of_the_subject_and_never_see_the_token(place, issuer):
    endpoint = serve(place, issuer)
    tool = {"kind": "tool", "name": "about", "method": "test.talker.about", "description": "Who calls."}
    plugins.drop(place, plugins.build(
        place.root / "built", "talker", source="conversations.c", defines=['OTHER="test.other"'], contributes={"mcp": [tool]}))
    token = issuer.token(endpoint)
    wait_for(lambda: "about" in listed(endpoint, token), "the tool")
    for shown, principal in [(token, f"oauth:{urllib.parse.urlsplit(issuer.identifier).netloc}:ada"), (place.token, "mcp-http")]:
        answer = call(endpoint, shown, "about")[2]["result"]["content"][0]["text"]
        assert json.loads(answer)["principal"] == principal and shown not in answer


# Behind a proxy


def test_behind_a_proxy_the_server_has_the_name_that_clients_see(place, issuer):
    endpoint = serve(place, issuer, {"public_url": "https://notes.example"})
    host = {"Host": "notes.example"}
    _, headers, _ = post(endpoint, {}, **host)
    assert 'resource_metadata="https://notes.example/.well-known/oauth-protected-resource/mcp"' in headers["WWW-Authenticate"]
    metadata = read(urllib.parse.urljoin(endpoint, "/.well-known/oauth-protected-resource"))
    assert metadata["resource"] == "https://notes.example/mcp"
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    origin = {"Origin": "https://notes.example"}
    assert post(endpoint, body, Authorization=f"Bearer {issuer.token('https://notes.example/mcp')}", **host, **origin)[0] == 200
    assert post(endpoint, body, Authorization=f"Bearer {issuer.token(endpoint)}", **host)[0] == 401


# The official client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_works_with_a_token(place, issuer, mode):
    endpoint = serve(place, issuer)

    async def work():
        async with Client(http(place, endpoint, issuer.token(endpoint)), mode=mode) as client:
            text(await client.call_tool("write_note", {"path": "New.md", "content": "wombat"}))
            assert text(await client.call_tool("read_note", {"path": "New.md"})) == "wombat"

    asyncio.run(work())


class Storage:
    tokens = client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


class Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *unused):
        return None


def browser(storage, endpoint, scope):
    """Signs in by itself: goes where the client sends it, and hands back what the issuer answers."""
    answers = []

    async def go(url):
        with pytest.raises(urllib.error.HTTPError) as redirect:
            await asyncio.to_thread(urllib.request.build_opener(Redirects).open, url)
        answers.append(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(redirect.value.headers["Location"]).query)))

    async def answer():
        return AuthorizationCodeResult(**answers.pop())

    metadata = OAuthClientMetadata(client_name="test", redirect_uris=["http://localhost:1/callback"], scope=scope)
    return OAuthClientProvider(endpoint, metadata, storage, go, answer)


def test_the_official_client_finds_the_issuer_by_itself_and_gets_a_token(place, issuer):
    endpoint = serve(place, issuer)

    async def work():
        client = create_mcp_http_client(auth=browser(Storage(), endpoint, None))
        async with Client(streamable_http_client(endpoint, http_client=client)) as client:
            text(await client.call_tool("write_note", {"path": "New.md", "content": "wombat"}))

    asyncio.run(work())
    assert issuer.granted == ["mcp:read mcp:write"]
    assert (place.vault / "New.md").read_text() == "wombat"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_asks_for_more_when_a_tool_needs_it(place, issuer, mode):
    endpoint = serve(place, issuer)
    storage = Storage()
    storage.tokens = OAuthToken(
        access_token=issuer.token(endpoint, "mcp:read"), token_type="Bearer", scope="mcp:read", expires_in=300)

    async def work():
        client = create_mcp_http_client(auth=browser(storage, endpoint, "mcp:read"))
        async with Client(streamable_http_client(endpoint, http_client=client), mode=mode) as client:
            assert "write_note" not in {tool.name for tool in (await client.list_tools()).tools}
            text(await client.call_tool("write_note", {"path": "New.md", "content": "wombat"}))

    asyncio.run(work())
    assert [set(scopes.split()) for scopes in issuer.granted] == [{"mcp:read", "mcp:write"}]

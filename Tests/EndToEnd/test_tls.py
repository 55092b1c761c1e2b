"""HTTPS with a certificate of an authority that the tests make."""

import asyncio
import datetime
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import urllib.parse

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from issuer import Issuer
from knap_host import wait_for
from test_authorization import configure
from test_http import post
from test_official_client import text


class Authority:
    """`folder` gets the authority's certificate, and those that it issues, each with its key."""

    def __init__(self, folder):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Knap test authority")])
        certificate = self.sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(certificate)

    def sign(self, name, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            self.name, name, key.public_key(), x509.random_serial_number(), now - datetime.timedelta(hours=1),
            now + datetime.timedelta(days=1))
        # What strict verifiers ask for.
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name="server"):
        """Writes a certificate and a key, as an operator's tool does: each file is replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        parts = {"certificate": self.sign(subject, key, names), "key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())}
        for part, content in parts.items():
            new = self.folder / f"{part}.new"
            new.write_bytes(content)
            os.rename(new, self.folder / f"{part}.pem")
        return {part: str(self.folder / f"{part}.pem") for part in parts}

    @property
    def trusting(self):
        return ssl.create_default_context(cafile=str(self.certificate))


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("KNAP_TEST_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def serve(place, authority, **settings):
    configure(place, {"tls": authority.issue(), **settings})
    return place.serve()


def get(endpoint, context, path="/health", **headers):
    url = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=10, context=context)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    name = dict(part[0] for part in connection.sock.getpeercert()["subject"])["commonName"]
    connection.close()
    return answer, body, name


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_works_over_https(place, authority, mode):
    endpoint = serve(place, authority)
    assert endpoint.startswith("https://")

    async def work():
        client = httpx2.AsyncClient(verify=authority.trusting, headers={"Authorization": f"Bearer {place.token}"}, timeout=30)
        async with Client(streamable_http_client(endpoint, http_client=client), mode=mode) as client:
            text(await client.call_tool("write_note", {"path": "New.md", "content": "wombat " * 100_000}))
            read = text(await client.call_tool("read_note", {"path": "New.md", "limit": 100_000}))
            assert read.startswith("wombat wombat")

    asyncio.run(work())


def test_a_client_that_does_not_trust_the_authority_refuses(place, authority, tmp_path):
    endpoint = serve(place, authority)
    (tmp_path / "other").mkdir()
    for context in (ssl.create_default_context(), Authority(tmp_path / "other").trusting):
        with pytest.raises(ssl.SSLCertVerificationError):
            get(endpoint, context)
    assert get(endpoint, authority.trusting)[0].status == 200


def test_nothing_is_served_in_the_clear_or_by_an_old_protocol(place, authority):
    endpoint = serve(place, authority)
    url = urllib.parse.urlsplit(endpoint)
    with socket.create_connection((url.hostname, url.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        try:
            while part := plain.recv(4096):
                received += part
        except ConnectionResetError:
            pass
    assert b"HTTP" not in received and b"ok" not in received
    old = authority.trusting
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        get(endpoint, old)
    assert get(endpoint, authority.trusting)[0].status == 200


def test_the_page_and_its_cookie_stay_on_https(place, authority):
    endpoint = serve(place, authority)
    answer, _, _ = get(endpoint, authority.trusting, f"/?token={place.token}")
    cookie = answer.getheader("Set-Cookie")
    assert answer.status == 303 and "Secure" in cookie
    _, body, _ = get(endpoint, authority.trusting, "/", Cookie=cookie.split(";")[0])
    assert endpoint in body.decode()


def test_a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not(place, authority, log):
    endpoint = serve(place, authority)
    assert get(endpoint, authority.trusting)[2] == "server"
    renewed = authority.issue("renewed")
    wait_for(lambda: get(endpoint, authority.trusting)[2] == "renewed", "the renewal")
    with open(renewed["certificate"], "w") as file:
        file.write("broken")
    wait_for(lambda: get(endpoint, authority.trusting) and "certificate is not used" in log.read_text(), "a word about it")
    assert get(endpoint, authority.trusting)[2] == "renewed"
    authority.issue("mended")
    wait_for(lambda: get(endpoint, authority.trusting)[2] == "mended", "the renewal")


@pytest.mark.parametrize("files, reason", [
    (lambda files: {**files, "certificate": "/nowhere.pem"}, r"/nowhere\.pem cannot be read: No such file.*tls\.certificate"),
    (lambda files: {**files, "key": "/nowhere.pem"}, r"/nowhere\.pem cannot be read: No such file.*tls\.key"),
    (lambda files: {**files, "certificate": files["key"]}, "is not a certificate in PEM"),
    (lambda files: {**files, "key": files["certificate"]}, "is not a private key in PEM"),
    (lambda files: {**files, "key": stranger(files)}, "is not the key of"),
])
def test_files_that_cannot_be_used_turn_http_off_with_the_reason(place, authority, files, reason):
    configure(place, {"tls": files(authority.issue())})
    with pytest.raises(AssertionError, match="did not name"):
        place.serve()
    status = place.call("gateway.status")["http"]
    assert status["state"] == "failed" and re.search(reason, status["reason"]), status


def stranger(files):
    path = files["key"].replace("key", "stranger")
    with open(path, "wb") as file:
        file.write(ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def test_tokens_are_for_the_https_address(place, authority):
    issuer = Issuer()
    endpoint = serve(place, authority, oauth={"issuer": issuer.identifier})
    url = urllib.parse.urlsplit(endpoint)
    metadata = json.loads(get(endpoint, authority.trusting, "/.well-known/oauth-protected-resource/mcp")[1])
    assert metadata["resource"] == endpoint
    for audience, status in [(endpoint, 200), (endpoint.replace("https:", "http:"), 401)]:
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=10, context=authority.trusting)
        connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), {
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {issuer.token(audience)}"})
        assert connection.getresponse().status == status
        connection.close()
    issuer.stop()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_an_issuer_over_https_is_believed_if_the_system_trusts_its_authority(place, authority, is_trusted):
    if is_trusted:
        trust_on_this_system(place, authority)
    issuer = Issuer()
    issuer.secure(**authority.issue())
    configure(place, {"oauth": {"issuer": issuer.identifier}})
    endpoint = place.serve()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    status, _, content = post(endpoint, body, Authorization=f"Bearer {issuer.token(endpoint)}")
    assert status == (200 if is_trusted else 503), content
    issuer.stop()


def trust_on_this_system(place, authority):
    """In a namespace of its own, which the programs of this place see and nobody else."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = f'mount --bind "{authority.certificate}" /etc/ssl/certs/ca-certificates.crt && exec "$@"'
    place.prefix = ["unshare", *user, "--mount", "sh", "-c", script, "sh"]
    probe = subprocess.run([*place.prefix, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        reason = f"the system's authorities cannot be replaced for a test: {probe.stderr}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.mark.parametrize("settings, is_warned", [({}, True), ({"public_url": "https://notes.example"}, False), ("tls", False)])
def test_listening_to_the_network_in_the_clear_is_warned_of(place, authority, log, settings, is_warned):
    configure(place, {"host": "0.0.0.0", **({"tls": authority.issue()} if settings == "tls" else settings)})
    place.serve()
    assert ("in the clear" in log.read_text()) == is_warned

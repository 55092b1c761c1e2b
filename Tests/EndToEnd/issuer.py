"""An authorization server: metadata, keys, registration, and the authorization code flow with PKCE, without a person."""

import base64
import hashlib
import http.server
import json
import secrets
import ssl
import threading
import time
import urllib.parse

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

KINDS = {
    "RS256": lambda kid: RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}),
    "PS256": lambda kid: RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "PS256"}),
    "ES256": lambda kid: ECKey.generate_key("P-256", {"kid": kid, "use": "sig"}),
    "ES512": lambda kid: ECKey.generate_key("P-521", {"kid": kid}),
    "Ed25519": lambda kid: OKPKey.generate_key("Ed25519", {"kid": kid}),
}


class Issuer:
    """`documents` are served as they are; `reads` counts what was asked for."""

    def __init__(self, algorithm="ES256", path=""):
        self.algorithm, self.path, self.reads, self.codes, self.granted = algorithm, path, {}, {}, []
        self.keys, self.sets = [], 0
        self.start(0)
        self.identifier = f"http://127.0.0.1:{self.server.server_port}{path}"
        self.metadata = {
            "issuer": self.identifier, "jwks_uri": f"{self.identifier}/keys",
            "authorization_endpoint": f"{self.identifier}/authorize", "token_endpoint": f"{self.identifier}/token", "registration_endpoint": f"{self.identifier}/register",
            "response_types_supported": ["code"], "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["mcp:read", "mcp:write"],
        }
        self.rotate()

    def start(self, port=None):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(*issuer.get(self.path))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.answer(*issuer.post(self.path, body))

            def answer(self, status, body, headers={}):
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address, daemon_threads = True, True

        self.server = Server(("127.0.0.1", self.server.server_port if port is None else port), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def secure(self, certificate, key):
        """From now on only over https."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        before, self.identifier = self.identifier, self.identifier.replace("http:", "https:")
        self.metadata = {name: value.replace(before, self.identifier) if isinstance(value, str) else value
                         for name, value in self.metadata.items()}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    # Keys and tokens

    def rotate(self):
        """A new key signs from now on, and is the only one that is published."""
        self.sets += 1
        self.keys = [KINDS[self.algorithm](f"key-{self.sets}")]

    @property
    def documents(self):
        return {
            f"/.well-known/oauth-authorization-server{self.path}": self.metadata,
            f"{self.path}/keys": KeySet(self.keys).as_dict(private=False),
        }

    def claims(self, audience, scope="mcp:read mcp:write", **changes):
        now = int(time.time())
        claims = {
            "iss": self.identifier, "sub": "ada", "aud": audience, "exp": now + 300, "iat": now, "client_id": "a-client",
            "scope": scope, **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, audience, scope="mcp:read mcp:write", header={}, **changes):
        key = self.keys[0]
        protected = {"alg": self.algorithm, "typ": "at+jwt", "kid": key.kid, **header}
        protected = {name: value for name, value in protected.items() if value is not None}
        return jwt.encode(protected, self.claims(audience, scope, **changes), key, algorithms=[protected["alg"]])

    # What clients of the flow ask for

    def get(self, target):
        url = urllib.parse.urlsplit(target)
        self.reads[url.path] = self.reads.get(url.path, 0) + 1
        if url.path == f"{self.path}/authorize":
            return self.authorize(dict(urllib.parse.parse_qsl(url.query)))
        document = self.documents.get(url.path)
        return (404, {}) if document is None else (200, document)

    def authorize(self, asked):
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = urllib.parse.urlencode({"code": code, "state": asked["state"], "iss": self.identifier})
        return 302, b"", {"Location": f"{asked['redirect_uri']}?{answer}"}

    def post(self, path, body):
        if path == f"{self.path}/register":
            return 201, {**json.loads(body), "client_id": secrets.token_hex(8)}
        asked = dict(urllib.parse.parse_qsl(body))
        began = self.codes.pop(asked.get("code"), None)
        if began is None:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == began["code_challenge"]
        assert asked["resource"] == began["resource"]
        self.granted.append(began["scope"])
        token = self.token(began["resource"], began["scope"])
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": began["scope"]}

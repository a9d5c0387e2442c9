"""Authentication: a realm of our own signs tokens as Keycloak does; every call needs one."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

MODEL = "hybrid_matching"
pytestmark = pytest.mark.slow
SIGN = """
import json, sys, jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
public = keys[0].public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
import base64
key = base64.b64encode(public).decode()
pem = f"-----BEGIN PUBLIC KEY-----\\n{key}\\n-----END PUBLIC KEY-----"
tokens = {}
for name, (claims, k) in json.load(sys.stdin).items():
    tokens[name] = jwt.encode(claims, keys[k], algorithm="RS256")
print(json.dumps({"key": key, "tokens": tokens}))
"""


def claims(name: str, *roles: str, until: float = 3600) -> dict:
    user = {"preferred_username": name, "exp": int(time.time() + until)}
    return {**user, "realm_access": {"roles": [f"monailabel-{role}" for role in roles]}}


@pytest.fixture(scope="module")
def signed(label_python) -> dict:
    """Tokens, by whose they are, and the key of the realm."""
    wanted = {
        "ann": (claims("ann", "user", "annotator"), 0), "bob": (claims("bob", "user"), 0),
        "boss": (claims("boss", "user", "annotator", "admin"), 0), "guest": (claims("guest"), 0),
        "no roles": ({"preferred_username": "x", "exp": int(time.time() + 3600)}, 0),
        "late": (claims("ann", "user", until=-10), 0), "forged": (claims("ann", "user", "admin"), 1),
        "endless": ({"preferred_username": "x", "realm_access": {"roles": ["monailabel-user"]}}, 0),
    }  # fmt: skip
    done = subprocess.run([label_python, "-c", SIGN], input=json.dumps(wanted), capture_output=True, text=True)
    found: dict = json.loads(done.stdout)
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
             for part in ({"alg": "none", "typ": "JWT"}, claims("ann", "user"))]  # fmt: skip
    found["tokens"]["unsigned"] = ".".join((*parts, ""))
    return found


@pytest.fixture(scope="module")
def locked(start, signed, tmp_path_factory) -> Iterator:
    """A server that asks for tokens."""
    from custom_components.pairs.demo import write_demo_pair

    class Realm(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"public_key": signed["key"], "token_endpoint": "http://127.0.0.1:9/token"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    realm = HTTPServer(("127.0.0.1", 0), Realm)
    threading.Thread(target=realm.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{realm.server_port}/realms/monailabel"
    folder = tmp_path_factory.mktemp("locked") / "studies"
    write_demo_pair(folder)
    with start(folder, MONAI_LABEL_AUTH_ENABLE="true", MONAI_LABEL_AUTH_REALM_URI=address) as running:
        yield running
    realm.shutdown()


def bearer(signed: dict, name: str) -> dict:
    return {"headers": {"Authorization": f"Bearer {signed['tokens'][name]}"}}


def test_every_call_that_gives_or_does_something_needs_a_token(locked):
    calls = [
        (method.upper(), path)
        for path, methods in locked.call("GET", "/openapi.json").json()["paths"].items()
        for method in methods
        if not path.startswith("/auth")
    ]
    assert len(calls) > 20
    for method, path in [*calls, ("POST", "/reload"), ("GET", "/proxy/dicom/x"), ("GET", "/logs/"),
                         ("POST", f"/infer/wsi/{MODEL}?image=moving")]:  # fmt: skip
        reply = locked.call(method, path.replace("{", "").replace("}", ""))
        assert reply.status_code == 401, (method, path, reply.text)


@pytest.mark.parametrize("name", ["late", "forged", "unsigned", "endless"])
def test_a_token_that_is_not_valid_is_refused(name, locked, signed):
    reply = locked.call("GET", "/info/", **bearer(signed, name))
    assert (reply.status_code, reply.json()["detail"]) == (401, "token: is not valid or has expired")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["guest", "no roles"])
def test_a_user_without_the_role_is_refused(name, locked, signed):
    assert locked.call("GET", "/info/", **bearer(signed, name)).status_code == 403


def test_roles_allow_what_they_say(locked, signed):
    assert locked.call("GET", "/info/", **bearer(signed, "bob")).status_code == 200
    put = {"files": {"file": ("a.png", b"\x89PNG")}}
    assert locked.call("PUT", "/datastore/image?image=a", **put, **bearer(signed, "bob")).status_code == 403
    assert locked.call("PUT", "/datastore/image?image=a", **put, **bearer(signed, "ann")).status_code == 200
    assert locked.call("DELETE", "/datastore/image?id=a", **bearer(signed, "ann")).status_code == 403
    assert locked.call("DELETE", "/datastore/image?id=a", **bearer(signed, "boss")).status_code == 200
    assert locked.call("GET", "/logs/", **bearer(signed, "ann")).status_code == 403


def test_a_ticket_is_its_user_s_and_the_administrator_s(locked, signed):
    wanted = {"model": MODEL, "image": "moving", "params": {"fixed": "fixed", "working_size": 128}}
    told = locked.call("POST", "/registrations", json=wanted, **bearer(signed, "ann")).json()
    assert locked.call("GET", told["url"], **bearer(signed, "bob")).status_code == 404
    assert locked.call("DELETE", told["url"], **bearer(signed, "bob")).status_code == 404
    assert locked.call("GET", "/registrations/tickets", **bearer(signed, "bob")).json()["total"] == 0
    assert locked.call("GET", "/registrations/tickets", **bearer(signed, "ann")).json()["total"] == 1
    assert locked.call("GET", told["url"], **bearer(signed, "boss")).status_code == 200
    assert locked.call("DELETE", told["url"], **bearer(signed, "ann")).json()["state"] in ("cancelled", "done")


def test_a_realm_that_does_not_answer_is_no_error_of_the_server(locked):
    login = {"username": "ann", "password": "x"}
    reply = locked.call("POST", "/auth/token", data=login)
    assert (reply.status_code, reply.json()["detail"].startswith("login:")) == (503, True)

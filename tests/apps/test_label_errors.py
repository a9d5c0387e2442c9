"""Wrong requests to a real server: 4xx in one line, without paths or tracebacks, whatever the call."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

MODEL = "hybrid_matching"
LONG = "x" * 10_000
DEEP = '{"a":' + "[" * 100_000
HALF = '{"fixed": "\\ud800"}'
FORM = f"/infer/{MODEL}?image=moving&output=json"
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n'
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PNG = {"file": ("x.png", b"\x89PNG")}
pytestmark = pytest.mark.slow

# (method, path, what is sent, status)
WRONG = {
    "nested params": ("POST", FORM, {"data": {"params": DEEP}}, 400),
    "half a pair": ("POST", FORM, {"data": {"params": HALF}}, 400),
    "half a pair in an id": ("POST", "/registrations", {"data": f'{{"model": "{MODEL}", "image": "\\udc00"}}'}, 400),
    "nested ticket": ("POST", "/registrations", {"data": DEEP}, 400),
    "nested GeoJSON": (
        "POST", "/registrations",
        {"json": {"model": MODEL, "image": "moving", "params": {"fixed": "fixed", "annotations": json.loads(
            '{"type":"GeometryCollection","geometries":[' * 90 + "]}" * 90)}}}, 400),
    "ticket without model": ("POST", "/registrations", {"json": {"image": "moving"}}, 400),
    "ticket of another model": ("POST", "/registrations", {"json": {"model": "x", "image": "moving"}}, 404),
    "ticket with a list": ("POST", "/registrations", {"json": {"model": [], "image": {}}}, 400),
    "ticket with params as list": (
        "POST", "/registrations", {"json": {"model": MODEL, "image": "a", "params": [1]}}, 400),
    "misspelt key": ("POST", "/registrations", {"json": {"model": MODEL, "image": "moving", "parms": {}}}, 400),
    "no ticket": ("GET", "/registrations/tickets/0", {}, 404),
    "long ticket": ("GET", f"/registrations/tickets/{LONG[:7000]}", {}, 404),
    "cancel nothing": ("DELETE", "/registrations/tickets/..%2f..%2fx", {}, 405),
    "long image": ("POST", f"/infer/{MODEL}?image={LONG[:8000]}", {"data": {"params": '{"fixed": "fixed"}'}}, 404),
    "very long image": ("POST", f"/infer/{MODEL}?image={LONG}", {}, 414),
    "long image of a ticket": (
        "POST", "/registrations", {"json": {"model": MODEL, "image": LONG, "params": {"fixed": LONG}}}, 404),
    "long fixed": ("POST", FORM, {"data": {"params": json.dumps({"fixed": LONG})}}, 404),
    "long model": ("POST", f"/infer/{LONG[:7000]}?image=moving", {}, 404),
    "long path": ("GET", f"/registrations/{LONG[:7000]}", {}, 404),
    "long upload": ("PUT", f"/datastore/image?image={LONG[:500]}", {"files": PNG}, 400),
    "upload of another form": ("PUT", "/datastore/image?image=a", {"files": {"file": ("x.exe", b"MZ")}}, 400),
    "upload with nested params": ("PUT", "/datastore/image?image=a", {"files": PNG, "data": {"params": DEEP}}, 400),
    "upload without file": ("PUT", "/datastore/image?image=a", {}, 422),
    "upload over the limit": ("PUT", "/datastore/image?image=a", {"files": {"file": ("x.png", bytes(2 << 20))}}, 413),
    "upload in pieces over it": (
        "PUT", "/datastore/image?image=a",
        {"data": iter([PART, *[bytes(1 << 19)] * 4]), "headers": MULTIPART}, 413),
    "large body": ("POST", "/registrations", {"data": b" " * (33 << 20)}, 413),
    "info as list": ("PUT", "/datastore/image/info?image=moving", {"data": {"info": "[1]"}}, 400),
    "info as nothing": ("PUT", "/datastore/image/info?image=moving", {"data": {"info": "{"}}, 400),
    "info of nobody": ("GET", "/datastore/image/info?image=nobody", {}, 404),
    "label info of nobody": ("PUT", "/datastore/label/info?label=x&tag=final", {"data": {"info": "{}"}}, 404),
    "label of nobody": ("PUT", "/datastore/label?image=nobody", {"files": {"label": ("x.png", b"1")}}, 404),
    "long tag": ("PUT", f"/datastore/label?image=moving&tag={LONG[:500]}", {"files": {"label": ("x.png", b"1")}}, 400),
    "delete nobody": ("DELETE", "/datastore/image?id=nobody", {}, 404),
    "image with zero": ("GET", "/datastore/image?image=a%00b", {}, 404),
    "hash of another kind": ("HEAD", "/datastore/image?image=moving&check_sum=CRC:1", {}, 400),
    "another hash": ("HEAD", "/datastore/image?image=moving&check_sum=SHA256:1", {}, 404),
    "dataset": ("GET", "/datastore/dataset", {}, 404),
    "kind": ("GET", "/datastore/images?kind=film", {}, 400),
    "page": ("GET", "/datastore/images?limit=x", {}, 422),
    "strategy": ("POST", "/activelearning/unknown", {}, 404),
    "strategy with nested body": ("POST", "/activelearning/random", {"data": DEEP}, 404),
    "training": ("POST", "/train/deepedit", {"json": {}}, 404),
    "all training": ("POST", "/train", {"json": {}}, 404),
    "scoring": ("POST", "/scoring/dice", {"json": {}}, 404),
    "session": ("PUT", "/session/", {"files": {"files": ("x.zip", b"PK")}}, 404),
    "session above": ("DELETE", "/session/%2e%2e", {}, 404),
    "proxy": ("GET", "/proxy/dicom/wado/x", {}, 404),
    "model": ("PUT", f"/model/{MODEL}", {"files": {"file": ("x.pt", b"1")}}, 404),
    "model file": ("GET", f"/model/{MODEL}", {}, 404),
    "reload": ("POST", "/reload", {}, 404),
    "logs": ("GET", "/logs/?lines=10&html=false", {}, 404),
    "gpu": ("GET", "/logs/gpu", {}, 404),
    "batch of another model": ("POST", "/batch/infer/x?images=none", {"json": {}}, 422),
    "nested batch": ("POST", f"/batch/infer/{MODEL}", {"data": DEEP}, 400),
    "wsi": ("POST", f"/infer/wsi/{MODEL}?image=moving", {"data": DEEP}, 400),
    "wsi with a list": ("POST", f"/infer/wsi_v2/{MODEL}?image=moving", {"data": {"wsi": '{"params": [1]}'}}, 400),
    "form": ("POST", f"/infer/{MODEL}?image=moving&output=film", {"data": {"params": "{}"}}, 422),
    "unreadable": ("POST", f"/infer/{MODEL}?image=broken&output=json", {"data": {"params": '{"fixed": "fixed"}'}}, 422),
    "nowhere": ("GET", "/nothing/here", {}, 404),
}  # fmt: skip


@pytest.fixture(scope="module")
def limited(start, studies, tmp_path_factory):
    """A server that takes files of 1 MB."""
    results = tmp_path_factory.mktemp("results")
    with start(studies, {"upload_limit": 1, "results": results}) as running:
        yield running


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_refused_without_a_word_of_the_server(name, limited, studies):
    method, path, sent, status = WRONG[name]
    try:
        reply = limited.call(method, path, **sent)
    except requests.ConnectionError:  # it is not read to its end
        assert status == 413
        return
    assert reply.status_code == status, reply.text[:300]
    if method != "HEAD":
        assert isinstance(reply.json()["detail"], str)
    told = reply.text + repr(reply.headers)
    assert "Traceback" not in told
    assert "\n" not in reply.text
    assert not re.search(r"/(tmp|home|root|usr|srv|opt|work|var)/", told)
    for folder in (studies.parent, Path(__file__).parents[2], Path.home()):
        assert str(folder) not in told
    assert len(reply.text) < 1200


def test_the_server_has_written_no_traceback_for_them(limited):
    assert "Traceback" not in limited.log.read_text()


def test_no_answer_of_a_listing_names_a_folder(limited, studies):
    for path in ("/info/", "/datastore/?output=all", "/datastore/?output=train", "/datastore/images",
                 "/datastore/image/info?image=moving", "/registrations/tickets"):  # fmt: skip
        reply = limited.call("GET", path)
        assert reply.status_code == 200
        assert str(studies) not in reply.text
        assert str(Path(__file__).parents[2]) not in reply.text


def test_a_large_field_of_a_form_is_read(limited):
    """Annotations of some MB, as text of a form or as a part of one."""
    points = [[float(k), 1.0] for k in range(150_000)]
    params = json.dumps({"fixed": "nobody", "points": points})
    assert len(params) > 1 << 20
    for sent in ({"data": {"params": params}}, {"files": {"params": (None, params)}}):
        reply = limited.call("POST", FORM, **sent)
        assert reply.status_code == 404, reply.text
        assert reply.json()["detail"].startswith("fixed: there is no image 'nobody'")

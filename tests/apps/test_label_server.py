"""A real MONAI Label server with this app, asked by a real HTTP client.

The server runs in an environment of its own, which `make label` makes; WARPZOO_LABEL_PYTHON names another one's python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
import requests

from custom_components.pairs import read_image, read_points

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "apps" / "warpzoo"
MODEL = "hybrid_matching"
QUICK = {"fixed": "fixed", "working_size": 256, "report": False}
REQUEST = {**QUICK, "points": "moving_landmarks.csv", "fixed_points": "fixed_landmarks.csv",
           "annotations": "moving_annotations.geojson"}  # fmt: skip
pytestmark = pytest.mark.slow


def infer(server: str, params: Any, image: str = "moving", output: str = "json", **more: Any) -> requests.Response:
    """POST /infer, the parameters as text or as what becomes JSON."""
    text = params if isinstance(params, str) else json.dumps(params)
    query = {"image": image, "output": output} if output else {"image": image}
    return requests.post(f"{server}/infer/{MODEL}", params=query, data={"params": text}, timeout=600, **more)


@pytest.fixture(scope="session")
def answer(server) -> dict[str, Any]:
    """The result of the demo's pair."""
    reply = infer(server, REQUEST)
    assert reply.status_code == 200, reply.text
    result: dict[str, Any] = reply.json()["result"]
    return result


def test_info_says_what_the_models_take(server):
    models = requests.get(f"{server}/info/", timeout=60).json()["models"]
    assert set(models) == {MODEL, "patch_nonrigid"}
    assert models[MODEL]["description"]
    assert models[MODEL]["config"]["working_size"] == 1024
    assert models[MODEL]["parameters"]["mirrored"] == {
        "meaning": "also try a section that was turned over", "kind": "switch", "default": False,
    }  # fmt: skip


def test_the_result_is_the_command_line_s(server, answer, label_python, studies, tmp_path):
    options = {
        "moving": studies / "moving.png", "fixed": studies / "fixed.png", "id": "demo", "output_dir": tmp_path,
        "moving_landmarks": studies / "moving_landmarks.csv", "fixed_landmarks": studies / "fixed_landmarks.csv",
        "moving_annotations": studies / "moving_annotations.geojson", "working_size": 256, "report": False,
    }  # fmt: skip
    command = [label_python, "-m", "monai.bundle", "run", "--config_file", f"bundles/{MODEL}/configs/inference.yaml"]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert written == set(answer["files"])
    for name in written - {"metrics.json", "transform.h5"}:  # these hold times
        served = requests.get(server + answer["files"][name], timeout=60).content
        assert served == (tmp_path / "demo" / name).read_bytes(), name
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    for name in ("status", "matches", "dropped", "landmarks", "folding_share", "inverse_error"):
        assert answer[name] == metrics[name]


def test_no_file_of_a_result_names_a_folder_of_the_server(server, answer, studies):
    infer(server, {**REQUEST, "report": True, "viewer": True})
    folder = studies / "registrations" / MODEL
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        served = requests.get(f"{server}/registrations/{file.relative_to(folder.parent)}", timeout=60)
        assert served.status_code == 200
        assert str(studies.parent).encode() not in served.content, file
        assert str(ROOT).encode() not in served.content, file
    metrics = requests.get(server + answer["files"]["metrics.json"], timeout=60).json()
    assert metrics["run"]["inputs"]["moving"]["path"] == metrics["moving"] == "moving.png"


def test_points_and_annotations_come_back_where_they_belong(answer, studies):
    assert answer["status"] == "ok"
    truth = read_points(studies / "fixed_landmarks.csv")[:, ::-1]
    assert np.median(np.linalg.norm(np.array(answer["points"]) - truth, axis=1)) < 5
    ring = np.array(answer["annotations"]["features"][0]["geometry"]["coordinates"][0])
    np.testing.assert_allclose(ring.mean(axis=0), [256, 256], atol=8)  # a circle about the middle of the fixed image
    assert answer["annotations"]["features"][0]["properties"]["name"] == "region of the demo"


def test_points_may_stand_in_the_request(server, answer, studies):
    points = read_points(studies / "moving_landmarks.csv")[:, ::-1].tolist()
    result = infer(server, {**QUICK, "points": points, "viewer": True}).json()["result"]
    assert result["points"] == answer["points"]
    assert b"const scene=" in requests.get(server + result["files"]["viewer.html"], timeout=60).content
    tile = requests.get(f"{server}/registrations/{MODEL}/moving_to_fixed/viewer_tiles/fixed/0/0_0.jpg", timeout=60)
    assert tile.content.startswith(b"\xff\xd8")


def test_the_image_is_the_moving_one_on_the_fixed_grid(server, answer, studies, tmp_path):
    reply = infer(server, QUICK, output="image")
    (tmp_path / "warped.png").write_bytes(reply.content)
    assert tuple(read_image(tmp_path / "warped.png").shape) == tuple(read_image(studies / "fixed.png").shape)
    assert reply.content == requests.get(server + answer["files"]["warped.png"], timeout=60).content
    time.sleep(1)
    assert not list((studies / "registrations" / ".sent").iterdir())
    both = infer(server, QUICK, output="")
    assert both.headers["content-type"].startswith("multipart/form-data")


def test_a_pair_that_can_not_be_aligned_is_an_answer_without_image(server):
    result = infer(server, QUICK, image="retina").json()["result"]
    assert result["status"] == "failed"
    assert "no consistent alignment" in result["reason"]
    refused = infer(server, QUICK, image="retina", output="image")
    assert refused.status_code == 422
    assert "no consistent alignment" in refused.json()["detail"]


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no fixed": ({"params": {}}, 400, "fixed: is missing"),
    "unknown fixed": ({"params": {"fixed": "nobody"}}, 404, "fixed: there is no image 'nobody'"),
    "unknown image": ({"params": QUICK, "image": "nobody"}, 404, "image: there is no image 'nobody'"),
    "no image": ({"params": QUICK, "image": ""}, 400, "image: is missing"),
    "same image": ({"params": {"fixed": "moving"}}, 400, "fixed: 'moving' is the moving image itself"),
    "unreadable": ({"params": QUICK, "image": "broken"}, 422, "image: image broken.png can't be read"),
    "no JSON": ({"params": "{fixed"}, 400, "params: is not valid JSON"),
    "a list": ({"params": [1]}, 400, "params: is a JSON object"),
    "misspelt": ({"params": {**QUICK, "workingsize": 1}}, 400, "workingsize: unknown parameter"),
    "out of range": ({"params": {**QUICK, "working_size": 1}}, 400, "working_size: lies between"),
    "an expression": ({"params": {**QUICK, "seed": "$__import__('os').getpid()"}}, 400, "seed: is a whole number"),
    "a target": ({"params": {**QUICK, "output_ext": {"_target_": "os.abort"}}}, 400, "output_ext: is one of"),
    "image in params": ({"params": {**QUICK, "image": "/etc/passwd"}}, 400, "params: 'image' is given in the address"),
    "absolute image": ({"params": QUICK, "image": "/etc/hostname"}, 404, "image: there is no image 'hostname'"),
    "image above": ({"params": QUICK, "image": "../secret"}, 404, "image: there is no image '../secret'"),
    "fixed above": ({"params": {"fixed": "../studies/fixed"}}, 404, "fixed: there is no image"),
    "fixed a list": ({"params": {"fixed": ["fixed"]}}, 404, "fixed: there is no image"),
    "link": ({"params": QUICK, "image": "link"}, 403, "image: 'link.png' is a link that leads out"),
    "points above": ({"params": {**QUICK, "points": "../secret.csv"}}, 403, "points: '../secret.csv' is not the name"),
    "points a link": ({"params": {**QUICK, "points": "link.csv"}}, 403, "points: 'link.csv' is a link"),
    "annotations": ({"params": {**QUICK, "annotations": {"type": "Disc"}}}, 400, "annotations: annotations annot"),
    "form": ({"params": QUICK, "output": "dicom_seg"}, 400, "output: dicom_seg"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_in_one_line_that_names_the_parameter(name, server, studies):
    request, status, line = BAD[name]
    reply = infer(server, **request)
    assert reply.status_code == status, reply.text
    detail = reply.json()["detail"]
    assert detail.startswith(line)
    assert "\n" not in detail
    assert str(studies) not in detail


@pytest.mark.parametrize(
    "path",
    [
        "../secret.csv", "../../secret.csv", "%2e%2e/%2e%2e/secret.csv", "..%2f..%2fsecret.csv",
        "%252e%252e/secret.csv", "/etc/passwd", "%2fetc%2fpasswd", ".sent", f"{MODEL}/../../../secret.csv", "%00",
        "..%5c..%5csecret.csv",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_results(path, server):
    session = requests.Session()
    request = session.prepare_request(requests.Request("GET", f"{server}/registrations/x"))
    request.url = f"{server}/registrations/{path}"  # requests would take the dots out by itself
    reply = session.send(request, timeout=60)
    assert reply.status_code in (403, 404)
    assert b"root:" not in reply.content


def test_what_is_sent_stays_in_the_studies_folder(server, studies):
    for call, query in (("image", {"image": "../outside"}), ("image", {"image": "a/b"}), ("image", {"image": ".x"}),
                        ("label", {"image": "moving", "tag": "../../outside"})):  # fmt: skip
        with (studies / "fixed.png").open("rb") as stream:
            name = "label" if call == "label" else "file"
            reply = requests.put(
                f"{server}/datastore/{call}", params=query, files={name: ("x.png", stream)}, timeout=60
            )
        assert reply.status_code == 400, reply.text
    assert not list(studies.parent.glob("outside*"))
    assert requests.get(f"{server}/datastore/image", params={"image": "link"}, timeout=60).status_code == 404


def test_an_unknown_model_is_named_with_those_that_are_there(server):
    reply = requests.post(f"{server}/infer/{quote('../x', safe='')}", params={"image": "moving"}, timeout=60)
    assert reply.status_code == 404
    reply = requests.post(f"{server}/infer/other", params={"image": "moving"}, timeout=60)
    assert reply.json()["detail"] == f"model: there is no 'other'; there are {MODEL}, patch_nonrigid"


def test_pathology_clients_get_outlines(server, answer):
    ring = answer["annotations"]["features"][0]["geometry"]["coordinates"][0]
    body = {"location": [0, 0], "size": [0, 0], "params": {**REQUEST, "foreground": [], "max_workers": 1}}
    for path, sent in (("wsi_v2", {"data": {"wsi": json.dumps(body)}}), ("wsi", {"json": body})):
        address = f"{server}/infer/{path}/{MODEL}?image=moving&output=asap"
        tree = ElementTree.fromstring(requests.post(address, **sent, timeout=600).content)
        places = [[float(c.attrib["X"]), float(c.attrib["Y"])] for c in tree.iter("Coordinate")]
        assert places == ring
    address = f"{server}/infer/wsi_v2/{MODEL}?image=moving&output=dsa"
    table = requests.post(address, data={"wsi": json.dumps(body)}, timeout=600).json()
    assert [point[:2] for point in table["elements"][0]["points"]] == ring
    assert requests.post(address, data={"wsi": "{"}, timeout=60).status_code == 400


def test_all_images_are_registered_onto_one(server):
    address = f"{server}/batch/infer/{MODEL}?images=all&run_sync=true"
    results = requests.post(address, json=QUICK, timeout=600).json()
    assert {name: result["status"] for name, result in results.items()} == {
        "moving": "ok", "retina": "failed", "broken": "failed", "link": "failed",
    }  # fmt: skip


def test_the_client_brings_the_files(server, studies, tmp_path):
    command = [
        sys.executable, APP / "client.py", "--server", server, "--moving", studies / "moving.png", "--fixed", "fixed",
        "--points", studies / "moving_landmarks.csv", "--option", "working_size=256", "--output", tmp_path,
        "--model", MODEL,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "moving_to_fixed: ok" in done.stdout
    assert (tmp_path / "moving_to_fixed" / "warped_landmarks.csv").is_file()
    wrong = subprocess.run(
        [*command[:4], "--model", MODEL, "--moving", "nobody", "--fixed", "fixed"], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: 404: image: there is no image 'nobody'")
    assert wrong.stderr.count("\n") == 1

"""Register two images on a WarpZoo server from the shell; needs nothing but requests.

    python apps/warpzoo/client.py --moving IHC.png --fixed HE.png --output out
    python apps/warpzoo/client.py --list

Images are files here, which are sent to the server first, or ids of images that it has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import requests

GLANCE = 0.5  # seconds between two looks at a ticket
PATIENCE = 3600.0  # seconds for which a server may have no place in its queue


class ServerError(Exception):
    """The server refused a request; the message is its own."""


class Client:
    """A WarpZoo server.

    Args:
        server: its address, such as http://127.0.0.1:8000.
        token: where MONAI Label's authentication is switched on.
        timeout: seconds for one call.
    """

    def __init__(self, server: str, token: str = "", timeout: float = 600.0) -> None:
        self.server = server.rstrip("/")
        self.timeout = timeout
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """One request.

        Raises:
            ServerError: no answer, or one that is neither 200 nor 202. Where too many wait, it is asked again.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self.session.request(method, self.server + path, timeout=self.timeout, **arguments)
            except requests.RequestException as error:
                raise ServerError(f"no answer from {self.server}: {error}") from error
            later = answer.headers.get("Retry-After", "")
            if answer.status_code != 503 or not later.isdecimal() or time.monotonic() + int(later) > end:
                break
            time.sleep(int(later))
        if not answer.ok:
            try:
                detail = answer.json()["detail"]
            except (ValueError, KeyError, TypeError):
                detail = answer.text[:200]
            raise ServerError(f"{answer.status_code}: {detail}")
        return answer

    def image(self, name: str) -> str:
        """Id of an image: of a file here, which is sent unless the server has it, or the name itself."""
        file = Path(name)
        if not file.is_file():
            return name
        image = {"image": file.stem.removesuffix(".ome").removesuffix(".nii")}
        images = self.call("GET", "/datastore/", params={"output": "all"}).json()["objects"]
        if image["image"] not in images:
            with file.open("rb") as stream:
                self.call("PUT", "/datastore/image", params=image, files={"file": (file.name, stream)})
        elif not self._same(image, file):
            raise ServerError(f"the server has another image '{image['image']}'; rename {file}")
        return image["image"]

    def _same(self, image: dict[str, str], file: Path) -> bool:
        """Whether the server's image has the bytes of the file."""
        answer = self.call("GET", "/datastore/image", params=image, stream=True)
        there = hashlib.sha256()
        for block in answer.iter_content(1 << 20):
            there.update(block)
        with file.open("rb") as stream:
            return there.digest() == hashlib.file_digest(stream, "sha256").digest()

    def register(self, model: str, moving: str, fixed: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a registration of two images of the server, as docs/serving.md describes it.

        Raises:
            ServerError: the request is wrong, or the registration was cancelled or interrupted, took too long or
                crashed.
        """
        wanted = {"model": model, "image": moving, "params": {**params, "fixed": fixed}}
        ticket = self.call("POST", "/registrations", json=wanted).json()
        place = None
        try:
            while ticket["state"] in ("queued", "running"):
                if ticket["place"] not in (None, place):
                    place = ticket["place"]
                    print(f"place {place} in the queue", file=sys.stderr)
                time.sleep(GLANCE)
                ticket = self.call("GET", ticket["url"]).json()
        except KeyboardInterrupt:
            self.call("DELETE", ticket["url"])
            raise
        if ticket["state"] != "done":
            raise ServerError(f"{ticket.get('status', ticket['state'])}: {ticket['detail']}")
        result: dict[str, Any] = ticket["result"]
        return result

    def download(self, result: dict[str, Any], folder: Path) -> None:
        """All files of a result into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in result["files"].items():
            (folder / Path(name).name).write_bytes(self.call("GET", path).content)


def points_of(file: Path) -> list[list[float]]:
    """[[x, y], ...] of a CSV with columns X and Y."""
    lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    separator = max(",;\t", key=lines[0].count)
    header, *rows = (line.split(separator) for line in lines)
    columns = [[name.strip().lower() for name in header].index(axis) for axis in "xy"]
    return [[float(row[column]) for column in columns] for row in rows]


def option_of(text: str) -> tuple[str, Any]:
    """name=value, the value as JSON where it is some."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def run(options: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ServerError: see ``Client.call``.
        OSError, ValueError: a file here is wrong.
    """
    client = Client(options.server, options.token)
    if options.list:
        for name, model in client.call("GET", "/info/").json()["models"].items():
            print(f"{name}: {model['description']}")
            for parameter, about in model["parameters"].items():
                default = f" (default {json.dumps(about['default'])})" if "default" in about else ""
                print(f"    {parameter}: {about['meaning']}{default}")
        print("images:", ", ".join(client.call("GET", "/datastore/?output=all").json()["objects"]))
        return
    if not (options.moving and options.fixed):
        raise ServerError("give --moving and --fixed, or --list")
    params = dict(option_of(text) for text in options.option)
    for name in ("points", "fixed_points"):
        if getattr(options, name):
            params[name] = points_of(Path(getattr(options, name)))
    if options.annotations:
        params["annotations"] = json.loads(Path(options.annotations).read_text(encoding="utf-8-sig"))
    moving, fixed = client.image(options.moving), client.image(options.fixed)
    result = client.register(options.model, moving, fixed, params)
    folder = Path(options.output) / result["id"]
    client.download(result, folder)
    print(f"{result['id']}: {result['status']}" + (f", {result['reason']}" if result["reason"] else ""))
    print(f"files: {folder}")
    if result["status"] == "failed":
        sys.exit(1)


def main() -> None:
    """Command line; what goes wrong gives one line and exit code 1."""
    parser = argparse.ArgumentParser(description="Register two images on a WarpZoo server.")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--token", default="", help="where the server asks for one")
    parser.add_argument("--model", default="histology_registration")
    parser.add_argument("--moving", help="image file, or id of an image of the server")
    parser.add_argument("--fixed", help="the same of the image that stays")
    parser.add_argument("--points", help="CSV with columns X, Y: points of the moving image to carry")
    parser.add_argument("--fixed_points", help="the same places in the fixed image, for the error")
    parser.add_argument("--annotations", help="GeoJSON of the moving image to carry")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="such as working_size=512")
    parser.add_argument("--output", default="out", help="folder for the files of the result")
    parser.add_argument("--list", action="store_true", help="print models, their parameters and the images")
    try:
        run(parser.parse_args())
    except (ServerError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The environment of the server can be made: its versions and those of the project agree."""

from __future__ import annotations

import re


def pins(text: str) -> dict[str, str]:
    return {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def test_versions_of_the_server_are_the_constraints_own(repository):
    ours = pins((repository / "constraints.txt").read_text())
    server = pins((repository / "apps/warpzoo/requirements.txt").read_text())
    # what `make label` takes out of the constraints
    freed = re.search(r"grep -vE '\^\(([^)]+)\)==' constraints", (repository / "Makefile").read_text())
    assert freed is not None
    differ = {name for name in server if name in ours and ours[name] != server[name]}
    assert differ == set(freed[1].split("|"))

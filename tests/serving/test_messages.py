"""No message that goes to a client names a folder of the server."""

from __future__ import annotations

import html
import json
import tempfile
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.serving import public, without_folders

FOLDERS = ("/srv/my studies", "/srv/my studies/registrations")
NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("image /srv/my studies/a b.png can't be read", "image a b.png can't be read"),
        ("output folder /srv/my studies/registrations can't be written", "output folder the served folder can't"),
        ("[Errno 2] No such file: '/tmp/tmpab12/points.csv'", "[Errno 2] No such file: 'points.csv'"),
        ("in /usr/lib/python3.11/", "in a folder of the server"),
        (r"C:\Users\me\a.png is wrong", "a.png is wrong"),
        ("lies between 0.05 and 1000, got 1/2", "lies between 0.05 and 1000, got 1/2"),
        ("see https://docs.example.org/a/b and docs/serving.md", "see https://docs.example.org/a/b and docs/serving"),
        ('boom\nTraceback (most recent call last):\n  File "x.py", line 1', "boom an internal error"),
        ("half \ud800 a pair\0", "half \N{REPLACEMENT CHARACTER} a pair\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_message_keeps_what_a_client_may_know(message, told):
    assert public(message, FOLDERS).startswith(told)


@given(st.lists(NAMES, min_size=2, max_size=6), st.text(max_size=30), st.text(max_size=30))
def test_no_absolute_path_is_told_wherever_it_stands(parts, before, after):
    path = "/" + "/".join(["zq17", *parts])
    told = public(f"{before} {path} {after}")
    assert "/zq17" not in told
    assert "\n" not in told
    told.encode()


@given(st.text(max_size=3000))
def test_a_message_is_one_short_line_of_unicode(text):
    told = public(text, FOLDERS)
    assert len(told) <= 1000
    assert len(told.splitlines()) <= 1
    told.encode()


@pytest.mark.parametrize("escape", [str, lambda text: json.dumps(text)[1:-1], html.escape, quote])
def test_a_file_has_paths_relative_to_the_folder_however_they_are_written(escape):
    folder = '/srv/Müller & "Co"/studies'
    text = f"a,{escape(folder + '/IHC.png')},{escape(folder + '/registrations/x/warped.png')},/other/IHC.png"
    told = without_folders(text, [folder, f"{folder}/registrations"])
    assert told == "a,IHC.png,x/warped.png,/other/IHC.png"


def test_a_file_does_not_name_temporary_folders():
    assert without_folders(f'"{tempfile.gettempdir()}/warpzoo-ab_12/points.csv"', []) == '"points.csv"'

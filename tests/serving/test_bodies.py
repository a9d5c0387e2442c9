"""JSON of strangers: an object, or one line that says what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.serving import RequestError, parse_object

BAD = {
    "not JSON": ("{", "is not valid JSON"),
    "a list": ("[1]", "is a JSON object"),
    "a text": ('"x"', "is a JSON object"),
    "deep lists": ('{"a":' + "[" * 200_000, "is nested deeper"),
    "deep objects": ('{"a":' * 200_000, "is nested deeper"),
    "rather deep": ('{"a":' + "[" * 150 + "]" * 150 + "}", "is nested deeper than 100 levels"),
    "half a pair": ('{"a": ["\\ud800"]}', "holds half a surrogate pair"),
    "half a pair as key": ('{"a": {"\\udfff": 1}}', "holds half a surrogate pair"),
    "a long number": ('{"a": ' + "9" * 5000 + "}", "is not valid JSON"),
    "bytes": (b'{"a": "\xff"}', "is not valid JSON"),
    "UTF-16": ("{}".encode("utf-16"), None),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_in_one_short_line(name):
    text, message = BAD[name]
    if message is None:  # JSON may be UTF-16
        assert parse_object("params", text) == {}
        return
    with pytest.raises(RequestError, match=f"^params: {message}") as refused:
        parse_object("params", text)
    assert refused.value.status == 400
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)


def test_a_pair_of_surrogates_is_a_character():
    assert parse_object("params", '{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
    assert parse_object("params", "") == {}


@settings(max_examples=50)
@given(st.text() | st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_body_is_read_or_refused(body):
    try:
        json.dumps(parse_object("params", body), ensure_ascii=False).encode()
    except RequestError as refused:
        str(refused).encode()

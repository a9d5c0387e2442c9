"""Inlined configs say what the references said, and keep what people wrote beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from custom_components.common.errors import InputError
from custom_components.share.inlining import edited, inlined, resolved, scalars

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("bundles/*/configs/*.yaml"))

FRAGMENT = """\
# about all of it
one:                         # of the key
  _target_: A
  # of b
  b: [1, {c: "@d"}]          # beside b

# about the next
items:
  - _target_: B
    deep:
      - x

  - "%configs/shared.yaml::one"
word: plain
many: [1, 2]
nothing: null
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "shared.yaml").write_text(FRAGMENT)
    return tmp_path


def by_monai(config: Path) -> dict:
    """What MONAI makes of a config; it replaces one level of references at a time."""
    parser = ConfigParser()
    parser.read_config(str(config))
    before = None
    while before != str(parser.get()):
        before = str(parser.get())
        parser.resolve_macro_and_relative_ids()
    return {key: value for key, value in parser.get().items() if key != "_meta_"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.relative_to(ROOT / "bundles").as_posix())
def test_every_config_of_the_project_says_the_same_as_monai_reads(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = inlined(config.read_text(), ROOT)
    assert not [scalar for scalar in scalars(text) if scalar.value.startswith(("%configs", "%bundles"))]
    inside = yaml.safe_load(text)
    if "train" in inside:  # a reference within the config, which stays
        assert inside["train"].pop("handlers", "%handlers") == "%handlers"
        found = by_monai(config)
        assert found["train"].pop("handlers", None) == found.get("handlers")
        assert inside == found
        return
    assert inside == by_monai(config)


def test_comments_and_order_stay(root):
    text = inlined(
        '# head\na: 1  # beside a\nb: "%configs/shared.yaml::one"  # beside the reference\n# tail\nc: 2\n', root
    )
    assert text == (
        "# head\na: 1  # beside a\nb:  # beside the reference\n  _target_: A\n  # of b\n"
        '  b: [1, {c: "@d"}]          # beside b\n# tail\nc: 2\n'
    )


def test_a_fragment_in_a_list_and_in_a_fragment(root):
    text = inlined('list:\n  - "%configs/shared.yaml::items"\n  - "%configs/shared.yaml::items::1"\n', root)
    one = {"_target_": "A", "b": [1, {"c": "@d"}]}
    assert yaml.safe_load(text) == {"list": [[{"_target_": "B", "deep": ["x"]}, one], one]}


@pytest.mark.parametrize(
    ("reference", "value"),
    [("word", "plain"), ("many", [1, 2]), ("nothing", None), ("one::b::1::c", "@d"), ("one#b#0", 1)],
)
def test_scalars_and_short_lists(root, reference, value):
    text = inlined(f'a: ["%configs/shared.yaml::{reference}", 3]\n', root)
    assert yaml.safe_load(text) == {"a": [value, 3]}


def test_a_block_inside_brackets_is_written_on_one_line(root):
    text = inlined('a: ["%configs/shared.yaml::one"]\n', root)
    assert yaml.safe_load(text) == {"a": [{"_target_": "A", "b": [1, {"c": "@d"}]}]}
    assert text.count("\n") == 1


def test_a_whole_file_and_the_last_line_without_newline(root):
    text = inlined('a: "%configs/shared.yaml"', root)
    assert yaml.safe_load(text)["a"]["word"] == "plain"


def test_references_inside_the_config_stay(root):
    text = 'a: 1\nb: "%a"\nc: "100%"\n'
    assert inlined(text, root) == text
    assert resolved({"b": "%a"}, root) == {"b": "%a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a: "%configs/none.yaml::b"', "names .*none.yaml, which does not exist"),
        ('a: "%configs/shared.yaml::none"', "section that does not exist"),
        ('a: "%configs/round.yaml::a"', "is a circle"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error(root, text, message):
    (root / "configs" / "round.yaml").write_text('a: ["%configs/round.yaml::a"]')
    with pytest.raises(InputError, match=message):
        inlined(text, root)


def test_edited_changes_the_scalars_that_are_asked_for(root):
    text = "a: null   # one\nb: {a: 'null'}\n"
    assert edited(text, lambda scalar: "new" if scalar.ids == ("a",) else None) == "a: new   # one\nb: {a: 'null'}\n"

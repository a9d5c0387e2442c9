"""YAML configs that refer to shared fragments, with the fragments written in their places.

The text is edited, not dumped anew, so that comments, order and formatting stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from custom_components.bundles.opening import reference, resolved
from custom_components.common.errors import InputError


@dataclass(frozen=True)
class Scalar:
    """A scalar of a YAML text.

    Attributes:
        ids: keys and indices that lead to it.
        value: what it says, without quotes.
        start: index of its first character.
        end: index after its last character.
        in_mapping: it is the value of a key, not an item of a list.
        in_flow: it stands inside brackets or braces.
        indent: of the key or item that holds it.
    """

    ids: tuple[str, ...]
    value: str
    start: int
    end: int
    in_mapping: bool
    in_flow: bool
    indent: int


def scalars(text: str) -> list[Scalar]:
    """Every scalar of a YAML text that is a value or an item, in order."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return [] if root is None else list(_walk(root, (), False, False, 0))


def _walk(node: yaml.Node, ids: tuple[str, ...], in_mapping: bool, in_flow: bool, indent: int) -> Iterator[Scalar]:
    if isinstance(node, yaml.ScalarNode):
        yield Scalar(ids, node.value, node.start_mark.index, node.end_mark.index, in_mapping, in_flow, indent)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk(
                value, (*ids, key.value), True, in_flow or bool(node.flow_style), key.start_mark.column
            )  # fmt: skip
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            column = value.start_mark.column
            yield from _walk(value, (*ids, str(index)), False, in_flow or bool(node.flow_style), column)


def edited(text: str, new_value: Callable[[Scalar], str | None]) -> str:
    """``text`` with other scalars: ``new_value`` gives the YAML of one, or None for one that stays."""
    for scalar in reversed(scalars(text)):
        value = new_value(scalar)
        if value is not None:
            text = text[: scalar.start] + value + text[scalar.end :]
    return text


def inlined(text: str, root: Path, source: str = "config") -> str:
    """A YAML config without ``%file::section`` references.

    Args:
        text: of the config.
        root: folder that the references' paths are relative to.
        source: what a message calls the config.

    Returns:
        The text with each reference replaced by the text of the section, comments included. References inside the
        config itself, ``%section``, stay.

    Raises:
        InputError: a file or section is missing, fragments refer to each other in a circle, or the YAML is written
            in a way that can't be inlined.
    """
    result = _inlined(text, root, source, ())
    if yaml.safe_load(result) != resolved(yaml.safe_load(text), root):
        raise InputError(f"{source}: its fragments can't be written in their places; write the YAML in a plainer way")
    return result


def _inlined(text: str, root: Path, source: str, above: tuple[str, ...]) -> str:
    for scalar in reversed(scalars(text)):
        path, ids = reference(scalar.value)
        if not path:
            continue
        if scalar.value in above:
            raise InputError(f"{source}: {' -> '.join([*above, scalar.value])} is a circle")
        file = root / path
        if not file.is_file():
            raise InputError(f"{source}: {scalar.value} names {file}, which does not exist")
        section = _section(file.read_text(), ids, f"{source}: {scalar.value}")
        text = _placed(text, scalar, _inlined(section, root, str(file), (*above, scalar.value)))
    return text


def _section(text: str, ids: str, source: str) -> str:
    """The YAML of one section, its first line at column 0."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in filter(None, ids.split("::")):
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == name), None)
        elif isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
            node = node.value[int(name)]
        else:
            node = None
        if node is None:
            raise InputError(f"{source} names a section that does not exist")
    if node is None:
        raise InputError(f"{source} names an empty file")
    block = text[node.start_mark.index : node.end_mark.index]
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return block
    first, *others = block.splitlines()
    column = node.start_mark.column
    lines = [first, *(line[column:] if not line[:column].strip() else line.lstrip() for line in others)]
    while not lines[-1].strip() or lines[-1].lstrip().startswith("#"):  # comments before whatever comes next
        lines.pop()
    return "\n".join(lines)


def _placed(text: str, scalar: Scalar, section: str) -> str:
    """``text`` with ``section`` in the place of ``scalar``."""
    before, after = text[: scalar.start], text[scalar.end :]
    data = yaml.safe_load(section)
    is_block = isinstance(data, dict | list) and section[0] not in "[{"
    if not is_block:
        return before + section + after
    if scalar.in_flow:
        return before + yaml.safe_dump(data, default_flow_style=True, width=1 << 20).strip() + after
    comment, newline, rest = after.partition("\n")
    indent = scalar.indent + 2 if scalar.in_mapping else scalar.indent
    lines = [" " * indent + line if line.strip() else "" for line in section.split("\n")]
    if scalar.in_mapping:
        return before.rstrip(" ") + comment.rstrip() + "\n" + "\n".join(lines) + newline + rest
    lines[0] = lines[0].lstrip(" ") + comment.rstrip()
    return before + "\n".join(lines) + newline + rest

"""Every path that `tomllib` knows has a place, and what stands there is what `tomllib` read."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovereign.topology.places import KeyPath, scan

BARE = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
INSIDE = st.text(
    st.characters(codec="utf-8", exclude_characters='\r"\\', exclude_categories=("C",)), max_size=6
)
BASIC = INSIDE.map(lambda text: f'"{text}"')
LITERAL = INSIDE.map(lambda text: "'" + text.replace("'", "") + "'")
ESCAPED = st.sampled_from(
    [r'"a\"b"', r'"\\"', r'"tab\t] , }"', r'"\u00e9"', '"# no comment"', "'['"]
)
LONG = st.sampled_from(
    [
        '"""one\ntwo"""',
        '"""a \\\n  b"""',
        "'''it''s\n[x]'''",
        '"""quote""""',
        '"""\\""""',
        "''''x'''",
    ]
)
BARE_VALUE = st.sampled_from(
    ["1_000", "0xff", "-1.5e3", "true", "1979-05-27 07:32:00Z", "07:32:00", "+inf"]
)
SPACE = st.sampled_from(["", " ", "\t", "  "])
LINES = st.sampled_from(["", " ", "\n", " # a ] comment\n  "])


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays over several lines, with comments and a last comma."""

    def spell(parts: tuple[list[str], str, bool]) -> str:
        items, gap, comma = parts
        return "[" + gap + ("," + gap).join(items) + ("," if comma and items else "") + gap + "]"

    return st.tuples(st.lists(inner, max_size=3), LINES, st.booleans()).map(spell)


def inlines(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Inline tables, dotted and quoted keys within."""
    keys = st.lists(BARE, max_size=3, unique_by=str)
    return st.tuples(keys, st.lists(inner, min_size=3, max_size=3), SPACE, st.booleans()).map(
        lambda p: (
            "{"
            + ", ".join(
                f'{key}{p[2]}.{p[2]}"x y"{p[2]}={p[2]}{value}' if p[3] else f"{key}{p[2]}={value}"
                for key, value in zip(p[0], p[1], strict=False)
            )
            + "}"
        )
    )


SCALARS = st.one_of(BARE_VALUE, BASIC, LITERAL, ESCAPED)
NESTED = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), inlines(inner)), max_leaves=5)
VALUES = st.one_of(NESTED, LONG)
KEYS = st.one_of(BARE, BASIC, LITERAL, st.tuples(BARE, BASIC).map(" . ".join))
PAIRS = st.tuples(KEYS, SPACE, SPACE, VALUES, st.sampled_from(["", "  # why = [1"])).map(
    lambda p: f"{p[0]}{p[1]}={p[2]}{p[3]}{p[4]}"
)
HEADERS = st.one_of(
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"  [[ {key} ]]"),
    st.tuples(KEYS, KEYS).map(lambda p: f"[{p[0]}.{p[1]}] # table"),
)
DOCUMENTS = st.lists(st.one_of(PAIRS, HEADERS, st.just("# [a]"), st.just("")), max_size=8).map(
    "\n".join
)


def leaves(tree: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    """Every path of the tree with its value, tables and arrays as well."""
    found = [(path, tree)] if path else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        found += leaves(value, (*path, key))
    return found


def judge(text: str) -> None:
    """The places of `text` against what tomllib reads, path for path."""
    tree = tomllib.loads(text)
    spans = scan(text)
    known = dict(leaves(tree))
    assert set(spans.values) == set(known)
    for path, value in known.items():
        span = spans.values[path]
        written = text[span.start : span.end]
        if not isinstance(value, dict | list):
            assert tomllib.loads(f"x = {written}")["x"] == value
        if isinstance(path[-1], str):
            key = spans.keys[path]
            assert list(tomllib.loads(f"{text[key.start : key.end]} = 0")) == [path[-1]]


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
def test_all_places_are_found(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # the generator may define a key twice; tomllib is the judge of that
    judge(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.b.c = 1\na.b.d = [1, [2, {x = 3}]]\n",
        "[[p]]\nx = 1\n[[p]]\nx = 2\n[p.q]\ny = 3\n[[p.r]]\n[[p.r]]\nz = 4\n",
        '[a."b.c"]\n\'d e\' = """\n""x\n"""\n',
        "x = [\n  1, # one\n  2,\n]\n# the end",
        "\tx\t=\t'\\'\t# literal\n",
        "",
    ],
)
def test_forms_of_the_language(text: str) -> None:
    judge(text)


def test_a_value_is_where_an_editor_shows_it() -> None:
    text = 'a = 1\n[t]\n  key = { from = "venue", feedback = true }\n'
    span = scan(text).values[("t", "key", "from")]
    assert text[span.start : span.end] == '"venue"'
    line = text[: span.start].count("\n") + 1
    assert (line, span.start - text.rfind("\n", 0, span.start)) == (3, 18)

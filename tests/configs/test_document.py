"""YAML with line numbers."""

import pytest
from jigstack.configs.document import parse_value, read_document, write_document


def test_every_key_knows_its_line():
    document = read_document("a: 1\nb:\n  c: 2\n  d:\n    - x\n    - {e: 3}\n", "f.yaml")
    assert document.data == {"a": 1, "b": {"c": 2, "d": ["x", {"e": 3}]}}
    assert document.lines[("a",)] == 1
    assert document.lines[("b", "c")] == 3
    assert document.lines[("b", "d", 1)] == 6
    assert document.lines[("b", "d", 1, "e")] == 6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2", -2),
        ("007", 7),
        ('"007"', "007"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("~", None),
        ("", None),
        ("-.inf", float("-inf")),
        ("[a, 1]", ["a", 1]),
        ("{a: null}", {"a": None}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object):
    """YAML 1.1 would take 1e-3 for text, no for false and 1:30 for ninety."""
    assert parse_value(text) == value


@pytest.mark.parametrize(
    "value", ["1e-3", "no", "yes", "~", "", "007", "null", "1:30", "2024-01-01", "<<", "a: b", "é"]
)
def test_text_that_looks_like_something_else_stays_text(value: str):
    assert read_document(write_document({"key": value}), "f").data == {"key": value}


def test_a_key_given_twice_is_told_with_both_lines():
    document = read_document("a:\n  b: 1\n  c: 2\n  b: 3\n", "f.yaml")
    assert [str(problem) for problem in document.problems] == [
        "f.yaml:4: a.b\n  expected: each key once\n  received: the key twice, on lines 2 and 4"
    ]


def test_anchors_and_merges_work_and_own_keys_win():
    text = "x: &x {lr: 1, size: 2}\ny:\n  <<: *x\n  lr: 3\nz: *x\n"
    assert read_document(text, "f").data == {
        "x": {"lr": 1, "size": 2},
        "y": {"lr": 3, "size": 2},
        "z": {"lr": 1, "size": 2},
    }


def test_an_alias_inside_itself_is_refused():
    document = read_document("a: &a [*a]\n", "f")
    assert "deeper nesting, or an alias inside itself" in str(document.problems[0])


def test_aliases_that_multiply_are_refused():
    """Ten lines must not fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    document = read_document("\n".join(lines), "f")
    assert "at most 100000 values" in str(document.problems[0])


def test_a_tag_is_refused_and_runs_nothing():
    document = read_document("a: !!python/object/apply:os.getcwd []\nb: !x y\n", "f")
    assert [problem.path for problem in document.problems] == [("a",), ("b",)]

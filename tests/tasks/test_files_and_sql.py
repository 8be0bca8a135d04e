"""The built-in tasks that read, write, match and ask databases: with real files and real databases."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.sdk.context import PROGRESS_PREFIX, Exit, Failure, Permanent
from engine.tasks import transfer_progress
from engine.toml.source import Source
from tests.tasks.test_basic import context, do

Doc = dict[str, Any]


def done(id: str, folder: Path | str = ".", /, **inputs: Any) -> tuple[Any, Any]:
    """The exit and the output."""
    found = do(id, inputs, context(folder))
    return (found.code, found.output) if isinstance(found, Exit) else (0, found)


def findings(text: str) -> list[str]:
    return [
        f"{d.rule.code} {d.message}" for d in engine.check(Source("x.toml", "engine = 1\n" + text))
    ]


# -- match -----------------------------------------------------------------------------------------

PATTERNS = [
    {"equals": "yes", "exit": "approved"},
    {"regex": "^(?P<why>FAILED|ERROR)", "exit": "broken"},
    {"contains": "maybe", "exit": 7},
]


@pytest.mark.parametrize(
    ("text", "code", "matched"),
    [
        ("  yes\n", 0, "yes"),
        ("yes, but", 255, None),
        ("so\nFAILED here", 1, "FAILED"),
        ("well, maybe", 7, "maybe"),
        ("FAILED maybe", 1, "FAILED"),
    ],
)
def test_the_first_pattern_that_fits_is_the_exit(text: str, code: int, matched: str | None) -> None:
    found, output = done("match", text=text, patterns=PATTERNS)
    assert (found, output["matched"]) == (code, matched)
    assert output["groups"] == ({"why": "FAILED"} if code == 1 else {})


def test_case_may_not_count() -> None:
    assert done("match", text="YES", patterns=PATTERNS, ignore_case=True)[0] == 0
    assert (
        done("match", text="x fail", patterns=[{"ends": "FAIL", "exit": "a"}], ignore_case=True)[0]
        == 0
    )


MATCH = '[nodes.m]\ntask = "match"\nwith.text = "x"\nwith.patterns = [{ contains = "a", exit = "yes" }, { starts = "b", exit = "no" }]\n'


def test_the_exits_of_a_match_are_those_it_names() -> None:
    assert (
        findings(MATCH + 'routes = { yes = "done", no = "fail", no_match = "fail:unclear" }\n')
        == []
    )
    [told] = findings(MATCH + 'routes = { yse = "done", "*" = "fail" }\n')
    assert told == "E203 this step has no `yse`"
    [told] = findings(MATCH + 'routes = { no = "fail" }\n')
    assert told.startswith("W304")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('[{ regex = "(", exit = "a" }]', "E103 this is not a valid regular expression: missing ), unterminated subpattern at position 0"),
        ('"${inputs.p}"', "E103 the patterns of `match` must be literal: they name its exits"),
        ('[{ contains = "a", exit = "${inputs.p}" }]', "E103 the exits of `match` must be literal"),
    ],
)  # fmt: skip
def test_what_a_match_cannot_be_given(written: str, told: str) -> None:
    text = '[inputs]\np = {}\n[nodes.m]\ntask = "match"\nwith = { text = "x", patterns = ' + written
    assert told in findings(text + " }\n")


def test_the_code_of_a_failure_is_the_only_exit_of_its_step() -> None:
    node = '[nodes.a]\ntask = "fail"\nallow_failure = true\nwith = { message = "no", code = 3 }\n'
    assert findings(node + 'routes = { 3 = "fail:refused" }\n') == []
    assert findings(node + 'routes = { 4 = "fail:refused" }\n')[0].startswith("E203")


# -- validate, template ----------------------------------------------------------------------------


def test_whether_a_value_is_of_a_schema() -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"n": {"type": "integer"}}}
    assert done("validate", value={"id": 1}, schema=schema) == ("success", {"problems": []})
    code, output = done("validate", value={"n": "x"}, schema=schema)
    assert (code, [each["path"] for each in output["problems"]]) == ("invalid", [[], ["n"]])
    with pytest.raises(Permanent, match="is not a valid JSON Schema"):
        done("validate", value=1, schema={"type": "nothing"})
    node = '[nodes.a]\ntask = "validate"\nwith = { value = 1, schema = { type = "nothing" } }\n'
    assert findings(node)[0].startswith("E103 this is not a valid JSON Schema")


def test_a_template_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("{% for each in all %}{{ each.n }},{% endfor %}\n")
    values = {"all": [{"n": 1}, {"n": "<2>"}]}
    assert done("template", tmp_path, file="t.txt", values=values)[1] == {"text": "1,<2>,\n"}
    with pytest.raises(Failure, match="'nobody' is undefined"):
        done("template", text="{{ nobody }}")
    with pytest.raises(Permanent, match="`text`, line 2: "):
        done("template", text="\n{% if %}")
    with pytest.raises(Failure, match="unsafe"):
        done("template", text="{{ ''.__class__.__mro__ }}")
    with pytest.raises(Failure, match=r"`.*none.txt`: no such file or directory"):
        done("template", tmp_path, file="none.txt")


# -- files -----------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    code, output = done("file.write", tmp_path, path="deep/er/a.txt", content="ä\nb\n")
    assert (code, output["size"]) == (0, 5)
    assert done("file.read", tmp_path, path="deep/er/a.txt") == (
        0,
        {"content": "ä\nb\n", "size": 5},
    )
    assert done("file.read", tmp_path, path="deep/er/a.txt", **{"as": "lines"})[1]["content"] == [
        "ä",
        "b",
    ]
    data = done("file.read", tmp_path, path="deep/er/a.txt", **{"as": "base64"})[1]["content"]
    done("file.write", tmp_path, path="b.txt", content=data, **{"as": "base64"})
    assert (tmp_path / "b.txt").read_text() == "ä\nb\n"
    done("file.write", tmp_path, path="c.json", content={"x": [1]})
    assert json.loads((tmp_path / "c.json").read_text()) == {"x": [1]}
    done("file.write", tmp_path, path="d", content=["x", "y"], **{"as": "lines", "mode": "append"})
    done("file.write", tmp_path, path="d", content=["z"], **{"as": "lines", "mode": "append"})
    assert (tmp_path / "d").read_text() == "x\ny\nz\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "c.json", "d", "deep"]


def test_a_file_keeps_its_rights_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "a").chmod(0o640)
    (tmp_path / "link").symlink_to("a")
    done("file.write", tmp_path, path="link", content="2")
    assert (tmp_path / "a").read_text() == "2"
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_one_that_is_there_may_be_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    with pytest.raises(Failure, match="file exists"):
        done("file.write", tmp_path, path="a", content="2", mode="new")
    assert (tmp_path / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("id", "inputs"),
    [
        ("file.read", {"path": "none"}),
        ("file.hash", {"path": "none"}),
        ("file.copy", {"from": "none", "to": "x"}),
        ("csv.read", {"path": "none"}),
        ("json.read", {"path": "none"}),
        ("jsonl.read", {"path": "none"}),
    ],
)
def test_a_file_that_is_not_there_is_an_exit(id: str, inputs: Doc, tmp_path: Path) -> None:
    assert done(id, tmp_path, **inputs)[0] == "missing"


def test_files_are_found_copied_and_hashed(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "in/c.csv", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert done("file.glob", tmp_path, pattern="*.csv")[1] == {"paths": ["a.csv", "b.csv"]}
    assert done("file.glob", tmp_path, pattern="**/*.csv")[1] == {
        "paths": ["a.csv", "b.csv", "in/c.csv"]
    }
    assert done("file.glob", tmp_path, pattern="*", kind="folders")[1] == {"paths": ["in"]}
    with pytest.raises(Failure, match="more than 1"):
        done("file.glob", tmp_path, pattern="*.csv", max=1)
    done("file.copy", tmp_path, **{"from": "a.csv", "to": "new/a.csv"})
    assert (tmp_path / "new/a.csv").read_text() == "a.csv"
    found = [done("file.hash", tmp_path, path=path)[1] for path in ("a.csv", "new/a.csv")]
    assert found[0] == found[1]
    assert found[0]["hash"].startswith("32f29f")


@pytest.mark.parametrize("id", ["file.copy", "file.hash"])
def test_what_takes_long_tells_how_far_it_is(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"from": "a", "to": "b"} if id == "file.copy" else {"path": "a"}
    (tmp_path / "a").write_bytes(bytes(2_500_000))
    notes: list[str] = []
    do(id, inputs, context(tmp_path, notes=notes))
    assert notes == []
    monkeypatch.setattr(transfer_progress, "REPORT_INTERVAL", 0.0)
    do(id, inputs, context(tmp_path, notes=notes))
    told = [note.removeprefix(PROGRESS_PREFIX).partition(" ")[2] for note in notes]
    assert told == ["1.0 of 2.5 MB", "2.1 of 2.5 MB", "2.5 of 2.5 MB"]


def test_what_is_too_long_or_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x\xff")
    with pytest.raises(Failure, match="not UTF-8 text, at byte 1"):
        done("file.read", tmp_path, path="a")
    with pytest.raises(Failure, match="longer than 1 bytes"):
        done("file.read", tmp_path, path="a", max_size=1)
    with pytest.raises(Failure, match="is a directory"):
        done("file.read", tmp_path, path=".")


# -- tables ----------------------------------------------------------------------------------------


def test_csv_goes_there_and_back(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": 'x "y",\nz'}, {"a": "", "b": "ä"}]
    assert done("csv.write", tmp_path, path="t.csv", rows=rows)[1]["count"] == 2
    assert done("csv.read", tmp_path, path="t.csv") == (0, {"rows": rows})
    [first, last] = done("csv.read", tmp_path, path="t.csv", types={"a": "integer"})[1]["rows"]
    assert (first["a"], last["a"]) == (1, None)
    done(
        "csv.write",
        tmp_path,
        path="u.csv",
        rows=[{"b": 1.5, "a": None}],
        columns=["a", "b"],
        delimiter=";",
    )
    assert (tmp_path / "u.csv").read_text() == "a;b\n;1.5\n"


@pytest.mark.parametrize(
    ("text", "inputs", "told"),
    [
        ("a,b\n1\n", {}, "line 2: 1 cells under 2 columns"),
        (
            "a\n1\nx\n",
            {"types": {"a": "integer"}},
            "line 3: `x` in column `a` is not a valid integer",
        ),
        ("a,a\n", {}, "line 1: duplicate column name"),
        ('a\n"x\n', {}, "line 2: unexpected end of data"),
        (
            "a\nperhaps\n",
            {"types": {"a": "boolean"}},
            "line 2: `perhaps` in column `a` is not a valid boolean",
        ),
    ],
)
def test_what_is_wrong_in_csv_is_told_with_its_line(
    text: str, inputs: Doc, told: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Failure, match=told):
        done("csv.read", tmp_path, path="t.csv", **inputs)


def test_a_row_with_another_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="a row has `b`, which is not one of the columns"):
        done("csv.write", tmp_path, path="t.csv", rows=[{"b": 1}], columns=["a"])
    assert [*tmp_path.iterdir()] == []


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    value = {"x": [1, None, "ä"]}
    done("json.write", tmp_path, path="v.json", value=value, indent=0)
    assert (tmp_path / "v.json").read_text() == '{"x": [1, null, "ä"]}\n'
    assert done("json.read", tmp_path, path="v.json") == (0, {"value": value})
    done("jsonl.write", tmp_path, path="l.jsonl", rows=[1, {"a": "\n"}])
    done("jsonl.write", tmp_path, path="l.jsonl", rows=["x"], mode="append")
    assert done("jsonl.read", tmp_path, path="l.jsonl") == (0, {"rows": [1, {"a": "\n"}, "x"]})
    (tmp_path / "l.jsonl").write_text('1\n{"a": }\n')
    with pytest.raises(Failure, match="line 2, column 7: expecting value"):
        done("jsonl.read", tmp_path, path="l.jsonl")
    (tmp_path / "v.json").write_text("[1,\nNaN]")
    with pytest.raises(Failure, match="`NaN` is not a JSON number"):
        done("json.read", tmp_path, path="v.json")


# -- databases -------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Doc:
    url = "sqlite:///t.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    done(
        "sql.execute",
        tmp_path,
        url=url,
        statements=[{"statement": "DROP TABLE IF EXISTS engine_test_t"}],
    )
    made = "CREATE TABLE engine_test_t (id INTEGER PRIMARY KEY, city TEXT, amount NUMERIC(8, 2), day DATE)"
    done("sql.execute", tmp_path, url=url, statement=made)
    return {"url": url}


def test_values_are_bound(database: Doc, tmp_path: Path) -> None:
    rows = [{"id": 1, "city": "Oslo'; --"}, {"id": 2, "city": None}]
    insert = "INSERT INTO engine_test_t (id, city) VALUES (:id, :city)"
    code, output = done("sql.execute", tmp_path, **database, statement=insert, rows=rows)
    assert (code, output["count"]) == (0, 2)
    query = "SELECT id, city FROM engine_test_t WHERE city = :city"
    found = done("sql.query", tmp_path, **database, statement=query, values={"city": "Oslo'; --"})
    assert found == (0, {"rows": [rows[0]], "columns": ["id", "city"]})


def test_statements_are_one_transaction(database: Doc, tmp_path: Path) -> None:
    statements = [
        {"statement": "INSERT INTO engine_test_t (id) VALUES (:id)", "values": {"id": 1}},
        {
            "statement": "INSERT INTO engine_test_t (id) VALUES (:id)",
            "rows": [{"id": 2}, {"id": 1}],
        },
    ]
    with pytest.raises((Failure, Permanent), match=r"(?i)unique"):
        done("sql.execute", tmp_path, **database, statements=statements)
    count = "SELECT count(*) AS n FROM engine_test_t"
    assert done("sql.query", tmp_path, **database, statement=count)[1]["rows"] == [{"n": 0}]


def test_what_json_does_not_have_is_text(database: Doc, tmp_path: Path) -> None:
    insert = "INSERT INTO engine_test_t VALUES (1, 'x', 1.50, '2026-11-26')"
    done("sql.execute", tmp_path, **database, statement=insert)
    [row] = done("sql.query", tmp_path, **database, statement="SELECT day FROM engine_test_t")[1][
        "rows"
    ]
    assert row == {"day": "2026-11-26"}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT nothing FROM engine_test_t", "nothing"),
        ("UPDATE engine_test_t SET city = 'x'", "returns no rows"),
        ("SELECT 1 AS a, 2 AS a", "two columns have the same name"),
        ("SELECT :missing AS a", "missing"),
    ],
)
def test_what_is_wrong_with_a_query_is_told(
    statement: str, told: str, database: Doc, tmp_path: Path
) -> None:
    with pytest.raises((Failure, Permanent), match=told):
        done("sql.query", tmp_path, **database, statement=statement)


def test_too_many_rows_are_an_error(tmp_path: Path) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
    assert len(done("sql.query", tmp_path, url="sqlite://", statement=many)[1]["rows"]) == 9
    with pytest.raises(Permanent, match="more than 3 rows"):
        done("sql.query", tmp_path, url="sqlite://", statement=many, max_rows=3)


def test_a_database_that_cannot_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no such database"):
        done("sql.query", tmp_path, url="nothing://x", statement="SELECT 1")
    url = "postgresql://me:secret-word@127.0.0.1:9/x"
    with pytest.raises(Failure) as caught:
        done("sql.query", tmp_path, url=url, statement="SELECT 1")
    assert "secret-word" not in str(caught.value)


def test_an_expression_in_a_statement_is_found() -> None:
    node = '[inputs]\nc = { type = "string" }\n[nodes.q]\ntask = "sql.query"\n'
    node += 'with = { url = "sqlite://", statement = "SELECT \'${inputs.c}\'" }\n'
    assert "E103 a statement cannot contain expressions" in findings(node)

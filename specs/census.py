"""The functions of `quickstart.toml`: what a tree of Python files is made of, and is it good?

Plain functions. Each runs in a worker process, so that three of them really run at the same time;
what they return is checked against the annotation of their result.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from engine import Context, Exit

Natural = Annotated[int, {"minimum": 0}]
Paths = list[str]


class Files(TypedDict):
    """What `find` gives; `root` is the whole path of `folder`."""

    folder: str
    root: str
    paths: Paths
    count: int


class Lines(TypedDict):
    """What `lines` gives."""

    code: int
    comment: int
    blank: int
    total: int


class Function(TypedDict):
    """One function, and where it stands."""

    name: str
    place: str
    lines: int


class Advice(TypedDict):
    """What `advise` gives."""

    places: Paths


class Functions(TypedDict):
    """What `functions` gives: `longest` falls by length."""

    count: int
    classes: int
    public: int
    undocumented: list[Function]
    longest: list[Function]


def find(folder: str) -> Files | Exit:
    """All Python files below a folder, in order; exit `nothing` if there are none."""
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"`{folder}` is not a folder here ({Path.cwd()})")
    paths = sorted(str(path) for path in root.rglob("*.py"))
    if not paths:
        return Exit("nothing")
    return {"folder": folder, "root": str(root.resolve()), "paths": paths, "count": len(paths)}


def lines(paths: Paths) -> Lines:
    """Lines of code, comment and nothing."""
    kinds = Counter(_kind(line) for path in paths for line in _text(path).splitlines())
    return {
        "code": kinds["code"],
        "comment": kinds["comment"],
        "blank": kinds["blank"],
        "total": kinds.total(),
    }


def functions(paths: Paths) -> Functions:
    """Functions and classes, the undocumented public ones and the ten longest."""
    trees = [(path, _tree(path)) for path in paths]
    found = [(path, node) for path, tree in trees for node in ast.walk(tree)]
    made = [(path, node) for path, node in found if isinstance(node, _FUNCTIONS)]
    public = [(path, node) for path, tree in trees for node in _public(tree)]
    silent = [_function(*each) for each in public if ast.get_docstring(each[1]) is None]
    by_length = sorted((_function(*each) for each in made), key=lambda f: (-f["lines"], f["place"]))
    return {
        "count": len(made),
        "classes": sum(isinstance(node, ast.ClassDef) for _, node in found),
        "public": len(public),
        "undocumented": silent,
        "longest": by_length[:10],
    }


def imports(paths: Paths) -> dict[str, int]:
    """In how many files each module of the outermost level is imported, the most common first."""
    counts = Counter(name for path in paths for name in set(_imported(_tree(path))))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def judge(functions: Functions, longest: Natural, undocumented: Natural, context: Context) -> Exit:
    """Exit `too_long`, `warn` or `passed`; what is wrong goes into the notes of the attempt."""
    long = [each for each in functions["longest"] if each["lines"] > longest]
    for each in long:
        context.note(f"{each['place']}: `{each['name']}` has {each['lines']} lines")
    if long:
        return Exit("too_long", {"verdict": f"a function has more than {longest} lines"})
    silent = len(functions["undocumented"])
    if silent > undocumented:
        return Exit("warn", {"verdict": f"{silent} public functions have no docstring"})
    return Exit("passed", {"verdict": "good enough"})


def advise(functions: Functions, most: Natural = 5) -> Advice:
    """Where to begin: the longest of the functions that nobody described."""
    worst = sorted(functions["undocumented"], key=lambda each: -each["lines"])
    return {"places": [f"{each['place']} {each['name']}" for each in worst[:most]]}


def report(
    files: Files,
    lines: Lines,
    functions: Functions,
    imports: dict[str, int],
    version: str,
    verdict: str,
    advice: Paths,
) -> str:
    """All of it as a text to be read."""
    top = functions["longest"][0] if functions["longest"] else None
    rows: dict[str, Any] = {
        "folder": f"{files['folder']} at {version}",
        "files": files["count"],
        "lines": f"{lines['total']} ({lines['code']} code, {lines['comment']} comment)",
        "classes": functions["classes"],
        "functions": f"{functions['count']} ({functions['public']} public)",
        "longest": f"{top['name']}, {top['lines']} lines, {top['place']}" if top else "none",
        "imports": ", ".join(f"{name} {count}" for name, count in list(imports.items())[:6]),
        "verdict": verdict,
    }
    text = [f"{name:<10} {value}" for name, value in rows.items()]
    return "\n".join([*text, *(f"{'describe':<10} {place}" for place in advice)])


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _tree(path: str) -> ast.Module:
    return ast.parse(_text(path), path)


def _kind(line: str) -> str:
    bare = line.strip()
    return "blank" if not bare else "comment" if bare.startswith("#") else "code"


def _function(path: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    size = (node.end_lineno or node.lineno) - node.lineno + 1
    return {"name": node.name, "place": f"{path}:{node.lineno}", "lines": size}


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods that others may call: not those inside of functions, nor overloads."""
    for node in scope.body:
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _public(node)
        elif not any("overload" in ast.unparse(each) for each in node.decorator_list):
            yield node


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]

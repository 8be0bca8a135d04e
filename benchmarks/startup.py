"""`python -m benchmarks.startup`: what a user waits for `engine check`, as whole processes.

A small spec, and one with a condition in CEL, is checked beside `import networkx, cattrs`, turn by
turn, and a large one beside reading it with tomli. Medians of wall time; exit status 1 if a small
check, or a run of one `pass`, misses its bar. Bytecode is written first: without it every start compiles all modules anew.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from compileall import compile_dir
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.shapes import SHAPES, document

BARS = {"engine check": 0.75, "engine check, with CEL": 1.25, "engine run": 1.3}
"""How many times the imports' time each may take: checks of a small spec, a run of one `pass`."""
_IMPORTS = "import networkx, cattrs"
CHECK = "import sys; from engine.__main__ import main; sys.exit(main())"
"""What the installed `engine` runs; the installer's wrapper around it is not timed."""
_PARSE = "import sys, tomli; tomli.load(open(sys.argv[1], 'rb'))"

SMALL = """\
engine = 1

[inputs]
folder = { type = "string", default = "." }

[nodes.fetch]
task = "shell"
with = { argv = ["ls", "${inputs.folder}"] }
timeout = "20s"
retry = { attempts = 3, delay = "1s", factor = 2.0 }

[nodes.review]
start = "draft"

[nodes.review.steps.draft]
task = "shell"
with = { argv = ["wc", "-l"], stdin = "${fetch.stdout}" }
routes = { success = "judge" }

[nodes.review.steps.judge]
task = "shell"
with = { argv = ["test", "${steps.draft.stdout}", "!=", "0"] }
routes = { 1 = { to = "draft", max = 3, then = "fail" } }

[nodes.report]
task = "shell"
needs = { review = "finished" }
with = { argv = ["echo", "${fetch.stdout}"] }

[outputs]
text = "${report.stdout}"
"""

ONE = 'engine = 1\n[nodes.a]\ntask = "pass"\n'

_WHEN = """[nodes.report]
when = "size(inputs.folder) > 0"
"""
CEL = SMALL.replace("[nodes.report]\n", _WHEN).replace("report.stdout}", "report.stdout ?? ''}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and judge."""
    args = _arguments(argv)
    compile_dir(Path(__file__).parents[1] / "engine", quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        small, cel, large = (Path(folder, f"{name}.toml") for name in ("small", "cel", "large"))
        small.write_text(SMALL, encoding="utf-8")
        cel.write_text(CEL, encoding="utf-8")
        one = Path(folder, "one.toml")
        one.write_text(ONE, encoding="utf-8")
        _write_large(large, args.size)
        first = medians(
            {
                "engine check": _python(CHECK, "check", str(small)),
                "engine check, with CEL": _python(CHECK, "check", str(cel)),
                "engine run": _python(CHECK, "run", str(one), "--store", str(Path(folder, "runs"))),
                _IMPORTS: _python(_IMPORTS),
                "pass": _python("pass"),
            },
            args.runs,
        )
        second = medians(
            {
                f"engine check, {args.size:,} nodes": _python(CHECK, "check", str(large)),
                f"tomli, {args.size:,} nodes": _python(_PARSE, str(large)),
            },
            args.large_runs,
        )
    _print(first | second, args.markdown)
    times = {name: first[name] / first[_IMPORTS] for name in BARS}
    checked, parsed = second.values()
    print()
    for name, bar in BARS.items():
        print(f"{name} / {_IMPORTS}: {times[name]:.2f} (bar {bar:g})")
    print(f"engine check / tomli at {args.size:,} nodes: {checked / parsed:.2f}")
    return int(any(times[name] > bar for name, bar in BARS.items()))


def medians(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, float]:
    """Median milliseconds of each command, run in turn after one round that is not counted.

    Raises CalledProcessError if one fails.
    """
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            start = perf_counter()
            quiet = subprocess.DEVNULL
            subprocess.run(command, stdout=quiet, stderr=quiet, check=True)
            if turn:
                took[name].append((perf_counter() - start) * 1e3)
    return {name: median(each) for name, each in took.items()}


def _write_large(path: Path, size: int) -> None:
    """Layers of `shell` nodes."""
    import tomli_w

    doc = document(SHAPES["layers"](size))
    for node in doc["nodes"].values():
        node["with"] = {"argv": ["true"]}
        node["task"] = "shell"
    path.write_text(tomli_w.dumps(doc), encoding="utf-8")


def _python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-c", code, *args]


def _print(found: Mapping[str, float], markdown: bool) -> None:
    if markdown:
        print("| process | ms |\n| --- | ---: |")
        print("\n".join(f"| {name} | {took:.0f} |" for name, took in found.items()))
        return
    width = max(map(len, found))
    print("\n".join(f"{name:<{width}}  {took:8.1f} ms" for name, took in found.items()))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description="Whole processes, wall time."
    )
    parser.add_argument("--runs", type=int, default=15, help="of the small spec")
    parser.add_argument("--size", type=int, default=10_000, help="nodes of the large spec")
    parser.add_argument("--large-runs", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())

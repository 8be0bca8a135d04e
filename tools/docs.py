"""`python tools/docs.py`: write the generated pages, then build the site into `site/`.

`--check` writes nothing and names the pages that are out of date; `--pages` writes them and does not build;
`--serve` builds, serves the site on localhost and rebuilds on changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from site_pages import ROOT
from site_pages.pages import generated

__all__ = ["build", "main", "outdated"]


def outdated() -> list[str]:
    """The generated pages whose files are not what the generators give."""
    found = []
    for path, text in generated().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            found.append(str(path.relative_to(ROOT)))
    return found


def write() -> None:
    """Write the generated pages."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def build(*words: str) -> int:
    """Run mkdocs with these words, from the root of the repository; its status."""
    environment = os.environ | {"DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tools/docs.py", description=__doc__)
    for option in ("--check", "--pages", "--serve"):
        parser.add_argument(option, action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        found = outdated()
        print("\n".join(f"{path} is out of date: python tools/docs.py" for path in found))
        return 1 if found else 0
    write()
    if arguments.pages:
        return 0
    return build("serve") if arguments.serve else build("build", "--strict", "--quiet")


if __name__ == "__main__":
    sys.exit(main())

"""A plug-in: tasks that another distribution brings, built and installed as such."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CODE = '''"""Find texts that are near each other."""

from engine import task


@task(id="acme.embed")
async def embed(text: str) -> list[float]:
    """How often each vowel comes."""
    return [float(text.count(vowel)) for vowel in "aeiou"]


@task(id="acme.retrieve", exits={"nothing": 3})
async def retrieve(vector: list[float], texts: list[str]) -> str:
    """The nearest text."""
    def apart(text: str) -> float:
        return sum((text.count(v) - n) ** 2 for v, n in zip("aeiou", vector, strict=True))

    return min(texts, key=apart)
'''
INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: acme-embed\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "entry_points.txt": "[engine.tasks]\nembed = acme_embed:embed\nretrieve = acme_embed:retrieve\n",
}
SPEC = """engine = 1

[nodes.embed]
task = "acme.embed"
with = { text = "banana" }

[nodes.retrieve]
task = "acme.retrieve"
with = { vector = "${embed}", texts = ["onion", "papaya", "kiwi"] }

[outputs]
nearest = "${retrieve}"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the wheel of the plug-in."""
    folder = tmp_path_factory.mktemp("plugin")
    wheel, site = folder / "acme_embed-1.0-py3-none-any.whl", folder / "site"
    files = {"acme_embed.py": CODE} | {f"acme_embed-1.0.dist-info/{k}": v for k, v in INFO.items()}
    record = "acme_embed-1.0.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(site), str(wheel)], check=True, capture_output=True)
    return site


def command(site: Path | None, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`engine` in a process of its own, which finds the plug-in or does not."""
    paths = [str(Path(__file__).parents[2]), *([str(site)] if site else [])]
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_tasks_are_known_checked_and_run(site: Path, tmp_path: Path) -> None:
    (tmp_path / "near.toml").write_text(SPEC)
    checked = command(site, "check", "near.toml", folder=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "no problems found in 1 file\n")
    ran = command(site, "run", "near.toml", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "papaya" in ran.stdout
    shown = command(site, "tasks", "acme.retrieve", folder=tmp_path)
    assert "entry point retrieve of acme-embed" in shown.stdout


def test_its_tasks_are_checked_by_their_schemas(site: Path, tmp_path: Path) -> None:
    (tmp_path / "near.toml").write_text(SPEC.replace('text = "banana"', "text = 7"))
    checked = command(site, "check", "--format", "concise", "near.toml", folder=tmp_path)
    assert checked.returncode == 1
    assert "near.toml:5:17" in checked.stdout


def test_without_it_they_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "near.toml").write_text(SPEC)
    checked = command(None, "check", "--format", "concise", "near.toml", folder=tmp_path)
    assert checked.returncode == 1
    assert "acme.embed" in checked.stdout


def test_a_project_can_refuse_them(site: Path, tmp_path: Path) -> None:
    (tmp_path / "near.toml").write_text(SPEC)
    (tmp_path / "pyproject.toml").write_text('[tool.engine]\ntasks = ["acme.embed", "file.*"]\n')
    checked = command(site, "check", "--format", "concise", "near.toml", folder=tmp_path)
    assert checked.returncode == 1
    assert "task `acme.retrieve` is not allowed here" in checked.stdout

"""`pass`: does nothing and succeeds; what it is given is its output. A place for routes, joins and
`set`, where `collect` says that results are brought together."""

from __future__ import annotations

import attrs

from engine.tasks import collect

__all__ = ["TASK"]

TASK = attrs.evolve(
    collect.TASK,
    id="pass",
    name="Pass",
    description="Do nothing and succeed. The output is the inputs.",
    example="""\
[nodes.defaults]
task = "pass"
with = { language = "en", words = 800 }
""",
)

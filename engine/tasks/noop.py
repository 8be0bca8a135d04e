"""`pass`: does nothing and succeeds with its inputs as output.

It serves for routes, joins and `set`, while `collect` documents that results are combined.
"""

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

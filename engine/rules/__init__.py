"""Rules over a plan, one file each with its page (.md) beside it; RULES is the table of them all."""

from __future__ import annotations

RULES = ()

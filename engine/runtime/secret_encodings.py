"""The encoded forms in which a secret may appear: in URLs, in JSON, in Python's repr, in base64.

A character has a few forms, and a text is found in any mixture of them: which characters of a URL are escaped depends
on the part of the URL and on the library.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["build_encoded_patterns", "list_encoded_prefixes"]

_MIN_BASE64_SIZE = 6
"""The minimal size in bytes of a text to search for in base64.

Of a shorter one too little is constant there.
"""


def build_encoded_patterns(text: str) -> list[str]:
    """Return regular expressions that match a text in each of its encoded forms."""
    return ["".join(map(_build_character_pattern, text)), *_iter_base64_patterns(text)]


def list_encoded_prefixes(text: str) -> set[str]:
    """Return the forms of a text whose prefixes can be recognised by plain comparison."""
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        quote(text, errors="replace"),
        quote(text, safe="", errors="replace"),
        quote_plus(text, errors="replace"),
    }


def _build_character_pattern(character: str) -> str:
    """Return a pattern for one character in any of its forms, longer ones first."""
    if character.isascii() and (character.isalnum() or character in "_-~"):
        return re.escape(character)
    forms = {json.dumps(character)[1:-1], repr(character)[1:-1], "\\" + character, character}
    forms |= {"+"} if character == " " else set()
    percent = "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))
    longest = sorted(forms, key=lambda form: (-len(form), form))
    return f"(?:(?i:{percent})|{'|'.join(map(re.escape, longest))})"


def _iter_base64_patterns(text: str) -> Iterator[str]:
    """Yield patterns for the constant part of a text in base64, at each of its three alignments."""
    data = text.encode(errors="replace")
    if len(data) < _MIN_BASE64_SIZE:
        return
    for before in range(3):
        code = base64.b64encode(bytes(before) + data).decode()
        sure = code[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        for form in dict.fromkeys((sure, sure.replace("+", "-").replace("/", "_"))):
            yield re.escape(form) + "[A-Za-z0-9+/_-]?={0,2}"

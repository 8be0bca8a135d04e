""" "Did you mean": the one known name that a misspelt word is close to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

__all__ = ["closest_match", "unique_match", "unknown_node_message"]

MIN_SIMILARITY, MIN_LEAD = 0.75, 0.2
"""Minimum similarity, from 0 to 1, of a word and its replacement in a fix.

`MIN_LEAD` is how much less similar every other candidate must be: `rotes` becomes `routes` (0.91, next 0.67), while
`retries` is left alone (`requires` 0.8, `retry` 0.67).
"""


def closest_match(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was most likely meant to be, or None.

    A candidate that differs only in upper and lower case wins over all others.
    """
    known = sorted(set(candidates))
    folded = {c.lower(): c for c in known}
    if word.lower() in folded and folded[word.lower()] != word:
        return folded[word.lower()]
    return _find_closest(word, tuple(known))


def unknown_node_message(name: str, known: Iterable[str]) -> str:
    """Return the message for a reference to a node that does not exist, with a suggestion if one is close."""
    guess = closest_match(name, known)
    return f"there is no node `{name}`" + (f", did you mean `{guess}`?" if guess else "")


def unique_match(word: str, candidates: Iterable[str]) -> str | None:
    """Return the only candidate that may safely replace `word`, or None.

    That is a candidate that differs only in upper and lower case, the only one with exactly the same letters, or one that
    is at least `MIN_SIMILARITY` alike and leads every other by more than `MIN_LEAD`.
    """
    known = set(candidates)
    guess = closest_match(word, known)
    if guess is None or guess.lower() == word.lower():
        return guess
    if [each for each in known if sorted(each) == sorted(word)] == [guess]:
        return guess
    rival = _find_closest(word, tuple(sorted(known)), guess)
    alike = _compute_similarity(guess, word)
    lead = alike - _compute_similarity(rival, word) if rival else 1.0
    return guess if alike >= MIN_SIMILARITY and lead > MIN_LEAD else None


def _compute_similarity(candidate: str, word: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, candidate, word).ratio()


_MIN_RATIO = 0.6


def _find_closest(word: str, known: tuple[str, ...], excluded: str | None = None) -> str | None:
    """Return the match that `difflib.get_close_matches` would rank first, `excluded` left out.

    Candidates are compared in order of an upper bound of their similarity, so that few of many have to be.
    """
    from difflib import SequenceMatcher

    by_letter, shared = _index_by_letter(known), Counter[int]()
    for letter in _iter_letter_occurrences(word):
        shared.update(by_letter.get(letter, ()))
    bounds = ((2.0 * n / (len(word) + len(known[at])), known[at]) for at, n in shared.items())
    matcher = SequenceMatcher()
    matcher.set_seq2(word)
    best, found = _MIN_RATIO, ""
    for bound, candidate in sorted(
        (pair for pair in bounds if pair[0] >= _MIN_RATIO), reverse=True
    ):
        if bound < best:
            break
        if candidate == excluded:
            continue
        matcher.set_seq1(candidate)
        best, found = max((best, found), (matcher.ratio(), candidate))
    return found or None


@lru_cache(maxsize=16)
def _index_by_letter(known: tuple[str, ...]) -> Mapping[tuple[str, int], Sequence[int]]:
    """Map each letter and occurrence number to the indexes of the words that contain it.

    Cached, because the mistakes of one spec are compared with the same words again and again.
    """
    found: dict[tuple[str, int], list[int]] = {}
    for at, word in enumerate(known):
        for letter in _iter_letter_occurrences(word):
            found.setdefault(letter, []).append(at)
    return found


def _iter_letter_occurrences(word: str) -> Iterator[tuple[str, int]]:
    """Yield each letter with the number of its earlier occurrences in the word.

    Two words cannot match in more characters than they share of these pairs.
    """
    count: dict[str, int] = {}
    for letter in word:
        count[letter] = count.get(letter, -1) + 1
        yield letter, count[letter]

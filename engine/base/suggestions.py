""" "Did you mean": the one known name that a misspelled word is close to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

__all__ = ["nearest", "no_node", "only_nearest"]

NEAR, LEAD = 0.75, 0.2
"""How alike a word and the one put in its place are at least, and how far behind all others stay:
`rotes` becomes `routes` (0.91, next 0.67), `retries` is left (`requires` 0.8, `retry` 0.67)."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None."""
    known = sorted(set(candidates))
    folded = {c.lower(): c for c in known}
    if word.lower() in folded and folded[word.lower()] != word:
        return folded[word.lower()]
    return _closest(word, tuple(known))


def no_node(name: str, known: Iterable[str]) -> str:
    """What is told of a node that there is not."""
    guess = nearest(name, known)
    return f"there is no node `{name}`" + (f", did you mean `{guess}`?" if guess else "")


def only_nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The nearest candidate if it is near and no other nearly as near, or the only one of just these letters: what may
    be put in the place of `word`."""
    known = set(candidates)
    guess = nearest(word, known)
    if guess is None or guess.lower() == word.lower():
        return guess
    if [each for each in known if sorted(each) == sorted(word)] == [guess]:
        return guess
    rival = _closest(word, tuple(sorted(known)), guess)
    alike = _alike(guess, word)
    lead = alike - _alike(rival, word) if rival else 1.0
    return guess if alike >= NEAR and lead > LEAD else None


def _alike(candidate: str, word: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, candidate, word).ratio()


_CUTOFF = 0.6


def _closest(word: str, known: tuple[str, ...], but: str | None = None) -> str | None:
    """What `difflib.get_close_matches` would put first, leaving `but` out; the likeliest is compared
    first, so that few of many have to be."""
    from difflib import SequenceMatcher

    by_letter, shared = _by_letter(known), Counter[int]()
    for letter in _letters(word):
        shared.update(by_letter.get(letter, ()))
    bounds = ((2.0 * n / (len(word) + len(known[at])), known[at]) for at, n in shared.items())
    matcher = SequenceMatcher()
    matcher.set_seq2(word)
    best, found = _CUTOFF, ""
    for bound, candidate in sorted((pair for pair in bounds if pair[0] >= _CUTOFF), reverse=True):
        if bound < best:
            break
        if candidate == but:
            continue
        matcher.set_seq1(candidate)
        best, found = max((best, found), (matcher.ratio(), candidate))
    return found or None


@lru_cache(maxsize=16)
def _by_letter(known: tuple[str, ...]) -> Mapping[tuple[str, int], Sequence[int]]:
    """The words that have a letter, and have it a second time, and so on; a spec's mistakes ask the same words."""
    found: dict[tuple[str, int], list[int]] = {}
    for at, word in enumerate(known):
        for letter in _letters(word):
            found.setdefault(letter, []).append(at)
    return found


def _letters(word: str) -> Iterator[tuple[str, int]]:
    """Each letter with how many of it came before; words cannot match in more than they share of these."""
    count: dict[str, int] = {}
    for letter in word:
        count[letter] = count.get(letter, -1) + 1
        yield letter, count[letter]

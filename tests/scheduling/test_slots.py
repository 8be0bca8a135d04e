"""The queue and its limits against the plain rule: always the first in order who lacks nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.scheduling.slots import SlotLimit, SlotQueue


class Someone:
    """Who waits for a place."""

    def __init__(self, order: tuple[int, ...], limits: tuple[SlotLimit, ...]) -> None:
        self.order, self.limits, self.queued = order, limits, 0


class Plain:
    """The rule as it reads: scan all in order."""

    def __init__(self) -> None:
        self.waiting: list[tuple[tuple[int, ...], int, int, tuple[int, ...]]] = []

    def next(self, free: list[int]) -> int | None:
        for entry in sorted(self.waiting):
            if all(free[limit] > 0 for limit in entry[3]):
                self.waiting.remove(entry)
                for limit in entry[3]:
                    free[limit] -= 1
                return entry[2]
        return None


ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3), st.sets(st.integers(0, 2))),
    st.tuples(st.just("free"), st.integers(0, 20), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 20), st.none()),
)


@given(st.lists(st.integers(1, 3), min_size=3, max_size=3), st.lists(ACTIONS, max_size=40))
def test_places_go_to_the_first_who_lacks_nothing(
    sizes: list[int], actions: list[tuple[str, int, set[int] | None]]
) -> None:
    limits, free = [SlotLimit(size) for size in sizes], list(sizes)
    places: SlotQueue[Someone] = SlotQueue()
    plain, people, running = Plain(), [], []
    for number, (what, value, wanted) in enumerate(actions):
        if what == "ask" and wanted is not None:
            someone = Someone((value,), tuple(limits[at] for at in sorted(wanted)))
            people.append((someone, tuple(sorted(wanted))))
            places.enqueue(someone)
            plain.waiting.append(((value,), number, len(people) - 1, tuple(sorted(wanted))))
        elif what == "free" and running:
            done, used = people[running.pop(value % len(running))]
            places.release(done.limits)
            for at in used:
                free[at] += 1
        elif what == "leave" and plain.waiting:
            gone = plain.waiting.pop(value % len(plain.waiting))
            people[gone[2]][0].queued = 0
        while (someone_ := places.pop_ready()) is not None:
            expected = plain.next(free)
            assert expected is not None
            assert people[expected][0] is someone_
            running.append(expected)
        assert plain.next(list(free)) is None

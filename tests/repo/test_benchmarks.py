"""The benchmarks' shapes do what they say, by hand and through the engine; their table judges."""

from __future__ import annotations

import pytest

from benchmarks import check
from benchmarks.points import ENGINE, PEERS, Point, perform
from benchmarks.shapes import RING, ROUNDS, SHAPES, Work, document
from benchmarks.table import growth, markdown, row, text

SIZE = 20
TOTALS = {"chain": 20, "fan": 22, "layers": 16, "retry": 60, "route": 20, "items": 20}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("peer", PEERS)
def test_every_body_of_a_shape_is_called(peer: str, shape: str) -> None:
    assert SHAPES[shape](SIZE).total == TOTALS[shape]
    assert perform(peer, shape, SIZE).wall > 0  # raises for any other number of calls


@pytest.mark.parametrize("size", range(1, 8))
def test_a_ring_takes_any_number_of_steps(size: int) -> None:
    assert perform(ENGINE, "route", size).units == size


def test_a_long_ring_is_spread_over_nodes() -> None:
    most = len(RING) * (ROUNDS + 1)
    assert SHAPES["route"](2 * most + 1).calls == (most, most, 1)


def test_layers_wait_for_two_or_three_of_the_row_before() -> None:
    needs = SHAPES["layers"](SIZE).needs
    assert {len(each) for each in needs} == {0, 2, 3}
    assert all(index // 4 - need // 4 == 1 for index, each in enumerate(needs) for need in each)


def test_a_document_names_what_nodes_wait_for() -> None:
    work = Work(((), (0,)), (1, 1), 2, lambda calls: {"task": "count"})
    nodes = {"n0": {"task": "count"}, "n1": {"task": "count", "needs": ["n0"]}}
    assert document(work) == {"engine": 1, "nodes": nodes}


def _runs(shape: str, size: int, *seconds: tuple[float, float]) -> list[dict[str, Point]]:
    def point(peer: str, wall: float) -> Point:
        return Point(peer, shape, size, size, wall, wall / 2, 0, 0, 30)

    return [
        {peer: point(peer, engine if peer == ENGINE else floor) for peer in PEERS}
        for floor, engine in seconds
    ]


def test_a_row_has_the_median_of_quotients() -> None:
    found = row(_runs("chain", 1000, (1, 2), (10, 40), (2, 6)), "wall")
    assert (found.times, found.each["trio-tasks"], found.holds) == (3.0, 2000.0, True)
    assert not row(_runs("chain", 1000, (1, 3.1)), "cpu").holds


def test_growth_is_the_power_of_the_size() -> None:
    small, large = _runs("fan", 100, (1, 1)), _runs("fan", 10_000, (1, 10_000))
    rows = [row(small, "wall"), row(large, "wall")]
    assert growth(rows) == {"fan": pytest.approx(2.0)}
    assert growth(rows[:1]) == {}


def test_tables_have_a_line_for_each_row() -> None:
    rows = [row(_runs("route", 1000, (1, 2)), "wall")]
    assert text(rows).splitlines()[1].split()[-4:] == ["0.0", "30", "30", "yes"]
    assert (
        markdown(rows).splitlines()[2].startswith("| route | 1,000 | 1000.0 | 1000.0 | 1000.0 * |")
    )


@pytest.mark.parametrize("peer", check.PEERS)
def test_the_large_spec_is_sound(peer: str) -> None:
    assert check.perform(peer, 300).each > 0  # raises if anything is found


@pytest.mark.parametrize(
    ("times", "growth", "memory", "holds"),
    [(5.9, 1.5, 2.9, True), (6.1, 1.0, 1, False), (1.0, 1.7, 1, False), (1.0, 1.0, 3.1, False)],
)
def test_a_check_is_judged_by_tomli_by_its_growth_and_by_its_memory(
    times: float, growth: float, memory: float, holds: bool
) -> None:
    rows = [
        check.Row(check.Point("tomli", size, 10, 1), check.Point("check", size, each, memory))
        for size, each in ((10_000, 10 * times), (100_000, 10 * times * growth))
    ]
    text, held = check.judged(rows)
    assert held is holds
    assert text.splitlines()[2].startswith("| 10,000 | 10.0 |")

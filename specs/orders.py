"""The functions of `data_processing.toml`: rows of a CSV file, and figures of them."""

import csv
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TypedDict

from engine import Context, Exit


class Row(TypedDict):
    """One order."""

    order: str
    region: str
    amount: float


class Rows(TypedDict):
    """What could be read, and the numbers of the lines that could not."""

    rows: list[Row]
    bad_lines: list[int]


def read(file: str, context: Context) -> Exit:
    """The rows of a file; exit `partial` if some lines make no sense, `empty` if none does."""
    rows: list[Row] = []
    bad: list[int] = []
    with Path(context.folder, file).open(newline="", encoding="utf-8") as lines:
        for number, line in enumerate(csv.DictReader(lines), start=2):
            try:
                rows.append(_row(line))
            except (TypeError, ValueError, KeyError):
                bad.append(number)
                context.note(f"line {number} makes no sense: {line}")
    return Exit(
        "empty" if not rows else "partial" if bad else "success", Rows(rows=rows, bad_lines=bad)
    )


def total(rows: list[Row]) -> float:
    """The sum of all amounts."""
    return round(sum(row["amount"] for row in rows), 2)


def by_region(rows: list[Row]) -> dict[str, float]:
    """The sum of each region's amounts."""
    sums: dict[str, float] = defaultdict(float)
    for row in rows:
        sums[row["region"]] += row["amount"]
    return {region: round(amount, 2) for region, amount in sorted(sums.items())}


def outliers(rows: list[Row], factor: float) -> Exit:
    """The orders above `factor` times the median; exit `found` if there are any."""
    middle = statistics.median(row["amount"] for row in rows)
    far = [row["order"] for row in rows if row["amount"] > factor * middle]
    return Exit("found" if far else "success", {"orders": far})


def _row(line: dict[str, str]) -> Row:
    return {"order": line["order"], "region": line["region"], "amount": float(line["amount"])}

"""Run the command line, as the program `engine` or as `python -m engine`.

Ctrl-C while the command line is being imported ends the process with status 130.
"""

__all__ = ["main"]


def main() -> int:
    """Run the command that the arguments of the process name, and return the exit status."""
    import gc

    gc.set_threshold(
        50_000
    )  # what imports make lives on: at 700 a start looks through it again and again
    try:
        from engine.cli.main import main as do
    except KeyboardInterrupt:
        return 130
    try:
        return do()
    finally:
        gc.freeze()  # the process ends: to look for cycles in a large spec once more would take a third of its time


if __name__ == "__main__":
    raise SystemExit(main())

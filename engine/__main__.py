"""The program `engine`, also as `python -m engine`: the command line, and Ctrl-C while that is being imported."""

__all__ = ["main"]


def main() -> int:
    """Do what the arguments of the process say, and give the exit status."""
    import gc

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

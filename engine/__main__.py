"""The program `engine`, also as `python -m engine`: the command line, and Ctrl-C while that is being imported."""

__all__ = ["main"]


def main() -> int:
    """Do what the arguments of the process say, and give the exit status."""
    try:
        from engine.cli import main as do
    except KeyboardInterrupt:
        return 130
    return do()


if __name__ == "__main__":
    raise SystemExit(main())

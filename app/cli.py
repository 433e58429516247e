"""`outreach`, the command line: `python -m app.cli`, or `./run outreach` from a checkout."""

from outreach.collecting import without_collecting


def main() -> None:
    """Run one command; what went wrong is said in one line, with exit status 1."""
    with without_collecting():
        from app.command_line import run
    run()


if __name__ == "__main__":
    main()

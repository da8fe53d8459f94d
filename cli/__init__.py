"""The `jigstack` command."""


def main() -> None:
    """Read the command line and run one sub-command."""
    from .signals import ended_by_signals

    with ended_by_signals():
        from .commands import app

        app()

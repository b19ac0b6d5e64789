"""``googlenet``, and ``python -m googlenet``."""

import signal


def main() -> None:
    """Import the command line and run it. Outside a command there is nothing to finish: Ctrl-C ends it at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from googlenet import cli
    from googlenet.cli.compiler import defer_compiler

    defer_compiler()
    cli.main()


if __name__ == "__main__":
    main()

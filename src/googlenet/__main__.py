"""``googlenet``, and ``python -m googlenet``."""

import signal


def main() -> None:
    """Import the command line and run it. While it is imported, Ctrl-C ends the program at once."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as under nohup
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from googlenet import cli

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()

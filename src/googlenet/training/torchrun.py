"""What ``torchrun`` tells the processes it starts, in environment variables. No torch."""

from __future__ import annotations

import os
import socket


def is_launched() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first_process() -> bool:
    """Whether this is the only process, or the first one that ``torchrun`` started."""
    return not is_launched() or os.environ["RANK"] == "0"


def local_world_size() -> int:
    """How many processes of the job run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_launched() else 1


def world_size() -> int:
    """How many processes of the job run on all machines."""
    return int(os.environ["WORLD_SIZE"]) if is_launched() else 1


def launch_id() -> str | None:
    """Return a name of the ``torchrun`` call that started this process; it stays the same across restarts."""
    if not is_launched():
        return None
    given = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return f"{socket.gethostname()}:{os.getppid()}" if given == "none" else given


def is_restarted() -> bool:
    """Whether ``torchrun --max-restarts`` started this process again after one failed."""
    return is_launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

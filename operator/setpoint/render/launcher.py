"""The launcher of renderers: `python -P -s -S -m setpoint.render.launcher SOCKET_FD PARENT_PID` (`fences.launcher`).

A renderer is a fork of it that fences itself in and then becomes the program: its work folder and that program are all
the files it has, it has no sockets, starts no process and signals none.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from typing import Final, NoReturn

from setpoint.fences import launcher, policy
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launcher import Message

_FILES: Final = 256


def become(message: Message, descriptors: list[int]) -> NoReturn:
    """Turn this fork into the renderer: argv and env as asked, no files but the three standard ones; OSError.

    The descriptors: where its output goes, where its errors go, and its work folder, in which it may write.
    """
    # Python ignores these two, and what is ignored stays so across execve.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[1], 2)
    # One file may not grow beyond the limit of the output; the kernel ends whoever tries.
    resource.setrlimit(resource.RLIMIT_FSIZE, (message["output"], message["output"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    os.fchdir(descriptors[2])
    policy.enter(message, [Grant(".", Access.WRITE)], network=False)
    try:
        os.execve(message["argv"][0], message["argv"], message["env"])  # noqa: S606 - no shell is the point
    except PermissionError:
        raise OSError(
            errno.EACCES,
            f"{message['argv'][0]} cannot be started in the fence; it must be linked statically, or what it needs be "
            "in SETPOINT_RENDER_LIBRARIES (settings.renderLibraries)",
        ) from None


if __name__ == "__main__":
    launcher.main(int(sys.argv[1]), int(sys.argv[2]), become)

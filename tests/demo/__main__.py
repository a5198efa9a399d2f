"""The demo for the command line.

python -m tests.demo            play it, and remove everything at the end
python -m tests.demo --process  the operator as a process, even where a node could run it as a pod
python -m tests.demo --keep     play it, and leave cluster, Git server and operator running
python -m tests.demo --down     end what --keep left (or one of them: --down NAME)

Exit codes: 0 all went as told, 1 something did not, 130 interrupted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from image.layout import ImageError
from tests.demo import kept, supervisor
from tests.demo.screen import DemoError, Screen
from tests.demo.stage import Stage
from tests.demo.story import play
from tests.demo.supervisor import Kind
from tests.kit.cluster.binaries import BuildError
from tests.kit.cluster.node import unavailable
from tests.kit.cluster.processes import interrupt_on_sigterm

ALL = ""
INTERRUPTED = 130
TAIL_LINES = 40


def main(arguments: list[str]) -> int:
    """Run one command; the story goes to stdout, progress of builds to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--down", nargs="?", const=ALL, metavar="NAME", help="end what --keep left")
    parser.add_argument("--process", action="store_true", help="no node: the operator is a process")
    parser.add_argument("--supervise", choices=[kind.value for kind in Kind], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    interrupt_on_sigterm()
    if chosen.supervise:
        return supervisor.supervise(Kind(chosen.supervise))
    screen = Screen()
    if chosen.down is not None:
        return _down(screen, chosen.down)
    kind = Kind.PROCESS if chosen.process or unavailable() else Kind.POD
    return _play(screen, kind, keep=chosen.keep)


def _play(screen: Screen, kind: Kind, *, keep: bool) -> int:
    try:
        with Stage(screen, kind) as stage:
            code = _told(screen, stage)
            if keep:
                stage.keep()
                _how_to_go_on(screen, stage)
    except KeyboardInterrupt:
        screen.say("interrupted: everything was removed")
        return INTERRUPTED
    except (DemoError, BuildError, ImageError) as error:
        screen.failure(str(error))
        return 1
    return code


def _told(screen: Screen, stage: Stage) -> int:
    """Play it; when a step does not go as told, show what a person would look at."""
    try:
        play(screen, stage)
    except DemoError as error:
        screen.failure(str(error))
        for line in ("kubectl get sources,syncs -o wide", "kubectl get events --sort-by=.lastTimestamp"):
            subprocess.run(["sh", "-c", line], env=screen.environment, cwd=screen.folder, check=False)
        screen.tail(stage.operator_log, TAIL_LINES)
        return 1
    return 0


def _how_to_go_on(screen: Screen, stage: Stage) -> None:
    screen.headline("It goes on running, for a day at most")
    screen.say(
        f"export KUBECONFIG={stage.kubeconfig} PATH={stage.programs}:$PATH\n"
        f"cd {stage.clone}                 # edit overlays/production, git commit -a, git push\n"
        "kubectl apply -f setpoint/      # the Sync was deleted in the last step\n"
        "kubectl get syncs --watch\n"
        f"tail -f {stage.operator_log}\n\n"
        "To end it:\n"
        f"python -m tests.demo --down {stage.name}"
    )


def _down(screen: Screen, name: str) -> int:
    wanted = kept.names() if name == ALL else [name]
    for each in wanted:
        screen.say(f"demo {each}: {'removed' if kept.down(each) else 'there is none'}")
    if not wanted:
        screen.say("there is no demo left to end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

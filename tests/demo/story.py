"""The story: eight steps, and a ninth where containers run, each with the commands that a person would type, and a check that it went as told.

In: a screen and a stage. Out: the story on the screen; `DemoError` at the first thing that is not as told.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.demo.screen import DemoError, Screen
from tests.demo.stage import ROOT, Stage
from tests.demo.supervisor import SYSTEM, Kind

SHOP = ROOT / "examples" / "shop"
PLACEHOLDER = "https://git.example.org/shop.git"
ALICE = "alice@example.org"
WAIT = "kubectl wait --timeout=300s"
KINDS = "deployments,services,configmaps,serviceaccounts,poddisruptionbudgets"
OBJECTS = 8
GOOD_IMAGE, BAD_IMAGE = "nginx-unprivileged:1.29-alpine", "nginx-unprivileged:1.92-alpine"

Json = dict[str, Any]


def play(screen: Screen, stage: Stage) -> None:
    """Tell it from the beginning to the end."""
    started = time.monotonic()
    story = _Story(screen, stage)
    story.prologue()
    told = [f"{'':4}{_timed(screen, number, step)}" for number, step in enumerate(story.steps(), 1)]
    screen.headline(f"Summary: all went as told, in {time.monotonic() - started:.0f} s")
    screen.say("\n".join(told))


def _timed(screen: Screen, number: int, step: tuple[str, Callable[[], str]]) -> str:
    title, act = step
    screen.headline(f"{number}. {title}")
    begun = time.monotonic()
    return f"{number}. {title}: {act()} ({time.monotonic() - begun:.1f} s)"


class _Story:
    def __init__(self, screen: Screen, stage: Stage) -> None:
        self._screen, self._stage = screen, stage
        self._attributed = False

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        workload = [
            ("An image that nobody has is said in the kubelet's words; a commit mends it", self._mends)
        ]
        return [
            ("A Source and a Sync are applied, and the cluster converges", self._converges),
            ("A commit arrives and is applied", self._follows),
            ("Changes by hand are reverted and stand in the ledger", self._reverts),
            ("A deleted object comes back", self._restores),
            ("An object removed from Git is pruned", self._prunes),
            ("A broken commit changes nothing, and says where it is broken", self._refuses),
            ("`git revert` recovers", self._recovers),
            *(workload if self._stage.kind is Kind.POD else []),
            ("Deleting the Sync removes everything", self._ends),
        ]

    def prologue(self) -> None:
        """Everything that is there before the story: operator, repository, its first commit."""
        run, stage = self._screen.run, self._stage
        run("kubectl get --raw /version | grep gitVersion")
        self._screen.headline("Setpoint, installed with Helm")
        self._install()
        policies = self._screen.quiet(
            "kubectl get mutatingadmissionpolicybindings -o name --ignore-not-found || true"
        )
        self._attributed = "changed-by" in policies
        self._screen.headline("A repository with a small web shop (examples/shop)")
        run(f"git clone -q {stage.url}")
        self._fill(stage.clone)
        self._screen.folder = stage.clone
        run("git add . && git commit -q -m 'Open the shop' && git push -q origin main")
        run("git ls-files && git log --oneline")

    def _install(self) -> None:
        run, stage = self._screen.run, self._stage
        command = (
            f"helm install setpoint {ROOT / 'charts/setpoint'} -n {SYSTEM} --create-namespace --hide-notes"
        )
        if stage.kind is Kind.POD:
            run(f"{command} --wait")
            run(f"kubectl get pods -n {SYSTEM}")
            stage.operator()
            self._screen.say(f"operator: a pod, log {stage.operator_log}")
            return
        self._screen.say(
            "No kubelet here: the chart runs no pod, the operator is a process with the chart's account."
        )
        run(f"{command} --set replicaCount=0")
        stage.operator()
        self._screen.say(f"operator: process {stage.operator_pid}, log {stage.operator_log}")

    def _converges(self) -> str:
        run = self._screen.run
        run("cat setpoint/sync.yaml")
        run("kubectl apply -f setpoint/")
        run(f"{WAIT} --for=condition=Ready sync/shop")
        run(f"kubectl get {KINDS} -l setpoint.dev/sync")
        self._look()
        self._screen.describe("sync shop", "Conditions", "Applied", "Summary")
        self._expect(self._sync()["status"]["summary"]["objects"], OBJECTS, "number of objects")
        return f"{OBJECTS} objects, all healthy"

    def _follows(self) -> str:
        self._edit("overlays/production/kustomization.yaml", "count: 2", "count: 3")
        self._push("Raise storefront to 3 replicas")
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        ready = self._screen.run("kubectl get deployment storefront")
        self._expect("3/3" in ready, True, "storefront has 3 of 3 pods")
        self._look()
        return "storefront has 3 replicas"

    def _reverts(self) -> str:
        self._by_alice("""patch deployment storefront -p '{"spec": {"replicas": 9}}'""")
        self._corrected(1)
        self._by_alice("label deployment storefront owner=alice")
        self._corrected(2)
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        self._screen.run("kubectl get deployment storefront --show-labels")
        self._look()
        self._screen.describe("sync shop", "Drift Log")
        now = self._screen.json("kubectl get deployment storefront")
        self._expect(now["spec"]["replicas"], 3, "replicas")
        self._expect(now["metadata"]["labels"].get("owner"), None, "label owner")
        return self._ledger()

    def _ledger(self) -> str:
        """Newest first: the label that is not Git's, then the number that is."""
        label, number = self._sync()["status"]["driftLog"]
        wanted: Json = {"kind": "Deployment", "name": "storefront"}
        if self._attributed:
            wanted["user"] = ALICE
        taken = {"op": "remove", "path": "/metadata/labels/owner"}
        undone = {"op": "replace", "path": "/spec/replicas", "value": 3}
        for entry, more in (
            (label, {"manager": "kubectl-label", "patch": [taken]}),
            (number, {"manager": "kubectl-patch", "patch": [undone]}),
        ):
            full = wanted | more
            self._expect({key: entry.get(key) for key in full}, full, "entry in the ledger")
        return f"by {number.get('user', 'somebody')} with {number['manager']}, in the ledger"

    def _restores(self) -> str:
        uid = self._uid("service/cart")
        self._by_alice("delete service cart")
        self._corrected(3)
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        self._screen.run("kubectl get service cart")
        self._look()
        self._expect(self._uid("service/cart") != uid, True, "Service cart is a new one")
        return "Service cart is there again"

    def _prunes(self) -> str:
        self._edit("overlays/production/kustomization.yaml", "  - sale.yaml\n", "")
        (self._stage.clone / "overlays/production/sale.yaml").unlink()
        self._push("End the summer sale")
        self._screen.run(f"{WAIT} --for=delete configmap/sale")
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        self._look()
        self._expect(self._sync()["status"]["summary"]["objects"], OBJECTS - 1, "number of objects")
        return "ConfigMap sale is gone"

    def _refuses(self) -> str:
        before = self._specs()
        self._edit(
            "base/storefront.yaml",
            "    spec:\n      serviceAccountName",
            "    spec:\n     serviceAccountName",
        )
        self._push("Tidy up the storefront", applied=False)
        reason = '{.status.conditions[?(@.type=="Ready")].reason}'
        self._screen.run(f"{WAIT} --for=jsonpath='{reason}'=RenderFailed sync/shop")
        self._look()
        text = self._screen.describe("sync shop", "Conditions")
        self._expect("base/storefront.yaml" in text, True, "the message names the file")
        self._expect(self._specs(), before, "objects in the cluster")
        return "base/storefront.yaml is named, and nothing was written"

    def _recovers(self) -> str:
        self._screen.run("git revert --no-edit HEAD && git push -q")
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        self._look()
        self._screen.describe("sync shop", "History")
        return "Ready again"

    def _mends(self) -> str:
        self._edit("base/storefront.yaml", GOOD_IMAGE, BAD_IMAGE)
        self._push("Move the storefront to the newest nginx")
        reason = '{.status.conditions[?(@.type=="Ready")].reason}'
        self._screen.run(f"{WAIT} --for=jsonpath='{reason}'=Degraded sync/shop")
        self._look()
        self._screen.run("kubectl get pods")
        text = self._sync()["status"]["conditions"][0]["message"]
        self._expect(BAD_IMAGE in text and "Image" in text, True, "the message has the kubelet's words")
        self._screen.run("git revert --no-edit HEAD && git push -q")
        self._screen.run(f"{WAIT} --for=condition=Ready sync/shop")
        self._look()
        return "named within moments, mended by a commit"

    def _ends(self) -> str:
        run = self._screen.run
        run("kubectl delete sync shop")
        left = run(f"kubectl get {KINDS} -l setpoint.dev/sync")
        self._expect("No resources found" in left, True, "nothing is left")
        run("kubectl get sources,syncs -o wide")
        run("kubectl get events --field-selector involvedObject.kind=Sync --sort-by=.lastTimestamp")
        return "nothing is left of it"

    def _look(self) -> None:
        self._screen.run("kubectl get sources,syncs -o wide")

    def _fill(self, clone: Path) -> None:
        shutil.copytree(SHOP, clone, dirs_exist_ok=True)
        sync = clone / "setpoint/sync.yaml"
        sync.write_text(sync.read_text().replace(PLACEHOLDER, self._stage.url))
        for key, value in {"user.name": "Ana Ortiz", "user.email": "ana@example.org"}.items():
            self._screen.quiet(f"git -C {clone} config {key} '{value}'")

    def _edit(self, file: str, old: str, new: str) -> None:
        path = self._stage.clone / file
        text = path.read_text()
        if old not in text:
            raise DemoError(f"examples/shop/{file} has no {old!r} that the demo could change")
        path.write_text(text.replace(old, new, 1))

    def _push(self, message: str, *, applied: bool = True) -> None:
        """Commit what was edited; wait until the Sync has it."""
        run = self._screen.run
        run("git diff -U1 | grep '^[-+ @]'")
        run(f"git commit -qam '{message}' && git push -q && git log -1 --format='%h %s (%an)'")
        if applied:
            sha = self._screen.quiet("git rev-parse HEAD").strip()
            run(f"{WAIT} --for=jsonpath='{{.status.applied.revision}}'=main@sha1:{sha} sync/shop")

    def _by_alice(self, command: str) -> None:
        self._screen.run(f"kubectl --as {ALICE} --as-group system:masters {command}")

    def _corrected(self, times: int) -> None:
        self._screen.run(f"{WAIT} --for=jsonpath='{{.status.summary.corrected}}'={times} sync/shop")

    def _sync(self) -> Json:
        return dict(self._screen.json("kubectl get sync shop"))

    def _uid(self, what: str) -> str:
        return str(self._screen.json(f"kubectl get {what}")["metadata"]["uid"])

    def _specs(self) -> list[Json]:
        """Every object of the Sync, but for what controllers write."""
        found = self._screen.json(f"kubectl get {KINDS} -l setpoint.dev/sync")["items"]
        return [
            {k: v for k, v in item.items() if k != "status"}
            | {"metadata": {**item["metadata"], "resourceVersion": ""}}
            for item in found
        ]

    @staticmethod
    def _expect(found: object, wanted: object, what: str) -> None:
        if found != wanted:
            raise DemoError(f"{what}: expected {wanted}, found {found}")

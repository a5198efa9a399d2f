"""Some kinds go all the way of the sweep in each CI run: one of each sort of field, cheap ones. All of them: `make compat`."""

from __future__ import annotations

from tests.compat import catalog, report
from tests.compat.stage import sweep_of, to_stderr

SOME = (
    "ConfigMap",
    "Secret",
    "ResourceQuota",
    "Ingress.networking.k8s.io",
    "RoleBinding.rbac.authorization.k8s.io",
)


def test_some_kinds_are_as_recorded() -> None:
    with sweep_of([k for k in catalog.objects() if str(k) in SOME], to_stderr) as sweep:
        findings, found = sweep.run(whole=False), report.record(sweep.version, sweep.figures)
    assert findings == []
    recorded = report.read()
    assert recorded["version"] == found["version"], (
        "another Kubernetes: run `make compat` and commit what it writes"
    )
    assert {name: recorded["kinds"][name] for name in SOME} == found["kinds"]

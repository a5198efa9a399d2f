"""The pure parts of the bench: what it counts, what it reads from /proc, and what it says of a budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.bench import counting, growth, history, plot, report, size, tree, workload
from tests.bench.report import Figure
from tests.bench.scenarios import SCENARIOS
from tests.kit import proctree
from tests.kit.servers.repo import GitError, Repo

METRICS = """
# TYPE apiserver_flowcontrol_dispatched_requests_total counter
apiserver_flowcontrol_dispatched_requests_total{flow_schema="bench-write",priority_level="workload-low"} 12
apiserver_flowcontrol_dispatched_requests_total{flow_schema="bench-lease",priority_level="workload-low"} 7
apiserver_flowcontrol_dispatched_requests_total{flow_schema="bench-event",priority_level="workload-low"} 1
apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"} 900
apiserver_request_total{code="200",dry_run="All",group="apps",resource="deployments",verb="APPLY"} 3
apiserver_request_total{code="201",dry_run="All",group="",resource="services",verb="APPLY"} 1
apiserver_request_total{code="200",dry_run="",group="",resource="services",verb="APPLY"} 50
"""


def test_requests_are_counted_by_kind_and_dry_runs_are_no_writes() -> None:
    counts = counting.read(METRICS)
    assert counts == {"write": 8, "dry-run": 4, "lease": 7, "event": 1}
    assert (counting.total(counts), counting.writes(counts)) == (13, 9)


def test_each_request_of_the_operator_meets_a_schema() -> None:
    made = counting.schemas(["someone"])
    order = [s["spec"]["matchingPrecedence"] for s in made]
    assert order == sorted(order)
    assert {s["metadata"]["name"] for s in made} == {f"bench-{name}" for name in counting.RULES}
    assert made[-2]["spec"]["rules"][0]["resourceRules"][0]["verbs"] == ["*"]


def test_cpu_counts_reaped_children_and_names_with_blanks() -> None:
    assert tree.ticks("7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 11 22 33 44 20 0") == 110
    assert proctree.rolled_up("Rss: 9 kB\nPss:  5 kB\nPss_Anon: 3 kB\n", "Pss") == 5120


def test_a_tree_is_a_process_with_all_below_it() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        while len(tree.whole(parent.pid)) < 2:
            assert parent.poll() is None
        assert tree.memory_bytes(parent.pid).both > 0
        parent.communicate(b"\n")
    assert tree.whole(os.getpid())[0] == os.getpid()


def test_threads_that_end_while_a_tree_is_looked_at_do_no_harm() -> None:
    script = "import threading\nprint(flush=True)\nwhile True: threading.Thread(target=int).start()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        try:
            parent.stdout.readline()
            assert all(tree.whole(parent.pid) == [parent.pid] for _ in range(1_000))
        finally:
            parent.kill()


def test_a_budget_is_met_or_exceeded_by_so_much() -> None:
    figures = (Figure("a", "A", "s", 2), Figure("b", "  B", "", 0), Figure("c", "C"), Figure("d", "D", "", 1))
    lines = report.table(figures, {"a": 3.0, "b": 0, "c": 12.34})
    assert lines[2:] == [
        "| A | 3 s | <= 2 s | **over by 50 %** |",
        "| &emsp;B | 0 | <= 0 | met |",
        "| C | 12.3 |  |  |",
    ]
    assert report.comparison(figures, {"a": 2, "c": 1}, {"a": 3})[2:] == ["| A | 2 s | 3 s | +50 % |"]


def test_the_workload_is_four_objects_and_one_sync() -> None:
    kinds = sorted(o["kind"] for o in workload.objects("x"))
    assert kinds == ["Deployment", "Ingress", "Service", "ServiceAccount"]
    assert len(workload.repository(3)) == 12


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_figure_of_a_scenario_hides_another(name: str) -> None:
    scenario = SCENARIOS[name]
    keys = [figure.key for figure in scenario.figures(scenario.n)]
    assert len(keys) == len(set(keys)) > 0


def test_a_fleet_grows_to_its_size_in_three_steps() -> None:
    assert growth.sizes(1000) == (100, 300, 1000)
    assert growth.sizes(10) == (1, 3, 10)


def test_the_files_of_one_large_sync_hold_every_object_once() -> None:
    shelves = [size.shelf("ConfigMap", number, "1", "2" if number == 1 else "") for number in range(3)]
    made = [json.loads(part) for s in shelves for text in s.values() for part in text.split("---")]
    assert [o["metadata"]["name"] for o in made] == [size.name_of(n) for n in range(3 * size.PER_FILE)]
    assert [n for n, o in enumerate(made) if o["data"]["value"] != "1"] == [size.PER_FILE]
    assert size.manifest("Deployment", "x", "3")["spec"]["replicas"] == 0


def test_a_long_history_has_all_files_from_its_first_commit_on(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.load(history.stream(120, 7))
    assert repo.git("rev-list", "--count", "main") == "7"
    for revision in ("main", "main~6"):
        assert len(repo.git("ls-tree", "-r", "--name-only", revision).splitlines()) == 120
    assert repo.git("diff", "--name-only", "main~1", "main").splitlines() == [history.path_of(6 * 7919 % 120)]
    with pytest.raises(GitError):
        repo.load([b"nonsense\n"])


def test_a_plot_has_a_point_for_each_size_and_line() -> None:
    keys = [line.key for panel in plot.PANELS for line in panel.lines]
    fleets = [{"n": n, "figures": dict.fromkeys(keys, n * 1.5)} for n in (1000, 100, 300)]
    root = ElementTree.fromstring(plot.svg(fleets))
    names = [each.tag.rpartition("}")[2] for each in root.iter()]
    assert names.count("circle") == 3 * len(keys)
    lines = [each.get("points", "") for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == len(keys)
    for line in lines:
        across = [float(point.split(",")[0]) for point in line.split()]
        up = [float(point.split(",")[1]) for point in line.split()]
        assert across == sorted(across)
        assert up == sorted(up, reverse=True)

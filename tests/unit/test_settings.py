"""Settings from the environment."""

from __future__ import annotations

import contextlib
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from setpoint import settings
from setpoint.api.budgets import Budget, Budgets
from setpoint.api.reasons import Problem, Reason

PACKAGE = Path(settings.__file__).parent


def test_defaults() -> None:
    found = settings.from_environ({"HOME": "/home/ana"})
    assert found.workers == 16
    assert found.namespace == "setpoint-system"
    assert found.admin_namespaces == ("setpoint-system",)
    assert found.cache_dir == "/home/ana/.cache/setpoint"
    assert found.render_memory == 512 * 2**20
    assert found.lease_duration == 10


def test_what_is_set_wins() -> None:
    found = settings.from_environ(
        {
            "HOME": "/home/ana",
            "XDG_CACHE_HOME": "/cache",
            "POD_NAMESPACE": "gitops",
            "SETPOINT_WORKERS": " 3 ",
            "SETPOINT_CACHE_SIZE": "2Gi",
            "SETPOINT_RENDER_TIMEOUT": "1m30s",
            "SETPOINT_PEOPLE_MANAGERS": "rancher, lens  k9s,",
            "SETPOINT_LEADER_ELECTION": "No",
            "SETPOINT_LOG_FORMAT": "text",
            "SETPOINT_PROBE_PORT": "0",
        }
    )
    assert (found.workers, found.cache_size, found.render_timeout) == (3, 2 * 2**30, 90)
    assert found.people_managers == ("rancher", "lens", "k9s")
    assert (found.leader_election, found.log_format, found.probe_port) == (False, "text", 0)
    assert (found.namespace, found.admin_namespaces) == ("gitops", ("gitops",))
    assert found.cache_dir == "/cache/setpoint"


def test_an_empty_variable_counts_as_not_set_but_for_lists() -> None:
    found = settings.from_environ(
        {
            "SETPOINT_WORKERS": "",
            "SETPOINT_ADMIN_NAMESPACES": "",
            "SETPOINT_NAMESPACE": "",
            "POD_NAMESPACE": "a",
        }
    )
    assert (found.workers, found.namespace, found.admin_namespaces) == (16, "a", ())


def test_variables_of_others_do_no_harm() -> None:
    """A Service named setpoint gives its neighbours SETPOINT_PORT; tests have SETPOINT_CACHE."""
    settings.from_environ({"SETPOINT_PORT": "tcp://10.0.0.1:80", "SETPOINT_CACHE": "/x"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SETPOINT_WORKERS", "many", "integer"),
        ("SETPOINT_WORKERS", "0", "greater than or equal to 1"),
        ("SETPOINT_GIT_PROCESSES", "1", "greater than or equal to 2"),
        ("SETPOINT_CACHE_SIZE", "1TB", "512Mi"),
        ("SETPOINT_CACHE_SIZE", "0", "greater than 0"),
        ("SETPOINT_RENDER_TIMEOUT", "60", "30s, 5m or 1h30m"),
        ("SETPOINT_LEASE_DURATION", "1s", "greater than or equal to 3"),
        ("SETPOINT_LEADER_ELECTION", "maybe", "true or false"),
        ("SETPOINT_LOG_LEVEL", "loud", "'debug'"),
        ("SETPOINT_GIT_ALLOWED_HOSTS", "git.example.org, 10.0.0.1/8", "host bits"),
        ("SETPOINT_GIT_DENIED_HOSTS", "https://git.example.org", "network"),
        ("SETPOINT_GIT_DENIED_HOSTS", "git:22", "network"),
        ("SETPOINT_METRICS_PORT", "tcp://10.0.0.1:80", "integer"),
        ("SETPOINT_METRICS_PORT", "70000", "65535"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str, words: str) -> None:
    with pytest.raises(Problem, match=name) as caught:
        settings.from_environ({name: value})
    assert caught.value.reason is Reason.InvalidSpec
    assert words in caught.value.message


@given(st.sampled_from(settings.FIELDS), st.text())
def test_any_text_is_taken_or_refused_with_the_name(field: str, text: str) -> None:
    with contextlib.suppress(Problem):
        settings.from_environ({settings.variable(field): text})
        return
    with pytest.raises(Problem, match=rf"^{settings.variable(field)}: "):
        settings.from_environ({settings.variable(field): text})


@pytest.mark.parametrize("field", settings.FIELDS)
def test_what_the_docs_say_is_the_default_is_taken_as_such(field: str) -> None:
    text = settings.written(field)
    plain = settings.from_environ({})
    assert getattr(settings.from_environ({settings.variable(field): text} if text else {}), field) == getattr(
        plain, field
    )


def test_every_setting_is_read_somewhere() -> None:
    own = {"settings.py", "chart.py", "reference.py", "generate.py"}
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name not in own)
    budgets = {each.name for each in fields(Budgets)}
    read = {
        name: rf'settings\.{name}\b|budgets\.{name}\b|check\(\s*"{name}"|_over\("{name}"'
        for name in settings.FIELDS
    }
    assert [name for name in settings.FIELDS if not re.search(read[name], code)] == []
    assert budgets < set(settings.FIELDS)


def test_each_budget_is_the_setting_of_its_name() -> None:
    assert settings.Settings().budgets == Budgets()
    raised = settings.from_environ({"SETPOINT_MAX_FILE_SIZE": "32Mi", "SETPOINT_MAX_OBJECTS": "5"}).budgets
    assert raised == Budgets(max_file_size=32 * 2**20, max_objects=5)


@pytest.mark.parametrize(
    "name", [each.name for each in fields(Budgets) if each.name not in ("max_diff", "max_read_set")]
)
def test_over_budget_is_said_with_figure_limit_setting_and_remedy(name: Budget) -> None:
    few = replace(Budgets(), **{name: 1_000})
    few.check(name, 1_000, "apps")
    with pytest.raises(Problem) as caught:
        few.check(name, 1_001, "apps")
    setting = f"settings.{to_camel(name)}"
    assert caught.value.reason is Reason.TooLarge
    assert re.fullmatch(
        rf"apps: 1,001 [^;]+, more than the 1,000 of {setting}; .+, or raise the setting",
        caught.value.message,
    )
    with pytest.raises(Problem, match=r"^at least 1,001 "):
        few.check(name, 1_001, counted=False)


def read_in(*packages: str) -> set[str]:
    """Return the settings that modules of these packages read by name."""
    found = set[str]()
    for package in packages:
        for module in (PACKAGE / package).rglob("*.py"):
            text = re.sub(r"(?m)^(?:from|import) .*", "", module.read_text())
            found |= {
                name for name in re.findall(r"\b_?settings\.([a-z_]+)", text) if name in settings.FIELDS
            }
    return found


def test_each_setting_goes_to_who_reads_it() -> None:
    """The chart gives each container no more: the operator knows no proxy or program, the worker nothing of the cluster."""
    operator = read_in("manager", "syncs", "sources", "apply", "store", "watch", "kube")
    worker = read_in("worker", "git", "render", "tree")
    chosen = {"cache_dir"}  # by the operator for its child
    assert {name for name in operator if not settings.of_operator(name)} == chosen
    assert {name for name in worker if not settings.of_worker(name)} == set()
    budgets = {field.name for field in fields(Budgets)}
    assert operator & (worker | budgets) == settings.OF_BOTH | chosen | {"max_diff"}
    assert {name for name in budgets if not settings.of_worker(name)} == {"max_diff"}
    assert worker | budgets == settings.OF_WORKER | {"max_diff"}

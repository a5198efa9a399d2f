"""The parts of the worker's memory must have room in the limit of its container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Problem, Reason
from setpoint.settings import Settings, from_environ
from setpoint.worker import shares

MIB = 2**20


def of(**given: str) -> Settings:
    return from_environ({f"SETPOINT_{name.upper()}": value for name, value in given.items()})


def test_the_sum_is_that_of_all_parts() -> None:
    in_memory = of(cache_in_memory="true")
    assert shares.needed(in_memory) == (96 + 256 + 3 * 256 + 3 * 512 + 3 * 512 + 384) * MIB
    assert shares.needed(of()) == shares.needed(in_memory) - 256 * MIB
    other = of(
        readers="2", reader_memory="300Mi", render_concurrency="4", render_memory="1Gi", git_memory="1Mi"
    )
    assert shares.needed(other) == (96 + 2 * 256 + 600 + 4096 + 1) * MIB  # fmt: skip


def test_a_limit_that_is_too_small_is_told_with_every_figure_and_what_to_change() -> None:
    found = of(
        cache_in_memory="true", cache_size="1Gi", readers="5", reader_memory="600Mi", git_memory="200000000"
    )
    with pytest.raises(Problem) as caught:
        shares.check(found.model_copy(update={"worker_memory": 1536 * MIB}))
    assert caught.value.reason is Reason.InvalidSpec
    assert caught.value.message == (
        "worker.resources.limits.memory is 1536 MiB, and less than the 7127 MiB that the parts of the worker may take at once: "
        "the broker and its launchers 96 MiB, the cache in memory 1024 MiB (cache.size), /tmp 1280 MiB (settings.readers x 256 MiB), "
        "readers 5 x 600 MiB (settings.readers, settings.readerMemory), "
        "builds 3 x 512 MiB (settings.renderConcurrency, settings.renderMemory), Git processes 191 MiB (settings.gitMemory). "
        "Raise the limit to 7127Mi, or lower one of these; where few namespaces have Syncs, fewer readers do"
    )


def test_a_limit_that_is_not_known_is_not_checked() -> None:
    assert of().worker_memory == of(worker_memory="0").worker_memory == 0
    shares.check(of())


@given(st.integers(1, 9), st.integers(1, 2**34), st.integers(0, 2**40))
def test_what_is_said_to_suffice_does(readers: int, memory: int, limit: int) -> None:
    found = of(readers=str(readers), reader_memory=str(memory), worker_memory=str(limit))
    said = shares.problem(found.worker_memory, found)
    assert (said is None) == (limit == 0 or limit >= shares.needed(found))
    if said is not None:
        enough = int(said.partition("Raise the limit to ")[2].partition("Mi")[0]) * MIB
        assert shares.problem(enough, found) is None
        assert enough - shares.needed(found) < MIB
        shares.check(found.model_copy(update={"worker_memory": enough}))

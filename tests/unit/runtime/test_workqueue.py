"""The work queue, in virtual time: states and counts, never real seconds."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.virtualtime import run

from setpoint.runtime.workqueue import LONGEST_PAUSE, Controller, Result, WorkQueue

Key = str


@dataclass
class World:
    """Work that records itself: who ran when, who ran at once, and what each key answers."""

    took: float = 1.0
    answers: dict[Key, Callable[[int], Result]] = field(default_factory=dict)
    runs: list[tuple[float, Key]] = field(default_factory=list)
    ends: list[tuple[float, Key]] = field(default_factory=list)
    active: Counter[Key] = field(default_factory=Counter)
    most_active: int = 0

    async def work(self, key: Key) -> Result:
        loop = asyncio.get_running_loop()
        self.runs.append((loop.time(), key))
        self.active[key] += 1
        assert self.active[key] == 1, "one key at a time"
        self.most_active = max(self.most_active, self.active.total())
        try:
            await asyncio.sleep(self.took)
        finally:
            self.active[key] -= 1
        self.ends.append((loop.time(), key))
        answer = self.answers.get(key)
        return answer(self.count(key)) if answer else Result()

    def count(self, key: Key) -> int:
        return sum(k == key for _, k in self.runs)

    def times(self, key: Key) -> list[float]:
        return [t for t, k in self.runs if k == key]

    def queue(self, workers: int = 2, namespaces: int = 1) -> WorkQueue[Key]:
        """Make the queue; its keys belong to so many namespaces."""
        clock = asyncio.get_running_loop().time
        queue: WorkQueue[Key] = WorkQueue(
            namespace=lambda key: str(ord(key[0]) % namespaces), rng=random.Random(7), clock=clock
        )
        self.controller = Controller(queue, self.work, workers=workers)
        return queue


def during(
    controller: Controller[Key], story: Callable[[], Awaitable[None]], until: float
) -> Awaitable[None]:
    """Run the controller and a story beside it until that time."""

    async def tell() -> None:
        running = asyncio.create_task(controller.run())
        await story()
        await asyncio.sleep(max(0.0, until - asyncio.get_running_loop().time()))
        await controller.drain(0)
        await running

    return tell()


def test_a_key_that_waits_is_not_added_twice() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def story() -> None:
            for _ in range(10):
                queue.add("a")
            assert len(queue) + queue.working == 1

        await during(world.controller, story, 5)
        assert world.count("a") == 1

    run(main())


def test_a_key_added_while_it_is_worked_on_runs_once_more() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()

        async def story() -> None:
            queue.add("a")
            await asyncio.sleep(0.5)
            queue.add("a")
            queue.add("a")

        await during(world.controller, story, 10)
        assert world.times("a") == [0.0, 1.0]

    run(main())


def test_a_key_is_busy_while_it_waits_for_a_worker_or_has_one_but_not_while_it_is_delayed() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(workers=1)

        async def story() -> None:
            for key in "ab":
                queue.add(key)
            queue.add_after("c", 2)
            assert [key for key in "abcd" if queue.busy(key)] == ["a", "b"]
            await asyncio.sleep(1.5)
            assert [key for key in "abcd" if queue.busy(key)] == ["b"]

        await during(world.controller, story, 5)
        assert not any(queue.busy(key) for key in "abcd")

    run(main())


def test_no_more_work_at_once_than_workers() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue(workers=3)

        async def story() -> None:
            for number in range(10):
                queue.add(str(number))

        await during(world.controller, story, 20)
        assert world.most_active == 3
        assert len(world.ends) == 10

    run(main())


def test_the_earliest_delay_wins_and_an_add_cancels_it() -> None:
    async def main() -> None:
        world = World(took=0.0)
        queue = world.queue()

        async def story() -> None:
            queue.add_after("a", 50)
            queue.add_after("a", 10)
            queue.add_after("a", 30)
            queue.add_after("b", 40)
            await asyncio.sleep(20)
            queue.add("b")

        await during(world.controller, story, 100)
        assert world.times("a") == [10.0]
        assert world.times("b") == [20.0]

    run(main())


def test_after_runs_again_after_that_time() -> None:
    async def main() -> None:
        world = World(took=0.0, answers={"a": lambda n: Result(after=60) if n < 3 else Result()})
        queue = world.queue()

        async def story() -> None:
            queue.add("a")

        await during(world.controller, story, 1000)
        assert world.times("a") == [0.0, 60.0, 120.0]

    run(main())


def test_a_run_that_asks_for_another_at_once_does_not_get_it_at_once() -> None:
    async def main() -> None:
        world = World(took=0.0, answers={"a": lambda n: Result(after=0.0) if n < 4 else Result()})
        queue = world.queue()

        async def story() -> None:
            queue.add("a")

        await during(world.controller, story, 10)
        assert world.times("a") == [0.0, 1.0, 2.0, 3.0]

    run(main())


def test_retries_back_off_up_to_five_minutes_and_success_resets_them() -> None:
    async def main() -> None:
        world = World(took=0.0, answers={"a": lambda n: Result(retry=n != 13)})
        queue = world.queue()

        async def story() -> None:
            queue.add("a")
            await asyncio.sleep(3000)
            if world.count("a") == 13:
                queue.add("a")

        await during(world.controller, story, 3003)
        gaps = [b - a for a, b in zip(world.times("a"), world.times("a")[1:], strict=False)]
        for number, gap in enumerate(gaps[:12]):
            full = min(LONGEST_PAUSE, 2.0**number)
            assert full / 2 <= gap <= full
        after_success = world.times("a")[13:]
        assert after_success[0] == 3000.0
        assert after_success[1] - after_success[0] <= 1.0

    run(main())


def test_what_is_due_is_not_put_off_by_a_back_off() -> None:
    """A status that is held back, and the end of a rollout's time, come although an object fails again and again."""

    async def main() -> None:
        def answer(number: int) -> Result:
            return Result(after=20.0 if number == 8 else None, retry=True)

        world = World(took=0.0, answers={"a": answer})
        queue = world.queue()

        async def story() -> None:
            queue.add("a")

        await during(world.controller, story, 400)
        times = world.times("a")
        assert times[8] - times[7] == 20.0
        assert times[9] - times[8] > 100.0, "the back-off goes on where it was"

    run(main())


def test_what_fails_never_delays_what_does_not() -> None:
    async def main() -> None:
        failing = [f"bad-{n}" for n in range(50)]
        world = World(took=1.0, answers={key: lambda _n: Result(retry=True) for key in failing})
        queue = world.queue(workers=4)

        async def story() -> None:
            for key in failing:
                queue.add(key)
            await asyncio.sleep(120)
            for number in range(20):
                before = asyncio.get_running_loop().time()
                queue.add(f"good-{number}")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert world.times(f"good-{number}") == [before], "a worker is free at once"
                await asyncio.sleep(1.3)

        await during(world.controller, story, 200)
        assert all(world.count(key) > 2 for key in failing), "and they are still tried"

    run(main())


def test_an_exception_is_logged_without_its_words_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        calls = 0

        async def work(_key: Key) -> Result:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ValueError("hunter2")
            return Result()

        loop = asyncio.get_running_loop()
        queue: WorkQueue[Key] = WorkQueue(rng=random.Random(7), clock=loop.time)
        controller = Controller(queue, work, workers=1)

        async def story() -> None:
            queue.add("a")

        await during(controller, story, 10)
        assert calls == 2

    with caplog.at_level(logging.ERROR):
        run(main())
    (record,) = caplog.records
    assert vars(record)["error"] == "ValueError"
    assert "test_workqueue.py" in vars(record)["where"]
    assert "hunter2" not in caplog.text


def test_drain_lets_work_end_and_cancels_what_takes_too_long() -> None:
    async def main() -> None:
        world = World(took=3.0)
        queue = world.queue(workers=2)
        running = asyncio.create_task(world.controller.run())
        queue.add("short")
        await asyncio.sleep(2)
        queue.add("long")
        queue.add("never")
        await world.controller.drain(2)
        await running
        assert [key for _, key in world.ends] == ["short"]
        assert world.count("long") == 1
        assert world.count("never") == 0
        assert world.active.total() == 0

    run(main())


def test_keys_added_before_it_runs_are_kept() -> None:
    async def main() -> None:
        world = World()
        queue = world.queue()
        queue.add("a")
        queue.add_after("b", 5)
        await asyncio.sleep(2)
        assert world.runs == []

        async def story() -> None:
            return

        await during(world.controller, story, 10)
        assert world.times("a") == [2.0]
        assert world.times("b") == [5.0]

    run(main())


@pytest.mark.parametrize("hung", [4, 40])
def test_hung_keys_of_one_namespace_cost_another_nothing(hung: int) -> None:
    """Its keys run at once, one after the other, and two at a time once what hangs is known to be slow."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started: list[tuple[float, Key]] = []

        async def work(key: Key) -> Result:
            started.append((loop.time(), key))
            await asyncio.sleep(600.0 if key.startswith("a/") else 1.0)
            return Result()

        queue: WorkQueue[Key] = WorkQueue(namespace=lambda key: key.partition("/")[0], clock=loop.time)
        controller = Controller(queue, work, workers=4)

        async def story() -> None:
            for number in range(hung):
                queue.add(f"a/{number}")
            await asyncio.sleep(0)
            for number in range(10):
                queue.add(f"b/{number}")
            assert len(queue) == hung - 4 + 9

        await during(controller, story, 100)
        of_a = [at for at, key in started if key.startswith("a/")]
        of_b = [at for at, key in started if key.startswith("b/")]
        assert of_a == [0.0] * 4
        assert of_b == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0]

    run(main())


def test_the_longest_wait_for_a_worker() -> None:
    async def main() -> None:
        world = World(took=10.0)
        queue = world.queue(workers=1)

        async def story() -> None:
            queue.add("a")
            await asyncio.sleep(1)
            assert queue.longest_wait() == 0
            queue.add("b")
            await asyncio.sleep(3)
            assert queue.longest_wait() == 3

        await during(world.controller, story, 30)
        assert queue.longest_wait() == 0

    run(main())


KEYS = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("add"), KEYS, st.just(0.0)),
    st.tuples(st.just("after"), KEYS, st.floats(0, 20)),
    st.tuples(st.just("wait"), st.just(""), st.floats(0, 10)),
)
ANSWERS = st.sampled_from([Result(), Result(), Result(retry=True), Result(after=3.0)])


@given(st.lists(STEPS, max_size=40), st.lists(ANSWERS, max_size=20), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=150)
def test_every_add_is_followed_by_a_run_that_begins_after_it(
    steps: list[tuple[str, str, float]], answers: list[Result], workers: int, namespaces: int
) -> None:
    """The contract that level-triggering rests on, for any history; and that the queue comes to rest."""

    async def main() -> None:
        left = list(answers)
        world = World(took=0.7)
        queue = world.queue(workers=workers, namespaces=namespaces)
        world.answers = {key: lambda _n: left.pop() if left else Result() for key in "abcd"}
        added: dict[str, float] = {}
        due: dict[str, float] = {}

        async def story() -> None:
            loop = asyncio.get_running_loop()
            for what, key, seconds in steps:
                if what == "add":
                    queue.add(key)
                    added[key] = loop.time()
                elif what == "after":
                    queue.add_after(key, seconds)
                    due[key] = max(due.get(key, 0.0), loop.time())
                else:
                    await asyncio.sleep(seconds)

        await during(world.controller, story, 10_000)
        for key, at in added.items():
            assert world.times(key)[-1] >= at
        for key, at in due.items():
            assert world.times(key)[-1] >= at
        assert world.most_active <= (workers if namespaces == 1 else 2 * workers)
        assert len(queue) == queue.working == 0
        assert world.active.total() == 0

    run(main())

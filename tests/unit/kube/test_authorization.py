"""The token of the operator: read again when it is refused, and kept while it cannot be read."""

from __future__ import annotations

from setpoint.kube.transport import Authorization


class File:
    """What gives the header, as a token file does; None while it is being replaced."""

    def __init__(self, value: str | None) -> None:
        self.value, self.reads = value, 0

    async def __call__(self) -> str | None:
        self.reads += 1
        return self.value


async def test_it_is_not_read_for_each_request() -> None:
    file = File("Bearer b")
    authorization = Authorization(file, "Bearer a")
    assert [await authorization(False) for _ in range(3)] == ["Bearer a"] * 3
    assert file.reads == 0


async def test_it_is_read_again_when_it_was_refused() -> None:
    authorization = Authorization(File(" Bearer b\n"), "Bearer a")
    assert await authorization(True) == "Bearer b"
    assert await authorization(False) == "Bearer b"


async def test_it_is_kept_while_there_is_none_to_read() -> None:
    file = File(None)
    authorization = Authorization(file, "Bearer a")
    assert await authorization(True) == "Bearer a"
    file.value = "Bearer b"
    assert await authorization(True) == "Bearer b"


async def test_who_is_let_in_by_other_means_needs_none() -> None:
    file = File("Bearer b")
    assert await Authorization(file, None)(True) is None
    assert file.reads == 0

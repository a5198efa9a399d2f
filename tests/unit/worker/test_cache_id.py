"""The id of a cache is that of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from setpoint.worker.cache_id import cache_id


def test_it_stays_as_long_as_the_cache_and_is_another_for_another(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "cache"
    first = cache_id(folder)
    assert len(first) == 32
    assert cache_id(folder) == first
    assert [path.name for path in folder.iterdir()] == ["id"]
    shutil.rmtree(folder)
    assert len({first, cache_id(folder), cache_id(tmp_path / "b")}) == 3
    (folder / "id").write_bytes(b"\xff")
    assert len(cache_id(folder)) == 32, "what is no id is replaced"
    (tmp_path / "file").write_text("")
    assert cache_id(tmp_path / "file" / "cache") == ""

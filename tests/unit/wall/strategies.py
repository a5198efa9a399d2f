"""Messages of every kind, made from their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.kinds import TYPES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | WHOLE
    | st.integers(2**63, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAME = TEXT.filter(bool)
LINE = TEXT.filter(str.isprintable)
MANIFEST: SearchStrategy[dict[str, Any]] = st.builds(
    lambda version, kind, name, data: {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "data": data},
    NAME, NAME, NAME, JSON,
)  # fmt: skip
st.register_type_strategy(str, TEXT)
st.register_type_strategy(int, WHOLE)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(m.ApiServer, st.builds(m.ApiServer, host=LINE, port=st.integers(1, 65535)))
st.register_type_strategy(m.Made, st.builds(m.Made, where=LINE, manifest=MANIFEST))
st.register_type_strategy(m.Located, st.builds(m.Located, where=LINE))
st.register_type_strategy(m.Look, st.builds(m.Look, spec=st.dictionaries(TEXT, JSON, max_size=3)))
KINDS = st.dictionaries(st.sampled_from(m.PROCESSES), st.integers(0, 2**63 - 1))
st.register_type_strategy(
    m.Stats,
    st.builds(
        m.Stats, KINDS, KINDS, st.integers(0, 2**63 - 1), st.floats(0, allow_nan=False, allow_infinity=False)
    ),
)
SHA = st.from_regex("[0-9a-f]{40}", fullmatch=True)
for each in (i.Submodule, i.Pinned, i.Told):
    st.register_type_strategy(each, st.builds(each, sha=SHA))
MESSAGES: Mapping[type[Any], SearchStrategy[Any]] = {each: st.from_type(each) for each in TYPES.values()}
ANY = st.one_of(*MESSAGES.values())

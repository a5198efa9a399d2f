"""Writes manifests as YAML that kubectl reads back without a change (pure)."""

from __future__ import annotations

from typing import Any

import yaml

from setpoint.objects import scalars


def dump(value: Any) -> str:
    """Return a value as YAML that kubectl reads as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.CSafeDumper):
    """Quotes every text that kubectl would take for something else, and writes lines as lines."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared values out: kubectl's limits on aliases are none of the reader's business."""
        return True


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _stays_text(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _stays_text(text: str) -> bool:
    try:
        return scalars.plain(text) == text
    except scalars.ScalarError:
        return False


_Dumper.add_representer(str, _text)

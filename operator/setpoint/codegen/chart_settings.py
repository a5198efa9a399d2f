"""The value `settings` of the chart: the settings that it passes on, to the container that reads each (pure)."""

from __future__ import annotations

import json
from typing import Any

from pydantic.alias_generators import to_camel

from setpoint import settings
from setpoint.worker import shares

# These the chart sets itself, from the values above.
OWNED = frozenset(
    (
        *(
            "namespace",
            "admin_namespaces",
            "admin_service_account",
            "watch_namespaces",
            "cache_dir",
            "cache_size",
            "cache_in_memory",
            "worker_memory",
        ),
        *("log_level", "log_format", "metrics_port", "probe_port", "leader_election", "lease_name"),
        *("lease_duration", "hmac_secret"),
        *("worker_socket", "worker_user", "operator_user", "same_user"),
    )
)
PASSED_ON = tuple(name for name in settings.FIELDS if name not in OWNED)


def schema() -> dict[str, Any]:
    """Return the JSON schema of the value `settings`."""
    source = settings.Settings.model_json_schema()["properties"]
    properties = {
        to_camel(name): {key: value for key, value in source[name].items() if key not in ("title", "default")}
        for name in PASSED_ON
    }
    return {
        "type": "object",
        "description": "More settings of the operator, see docs/reference/settings.md.",
        "additionalProperties": False,
        "properties": properties,
    }


def values() -> list[str]:
    """Return the lines of values.yaml about it: all defaults, as a comment."""
    return [
        "# More settings of the operator; docs/reference/settings.md explains each. The defaults are:",
        *(f"#   {to_camel(name)}: {_shown(name)}" for name in PASSED_ON),
        "settings: {}",
    ]


def _shown(name: str) -> str:
    """Return the default of a setting as YAML."""
    return settings.written(name) or ("[]" if name in settings.LISTS else '""')


def template() -> str:
    """Return the named templates of the variables that each container gets of the value `settings`, and of the shares of memory."""
    return "\n".join(
        [
            *(
                _variables(name, [each for each in PASSED_ON if reads(each)])
                for name, reads in (("operator", settings.of_operator), ("worker", settings.of_worker))
            ),
            _shares(),
        ]
    )


SHARES = ("readers", "reader_memory", "render_concurrency", "render_memory", "git_memory")
"""The settings that say how much memory the worker's children may take."""


def _shares() -> str:
    """Return the templates of what `setpoint.workerFits` knows of the worker: the defaults of its shares, and its words."""
    given = {to_camel(name): settings.Settings.model_fields[name].default for name in SHARES}
    return f"""\
{{{{- define "setpoint.shares" -}}}}
{json.dumps({"base": shares.BASE, "scratch": shares.SCRATCH, **given})}
{{{{- end }}}}

{{{{- define "setpoint.shares.words" -}}}}
{shares.WORDS}
{{{{- end }}}}
"""


def _variables(container: str, names: list[str]) -> str:
    given = " ".join(f'"{to_camel(name)}"' for name in names)
    return f"""\
{{{{- define "setpoint.settings.{container}" -}}}}
{{{{- range $name, $value := pick (.Values.settings | default dict) {given} }}}}
- name: SETPOINT_{{{{ $name | snakecase | upper }}}}
  value: {{{{ if kindIs "slice" $value }}}}{{{{ join "," $value | quote }}}}{{{{ else if kindIs "float64" $value }}}}{{{{ int64 $value | quote }}}}{{{{ else }}}}{{{{ $value | quote }}}}{{{{ end }}}}
{{{{- end }}}}
{{{{- end }}}}
"""

"""What the image is, as one table: the archive is made from it, and a test holds `Dockerfile` to it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITE = "bookworm"  # of Debian; it decides which Python there is
PYTHON = "3.11"
INTERPRETER = f"/usr/bin/python{PYTHON}"
STANDARD = f"usr/lib/python{PYTHON}"
PACKAGES = f"usr/local/lib/python{PYTHON}/dist-packages"  # where Debian's Python looks by itself
PROGRAMS = "usr/local/bin"
TOOLS = ("kustomize",)  # what the operator starts, and nothing else
# What the Dockerfile begins with: argument of the build -> image. `bases` has their digests.
BASES = {"GO_IMAGE": f"golang:1.26-{SUITE}", "DEBIAN_IMAGE": f"debian:{SUITE}-slim"}
SBOM = "usr/share/doc/setpoint/sbom.spdx.json"
USER = 65532  # the chart's securityContext says the same
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin",
    "HOME": "/tmp",  # noqa: S108 - the one folder that can be written, under a read-only root
    # The OpenSSL inside of wheels has a default of its own; children that fetch from Git get this variable, too.
    "SSL_CERT_FILE": CERTIFICATES,
}
ENTRYPOINT = (INTERPRETER, "-I", "-m", "setpoint")
PORTS = (8080, 8081)
TITLE = "Setpoint"


class ImageError(RuntimeError):
    """The image cannot be built; the message says what to do."""


def version() -> str:
    """The version of the operator, which is the tag of its image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def description() -> str:
    """What the operator is, in a sentence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["description"])


def reference() -> str:
    """Name and tag under which the chart, with its own values, looks for the image."""
    return f"setpoint:{version()}"


def config() -> dict[str, object]:
    """How containers of the image run, in the words of `docker inspect`."""
    return {
        "User": f"{USER}:{USER}",
        "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
        "Entrypoint": list(ENTRYPOINT),
        "Cmd": ["run"],
        "WorkingDir": "/",
        "ExposedPorts": {f"{port}/tcp": {} for port in PORTS},
        "Labels": {
            "org.opencontainers.image.title": TITLE,
            "org.opencontainers.image.description": description(),
            "org.opencontainers.image.version": version(),
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    }

"""What the image is made of -> a software bill of materials (SPDX 2.3, JSON), the same bytes for the same parts.

In: Debian packages, Python packages, Go modules. Out: one document. Each part has a package URL, by which scanners look up
what is known of it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from image.layout import SUITE, TITLE, ImageError

UNKNOWN = "NOASSERTION"
CREATED = "1970-01-01T00:00:00Z"  # a time would make two equal images differ


@dataclass(frozen=True, order=True)
class Component:
    """One part: its package URL says all, the rest is for people."""

    purl: str
    name: str
    version: str
    licence: str = ""

    @property
    def reference(self) -> str:
        """Its name inside of the document."""
        return f"SPDXRef-Package-{hashlib.sha256(self.purl.encode()).hexdigest()[:16]}"


def of_debian(name: str, version: str, architecture: str, source: str) -> Component:
    """Return a Debian package as a component."""
    query = f"arch={architecture}&distro={SUITE}" + (f"&upstream={quote(source)}" if source != name else "")
    return Component(f"pkg:deb/debian/{quote(name)}@{_version(version)}?{query}", name, version)


def of_python(name: str, version: str, licence: str) -> Component:
    """Return a Python package as a component."""
    normal = name.lower().replace("_", "-")
    return Component(f"pkg:pypi/{normal}@{_version(version)}", name, version, licence)


def of_go(program: Path) -> list[Component]:
    """Return the modules that a Go program was built of, as it says itself. Raises ImageError."""
    command = ["go", "version", "-m", str(program)]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"go cannot tell of what {program.name} is made: {error}") from error
    return parse_go(text)


def parse_go(text: str) -> list[Component]:
    """Read the output of `go version -m`; a module that replaces another counts in its place."""
    head, *lines = text.splitlines()
    modules = [("stdlib", head.rpartition("go")[2].split()[0])]
    for line in lines:
        match line.split("\t")[1:]:
            case ["dep" | "mod", name, version, *_] if version != "(devel)":
                modules.append((name, version))
            case ["=>", name, version, *_]:
                modules[-1] = (name, version)
    return [Component(f"pkg:golang/{name}@{_version(version)}", name, version) for name, version in modules]


def document(
    name: str, version: str, licence: str, components: Iterable[Component], *, kind: str = "oci"
) -> bytes:
    """Write the document about an image of that name, or about another `kind` of package."""
    parts = sorted(set(components))
    image = Component(f"pkg:{kind}/{name}@{_version(version)}", name, version, licence)
    packages = [_package(each) for each in (image, *parts)]
    content = json.dumps(packages, sort_keys=True)
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}:{version}",
        "documentNamespace": f"urn:setpoint:sbom:{hashlib.sha256(content.encode()).hexdigest()}",
        "creationInfo": {"created": CREATED, "creators": [f"Organization: {TITLE}", "Tool: image.sbom"]},
        "packages": packages,
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", image.reference),
            *(_relation(image.reference, "CONTAINS", each.reference) for each in parts),
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _package(component: Component) -> dict[str, object]:
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": component.purl,
    }
    return {
        "SPDXID": component.reference,
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": component.licence or UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [reference],
    }


def _relation(source: str, kind: str, target: str) -> dict[str, str]:
    return {"spdxElementId": source, "relationshipType": kind, "relatedSpdxElement": target}


def _version(text: str) -> str:
    return quote(text, safe=":~.-_")

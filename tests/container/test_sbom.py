"""The bill of materials: every part with its package URL, and the same bytes for the same parts."""

from __future__ import annotations

import json

from image import sbom

GO = (
    "/somewhere/helm: go1.26.1\n"
    "\tpath\thelm.sh/helm/v3/cmd/helm\n"
    "\tmod\thelm.sh/helm/v3\tv3.22.0\th1:abc=\n"
    "\tdep\texample.org/local\t(devel)\t\n"
    "\tdep\texample.org/old\tv1.0.0\n"
    "\t=>\texample.org/new\tv1.2.0+incompatible\th1:def=\n"
    "\tbuild\t-compiler=gc\n"
)
PARTS = [
    sbom.of_debian("libssl3", "1:3.0.22+deb12u2", "amd64", "openssl"),
    sbom.of_python("typing_extensions", "4.16.0", "PSF-2.0"),
    *sbom.parse_go(GO),
]


def test_each_part_has_a_package_url() -> None:
    document = json.loads(sbom.document("setpoint", "1", "Apache-2.0", PARTS))
    urls = [each["externalRefs"][0]["referenceLocator"] for each in document["packages"]]
    assert urls == [
        "pkg:oci/setpoint@1",
        "pkg:deb/debian/libssl3@1:3.0.22%2Bdeb12u2?arch=amd64&distro=bookworm&upstream=openssl",
        "pkg:golang/example.org/new@v1.2.0%2Bincompatible",
        "pkg:golang/helm.sh/helm/v3@v3.22.0",
        "pkg:golang/stdlib@1.26.1",
        "pkg:pypi/typing-extensions@4.16.0",
    ]


def test_all_parts_belong_to_the_image_which_the_document_describes() -> None:
    document = json.loads(sbom.document("setpoint", "1", "Apache-2.0", PARTS))
    image, *parts = [each["SPDXID"] for each in document["packages"]]
    told = [
        (r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"])
        for r in document["relationships"]
    ]
    assert told == [
        ("SPDXRef-DOCUMENT", "DESCRIBES", image),
        *((image, "CONTAINS", part) for part in parts),
    ]
    assert len({image, *parts}) == 1 + len(PARTS)


def test_order_and_repetition_change_nothing() -> None:
    once = sbom.document("setpoint", "1", "Apache-2.0", PARTS)
    assert sbom.document("setpoint", "1", "Apache-2.0", [*reversed(PARTS), *PARTS]) == once
    assert sbom.document("setpoint", "1", "Apache-2.0", PARTS[1:]) != once

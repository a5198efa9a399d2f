"""What `make release` writes, with a small stand-in for the image, which takes minutes: the real one is in test_image.py."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from image import layout, sbom
from image.build import Built
from image.layout import ImageError
from image.oci import Archive
from image.release import CHART, PASSPHRASE, SIGNATURE, SUMS, packaged, release
from tests.kit.cluster import binaries

NAME = f"setpoint-{layout.version()}"
DIGEST = f"sha256:{5:064x}"


@pytest.fixture
def built(tmp_path: Path) -> Built:
    archive, bill = tmp_path / "image.tar", tmp_path / "sbom.json"
    archive.write_bytes(b"layers")
    bill.write_bytes(sbom.document("setpoint", "1", "Apache-2.0", [sbom.of_python("kopf", "1", "MIT")]))
    return Built(Archive(archive, layout.reference(), DIGEST, 6), bill)


def openssl(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def key(folder: Path, *more: str) -> Path:
    """Make a key as docs/operations.md says."""
    path = folder / "release.pem"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    if more:
        openssl("ec", "-in", path, "-out", path.with_suffix(".locked"), *more)
    openssl("ec", "-in", path, "-pubout", "-out", path.with_suffix(".pub"))
    return path.with_suffix(".locked") if more else path


def test_the_same_sources_give_the_same_bytes(built: Built, tmp_path: Path) -> None:
    folder, again = tmp_path / "one", tmp_path / "two"
    again.mkdir()
    (again / "old.tgz").write_text("of the release before")
    paths = release(built, folder)
    files = [f"{NAME}.chart.spdx.json", f"{NAME}.oci.tar", f"{NAME}.spdx.json", f"{NAME}.tgz"]
    assert [path.name for path in paths] == [SUMS, *files]
    assert [path.read_bytes() for path in release(built, again)] == [path.read_bytes() for path in paths]
    lines = [line.split("  ") for line in (folder / SUMS).read_text().splitlines()]
    assert [name for _, name in lines] == files
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True)


def test_each_bill_of_materials_says_what_is_in_it(built: Built, tmp_path: Path) -> None:
    release(built, tmp_path / "release")
    found = {}
    for name in ("spdx", "chart.spdx"):
        document = json.loads((tmp_path / "release" / f"{NAME}.{name}.json").read_text())
        assert document["spdxVersion"] == "SPDX-2.3"
        found[name] = [each["externalRefs"][0]["referenceLocator"] for each in document["packages"]]
    assert found["spdx"] == ["pkg:oci/setpoint@1", "pkg:pypi/kopf@1"]
    assert found["chart.spdx"] == [
        f"pkg:generic/setpoint-chart@{layout.version()}",
        f"pkg:oci/setpoint@{DIGEST.replace(':', '%3A')}",
    ]


@pytest.mark.cluster
def test_helm_takes_the_chart_as_it_takes_the_folder(tmp_path: Path) -> None:
    package = tmp_path / "setpoint.tgz"
    package.write_bytes(packaged(CHART))
    options = ["--kube-version=1.36.0", "--set=redactionKey.existingSecret=mine"]

    def template(chart: Path) -> str:
        command = [str(binaries.ensure("helm")["helm"]), "template", "x", str(chart), *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert template(package) == template(CHART)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["version"] == layout.version()


def test_who_has_the_public_key_can_tell_that_nothing_was_changed(built: Built, tmp_path: Path) -> None:
    mine = key(tmp_path)
    folder = tmp_path / "release"
    assert folder / SIGNATURE in release(built, folder, mine)
    verify = (
        "dgst",
        "-sha256",
        "-verify",
        mine.with_suffix(".pub"),
        "-signature",
        folder / SIGNATURE,
        folder / SUMS,
    )
    assert openssl(*verify).stdout == "Verified OK\n"
    (folder / SUMS).write_text((folder / SUMS).read_text().replace("a", "b", 1))
    assert openssl(*verify, check=False).returncode != 0


def test_a_key_with_a_passphrase(built: Built, tmp_path: Path) -> None:
    locked = key(tmp_path, "-aes256", "-passout", "pass:open sesame")
    folder = tmp_path / "release"
    assert folder / SIGNATURE in release(built, folder, locked, {PASSPHRASE: "open sesame"})
    for environ in ({}, {PASSPHRASE: "shut"}):
        with pytest.raises(ImageError, match=PASSPHRASE) as caught:
            release(built, folder, locked, environ)
        assert "shut" not in str(caught.value)


def test_a_key_that_cannot_sign_is_refused_before_anything_is_written(built: Built, tmp_path: Path) -> None:
    other, folder = tmp_path / "rsa.pem", tmp_path / "release"
    openssl("genrsa", "-out", other, "2048")
    for path, words in (
        (other, "none of ECDSA"),
        (tmp_path / "absent", "cannot be read"),
        (built.sbom, "cannot be read"),
    ):
        with pytest.raises(ImageError, match=words):
            release(built, folder, path)
    assert not folder.exists()

"""`python -m setpoint`, as a process of its own where streams and exit codes count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.kit.servers.closed import closed_port

from setpoint import __main__, __version__
from setpoint.cli import parser as cli
from setpoint.codegen import crds


def run(*arguments: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "setpoint", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def test_crds_prints_the_crds_and_loads_no_client() -> None:
    code = (
        "import sys; from setpoint import __main__; code = __main__.main(['crds']);"
        "sys.exit(code or ('kubernetes' in sys.modules) or ('kopf' in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert list(yaml.safe_load_all(result.stdout)) == [crds.crd(kind) for kind in crds.KINDS]


@pytest.mark.parametrize(
    "arguments",
    [(), ("deploy",), ("crds", "extra"), ("health", "-o", "yaml"), ("render",), ("run", "--kube", "x")],
)
def test_wrong_usage_ends_with_64_and_says_how(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == cli.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: python -m setpoint")
    assert "error: " in shown.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"setpoint {__version__}\n"


def test_health_reads_standard_input_and_passes_its_exit_code_on() -> None:
    good = run("health", given='{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}')
    assert (good.returncode, good.stderr) == (0, "")
    assert "Healthy" in good.stdout
    assert run("health", given="not an object").returncode == cli.USAGE


def test_a_wrong_setting_is_a_usage_error() -> None:
    result = run("run", SETPOINT_WORKERS="many")
    assert result.returncode == cli.USAGE
    assert result.stderr.startswith("error: SETPOINT_WORKERS: ")
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "setpoint", "crds"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait()


def test_every_command_has_exit_codes() -> None:
    assert set(__main__.COMMANDS) == set(cli.EXIT_CODES)
    assert all({cli.OK, cli.USAGE} <= set(codes) for codes in cli.EXIT_CODES.values())


@pytest.mark.parametrize("setting", ["SETPOINT_METRICS_PORT", "SETPOINT_PROBE_PORT"])
def test_run_ends_if_a_port_is_taken_and_names_the_setting(tmp_path: Path, setting: str) -> None:
    """Else it would go on without probes until the kubelet killed it, and nobody would know why."""
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
        )
    )
    ports = {"SETPOINT_METRICS_PORT": "0", "SETPOINT_PROBE_PORT": "0", "SETPOINT_CACHE_DIR": str(tmp_path)}
    with closed_port() as port:
        result = run("run", "--kubeconfig", str(kubeconfig), **{**ports, setting: str(port)})
    assert result.returncode == cli.FAILED
    assert f"error: {setting}: " in result.stderr.splitlines()[-1]
    assert f"{port}): address already in use; choose another port" in result.stderr

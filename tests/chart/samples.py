"""Specs that are fine and specs that are not, for the models and for the API server alike."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
SHA = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "https://git.example.org/team/app.git"


def source(**fields: Any) -> Spec:
    return {"url": REPOSITORY, **fields}


def sync(**fields: Any) -> Spec:
    return {"source": {"name": "app"}, **fields}


GOOD: list[tuple[str, Spec]] = [
    ("Source", source()),
    ("Source", source(url="http://git.example.org:8080/app")),
    ("Source", source(url="ssh://git@git.example.org:2222/team/app.git", secretRef={"name": "key"})),
    ("Source", source(url="git@git.example.org:team/app.git")),
    ("Source", source(url="git@[2001:db8::1]:team/app.git")),
    ("Source", source(url="https://[2001:db8::1]/a@b:c.git")),
    ("Source", source(url="file:///srv/git/app.git")),
    ("Source", source(url="https://git.example.org/.github/a..b/...;x/%20/..a.git")),
    ("Source", source(url="git@git.example.org:~ana/.config.git")),
    ("Source", source(ref={})),
    ("Source", source(ref={"branch": "main"})),
    ("Source", source(ref={"tag": "v1"})),
    ("Source", source(ref={"semver": ">=1.0 <2"})),
    ("Source", source(ref={"name": "refs/pull/42/head"})),
    ("Source", source(ref={"commit": SHA})),
    ("Source", source(ref={"commit": SHA, "branch": "main"})),
    ("Source", source(interval="1h30m", timeout="0.5s", suspend=True, submodules=True)),
    ("Source", source(allowedNamespaces=["a", "b-2"])),
    ("Sync", sync()),
    ("Sync", sync(path="./deploy/prod", exclude=["**/test/**"], interval="30m", timeout="10m")),
    ("Sync", sync(exclude=["é" * 1024] * 16)),
    ("Sync", sync(targetNamespace="prod", createNamespace=True)),
    ("Sync", sync(createNamespace=False)),
    *(("Sync", sync(pruneLimit=limit)) for limit in (0, 7, 3000, "0%", "25%", "100%")),
    ("Sync", sync(prune=False, deletionPolicy="Orphan", drift="Report", onError="Continue")),
    (
        "Sync",
        sync(ignore=[{"target": {"kind": "Deployment"}, "paths": ["/spec/replicas", "/a~1b/~0c", "/"]}]),
    ),
    (
        "Sync",
        sync(
            ignore=[{"paths": ["/spec/[name=app]/x", '/[a="]\\"~1,",b=1]', "/data/x[0]", "/a/[key~1x=~0]"]}]
        ),
    ),
    ("Sync", sync(dependsOn=[{"name": "crds"}, {"name": "base", "namespace": "infra"}])),
    (
        "Sync",
        sync(
            kustomize={
                "namePrefix": "a-",
                "images": [{"name": "nginx", "newTag": "1.29"}],
                "patches": [{"patch": "[]", "target": {"kind": "Deployment"}}],
                "components": ["../components/tls"],
                "commonLabels": {"team": "a"},
            }
        ),
    ),
    ("Sync", {"source": {"name": "app", "namespace": "team"}, "serviceAccountName": "deployer"}),
]

BAD: list[tuple[str, Spec, str]] = [
    (
        "Source",
        source(url="https://me:hunter2@git.example.org/app"),
        "url must not hold a user or a password",
    ),
    ("Source", source(url="https://hunter2@git.example.org/app"), "url must not hold a user or a password"),
    ("Source", source(url="ssh://git:hunter2@git.example.org/app"), "url must not hold a user or a password"),
    ("Source", source(url="ftp://me:hunter2@git.example.org/app"), "url must be https://host/path"),
    ("Source", source(url="git.example.org/app"), "url must be https://host/path"),
    ("Source", source(url="https:///app"), "url must be https://host/path"),
    ("Source", source(url="https://git.example.org/a b"), "url must be https://host/path"),
    ("Source", source(url="https://git.example.org/app\n"), "url must be https://host/path"),
    *(
        ("Source", source(url=url), "url must not hold the segment . or .. in its path")
        for url in (
            "https://git.example.org/team/../other/app",
            "https://git.example.org/./app",
            "https://git.example.org/team/%2E./other",
            "https://git.example.org/team/%252e%252e",
            "https://git.example.org/team/x%2f..%2fother",
            "https://git.example.org/team/x%5c%2e%2e%5cother",
            "https://git.example.org/team/..;x/other",
            "ssh://git@git.example.org/team/..",
            "git@git.example.org:../other",
            "git@git.example.org:team/%2e%2e/other",
            "git@[2001:db8::1]:./app",
            "file:///srv/../app",
        )
    ),
    ("Source", source(url="http://git.example.org/app", secretRef={"name": "a"}), "never sent over http"),
    ("Source", source(ref={"branch": "main", "tag": "v1"}), "set at most one of branch"),
    ("Source", source(ref={"commit": SHA, "tag": "v1"}), "set at most one of branch"),
    ("Source", source(ref={"commit": "abc"}), "ref.commit"),
    ("Source", source(ref={"name": "main"}), "ref.name"),
    ("Source", source(ref={"branch": ""}), "ref.branch"),
    ("Source", source(interval="0s"), "must be longer than zero"),
    ("Source", source(interval="often"), "interval"),
    ("Source", source(timeout="5"), "timeout"),
    ("Source", source(allowedNamespaces=["a.b"]), "allowedNamespaces"),
    ("Source", source(allowedNamespaces=["*"]), "allowedNamespaces"),
    ("Source", {}, "url"),
    ("Sync", {}, "source"),
    ("Sync", sync(interval="0h"), "must be longer than zero"),
    ("Sync", sync(path="/etc"), "must be relative, inside the repository"),
    ("Sync", sync(kustomize={"components": ["/etc"]}), "must be relative, inside the repository"),
    ("Sync", sync(createNamespace=True), "createNamespace needs targetNamespace"),
    *(
        ("Sync", sync(pruneLimit=limit), "must be a number of objects, or a share such as 25%")
        for limit in (-1, "101%", "25", "-5%", "%", "25%%", "")
    ),
    ("Sync", sync(drift="Fix"), "drift"),
    ("Sync", sync(onError="Stop"), "onError"),
    ("Sync", sync(deletionPolicy="Keep"), "deletionPolicy"),
    ("Sync", sync(ignore=[{"paths": []}]), "paths"),
    ("Sync", sync(ignore=[{"paths": ["spec/replicas"]}]), "paths"),
    ("Sync", sync(ignore=[{"paths": ["/a~2"]}]), "paths"),
    *(
        ("Sync", sync(ignore=[{"paths": [f"/spec/{name}/image"]}]), "paths")
        for name in (
            "[app]",
            "[name=app",
            "[name=]",
            "[=app]",
            "[name=a]b]",
            '[name="a]',
            "[name=app]]",
            "[name=app,]",
        )
    ),
    ("Sync", sync(targetNamespace="Prod"), "targetNamespace"),
    ("Sync", sync(serviceAccountName=""), "serviceAccountName"),
    ("Sync", sync(dependsOn=[{"namespace": "infra"}]), "name"),
    ("Sync", sync(exclude=[""]), "exclude"),
    ("Sync", sync(exclude=["a" * 1025]), "exclude"),
    ("Sync", sync(exclude=["a"] * 257), "exclude"),
    ("Sync", sync(exclude=[*["a" * 1024] * 16, "a"]), "must have at most 16,384 characters in all"),
    ("Sync", sync(pathh="x"), "pathh"),
]


def manifest(kind: str, spec: Spec, name: str = "sample") -> dict[str, Any]:
    return {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

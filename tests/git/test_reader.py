"""What a tree of a mirror shows, compared with what git shows of the same commit."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit.servers.repo import Executable, Repo, Submodule, Symlink

from setpoint.api.reasons import Problem, Reason
from setpoint.git.contents.reader import MirrorTree, Reader
from setpoint.git.mirror import Mirror
from setpoint.tree.protocol import Entry, EntryKind, Tree

PINNED = "1" * 40
Opener = Callable[[Repo], Reader]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo.git")


@pytest.fixture
def open_reader(tmp_path: Path) -> Iterator[Opener]:
    """Put a copy of a repository into a mirror, as a fetch would, and open it."""
    opened: list[Reader] = []

    def opening(repo: Repo) -> Reader:
        mirror = Mirror(tmp_path / f"cache/mirrors/_/{len(opened)}")
        mirror.path.mkdir(parents=True)
        with mirror.writing():
            made = mirror.new()
            shutil.copytree(repo.path, made)
            mirror.publish(made)
        reader = Reader.open(mirror, mirror.current(), damaged=mirror.discard)
        assert reader is not None
        opened.append(reader)
        return reader

    yield opening
    for reader in opened:
        reader.close()


def walk(tree: Tree, folder: str = "") -> Iterator[Entry]:
    """Yield every entry below a folder, folders too."""
    for entry in tree.children(folder):
        yield entry
        if entry.kind is EntryKind.TREE:
            yield from walk(tree, entry.path)


def as_git_lists(repo: Repo, sha: str) -> dict[str, tuple[str, str]]:
    """Return mode and object id by path, folders included."""
    listed = {}
    for line in repo.git("ls-tree", "-r", "-t", "-z", sha).split("\0"):
        if line:
            head, _, path = line.partition("\t")
            mode, _, oid = head.split(" ")
            listed[path] = (mode, oid)
    return listed


def mode(entry: Entry) -> str:
    blob = "100755" if entry.executable else "100644"
    return {
        EntryKind.TREE: "040000",
        EntryKind.LINK: "120000",
        EntryKind.SUBMODULE: "160000",
        EntryKind.BLOB: blob,
    }[entry.kind]


def test_every_kind_of_entry_as_git_lists_it(repo: Repo, open_reader: Opener) -> None:
    sha = repo.commit(
        {
            "README.md": "hello\n",
            "deploy/prod/app.yaml": "a: 1\n",
            "deploy/prod-2/app.yaml": "a: 2\n",
            "deploy/prod.yaml": "a: 3\n",
            "bin/run": Executable("#!/bin/sh\n"),
            "link": Symlink("deploy/prod"),
            "lib": Submodule(PINNED),
            "name with blank/ümlaut.yaml": b"\xff\x00binary",
            "empty": "",
        }
    )
    tree = MirrorTree(open_reader(repo), sha, {})
    assert {entry.path: (mode(entry), entry.oid) for entry in walk(tree)} == as_git_lists(repo, sha)
    assert tree.read("name with blank/ümlaut.yaml") == b"\xff\x00binary"
    assert tree.read("link") == b"deploy/prod"
    assert tree.read("empty") == b""
    root = tree.entry("")
    assert root is not None
    assert (root.kind, root.oid) == (EntryKind.TREE, repo.git("rev-parse", f"{sha}^{{tree}}"))
    assert [entry.name for entry in tree.children("deploy")] == ["prod", "prod-2", "prod.yaml"]


def test_nothing_is_found_through_a_link_a_file_or_a_submodule(repo: Repo, open_reader: Opener) -> None:
    sha = repo.commit(
        {"a/b.yaml": "x\n", "link": Symlink("a"), "up": Symlink(".."), "lib": Submodule(PINNED)}
    )
    tree = MirrorTree(open_reader(repo), sha, {})
    for path in (
        "link/b.yaml",
        "up/x",
        "a/b.yaml/c",
        "lib/x",
        "a/../a/b.yaml",
        "..",
        ".",
        "/a",
        "a/",
        "gone",
        "a/gone",
    ):
        assert tree.entry(path) is None, path
        assert tree.children(path) == (), path
        with pytest.raises(Problem) as caught:
            tree.read(path)
        assert caught.value.reason is Reason.PathNotFound
    for path in ("", "a", "lib"):
        with pytest.raises(Problem):
            tree.read(path)


def test_a_path_of_thousands_of_folders_is_only_a_path(repo: Repo, open_reader: Opener) -> None:
    deep = "/".join(["d"] * 1500)
    sha = repo.commit({f"{deep}/leaf": "here\n"})
    tree = MirrorTree(open_reader(repo), sha, {})
    assert tree.read(f"{deep}/leaf") == b"here\n"
    assert tree.entry("/".join(["a"] * 3000)) is None


@pytest.mark.parametrize("name", ["..", ".", "a/b"])
def test_a_forged_name_is_refused(repo: Repo, open_reader: Opener, name: str) -> None:
    blob = repo.git("rev-parse", f"{repo.commit({'x': 'y'})}:x")
    entry = f"100644 {name}\0".encode() + bytes.fromhex(blob)
    made = subprocess.run(
        ["git", "-C", str(repo.path), "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        input=entry,
        capture_output=True,
        check=True,
    )
    inner = made.stdout.decode().strip()
    outer = subprocess.run(
        ["git", "-C", str(repo.path), "mktree"],
        input=f"040000 tree {inner}\tsub\n100644 blob {blob}\tgood\n".encode(),
        capture_output=True,
        check=True,
    )
    sha = repo.git("commit-tree", "-m", "forged", outer.stdout.decode().strip())
    tree = MirrorTree(open_reader(repo), sha, {})
    assert tree.read("good") == b"y"
    with pytest.raises(Problem, match="forbidden file name in folder sub") as caught:
        tree.children("sub")
    assert caught.value.reason is Reason.GitFailed


def test_each_folder_is_read_once_however_names_of_many_are_looked_up(
    repo: Repo, open_reader: Opener
) -> None:
    """Folders that together have more names than any cache of listings keeps, in turn."""
    blob = repo.git("rev-parse", f"{repo.commit({'x': 'y'})}:x")

    def folder(entries: str) -> str:
        made = subprocess.run(
            ["git", "-C", str(repo.path), "mktree"], input=entries, text=True, capture_output=True, check=True
        )
        return made.stdout.strip()

    folders = [folder("".join(f"100644 blob {blob}\t{n:05}-{f}\n" for n in range(40_000))) for f in range(4)]
    top = folder("".join(f"040000 tree {oid}\tf{number}\n" for number, oid in enumerate(folders)))
    sha = repo.git("commit-tree", "-m", "many names", top)
    reader = open_reader(repo)
    tree = MirrorTree(reader, sha, {}).look()
    before = reader.read
    assert all(tree.entry(f"f{number % 4}/{number:05}-{number % 4}") for number in range(400))
    assert reader.read - before == 1 + len(folders)


def test_folders_of_a_look_have_a_budget_by_their_bytes(repo: Repo, open_reader: Opener) -> None:
    sha = repo.commit({f"{f}/{f}{n:02}{'x' * 200}": "" for f in "abcd" for n in range(50)})
    reader = open_reader(repo)
    reader.budgets = replace(reader.budgets, max_input_size=30_000)
    tree = MirrorTree(reader, sha, {})
    for name in "aab":
        assert len(tree.children(name)) == 50
    with pytest.raises(Problem, match=r"settings\.maxInputSize") as caught:
        tree.entry("c/x")
    assert caught.value.reason is Reason.TooLarge
    assert tree.look().entry("c/x") is None, "another look counts for itself"


def test_submodules_are_found_by_their_names_alone(tmp_path: Path, repo: Repo, open_reader: Opener) -> None:
    """A thousand of them, and as many folders: nobody goes through all of the one for each of the other."""

    class Counted(dict[str, MirrorTree]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("went through all submodules")

        items = values = keys = __iter__  # type: ignore[assignment]

    inner = Repo(tmp_path / "inner.git")
    pinned = inner.commit({"m.yaml": "m\n"})
    sha = repo.commit({"lib": Submodule(pinned), "a/b.yaml": "b\n"})
    lib = MirrorTree(open_reader(inner), pinned, {})
    tree = MirrorTree(open_reader(repo), sha, Counted(lib=lib))
    assert [e.path for e in walk(tree)] == ["a", "a/b.yaml", "lib", "lib/m.yaml"]
    assert (tree.read("lib/m.yaml"), tree.read("a/b.yaml")) == (b"m\n", b"b\n")


def test_submodules_show_as_folders_however_deep(tmp_path: Path, repo: Repo, open_reader: Opener) -> None:
    inner, innermost = Repo(tmp_path / "inner.git"), Repo(tmp_path / "innermost.git")
    last = innermost.commit({"z.yaml": "z\n"})
    middle = inner.commit({"m/m.yaml": "m\n", "deep": Submodule(last), "run": Executable("x")})
    first = repo.commit({"third/lib": Submodule(middle), "third/other": Submodule(PINNED), "a.yaml": "a\n"})
    leaf = MirrorTree(open_reader(innermost), last, {})
    tree = MirrorTree(
        open_reader(repo), first, {"third/lib": MirrorTree(open_reader(inner), middle, {"deep": leaf})}
    )
    assert [(e.path, e.kind) for e in walk(tree)] == [
        ("a.yaml", EntryKind.BLOB),
        ("third", EntryKind.TREE),
        ("third/lib", EntryKind.TREE),
        ("third/lib/deep", EntryKind.TREE),
        ("third/lib/deep/z.yaml", EntryKind.BLOB),
        ("third/lib/m", EntryKind.TREE),
        ("third/lib/m/m.yaml", EntryKind.BLOB),
        ("third/lib/run", EntryKind.BLOB),
        ("third/other", EntryKind.SUBMODULE),
    ]
    assert tree.read("third/lib/deep/z.yaml") == b"z\n"
    assert tree.read("third/lib/m/m.yaml") == b"m\n"
    run, lib = tree.entry("third/lib/run"), tree.entry("third/lib")
    assert run is not None
    assert run.executable
    assert lib is not None
    assert lib.oid == inner.git("rev-parse", f"{middle}^{{tree}}")
    for path in ("third/lib", "third/lib/m", "third/other"):
        with pytest.raises(Problem):
            tree.read(path)


def test_what_a_commit_says_of_itself(repo: Repo, open_reader: Opener) -> None:
    sha = repo.commit(
        {"a": "b"},
        "\n  Raise cart to 3 replicas  \n\nbody",
        author="Ana Ümlaut <ana@example.com>",
        at=1_700_000_000,
    )
    said = open_reader(repo).commit(sha)
    assert (said.sha, said.subject, said.author) == (sha, "Raise cart to 3 replicas", "Ana Ümlaut")
    assert said.time == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000))


def test_a_commit_without_a_message_and_with_bytes_that_a_terminal_obeys(
    repo: Repo, open_reader: Opener
) -> None:
    first = repo.commit({"a": "b"}, "", author="x\x1b[2J <x@example.com>")
    second = repo.commit({"a": "c"}, "\x1b[31mred\x07 " + "x" * 5000)
    reader = open_reader(repo)
    assert reader.commit(first).subject == ""
    said = (reader.commit(first).author, reader.commit(second).subject)
    assert all(text.isprintable() and len(text) <= 256 for text in said)


def test_a_forged_time_is_still_a_commit(repo: Repo, open_reader: Opener) -> None:
    tree = repo.git("rev-parse", f"{repo.commit({'a': 'b'})}^{{tree}}")
    text = (
        f"tree {tree}\nauthor A <a@b> 99999999999999 +0000\ncommitter A <a@b> 99999999999999 +0000\n\nfar\n"
    )
    made = subprocess.run(
        ["git", "-C", str(repo.path), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    assert open_reader(repo).commit(made.stdout.decode().strip()).subject == "far"


@pytest.mark.parametrize("whole", [False, True])
def test_a_damaged_object_is_said_and_the_mirror_is_not_used_again(
    repo: Repo, open_reader: Opener, whole: bool
) -> None:
    sha = repo.commit({"deploy/app.yaml": "a: 1\n", "other.yaml": "b: 1\n"})
    # Loose objects, so that some of them can be damaged and others stay.
    objects = repo.path / "objects"
    for pack in list((objects / "pack").glob("*.pack")):
        moved = pack.rename(repo.path / pack.name)
        for index in (objects / "pack").glob("pack-*"):
            index.unlink()
        subprocess.run(
            ["git", "-C", str(repo.path), "unpack-objects", "-q"], stdin=moved.open("rb"), check=True
        )
    reader = open_reader(repo)
    tree = MirrorTree(reader, sha, {})
    oid = repo.git("rev-parse", f"{sha}:deploy/app.yaml")
    damaged = reader.generation / "objects" / oid[:2] / oid[2:]
    if whole:
        shutil.rmtree(reader.generation)
    else:
        damaged.chmod(0o600)
        damaged.write_bytes(b"\0" * damaged.stat().st_size)
    with pytest.raises(Problem) as caught:
        tree.read("deploy/app.yaml")
    assert (caught.value.reason, caught.value.transient) == (Reason.GitFailed, True)
    assert not reader.fresh


def test_many_threads_read_one_tree(repo: Repo, open_reader: Opener) -> None:
    files = {f"app-{i % 40}/part-{i}.yaml": f"n: {i}\n" for i in range(400)}
    sha = repo.commit(files)
    tree = MirrorTree(open_reader(repo), sha, {})

    def read_all(_: int) -> dict[str, str]:
        return {e.path: tree.read(e.path).decode() for e in walk(tree) if e.kind is EntryKind.BLOB}

    with ThreadPoolExecutor(8) as pool:
        assert all(found == files for found in pool.map(read_all, range(16)))


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6
).filter(lambda name: name not in (".", "..") and name.lower() != ".git")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(
        st.tuples(st.sampled_from("abc"), NAMES), st.binary(max_size=20), min_size=1, max_size=6
    )
)
def test_whatever_is_committed_is_read(
    files: dict[tuple[str, str], bytes], repo: Repo, open_reader: Opener
) -> None:
    paths = {f"{folder}/{name}": content for (folder, name), content in files.items()}
    sha = repo.commit(paths, orphan=True)
    tree = MirrorTree(open_reader(repo), sha, {})
    found = {e.path: tree.read(e.path) for e in walk(tree) if e.kind is EntryKind.BLOB}
    assert found == paths

"""Trees within budgets: what a commit makes many, deep or large is refused when counting gets there."""

from __future__ import annotations

import hashlib

import pytest
from tests.kit.memorytree import Link, MemoryTree

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import SyncSpec
from setpoint.render import plain
from setpoint.render.inputs import gather
from setpoint.render.kustomize import kustomization
from setpoint.runtime.lru import Lru
from setpoint.tree.bounded import BoundedTree
from setpoint.tree.changes import ANYTHING, EVERYTHING, RecordingTree, compare
from setpoint.tree.protocol import Entry, EntryKind

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def spec(**fields: object) -> SyncSpec:
    return SyncSpec.model_validate({"source": {"name": "s"}, **fields})


class Repeated:
    """A tree bomb: each folder has `width` equal folders in it, `levels` deep, so that paths are many and trees few."""

    def __init__(
        self, width: int, levels: int, content: str = CONFIG, files: dict[str, str] | None = None
    ) -> None:
        self._width, self._levels, self._content = width, levels, content
        self._files = files or {}
        self.listed = 0

    def entry(self, path: str) -> Entry | None:
        if path in self._files:
            return Entry(path, EntryKind.BLOB, self._id(path))
        depth = path.count("/") + 1 if path else 0
        name = path.rpartition("/")[2]
        if depth <= self._levels and (not path or (name.isdigit() and int(name) < self._width)):
            return Entry(path, EntryKind.TREE, self._id(str(self._levels - depth)))
        if depth == self._levels + 1 and name == "a.yaml":
            return Entry(path, EntryKind.BLOB, self._id("blob"))
        return None

    def children(self, path: str) -> tuple[Entry, ...]:
        self.listed += 1
        names = [*map(str, range(self._width)), "a.yaml", *self._files]
        found = (self.entry(f"{path}/{name}" if path else name) for name in names)
        return tuple(each for each in found if each)

    def read(self, path: str) -> bytes:
        return (self._files.get(path) or self._content).encode()

    def _id(self, text: str) -> str:
        return hashlib.sha1(f"{self._content}{self._width}{text}".encode(), usedforsecurity=False).hexdigest()


def refusal(tree: object, budgets: Budgets = DEFAULTS, **fields: object) -> str:
    with pytest.raises(Problem) as raised:
        gather(tree, spec(**fields), budgets)  # type: ignore[arg-type]
    assert raised.value.reason is Reason.TooLarge
    return raised.value.message


def test_ten_million_paths_of_seven_trees_are_refused_after_a_few_listings() -> None:
    tree = Repeated(10, 7)
    words = "files, more than the 50,000 of settings.maxFiles; let spec.path name a smaller folder, or make several Syncs of it"
    assert words in refusal(tree)
    assert tree.listed <= 20
    assert len(gather(tree, spec(path="0/0/0/0")).manifests) == 1_000


def test_with_submodules_where_no_folder_is_remembered_as_many_are_listed_as_may_be() -> None:
    tree = Repeated(10, 7, CONFIG + "# 2", {".gitmodules": ""})
    assert "more than the 1,000 of settings.maxFiles" in refusal(tree, Budgets(max_files=1_000))
    assert tree.listed < 1_000


def test_the_same_folder_is_refused_again_though_parts_of_it_are_remembered() -> None:
    files = {f"{folder}/{n}.yaml": CONFIG for folder in "abcdef" for n in range(20)}
    for _ in range(3):
        assert "more than the 100 of settings.maxFiles" in refusal(MemoryTree(files), Budgets(max_files=100))


def test_a_folder_with_too_many_entries() -> None:
    tree = MemoryTree({f"many/{n}": "" for n in range(11)})
    words = (
        "many: 11 files and folders in one folder, more than the 10 of settings.maxFolderEntries; spread them"
    )
    assert words in refusal(tree, Budgets(max_folder_entries=10))


def test_folders_that_links_lead_to_again_and_again_count_each_time() -> None:
    files = {f"c/{n}.yaml": CONFIG for n in range(30)}
    links = {f"apps/{n}": Link("../c") for n in range(10)}
    assert "more than the 100 of settings.maxFiles" in refusal(
        MemoryTree({**files, **links}), Budgets(max_files=100), path="apps"
    )


def test_depth_of_folders_and_length_of_paths() -> None:
    deep = MemoryTree({"/".join("a" * 65) + "/x.yaml": CONFIG})
    assert "levels of nesting, more than the 64 of settings.maxDepth" in refusal(deep)
    assert len(gather(MemoryTree({"/".join("a" * 63) + "/x.yaml": CONFIG}), spec()).manifests) == 1
    long = MemoryTree({"a" * 5_000 + "/x.yaml": CONFIG})
    message = refusal(long)
    assert "a path of 5,0" in message
    assert len(message) < 400


def test_kustomizations_that_refer_to_each_other_without_end() -> None:
    chain = {f"k{n}/kustomization.yaml": f"resources: [../k{n + 1}]" for n in range(300)}
    assert "at least 65 levels of nesting, more than the 64 of settings.maxDepth" in refusal(
        MemoryTree({**chain, "k300/kustomization.yaml": "namePrefix: a"}), path="k0"
    )


def test_references_of_kustomizations_count_as_files() -> None:
    many = "resources: [" + ", ".join(f"a{n}.yaml" for n in range(101)) + "]"
    words = "kustomization.yaml: at least 101 files, more than the 100 of settings.maxFiles"
    assert words in refusal(MemoryTree({"kustomization.yaml": many}), Budgets(max_files=100))


def test_many_references_that_are_moved_are_written_once() -> None:
    """Each of them made a copy of the whole list: quadratic."""
    parsed = kustomization.parse(f"resources: {[f'../{n}' for n in range(5_000)]}".encode(), "k")
    text = parsed.moved({each: f".setpoint/{each.text[3:]}" for each in parsed.references}).decode()
    assert (text.count(".setpoint/"), text.count("../")) == (5_000, 0)
    assert (parsed.moved({}), parsed.text.count(b"../")) == (parsed.text, 5_000)


def test_patterns_are_bounded_by_number_and_length() -> None:
    """The CRD refuses so many; what got into a Sync all the same is refused before it is compiled."""
    many = spec().model_copy(update={"exclude": tuple(f"*{n}*.yaml" for n in range(10_000))})
    with pytest.raises(Problem) as raised:
        gather(MemoryTree({"a.yaml": CONFIG}), many)
    assert raised.value.reason is Reason.TooLarge
    assert raised.value.message == (
        "10,000 patterns in spec.exclude, more than the 256 of settings.maxPatterns; "
        "leave out whole folders instead of files, or raise the setting"
    )
    long = spec().model_copy(update={"exclude": ("*" * 16_385,)})
    with pytest.raises(Problem, match=r"16,385 characters in .*, more than the 16,384"):
        gather(MemoryTree({"a.yaml": CONFIG}), long)


def test_files_and_bytes_that_are_read() -> None:
    tree = BoundedTree(
        MemoryTree({"a": "x" * 10, "b": "x" * 11, "c": "x" * 10}),
        Budgets(max_file_size=10, max_input_size=15),
    )
    assert len(tree.read("a")) == len(tree.read("a")) == 10
    with pytest.raises(
        Problem, match=r"^b: 11 bytes in one file, more than the 10 of settings\.maxFileSize; "
    ):
        tree.read("b")
    with pytest.raises(
        Problem, match=r"^c: at least 20 bytes of files, more than the 15 of settings\.maxInputSize; "
    ):
        tree.read("c")


def test_a_symlink_to_a_path_without_end() -> None:
    tree = MemoryTree({"l.yaml": Link("a/" * 3_000), "x.yaml": CONFIG})
    with pytest.raises(Problem, match="a symlink to a path of more than 4,096 characters"):
        gather(tree, spec())


def test_commits_that_differ_in_too_much_differ_in_everything() -> None:
    old, new = Repeated(10, 7), Repeated(10, 7, CONFIG + "# new")
    assert compare(old, new, Budgets(max_files=500)) == EVERYTHING
    assert old.listed < 500
    one, other = (MemoryTree({"/".join("a" * 70) + f"/{n}": ""}) for n in (1, 2))
    assert compare(one, other) == EVERYTHING


def test_a_look_at_too_many_paths_is_one_at_everything() -> None:
    few = Budgets(max_read_set=10)
    many, listed = RecordingTree(MemoryTree({}), few), RecordingTree(MemoryTree({}), few)
    for n in range(1_000):
        many.entry(f"a/{n}")
        listed.entry(f"a/{n}")
        listed.children("a")
    assert many.read_set() == ANYTHING
    assert len(many._paths) <= 20
    assert listed.read_set().paths == {"", "a"}
    assert compare(MemoryTree({"x": "1"}), MemoryTree({"x": "2"})).touch(ANYTHING)
    assert not compare(MemoryTree({"x": "1"}), MemoryTree({"x": "1"})).touch(ANYTHING)


def test_long_folders_that_differ_in_one_entry_count_whole_when_commits_are_compared() -> None:
    """Fifty folders of 100 entries, each of which changed in one: what is listed is bounded, not what differs."""
    files = {f"{folder}/{n}": "" for folder in range(50) for n in range(100)}
    old, new = MemoryTree(files), MemoryTree({**files, **{f"{folder}/0": "2" for folder in range(50)}})
    assert compare(old, new, Budgets(max_files=1_000)) == EVERYTHING
    assert len(new.read_folders) <= 12
    assert len(compare(old, new, Budgets(max_files=10_000)).paths) == 50


def test_names_count_by_their_length() -> None:
    """A few folders in one another, and each file has the names of all of them before its own."""
    deep = "/".join("x" * 200 for _ in range(10))
    files = {f"{deep}/{n}.yaml": CONFIG for n in range(100)}
    words = "bytes of files, more than the 100,000 of settings.maxInputSize"
    assert words in refusal(MemoryTree(files), Budgets(max_input_size=100_000))
    gather(MemoryTree(files), spec(), Budgets(max_input_size=1_000_000))


def test_what_is_remembered_of_long_names_is_bounded_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Lru[str, object] = Lru(100_000)
    monkeypatch.setattr(plain, "_LISTINGS", kept)
    for number in range(20):
        gather(MemoryTree({f"{number}{'x' * 200}/{n:03}{'y' * 90}.yaml": CONFIG for n in range(50)}), spec())
    assert 0 < len(kept) <= 4, "of 40, with 15,000 bytes or more each"


def test_a_chart_counts_with_its_files_for_each_symlink() -> None:
    files: dict[str, str | Link] = {f"chart/{n}.yaml": CONFIG for n in range(100)}
    files |= {
        "chart/Chart.yaml": "a: b",
        "p/x.yaml": CONFIG,
        **{f"p/l{n}": Link("../chart") for n in range(50)},
    }
    words = "files, more than the 1,000 of settings.maxFiles"
    assert words in refusal(MemoryTree(files), Budgets(max_files=1_000), path="p", exclude=["Chart.yaml"])


@pytest.mark.parametrize(
    "files",
    [
        {"k/kustomization.yaml": "kind: Component\nresources: [" + ", ".join(["a.yaml"] * 60) + "]"},
        {
            "k/kustomization.yaml": "transformers:\n- |\n  {apiVersion: builtin, kind: Any, a: ["
            + "1, " * 60
            + "]}"
        },
        {"k/kustomization.yaml": "patchesStrategicMerge:\n- |\n  {kind: Any, a: [" + "1, " * 60 + "]}"},
        {
            "k/kustomization.yaml": "transformers: [a.yaml]",
            "k/a.yaml": "{apiVersion: builtin, kind: Any, a: [" + "1, " * 60 + "]}",
        },
    ],
    ids=["nested", "plugin", "patch", "file"],
)
def test_whatever_a_kustomization_holds_is_read_within_the_budgets_of_the_settings(
    files: dict[str, str],
) -> None:
    """Nothing of it by the defaults, which may be larger."""
    for path in ("", "k"):
        words = "values in YAML or JSON, aliases resolved, more than the 50 of settings.maxYamlValues"
        assert words in refusal(MemoryTree(files), Budgets(max_yaml_values=50), path=path)


def test_a_file_that_is_read_for_each_reference_to_it_counts_for_each() -> None:
    config = "{apiVersion: builtin, kind: Any} #" + "x" * 1_000
    files = {"kustomization.yaml": "transformers: [" + ", ".join(["a.yaml"] * 200) + "]", "a.yaml": config}
    words = "bytes of files, more than the 50,000 of settings.maxInputSize"
    assert words in refusal(MemoryTree(files), Budgets(max_input_size=50_000))

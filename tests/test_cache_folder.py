"""Where compiled kernels are kept: the user's own folder, what is in it, and how it is cleared."""

import importlib
import os
import stat
import sys
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cached import FORK, builds, elsewhere, power, surroundings, the_entry, value, value_of_two

from derive.kernels.compiling.locking import SCRATCH, locked
from derive.kernels.compiling.modules import PACKAGE
from derive.tools import cache_entries, cache_folder
from derive.tools.cache_folder import CacheError, Unwritable, place, usable

__all__ = ["surroundings"]
pytestmark = pytest.mark.usefixtures("surroundings")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


# --- which folder


def test_the_order_of_folders(tmp_path, monkeypatch):
    assert place() == tmp_path / "home/.cache/layerwise"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, as its specification says
    assert place() == tmp_path / "home/.cache/layerwise"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert place() == tmp_path / "xdg/layerwise"
    monkeypatch.setenv("LAYERWISE_CACHE", "~/mine")
    assert place() == tmp_path / "home/mine"
    assert place(tmp_path / "given") == tmp_path / "given"
    assert value_of_two() == 18.0
    assert the_entry(tmp_path / "home/mine").parent == tmp_path / "home/mine"


def test_never_inside_the_package(tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(PACKAGE)
    before = sorted(PACKAGE.iterdir())
    for folder in (PACKAGE, PACKAGE / "kept", link / "kept"):
        with pytest.raises(CacheError, match="is inside the package"):
            power(2).compile(cache=folder)
    assert sorted(PACKAGE.iterdir()) == before


def test_a_home_that_is_read_only_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")  # nobody, root neither, makes a folder there
    with pytest.warns(
        UserWarning, match=r"^/proc/nowhere/.* can't be made .* set LAYERWISE_CACHE"
    ) as said:
        assert value_of_two() == 18.0
    assert len(said) == 1 and said[0].filename.endswith("cached.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert value(power(5)) == 45.0
    folder = usable()
    assert len(cache_entries.entries(folder)) == 2 and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_is_seen_before_any_work(tmp_path, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p).name != "c" and access(p, mode))
    with pytest.raises(Unwritable, match=r"/c can't be written to: set LAYERWISE_CACHE"):
        power(2).compile(cache=tmp_path / "c")
    assert builds(tmp_path) == 0


def test_a_folder_that_was_given_is_not_exchanged(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"file can't be made \(File exists\)"):
        power(2).compile(cache=tmp_path / "file")
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(Unwritable, match=r"circle"):
        power(2).compile(cache=circle)


# --- the user's own


def test_folders_are_made_for_the_user_alone(tmp_path):
    former = os.umask(0)
    try:
        value_of_two(tmp_path / "a/c")
    finally:
        os.umask(former)
    for folder in (tmp_path / "a/c", the_entry(tmp_path / "a/c")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "c"
    elsewhere(value_of_two, folder)
    folder.chmod(mode)
    for use in (value_of_two, cache_entries.entries, cache_entries.clear):
        with pytest.raises(CacheError, match=rf"its mode is {mode:04o}: run chmod 700 .*/c, "):
            use(folder)
    folder.chmod(0o755)  # to read is no harm
    assert value_of_two(folder) == 18.0


def test_an_entry_that_is_open_to_others_is_refused(tmp_path):
    elsewhere(value_of_two, tmp_path / "c")
    the_entry(tmp_path / "c").chmod(0o755)
    with pytest.raises(CacheError, match=r"power-\w{32} is open to other users.*0755"):
        value_of_two(tmp_path / "c")


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    elsewhere(value_of_two, tmp_path / "c")
    me = os.geteuid()
    monkeypatch.setattr(cache_folder.os, "geteuid", lambda: me + 1)
    sentence = f"belongs to user {me} and you are user {me + 1}.* set LAYERWISE_CACHE"
    with pytest.raises(CacheError, match=sentence):
        value_of_two(tmp_path / "c")


@as_root
def test_entries_and_links_of_another_user_are_refused(tmp_path):
    elsewhere(value_of_two, tmp_path / "c")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    assert elsewhere(value_of_two, tmp_path / "link") == 18.0
    os.lchown(tmp_path / "link", 12345, -1)
    with pytest.raises(CacheError, match="link belongs to user 12345"):
        power(2).compile(cache=tmp_path / "link")
    os.chown(the_entry(tmp_path / "c"), 12345, -1)
    with pytest.raises(CacheError, match=r"power-\w+ belongs to user 12345"):
        elsewhere(value_of_two, tmp_path / "c")


# --- what is there


def test_entries_say_what_is_there(tmp_path):
    assert cache_entries.entries(tmp_path / "none") == [] == cache_entries.clear(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    folder = tmp_path / "c"
    values = value_of_two(folder), value(power(5), folder)
    assert values == (18.0, 45.0)
    found = cache_entries.entries(folder)
    assert [entry.layer for entry in found] == ["power", "power"]
    for entry in found:
        assert entry.path.parent == folder
        assert entry.bytes == sum(file.stat().st_size for file in entry.path.iterdir()) > 10_000
        assert timedelta() <= datetime.now(UTC) - entry.built < timedelta(minutes=1)


def test_clear_removes_what_the_cache_has_made_and_nothing_else(tmp_path):
    folder = tmp_path / "c"
    elsewhere(value_of_two, folder)
    made = the_entry(folder)
    (made / f"{SCRATCH}left").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/power.pyx").touch()
    kept = [folder / "notes", folder / f"power-{'f' * 32}", tmp_path / "other/power.pyx"]
    kept[0].touch()
    kept[1].symlink_to(tmp_path / "other")
    assert [entry.path for entry in cache_entries.clear(folder)] == [made]
    assert not made.exists() and all(path.exists() for path in kept)

    elsewhere(value_of_two, folder)
    foreign = made / "letter.txt"
    foreign.touch()
    assert cache_entries.clear(folder) == [] and [*made.iterdir()] == [foreign]
    assert elsewhere(value_of_two, folder) == 18.0


def test_clear_waits_for_a_build_and_a_build_for_clear(tmp_path):
    folder = tmp_path / "c"
    (tmp_path / "slow").touch()
    building = FORK.Process(target=value_of_two, args=(folder,))
    building.start()
    while not builds(tmp_path):
        time.sleep(0.01)
    (entry,) = cache_entries.clear(folder)
    assert entry.layer == "power"
    building.join()
    assert building.exitcode == 0 and cache_entries.entries(folder) == []


def test_who_waited_for_an_entry_that_was_removed_makes_it_anew(tmp_path):
    folder, inside = tmp_path / "entry", threading.Event()

    def wait():
        with locked(folder, 0o700):
            (folder / "mine").touch()
            inside.set()

    with locked(folder, 0o700):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not inside.wait(0.2)
        folder.rmdir()
    thread.join(10)
    assert inside.is_set() and [path.name for path in folder.iterdir()] == ["mine"]


# --- the edge


class Hidden:
    """As if the package's own edge had not been compiled."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("derive.runtime.") and name.count(".") == 2 and "declare" not in name:
            raise ImportError(f"{name} is hidden")


def without_edge(folder: Path | None) -> tuple[float, list[str], str]:
    """A compilation, what was compiled, and from where the edge was loaded."""
    for name in ("interrupt", "layout", "call", "steps", "edge"):
        sys.modules.pop(f"derive.runtime.{name}", None)
    sys.meta_path.insert(0, Hidden())
    lines: list[str] = []
    kernels = power(2).compile(cache=folder, progress=lines.append)
    edge = importlib.import_module("derive.runtime.edge")
    return float(kernels.forward(np.array([3.0]))[0]), lines, str(edge.__file__)


def test_an_edge_that_the_package_lacks_is_in_the_cache(tmp_path):
    folder = tmp_path / "c"
    runtime = sorted((PACKAGE / "runtime").iterdir())
    found, lines, file = elsewhere(without_edge, folder)
    names = ("interrupt", "layout", "call", "steps", "edge")
    edge = [f"compiling derive.runtime.{name}" for name in names]
    assert found == 18.0 and lines == [*edge, "compiling power"]
    assert Path(file).parent.parent == folder
    assert elsewhere(without_edge, folder) == (18.0, [], file)
    assert sorted((PACKAGE / "runtime").iterdir()) == runtime
    assert [entry.layer for entry in cache_entries.entries(folder)] == ["edge", "power"]

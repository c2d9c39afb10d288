"""The cache of compiled kernels: built once, by one process at a time, never loaded unproved."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cached import (
    FORK,
    QUICK,
    builds,
    elsewhere,
    power,
    surroundings,
    the_entry,
    value,
    value_of_two,
)

from derive.kernels.compiling import compile as compile_
from derive.kernels.compiling.compile import CompileError
from derive.kernels.compiling.locking import SCRATCH
from derive.kernels.compiling.modules import EXTENSION
from derive.tools import cache, cache_entries
from derive.tools.cache_folder import CacheError

__all__ = ["surroundings"]
pytestmark = pytest.mark.usefixtures("surroundings")
ONLY_TO_DERIVE = ("Cython", "jinja2", "derive.kernels.lowering.lower", "derive.evidence")


# --- once


def test_a_layer_is_compiled_once_in_a_process(tmp_path):
    layer, lines = power(2), []
    kernels = layer.compile(cache=tmp_path / "c", progress=lines.append)
    assert kernels.forward(np.array([1.0, 3.0])).tolist() == [2.0, 18.0]
    assert kernels.tangent(np.array([3.0]), np.array([1.0])).tolist() == [12.0]
    assert kernels.__name__ == "power" and lines == ["compiling power"]
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        assert layer.compile(cache=tmp_path / "c") is kernels
        times.append(time.perf_counter() - begin)
    assert min(times) < 1e-3
    assert power(2).compile(cache=tmp_path / "c") is kernels
    assert builds(tmp_path) == 1


def test_another_process_compiles_nothing_and_loads_nothing_that_derives(tmp_path):
    elsewhere(value_of_two, tmp_path / "c")
    program = (
        "import sys, numpy, cached; from pathlib import Path; from derive.tools import cache\n"
        f"cache.FLAGS = {QUICK}\n"
        f"print(cached.value_of_two(Path({str(tmp_path / 'c')!r})))\n"
        f"print(sys.modules.keys() & {ONLY_TO_DERIVE})\n"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", program], env=here, capture_output=True, text=True)
    assert done.stdout == "18.0\nset()\n", done.stderr
    assert builds(tmp_path) == 1


def test_layers_of_one_name_live_together(tmp_path):
    two, five = power(2), power(5)
    assert [value(layer, tmp_path / "c") for layer in (two, five, two)] == [18.0, 45.0, 18.0]
    assert [entry.layer for entry in cache_entries.entries(tmp_path / "c")] == ["power", "power"]


def test_a_module_of_the_users_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "power", raising=False)
    value_of_two(tmp_path / "c")
    assert "power" not in sys.modules


def test_versions_and_place_of_libraries_are_in_the_key(monkeypatch):
    keys = {cache._key("text")}
    for number in ("1.0", "2.0"):
        cache._surroundings.cache_clear()
        monkeypatch.setattr(cache, "version", lambda _, number=number: number)
        keys.add(cache._key("text"))
    cache._surroundings.cache_clear()
    monkeypatch.setattr(cache.platform, "libc_ver", lambda: ("glibc", "0.1"))
    keys.add(cache._key("text"))
    cache._surroundings.cache_clear()
    assert len({*keys, cache._key("texts")}) == 5


# --- two at once


def test_of_two_processes_one_builds_and_both_load(tmp_path):
    (tmp_path / "slow").touch()
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        values = list(pool.map(value_of_two, [tmp_path / "c"] * 2))
    assert values == [18.0, 18.0] and builds(tmp_path) == 1


def test_of_two_threads_one_builds_and_both_have_its_module(tmp_path):
    layer, found = power(2), []
    (tmp_path / "slow").touch()
    threads = [
        threading.Thread(target=lambda: found.append(layer.compile(cache=tmp_path / "c")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(map(id, found))) == 1 and builds(tmp_path) == 1


def test_threads_take_turns_with_cython(tmp_path, monkeypatch):
    running, most, translate = [], [], compile_._translate

    def slowly(*arguments):
        running.append(1)
        most.append(len(running))
        time.sleep(0.1)
        made = translate(*arguments)
        running.pop()
        return made

    monkeypatch.setattr(compile_, "_translate", slowly)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda k: value(power(k), tmp_path / "c"), (1, 2, 3)))
    assert found == [9.0, 18.0, 27.0] and most == [1, 1, 1]


# --- killed


def die_at(count: int, folder: Path) -> None:
    """Compile; be killed before the count-th time that a file is changed or a compiler started."""
    left = [count]

    def watch(event: str, arguments: tuple) -> None:
        changes = event.startswith(("os.", "shutil.")) and event not in ("os.listdir", "os.scandir")
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (changes or writes or event == "subprocess.Popen") and str(folder) in str(arguments):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    value(power(2), folder)


def test_a_build_killed_at_any_step_leaves_the_cache_usable(tmp_path):
    for count in range(1, 100):
        folder = tmp_path / f"c{count}"
        process = FORK.Process(target=die_at, args=(count, folder))
        process.start()
        process.join()
        assert elsewhere(value_of_two, folder) == 18.0
        assert not list(folder.rglob(f"{SCRATCH}*"))
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert count > 8, count  # folders, texts, C file, scratch, compiler, library, manifest


def test_a_build_killed_at_any_moment_leaves_the_cache_usable(tmp_path):
    """The compiler outlives the builder, as it does outside."""
    folder, rng = tmp_path / "c", random.Random(0)
    (tmp_path / "slow").touch()
    for _ in range(5):
        process = FORK.Process(target=value_of_two, args=(folder,))
        process.start()
        time.sleep(rng.uniform(0.02, 0.5))
        process.kill()
        process.join()
    assert elsewhere(value_of_two, folder) == 18.0
    assert not list(folder.rglob(f"{SCRATCH}*"))
    names = {path.name for path in the_entry(folder).iterdir()}
    assert names == {f"power{s}" for s in (".pyx", ".pxd", EXTENSION, ".build.json")}


# --- damaged, or refused by the compiler


@pytest.mark.parametrize("file", [EXTENSION, ".build.json", ".pyx", ".pxd"])
def test_what_is_damaged_is_built_again_and_never_loaded(tmp_path, file):
    elsewhere(value_of_two, tmp_path / "c")
    path = the_entry(tmp_path / "c") / f"power{file}"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1] + b"?"):
        path.write_bytes(damaged)
        inode = path.stat().st_ino
        assert elsewhere(value_of_two, tmp_path / "c") == 18.0
        if file in (EXTENSION, ".build.json"):  # moved here: who has loaded the old one keeps it
            assert path.stat().st_ino != inode
        if file != ".build.json":  # it is formatted as it was
            assert path.stat().st_size == len(whole)
    rebuilt = 3 if file in (EXTENSION, ".build.json") else 0
    assert builds(tmp_path) == 1 + rebuilt


def test_a_failure_shows_what_the_compiler_said_and_is_tried_again(tmp_path):
    layer, broken = power(2), tmp_path / "broken"
    broken.touch()
    for _ in range(2):
        with pytest.raises(CompileError, match=r"(?s)^power does not compile.*cc1: out of luck$"):
            layer.compile(cache=tmp_path / "c")
        log = the_entry(tmp_path / "c") / "power.build.log"
        assert log.read_text() == "cc1: out of luck\n"
    assert builds(tmp_path) == 2
    broken.unlink()
    assert value(layer, tmp_path / "c") == 18.0 and not log.exists()


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    with pytest.raises(CacheError, match=r"power can't be kept in .*No space left.*cache="):
        power(2).compile(cache=tmp_path / "c")

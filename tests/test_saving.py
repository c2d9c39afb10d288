"""Laws of files of parameters: what is saved is loaded, whole, and nothing else is left."""

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cached import FORK
from test_parameters import assert_same, nested

from derive.training import saving
from derive.training.parameters import leaves
from derive.training.saving import load, save


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_load_is_the_inverse_of_save(tmp_path, dtype):
    tree = nested(dtype=dtype)
    tree["count"] = np.array(7, np.int64)
    tree["mask"] = np.array([True, False])
    tree["swapped"] = np.array([1.0, 2.0], ">f4")
    tree["special"] = np.array([-0.0, np.inf, np.nan])
    tree["F"] = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    tree["strided"] = np.arange(10.0)[::3]
    tree["hollow"] = np.zeros((0, 5))
    save(tmp_path / "p.npz", tree)
    assert_same(load(tmp_path / "p.npz"), tree)


@pytest.mark.parametrize("tree", [{}, (), (np.ones(3),), np.eye(3), {"structure.json": np.ones(4)}])
def test_load_is_the_inverse_of_save_for_small_trees(tmp_path, tree):
    save(tmp_path / "p.npz", tree)
    assert_same(load(tmp_path / "p.npz"), tree)


def test_saved_leaves_are_read_by_numpy_under_their_names(tmp_path):
    save(tmp_path / "p.npz", nested())
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["second.W"], nested()["second"]["W"])
        np.testing.assert_array_equal(archive["pair.0"], nested()["pair"][0])


def test_equal_trees_give_equal_bytes(tmp_path):
    save(tmp_path / "a.npz", nested())
    save(tmp_path / "b.npz", nested())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:  # whatever the time of day
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_save_replaces_an_npz_also_behind_a_link_and_keeps_its_mode(tmp_path):
    target, link = tmp_path / "p.npz", tmp_path / "link.npz"
    np.savez(target, a=np.ones(3))
    target.chmod(0o640)
    link.symlink_to(target)
    save(link, nested())
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o640
    assert_same(load(target), nested())


def other_files(folder: Path):
    text, archive, sub = folder / "text.npz", folder / "archive.npz", folder / "folder.npz"
    text.write_bytes(b"a letter")
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("letter.txt", "a letter")
    sub.mkdir()
    return [text, archive, sub]


def test_save_refuses_to_replace_what_is_no_npz(tmp_path):
    for path in other_files(tmp_path):
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(FileExistsError, match=r"exists and is not an \.npz file"):
            save(path, nested())
        assert (path.read_bytes() if path.is_file() else None) == before
    assert len(list(tmp_path.iterdir())) == 3


def test_save_refuses_another_suffix_a_missing_folder_and_objects(tmp_path):
    with pytest.raises(ValueError, match=r"ending in '\.npz'"):
        save(tmp_path / "p.pkl", nested())
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        save(tmp_path / "absent" / "p.npz", nested())
    with pytest.raises(
        TypeError, match=r"'a\.b': a file holds numbers, got an array of object; convert it"
    ):
        save(tmp_path / "p.npz", {"a": {"b": np.array([{}])}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    path = tmp_path / "p.npz"
    save(path, nested(0))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(saving.os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, nested(1))
    assert_same(load(path), nested(0))
    assert os.listdir(tmp_path) == ["p.npz"]


def test_load_of_no_file_says_so(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; give the \.npz file"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist; save writes it"):
        load(tmp_path / "p.npz")


def test_load_refuses_a_cut_file(tmp_path):
    path = tmp_path / "p.npz"
    save(path, nested())
    whole = path.read_bytes()
    for size in range(0, len(whole), 61):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a readable file of parameters"):
            load(path)


def test_a_damaged_byte_is_found_or_harmless(tmp_path):
    path = tmp_path / "p.npz"
    tree = nested()
    save(path, tree)
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    found = 0
    for place in rng.integers(len(whole), size=400):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            result = load(path)
        except ValueError as error:
            assert "not a readable file of parameters" in str(error)
            found += 1
        else:
            assert_same(result, tree)
    assert found > 100  # the arrays alone are more than a quarter of the bytes


def test_load_never_unpickles(tmp_path):
    entry = io.BytesIO()
    np.lib.format.write_array(entry, np.array([{}]), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("structure.json", '{"a": null}')
        archive.writestr("a.npy", entry.getvalue())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load(tmp_path / "p.npz")


@pytest.mark.parametrize(
    "structure", ["[null, null]", "{}", '{"a": 3}', '{"a": null, "": null}', "{", "[" * 10**5]
)
def test_load_refuses_entries_that_do_not_fit_the_structure(tmp_path, structure):
    entry = io.BytesIO()
    np.lib.format.write_array(entry, np.ones(3))
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("structure.json", structure)
        archive.writestr("a.npy", entry.getvalue())
    with pytest.raises(ValueError, match="not a readable file of parameters"):
        load(tmp_path / "p.npz")


def test_load_refuses_bytes_behind_an_array(tmp_path):
    entry = io.BytesIO()
    np.lib.format.write_array(entry, np.ones(3))
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("structure.json", '{"a": null}')
        archive.writestr("a.npy", entry.getvalue() + b"x")
    with pytest.raises(ValueError, match="the entry of 'a' is longer than its array"):
        load(tmp_path / "p.npz")


# --- damaged, killed, two at once


def test_save_replaces_what_is_damaged(tmp_path):
    path, other = tmp_path / "p.npz", tmp_path / "numpy.npz"
    save(path, nested())
    np.savez(other, a=np.ones(300))
    for whole in (path.read_bytes(), other.read_bytes()):
        for size in (*range(60), *range(60, len(whole), 211)):
            path.write_bytes(whole[:size])
            save(path, nested(1))
            assert_same(load(path), nested(1))
    broken = bytearray(path.read_bytes())
    broken[-30:] = bytes(30)  # the directory at the end
    path.write_bytes(broken)
    save(path, nested(2))
    assert_same(load(path), nested(2))


def test_save_does_not_replace_another_archive_that_is_cut(tmp_path):
    other_files(tmp_path)
    path = tmp_path / "archive.npz"
    cut = path.read_bytes()[:-10]
    path.write_bytes(cut)
    with pytest.raises(FileExistsError, match=r"exists and is not an \.npz file"):
        save(path, nested())
    assert path.read_bytes() == cut


def save_for_ever(path: Path) -> None:
    for seed in range(10**9):
        save(path, nested(seed % 7))


def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_and_one_other_at_most(tmp_path):
    path, rng = tmp_path / "p.npz", np.random.default_rng(0)
    save(path, nested(0))
    for _ in range(40):
        process = FORK.Process(target=save_for_ever, args=(path,))
        process.start()
        time.sleep(rng.uniform(0.005, 0.02))
        process.kill()
        process.join()
        assert any(equal(load(path), nested(seed)) for seed in range(7))
        assert len(os.listdir(tmp_path)) <= 2
    save(path, nested(1))
    assert os.listdir(tmp_path) == ["p.npz"]
    assert_same(load(path), nested(1))


def equal(tree, other) -> bool:
    return all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(leaves(tree), leaves(other), strict=True)
    )


def save_often(path: Path, seed: int) -> None:
    for _ in range(30):
        save(path, nested(seed))


def test_writers_of_one_file_take_turns(tmp_path):
    path = tmp_path / "p.npz"
    processes = [FORK.Process(target=save_often, args=(path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert any(equal(load(path), nested(seed)) for seed in range(3))
    assert os.listdir(tmp_path) == ["p.npz"]


def test_a_link_in_the_place_of_the_writers_file_is_not_followed(tmp_path):
    path, letter = tmp_path / "p.npz", tmp_path / "letter"
    letter.write_text("precious")
    with saving._replacing(path):
        (name,) = {*os.listdir(tmp_path)} - {"letter"}
    (tmp_path / name).symlink_to(letter)
    with pytest.raises(OSError):
        save(path, nested())
    assert letter.read_text() == "precious"


# --- what a file holds


KINDS = ["?", "i1", "u8", "f2", "f4", "f8", "g", "c8", "c16"]
OTHERS = ["U3", "S3", "M8[s]", "m8[s]", "V3", [("a", "f8")]]


@pytest.mark.parametrize("dtype", KINDS)
def test_numbers_of_every_kind_are_saved_and_loaded(tmp_path, dtype):
    tree = {"a": np.arange(2).astype(dtype)}
    save(tmp_path / "p.npz", tree)
    assert_same(load(tmp_path / "p.npz"), tree)


@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_what_save_refuses_load_refuses(tmp_path, dtype):
    tree = {"a": np.zeros(2, dtype)}
    with pytest.raises(TypeError, match=r"'a': a file holds numbers, got an array of "):
        save(tmp_path / "p.npz", tree)
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("structure.json", '{"a": null}')
        with archive.open("a.npy", "w") as entry:
            np.lib.format.write_array(entry, tree["a"])
    with pytest.raises(ValueError, match=r"'a': a file holds numbers, got an array of "):
        load(tmp_path / "p.npz")


@pytest.mark.parametrize("count", [70_000, 65_532])
def test_a_name_that_no_file_holds_is_a_sentence(tmp_path, count):
    with pytest.raises(ValueError, match=r"'a{20}\.\.': its name has \d+ bytes.*use shorter keys"):
        save(tmp_path / "p.npz", {"a" * count: np.ones(1)})
    assert os.listdir(tmp_path) == []


def test_the_longest_name_is_saved(tmp_path):
    tree = {"é" * 32_765 + "a": np.ones(1)}  # two bytes each, and one, and four of .npy
    save(tmp_path / "p.npz", tree)
    assert_same(load(tmp_path / "p.npz"), tree)


@pytest.mark.parametrize("swapped", [nested(), None, np.ones(3)])
def test_a_path_that_is_none_is_a_sentence(tmp_path, swapped):
    with pytest.raises(TypeError, match=r"save\(path, tree\): expected a path, got "):
        save(swapped, str(tmp_path / "p.npz"))

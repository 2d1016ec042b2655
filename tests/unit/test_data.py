"""Data sets: what is read is right, and what is wrong is said at the door."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.data import FASHION_MNIST_VARIABLE, load_dataset, read_idx
from bitprop.errors import DataError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 0x08, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    generator = np.random.Generator(np.random.Philox(0))
    for part, count in (("train", 12), ("t10k", 5)):
        images = generator.integers(0, 256, (count, 4, 3))
        labels = np.arange(count) % 3
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_digits_split_is_stratified_and_fixed() -> None:
    first, again, other = load_dataset("digits"), load_dataset("digits"), load_dataset("digits", seed=1)
    assert first.train_x.shape == (1437, 64)
    assert first.test_x.shape == (360, 64)
    assert np.array_equal(first.test_x, again.test_x)
    assert not np.array_equal(first.test_x, other.test_x)
    assert 0.0 == first.train_x.min() < first.train_x.max() == 1.0
    everything = np.concatenate([first.train_y, first.test_y])
    shares = np.bincount(first.test_y) - np.bincount(everything) * 360 / 1797
    assert np.abs(shares).max() < 1.0


def test_fashion_mnist_reads_plain_and_gzipped_idx(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("fashion_mnist", folder=fashion)
    assert (data.train_x.shape, data.test_x.shape, data.classes) == ((12, 12), (5, 12), 3)
    assert data.image_shape == (4, 3)
    monkeypatch.setenv(FASHION_MNIST_VARIABLE, str(fashion))
    assert np.array_equal(load_dataset("fashion_mnist").train_x, data.train_x)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "nothing"),
        (b"\x00\x00\x0d\x03" + b"\x00" * 16, "unsigned bytes"),
        (idx(np.zeros((2, 2)))[:-1], "damaged"),
        (idx(np.zeros((2, 2))) + b"!", "damaged"),
        (gzip.compress(idx(np.zeros((2, 2))), mtime=0)[:-9], "cannot read"),
        (b"\x1f\x8bgarbage", "cannot read"),
    ],
)
def test_damaged_idx_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_missing_fashion_files_are_named(fashion: Path) -> None:
    (fashion / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
        load_dataset("fashion_mnist", folder=fashion)


def test_images_of_two_sizes_are_refused(fashion: Path) -> None:
    (fashion / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((5, 4, 4))))
    with pytest.raises(DataError, match=r"one size in .*\(4, 3\) and \(4, 4\); fetch"):
        load_dataset("fashion_mnist", folder=fashion)


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "x.csv", "x.npz"])
def test_files_that_may_not_be_read_are_said(fashion: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = fashion / name, io.open
    path.touch()

    def forbidden(file: object, *arguments: Any, **options: Any) -> Any:
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(file, *arguments, **options)

    monkeypatch.setattr(io, "open", forbidden)
    with pytest.raises(DataError, match=f"{name}: Permission denied; make it readable"):
        load_dataset("fashion_mnist" if name.startswith("train") else str(path), folder=fashion)


def test_npz_with_and_without_a_split(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.Philox(0))
    x, y = generator.normal(size=(40, 3)), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = load_dataset(str(tmp_path / "a.npz"), test_share=0.25)
    assert (len(data.train_y), len(data.test_y)) == (30, 10)
    assert data.signed
    assert np.abs(data.train_x).max() == pytest.approx(1.0)
    np.savez(tmp_path / "b.npz", train_x=abs(x), train_y=y, test_x=10 * abs(x[:4]), test_y=y[:4])
    data = load_dataset(str(tmp_path / "b.npz"))
    assert not data.signed
    assert data.test_x.max() == 1.0  # beyond the training range: saturated


def test_csv_with_heading_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n" + "\n".join(f"{i},{-i},{i % 2}" for i in range(1, 11)) + "\n\n", encoding="utf-8")
    data = load_dataset(str(path), test_share=0.2)
    assert (data.train_x.shape, data.test_x.shape, data.classes) == ((8, 2), (2, 2), 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "1,2,0\n1,2\n", "columns"),
        ("b.csv", "1,2,0\n1,x,0\n", "line 2"),
        ("k.csv", "1,x,0\n1,2,0\n", "line 1"),
        ("c.csv", "", "none"),
        ("d.csv", "1,nan,0\n2,3,1\n", "finite"),
        ("e.csv", "1,2,0.5\n2,3,1\n", "labels"),
        ("f.csv", "1,2,-1\n2,3,1\n", "labels"),
        ("g.csv", "1,2,99999\n2,3,1\n", "labels"),
        ("h.csv", "0,0,0\n0,0,1\n0,0,0\n0,0,1\n0,0,1\n", "all zero"),
        ("i.csv", "1,2,0\n3,4,0\n1,2,0\n3,4,0\n5,6,0\n", "two classes"),
        ("j.npz", "not a zip", "plain arrays"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_dataset(str(path))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", x=np.array([{}] * 4, dtype=object), y=np.arange(4))
    with pytest.raises(DataError, match="plain arrays"):
        load_dataset(str(tmp_path / "p.npz"))


@pytest.mark.parametrize("source", ["mnist", "nowhere.npz", "notes.txt"])
def test_unknown_sources_are_named(source: str) -> None:
    with pytest.raises(DataError, match="expected"):
        load_dataset(source)

"""Data sets as NumPy arrays: the embedded digits, Fashion-MNIST in idx files, and the user's own tables.

Features are float32 in [0, 1], or in [-1, 1] when any training feature is negative; labels are int64 from 0.
Nothing is downloaded and nothing is unpickled.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.artifacts import sha256_bytes
from bitprop.errors import DataError
from bitprop.seeds import derive_seed

__all__ = ["DATASETS", "FASHION_MNIST_VARIABLE", "Dataset", "is_table", "load_dataset", "load_held_out", "read_idx"]

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.int64]

DATASETS = ("digits", "fashion_mnist")
FASHION_MNIST_VARIABLE = "FASHION_MNIST_DIR"
_DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_MAX_CLASSES = 1000
_MAX_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class Dataset:
    """A classification data set, split.

    Attributes:
        name: where it came from.
        train_x: ``[N, F]`` float32.
        train_y: ``[N]`` int64, ``0 .. classes - 1``.
        test_x: held-out features.
        test_y: held-out labels.
        classes: number of classes.
        image_shape: rows and columns if the features are a picture, else ``None``.
        scale: what the raw features were multiplied by.
    """

    name: str
    train_x: FloatArray
    train_y: LabelArray
    test_x: FloatArray
    test_y: LabelArray
    classes: int
    image_shape: tuple[int, int] | None = None
    scale: float = 1.0

    @property
    def features(self) -> int:
        """Features per sample."""
        return int(self.train_x.shape[1])

    def digest(self) -> str:
        """SHA-256 over every sample, label and split: what a run was trained and evaluated on."""
        parts = (self.train_x, self.train_y, self.test_x, self.test_y)
        return sha256_bytes(b"".join(f"{p.dtype} {p.shape} ".encode() + p.tobytes() for p in parts))

    @property
    def signed(self) -> bool:
        """Whether any feature is negative."""
        return bool(min(self.train_x.min(initial=0.0), self.test_x.min(initial=0.0)) < 0)


def load_dataset(
    source: str, *, folder: str | os.PathLike[str] | None = None, test_share: float = 0.2, seed: int = 0
) -> Dataset:
    """Load a data set by name or from a file.

    Args:
        source: ``digits``, ``fashion_mnist``, or the path of a ``.npz`` or ``.csv`` file.  A ``.npz`` holds
            ``x`` and ``y``, or ``train_x``, ``train_y``, ``test_x``, ``test_y``.  A ``.csv`` has one sample a row,
            the label last, and an optional heading.
        folder: where the four idx files of Fashion-MNIST are; else ``FASHION_MNIST_DIR``, else Debian's
            package ``dataset-fashion-mnist``.
        test_share: share held out when the file has no split of its own, stratified by class.
        seed: seed of that split.

    Raises:
        DataError: missing, malformed, not finite, too few samples.
    """
    check_integer("seed", seed, 0, 2**63 - 1)
    if not 0.0 < test_share < 1.0:
        raise DataError(f"expected test_share between 0 and 1, got {test_share!r}")
    if source == "digits":
        return _digits(seed)
    if source == "fashion_mnist":
        return _fashion_mnist(folder)
    path = Path(source)
    tables = _read_table(path)
    if len(tables) == 2:
        return _scaled(path.stem, *tables[0], *tables[1])
    return _split(path.stem, *tables[0], test_share, seed)


def is_table(source: str) -> bool:
    """Whether a source names a file of the user's own rather than a known data set."""
    return Path(source).suffix in {".npz", ".csv"}


def load_held_out(path: str | os.PathLike[str], *, scale: float, signed: bool, classes: int) -> Dataset:
    """Every sample of a ``.npz`` or ``.csv`` file as held-out data, scaled as the training data were.

    Args:
        path: the file; of a ``.npz`` with a split, the held-out part.
        scale: the training data's ``Dataset.scale``.
        signed: the network's inputs may be negative; else negative features saturate at 0.
        classes: classes of the network; labels must be below.

    Raises:
        DataError: missing, malformed, or labels out of range.
    """
    target = Path(path)
    x, y = _read_table(target)[-1]
    if int(y.max()) >= classes:
        raise DataError(f"expected labels below {classes} in {target}, got {int(y.max())}; evaluate on fitting data")
    x = np.clip(x * np.float32(scale), -1.0 if signed else 0.0, 1.0).astype(np.float32)
    return Dataset(target.stem, x[:0], y[:0], x, y, classes, scale=scale)


def _digits(seed: int) -> Dataset:
    from sklearn.datasets import load_digits  # deferred: scikit-learn takes a second to import

    bunch = load_digits()
    x = (np.asarray(bunch.data) / 16.0).astype(np.float32)
    y = np.asarray(bunch.target).astype(np.int64)
    train, test = _stratified(y, 360, seed)
    return Dataset("digits", x[train], y[train], x[test], y[test], 10, (8, 8), 1 / 16)


def _stratified(y: LabelArray, test_count: int, seed: int) -> tuple[LabelArray, LabelArray]:
    """Indices of a train/test split with ``test_count`` held out, class shares kept to within one sample."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, "split")))
    classes = np.unique(y)
    members = {int(label): generator.permutation(np.flatnonzero(y == label)) for label in classes}
    exact = {label: len(index) * test_count / len(y) for label, index in members.items()}
    quota = {label: math.floor(value) for label, value in exact.items()}
    # hand the remaining places to the largest remainders, ties to the lower label
    by_remainder = sorted(exact, key=lambda label: (quota[label] - exact[label], label))
    for label in by_remainder[: test_count - sum(quota.values())]:
        quota[label] += 1
    test = np.sort(np.concatenate([members[label][: quota[label]] for label in members]))
    return np.setdiff1d(np.arange(len(y)), test), test


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped or not (LeCun's MNIST format).

    Raises:
        DataError: missing, not idx, not bytes, truncated, or with bytes left over.
    """
    target = Path(path)
    try:
        raw = target.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(target) as stream:
                raw = stream.read(_MAX_BYTES)
    except PermissionError as error:
        raise DataError(f"cannot read the idx file {target}: {error.strerror}; make it readable") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read the idx file {target}: {error}; fetch it again") from error
    if len(raw) < 4 or raw[0] or raw[1] or raw[2] != 0x08:
        raise DataError(
            f"expected an idx file of unsigned bytes in {target}, got magic {raw[:4].hex() or 'nothing'}; fetch it "
            "again"
        )
    rank = raw[3]
    header = 4 + 4 * rank
    shape = tuple(int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank))
    if rank == 0 or len(raw) != header + math.prod(shape):
        raise DataError(
            f"expected {header + math.prod(shape)} bytes in {target}, got {len(raw)}; it is damaged, fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _fashion_folder(folder: str | os.PathLike[str] | None) -> Path:
    given = folder if folder is not None else os.environ.get(FASHION_MNIST_VARIABLE)
    if given is not None:
        return Path(given)
    if _DEBIAN_FASHION_MNIST.is_dir():
        return _DEBIAN_FASHION_MNIST
    raise DataError(
        "expected Fashion-MNIST's idx files, found none; install Debian's dataset-fashion-mnist, give a folder, or "
        f"set {FASHION_MNIST_VARIABLE}"
    )


def _fashion_mnist(folder: str | os.PathLike[str] | None) -> Dataset:
    root = _fashion_folder(folder)
    arrays = {}
    for key in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        found = [path for path in (root / key, root / f"{key}.gz") if path.is_file()]
        if not found:
            raise DataError(
                f"expected {key} or {key}.gz in {root}, found neither; point to the folder of the idx files"
            )
        arrays[key] = read_idx(found[0])
    train_images, train_labels, test_images, test_labels = arrays.values()
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
            raise DataError(
                f"expected as many labels as images in {root}, got {labels.shape} and {images.shape}; fetch them again"
            )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"expected images of one size in {root}, got {train_images.shape[1:]} and {test_images.shape[1:]}; fetch "
            "them again"
        )

    def flat(images: npt.NDArray[np.uint8]) -> FloatArray:
        return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)

    rows, columns = train_images.shape[1:]
    return _checked(
        Dataset(
            "fashion_mnist",
            flat(train_images),
            train_labels.astype(np.int64),
            flat(test_images),
            test_labels.astype(np.int64),
            int(max(train_labels.max(), test_labels.max())) + 1,
            (int(rows), int(columns)),
            1 / 255,
        )
    )


_Table = tuple[FloatArray, LabelArray]


def _read_table(path: Path) -> list[_Table]:
    """One table of samples, or a training and a held-out one.

    Raises:
        DataError: missing, of another kind, or malformed.
    """
    if not is_table(str(path)):
        raise DataError(f"expected one of {', '.join(DATASETS)} or a .npz or .csv file, got {str(path)!r}")
    if not path.is_file():
        raise DataError(f"expected a data file at {str(path)!r}, found none; check the path")
    return _from_npz(path) if path.suffix == ".npz" else [_from_csv(path)]


def _from_npz(path: Path) -> list[_Table]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except PermissionError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable") from error
    except (OSError, ValueError, EOFError, RuntimeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}; expected a .npz of plain arrays") from error
    split = ("train_x", "train_y", "test_x", "test_y")
    if set(split) <= set(arrays):
        parts = [arrays[key] for key in split]
        return [_table(parts[0], parts[1], path), _table(parts[2], parts[3], path)]
    if {"x", "y"} <= set(arrays):
        return [_table(arrays["x"], arrays["y"], path)]
    raise DataError(f"expected arrays x and y, or {', '.join(split)}, in {path}; got {sorted(arrays)}")


def _from_csv(path: Path) -> _Table:
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.reader(stream), start=1):
                if not row:
                    continue
                if number == 1 and not any(_is_number(cell) for cell in row):
                    continue  # a heading
                try:
                    values = [float(cell) for cell in row]
                except ValueError as error:
                    raise DataError(f"expected numbers in {path} line {number}: {error}") from None
                if rows and len(values) != len(rows[0]):
                    raise DataError(f"expected {len(rows[0])} columns in {path} line {number}, got {len(values)}")
                rows.append(values)
    except PermissionError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; expected a UTF-8 CSV file") from error
    if not rows or len(rows[0]) < 2:
        raise DataError(f"expected samples with at least one feature and a label in {path}, found none")
    table = np.array(rows, dtype=np.float64)
    return _table(table[:, :-1], table[:, -1], path)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _table(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic], path: Path) -> _Table:
    """Validate one pair of features and labels."""
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        raise DataError(f"expected numbers in {path}, got dtypes {x.dtype} and {y.dtype}")
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise DataError(f"expected x [N, F] and y [N] in {path}, got {list(x.shape)} and {list(y.shape)}")
    features = x.reshape(len(x), -1).astype(np.float32)
    labels = y.astype(np.float64)
    if not np.isfinite(features).all() or not np.isfinite(labels).all():
        raise DataError(f"expected finite numbers in {path}, found NaN or infinity; clean the data")
    if (labels != np.rint(labels)).any() or labels.min() < 0 or labels.max() >= _MAX_CLASSES:
        raise DataError(f"expected labels to be integers in 0 .. {_MAX_CLASSES - 1} in {path}")
    return features, labels.astype(np.int64)


def _split(name: str, x: FloatArray, y: LabelArray, test_share: float, seed: int) -> Dataset:
    test_count = round(len(y) * test_share)
    if test_count < 1 or test_count >= len(y):
        raise DataError(f"expected enough samples to hold out a share of {test_share:g}, got {len(y)}")
    train, test = _stratified(y, test_count, seed)
    return _scaled(name, x[train], y[train], x[test], y[test])


def _scaled(name: str, train_x: FloatArray, train_y: LabelArray, test_x: FloatArray, test_y: LabelArray) -> Dataset:
    """Divide by the largest training magnitude; held-out values beyond it saturate."""
    if train_x.shape[1] != test_x.shape[1]:
        raise DataError(f"expected equal feature counts, got {train_x.shape[1]} and {test_x.shape[1]} held out")
    largest = float(np.abs(train_x).max(initial=0.0))
    if largest == 0.0:
        raise DataError(f"expected features that are not all zero in {name}")
    low = -1.0 if train_x.min() < 0 else 0.0
    scale = np.float32(1.0 / largest)
    classes = int(max(train_y.max(), test_y.max())) + 1
    return _checked(
        Dataset(
            name,
            np.clip(train_x * scale, low, 1.0).astype(np.float32),
            train_y,
            np.clip(test_x * scale, low, 1.0).astype(np.float32),
            test_y,
            classes,
            scale=float(scale),
        )
    )


def _checked(data: Dataset) -> Dataset:
    if data.classes < 2:
        raise DataError(f"expected at least two classes in {data.name}, got {data.classes}")
    return data

from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv

SHAPE_TEXT = r"expected 2-D rows \(n, d\), got {}-D shape"


@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"],
)
def test_numpy_rows_are_views_of_their_own_type(dtype):
    x = np.arange(12).reshape(4, 3).astype(dtype)
    source = featdiv.open(x)
    assert (source.n, source.d, source.dtype, source.device, source.one_pass) == (4, 3, dtype, "cpu", False)
    for chunk in source.chunks(3):
        assert chunk.rows.dtype == dtype
        assert np.shares_memory(chunk.rows, x)


def test_bool_is_read_as_uint8_without_a_copy():
    x = np.array([[True, False], [True, True]])
    (chunk,) = featdiv.open(x).chunks()
    assert chunk.rows.dtype == np.uint8
    assert np.shares_memory(chunk.rows, x)
    np.testing.assert_array_equal(chunk.rows, [[1, 0], [1, 1]])
    (chunk,) = featdiv.open(torch.from_numpy(x)).chunks()
    np.testing.assert_array_equal(chunk.rows, [[1, 0], [1, 1]])


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2],
        lambda x: x[::-1],
        lambda x: x[:, ::-2],
        lambda x: np.asfortranarray(x),
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.lib.stride_tricks.as_strided(x, (5, 7), (4, 4)),
    ],
)
def test_any_strides(x, view, all_rows):
    strided = view(x)
    source = featdiv.open(strided)
    np.testing.assert_array_equal(all_rows(source, 4), np.array(strided))
    np.testing.assert_array_equal(source.take([3, 0]), np.array(strided)[[3, 0]])
    assert source.fingerprint == featdiv.open(np.array(strided)).fingerprint


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", ">i4"])
def test_foreign_byte_order(x, dtype, all_rows):
    foreign = (x * 100).astype(dtype)
    source = featdiv.open(foreign)
    assert source.dtype == np.dtype(dtype).name
    chunk = next(source.chunks(5))
    assert chunk.rows.dtype.isnative
    np.testing.assert_array_equal(all_rows(source), foreign)
    taken = source.take([7])
    assert taken.dtype.isnative
    np.testing.assert_array_equal(taken, foreign[[7]])


@pytest.mark.parametrize("mode", ["r", "c"])
def test_memory_maps_warn_of_nothing(x, tmp_path, mode, all_rows):
    np.save(tmp_path / "x.npy", x)
    source = featdiv.open(np.load(tmp_path / "x.npy", mmap_mode=mode))
    np.testing.assert_array_equal(all_rows(source, 10), x)
    np.testing.assert_array_equal(source.take([9, 2]), x[[9, 2]])
    assert "x.npy" in source.description


def test_torch_rows_are_numpy_views(x):
    tensor = torch.from_numpy(x).requires_grad_()
    (chunk,) = featdiv.open(tensor).chunks()
    assert isinstance(chunk.rows, np.ndarray)
    assert np.shares_memory(chunk.rows, x)


def test_torch_transposed_and_negated(x, all_rows):
    np.testing.assert_array_equal(all_rows(featdiv.open(torch.from_numpy(x).T), 3), x.T)
    negated = torch.from_numpy(x + 1j * x).conj().imag
    assert negated.is_neg()
    np.testing.assert_array_equal(all_rows(featdiv.open(negated)), -x)


def test_bfloat16_stays_bfloat16(x):
    tensor = torch.from_numpy(x).to(torch.bfloat16)
    source = featdiv.open(tensor)
    assert source.dtype == "bfloat16"
    chunks = list(source.chunks(60))
    assert [chunk.rows.dtype for chunk in chunks] == [torch.bfloat16] * 2
    assert chunks[1].rows.data_ptr() == tensor[60:].data_ptr()
    assert torch.equal(source.take([9, 1]), tensor[[9, 1]])
    assert source.fingerprint == featdiv.open(tensor.clone()).fingerprint
    assert source.fingerprint != featdiv.open(tensor + 1).fingerprint


class _Capsule:
    """An array of another library, known only by its DLPack methods."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_is_zero_copy(x):
    (chunk,) = featdiv.open(_Capsule(x)).chunks()
    assert np.shares_memory(chunk.rows, x)
    tensor = torch.from_numpy(x).to(torch.bfloat16)
    (chunk,) = featdiv.open(_Capsule(tensor)).chunks()
    assert chunk.rows.data_ptr() == tensor.data_ptr()


def test_array_protocol(x, all_rows):
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return x

    np.testing.assert_array_equal(all_rows(featdiv.open(Wrapped())), x)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, lambda x: _Capsule(np.asarray(x))])
def test_wrong_number_of_dimensions(make):
    with pytest.raises(featdiv.InputError, match=SHAPE_TEXT.format(1)):
        featdiv.open(make(np.zeros(5)))
    with pytest.raises(featdiv.InputError, match=SHAPE_TEXT.format(3) + r" \(2, 3, 4\).*pool=.*featdiv\.spectra\(x\)"):
        featdiv.open(make(np.zeros((2, 3, 4))))
    with pytest.raises(featdiv.InputError, match=SHAPE_TEXT.format(0)):
        featdiv.open(make(np.float64(3)))
    with pytest.raises(featdiv.InputError, match=SHAPE_TEXT.format(4)):
        featdiv.open(make(np.zeros((2, 3, 4, 5))))


def test_empty_rows_and_features():
    with pytest.raises(featdiv.InputError, match=r"expected at least one row, got none \(shape \(0, 4\)\)"):
        featdiv.open(np.zeros((0, 4)))
    with pytest.raises(featdiv.InputError, match="expected at least one feature, got d = 0"):
        featdiv.open(np.zeros((4, 0)))
    assert featdiv.open(np.zeros((1, 1))).n == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, None]], dtype=object), "expected numbers, got Python objects"),
        (np.array([["a", "b"]]), "expected numbers, got strings"),
        (np.array([[b"a"]]), "expected numbers, got byte strings"),
        (np.zeros((2, 2), complex), "expected numbers, got complex numbers"),
        (torch.zeros(2, 2, dtype=torch.complex64), "expected numbers, got complex numbers"),
        (np.zeros((2, 2), "M8[s]"), "expected numbers, got dates"),
        (np.zeros((2, 2), [("a", "f4")]), "expected numbers, got structured records"),
        (torch.zeros(2, 2).to(torch.float8_e4m3fn), "expected one of the types .* got torch.float8_e4m3fn"),
        (torch.zeros(2, 2, device="meta"), "got a meta tensor"),
        (torch.eye(2).to_sparse(), r"expected dense rows, got a torch.sparse_coo tensor; pass x.to_dense\(\)"),
        (np.ma.masked_array(np.zeros((2, 2)), [[0, 1], [0, 0]]), "got a masked array"),
    ],
)
def test_types_that_rows_cannot_have(array, message):
    with pytest.raises(featdiv.InputError, match=message):
        featdiv.open(array)


def test_scipy_sparse_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.eye(3).tocsr(), sparse.csr_array(np.eye(3))):
        with pytest.raises(featdiv.InputError, match=r"expected dense rows, got csr_\w+; pass x.toarray\(\)"):
            featdiv.open(matrix)


def test_a_key_makes_no_sense_for_an_array(x):
    with pytest.raises(featdiv.InputError, match="key: an array holds one unnamed array"):
        featdiv.open(x, key="a")


def test_mapping(x, all_rows):
    data = {"embeddings": x, "label": np.arange(101), "names": [f"r{i}" for i in range(101)], "other": 3}
    source = featdiv.open(data, labels="label", ids="names")
    np.testing.assert_array_equal(all_rows(source), x)
    np.testing.assert_array_equal(source.labels, np.arange(101))
    assert source.ids[100] == "r100"
    with pytest.raises(
        featdiv.InputError, match=r"it holds 2 2-D arrays; say which to read with key=.*'b' 101x7 float32"
    ):
        featdiv.open({"a": x, "b": x})
    np.testing.assert_array_equal(all_rows(featdiv.open({"a": x, "b": x + 1}, key="b")), x + 1)


def test_frame(x, all_rows):
    pd = pytest.importorskip("pandas")
    names = [f"f{i}" for i in range(7)]
    frame = pd.DataFrame(x, columns=names)
    np.testing.assert_array_equal(all_rows(featdiv.open(frame)), x)
    frame["label"] = ["cat", "dog", "cow"] * 33 + ["cat", "dog"]
    source = featdiv.open(frame, key=names, labels="label")
    assert (source.d, source.dtype) == (7, "float32")
    assert source.labels[:3].tolist() == ["cat", "dog", "cow"]
    with pytest.raises(
        featdiv.InputError, match=r"expected numeric columns, got 'label' of type .* list the numeric ones with key="
    ):
        featdiv.open(frame)
    with pytest.raises(featdiv.InputError, match="key: the frame has no column 'nope'"):
        featdiv.open(frame, key=["nope"])


def test_a_column_of_lists_in_a_frame(x, all_rows):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"embedding": list(x), "label": ["cat"] * 101, "lists": x.tolist()})
    source = featdiv.open(frame, key="embedding", labels="label")
    np.testing.assert_array_equal(all_rows(source), x)
    assert (source.dtype, source.labels[0]) == ("float32", "cat")
    np.testing.assert_array_equal(all_rows(featdiv.open(frame, key=["lists"])), x)
    frame.at[7, "lists"] = [1.0]
    with pytest.raises(featdiv.InputError, match="column 'lists': row 7 has 1 values, but the first row has 7"):
        featdiv.open(frame, key="lists")
    with pytest.raises(featdiv.InputError, match="got 'label' of type"):
        featdiv.open(frame, key="label")


@pytest.mark.gpu
def test_cuda_rows_stay_on_their_device(x):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tensor = torch.from_numpy(x).cuda()
    source = featdiv.open(tensor, labels=torch.arange(101).cuda())
    assert source.device == "cuda:0"
    chunks = list(source.chunks(60))
    assert chunks[1].rows.data_ptr() == tensor[60:].data_ptr()
    assert source.take([5, 1]).device == tensor.device
    np.testing.assert_array_equal(source.take([5, 1]).cpu(), x[[5, 1]])
    assert source.fingerprint == featdiv.open(x).fingerprint
    (chunk,) = featdiv.open(_Capsule(tensor)).chunks()
    assert chunk.rows.data_ptr() == tensor.data_ptr()
    streamed = list(featdiv.open(iter(tensor.split(10))).chunks())
    assert [piece.rows.device for piece in streamed] == [tensor.device]
    np.testing.assert_array_equal(streamed[0].rows.cpu(), x)
    shards = featdiv.open([tensor[:50], tensor[50:]])
    np.testing.assert_array_equal(shards.take([99, 3]).cpu(), x[[99, 3]])

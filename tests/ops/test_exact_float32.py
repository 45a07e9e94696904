"""Float32 products stay float32 whatever the user has set, and the setting is given back."""

from __future__ import annotations

import pytest
import torch

from featdiv.ops._exact_float32 import exact_float32


@pytest.fixture
def reduced():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("reduced")
def test_precision_is_exact_inside_and_as_before_afterwards():
    with exact_float32():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("reduced")
def test_an_error_gives_the_setting_back():
    with pytest.raises(ArithmeticError), exact_float32():
        raise ArithmeticError
    assert torch.get_float32_matmul_precision() == "medium"

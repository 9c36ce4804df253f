"""What a test cannot do without, where it may be missing."""

import pytest

import brainsim as bs

kernels = pytest.mark.skipif(bs.ops.backend() != "ffi", reason="needs the compiled kernels")

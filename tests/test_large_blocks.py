"""Memory of large results: blocks that earlier ones left, within limits."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

import activations_ext
from activations_ext import functional as F
from helpers import assert_same_bits, run_python
from test_memory import LARGE, linux_only, status


@linux_only
def test_large_results_take_memory_that_waits() -> None:
    """Of another shape or dtype, and not of another size; small ones are malloc's."""
    activations_ext.empty_cache()
    input = torch.randn(LARGE)
    result = F.relu(input)
    first = result.data_ptr()
    assert F.relu(input).data_ptr() != first  # that is in use, and this one waits from now on
    del result
    result = F.elu(input.view(2, -1).to(torch.float64)[:, : LARGE // 4])
    assert result.data_ptr() == first
    assert F.relu(torch.randn(2 * LARGE)).data_ptr() != first
    del result
    assert F.relu(torch.randn(2 * LARGE)).data_ptr() != first


@linux_only
@pytest.mark.parametrize("make", [F.elu, lambda x: F.prelu(x, torch.ones(1)), F.shift_dropout])
def test_waiting_memory_goes_back_when_asked(make: Callable[[Tensor], Tensor]) -> None:
    activations_ext.empty_cache()
    input = torch.randn(4 * LARGE)
    before = status("VmSize")
    result = make(input)
    assert status("VmSize") - before >= 16 * LARGE
    del result
    assert status("VmSize") - before >= 16 * LARGE
    activations_ext.empty_cache()
    assert status("VmSize") - before < 16 * LARGE


@pytest.mark.slow
def test_memory_that_had_another_result() -> None:
    """Of any layout; the result has all its numbers, and nobody else's change."""
    input = torch.randn(4, 4, 1024, 1024)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = input.contiguous(memory_format=layout)
        for _ in range(3):
            y, z = F.elu(x), F.relu(x)
            assert y.stride() == z.stride() == x.stride()
            torch.testing.assert_close(y, torch.nn.functional.elu(x))
            assert_same_bits(z, torch.nn.functional.relu(x))
            del y, z
    transposed = input.transpose(1, 3)
    assert_same_bits(F.relu(transposed), torch.nn.functional.relu(transposed))


def test_a_large_result_may_be_resized() -> None:
    result = F.relu(torch.ones(LARGE))
    result.resize_(2 * LARGE)
    assert (result[:LARGE] == 1).all()
    result.untyped_storage().resize_(0)
    result.untyped_storage().resize_(4 * 2 * LARGE)
    result.fill_(2)
    assert F.relu(result).sum() == 4 * LARGE


@pytest.mark.slow
def test_large_results_from_many_threads() -> None:
    def work(value: int) -> bool:
        input = torch.full((LARGE,), float(value))
        return all(bool((F.relu(input) == value).all()) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_writes_its_own_memory() -> None:
    input = torch.ones(LARGE)
    result = F.relu(input)
    del result  # this memory waits in both processes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the threads of OpenMP do not survive a fork
    child = os.fork()
    if child == 0:
        good = bool((F.relu(input * 3) == 3).all())
        os._exit(0 if good else 1)
    torch.set_num_threads(threads)
    result = F.relu(input * 2)
    assert os.waitpid(child, 0)[1] == 0
    assert (result == 2).all()


MIB = 2**20
SIZES = """
import torch
from activations_ext import functional as F
from test_memory import status
MIB = 2**20
F.relu(torch.ones(9 * MIB))  # what is only loaded once
before = status("VmSize")
for size in range(40, 361, 8):
    F.relu(torch.ones(size * MIB // 4))
print(status("VmSize") - before)
"""


@linux_only
@pytest.mark.slow
def test_no_more_waits_than_was_alive_at_once() -> None:
    """41 sizes, one after the other: not the sum of them stays, 8 GB, but the largest."""
    assert int(run_python(SIZES)) <= 2 * 360 * MIB  # malloc keeps some of the inputs, too
    assert int(run_python(SIZES, ACTIVATIONS_EXT_LARGE_BLOCKS="0")) < 360 * MIB


@linux_only
def test_what_many_allocations_passed_over_goes_back() -> None:
    activations_ext.empty_cache()
    large, small = torch.ones(8 * LARGE), torch.ones(LARGE)
    both = F.relu(large), F.relu(small)
    del both
    before = status("VmSize")
    for _ in range(70):
        F.relu(small)
    assert before - status("VmSize") >= 4 * 8 * LARGE


@linux_only
@pytest.mark.slow
def test_an_address_space_that_is_limited_is_left_to_others() -> None:
    """Under ulimit -v: at most an eighth waits, and torch's own allocations go on."""
    program = """
import resource, torch
from activations_ext import functional as F
from test_memory import status
F.relu(torch.ones(2**23))  # starts the threads
size = status("VmSize") // 4  # torch with CUDA takes gigabytes of addresses by itself
x = torch.ones(size // 4)
room = status("VmSize") + 4 * size  # an eighth of it is one result and a bit
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
results = [F.relu(x), F.relu(x)]
del results
y = torch.empty(11 * size // 16)  # 2.75 times the size: two results may not wait
print("done")
"""
    assert run_python(program).strip() == "done"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@linux_only
@pytest.mark.slow
def test_switched_off_nothing_waits() -> None:
    program = """
import torch
from activations_ext import functional as F
from test_memory import status
x = torch.ones(2**26)
F.relu(x[:2**23])
before = status("VmSize")
F.relu(x)
print(status("VmSize") - before < 2**28)
"""
    assert run_python(program, ACTIVATIONS_EXT_LARGE_BLOCKS="0").strip() == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.slow
def test_no_lock_hangs_a_forked_child() -> None:
    """While threads allocate, children that allocate and empty the cache end by themselves."""
    program = """
import os, signal, threading, torch
import activations_ext
from activations_ext import functional as F
torch.set_num_threads(1)
x, stop = torch.ones(2**23), threading.Event()
F.relu(x[:8])  # torch finds the operator under a lock of its own
def work():
    while not stop.is_set():
        F.relu(x)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
statuses = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        F.relu(x)
        activations_ext.empty_cache()
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
stop.set()
for thread in threads:
    thread.join()
print(set(statuses))
"""
    for _ in range(5):  # it is the first fork of a process that may meet what is half made
        assert run_python(program).strip() == "{0}"

"""A training step as one GPU job: its kernels are recorded once and then replayed (CUDA graphs).

A step of the paper's geometry is some two thousand short kernels, and starting each from Python takes longer than running it: on
an H200 such steps reached 6.5 % of its peak (docs/lessons.md). A recorded step is started at once, with the same arithmetic.
"""

import logging
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

#: Ordinary calls before a recording: they choose algorithms, and make the optimizer's state and all caches.
WARM_UP = 3


class Recorded:
    """Call a function of tensors; on a GPU, record it after a few calls and replay it from then on.

    There is one recording for each shape of the inputs. The function must do the same work at every call of a shape: neither read
    a value back from the GPU nor decide by one, and reach everything else through tensors that stay in place. Dropout and the like
    draw anew at each replay. Where recording fails, a warning says so once and calls stay ordinary.

    Parameters
    ----------
    function : callable
        Of tensors on `device`, to one tensor there.
    device : torch.device
        On the CPU every call is an ordinary one.
    """

    def __init__(self, function: Callable[..., torch.Tensor], device: torch.device) -> None:
        self._function = function
        self._enabled = device.type == "cuda"
        self._calls: dict[tuple, int] = {}
        self._recordings: dict[tuple, _Recording] = {}

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return what the function returns, or a copy of it."""
        shape = tuple((each.shape, each.dtype) for each in inputs)
        if shape in self._recordings:
            return self._recordings[shape].replay(inputs)
        calls = self._calls[shape] = self._calls.get(shape, 0) + 1
        if not self._enabled or calls <= WARM_UP:
            return self._function(*inputs)
        try:
            recording = _Recording(self._function, inputs)
        except RuntimeError as error:
            self._enabled = False
            logger.warning("steps stay unrecorded and so slower: %s", str(error).strip().splitlines()[0])
            return self._function(*inputs)
        self._recordings[shape] = recording
        return recording.replay(inputs)


class _Recording:
    """The kernels of one call, and the tensors in which they find their inputs and leave the output."""

    def __init__(self, function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> None:
        self._inputs = [each.clone() for each in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may be loading the next images meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def replay(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        for place, each in zip(self._inputs, inputs, strict=True):
            place.copy_(each)
        self._graph.replay()
        return self._output.clone()

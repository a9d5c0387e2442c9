"""An accelerator that is only pretended, so that a tensor left on the wrong device is found on machines without one.

    with pretended.active() as device:     # after everything is imported
        network.to(device)(image.to(device))

A tensor "on" the device keeps its values in ordinary memory, and every operator computes there; but operators refuse
tensors of two devices by CUDA's rules, and NumPy is refused. With ``float64=False`` the device has no double precision,
as Apple's MPS has not. Not pretended: autocast, MONAI's metadata, kernels that a real device lacks, several devices,
speed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretended"
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}  # from one device to the other
INDEXING = {
    aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default, aten._unsafe_index_put.default,
}  # fmt: skip
JOINING = {aten.cat.default, aten.stack.default}  # which refuse even single numbers of another device
DOUBLE = (torch.float64, torch.complex128)
OURS = SimpleNamespace(float64=True, registered=False)
_tensor, _as_tensor = torch.tensor, torch.as_tensor


class Elsewhere(torch.Tensor):
    """A tensor on the pretended device; ``raw`` holds its values."""

    raw: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Elsewhere:
        if raw.dtype in DOUBLE and not OURS.float64:
            raise TypeError(f"Cannot convert a tensor to {raw.dtype}: device {NAME} has no double precision")
        made = torch.Tensor._make_wrapper_subclass(
            cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip
        made.raw = raw
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def tolist(self) -> Any:
        return self.raw.detach().tolist()

    def new_tensor(self, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> torch.Tensor:
        made = _tensor(data, dtype=dtype or self.dtype)
        return made if device is not None and not is_ours(device) else Elsewhere(made)

    def as_subclass(self, cls: Any) -> torch.Tensor:
        """Itself: MONAI's tensors with metadata leave it behind here."""
        return self

    def __getitem__(self, index: Any) -> Any:
        return torch.Tensor.__getitem__(self, _indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _indices(index), value)

    def __reduce_ex__(self, protocol: Any) -> Any:  # files hold the values
        return self.raw.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        copy: torch.Tensor = Elsewhere(self.raw.detach().clone())
        copy = torch.nn.Parameter(copy, self.requires_grad) if getattr(self, "_is_param", False) else copy
        memo[id(self)] = copy
        return copy

    def __repr__(self) -> str:
        return f"Elsewhere({self.raw!r})"


def is_ours(device: Any) -> bool:
    """Whether a device, named or given, is the pretended one."""
    return device is not None and torch.device(device).type == NAME


def _indices(index: Any) -> Any:
    """Lists among indices as tensors in ordinary memory, as torch makes them before it looks at the device."""
    if isinstance(index, tuple):
        return tuple(_tensor(part) if isinstance(part, list) else part for part in index)
    if isinstance(index, list):
        return _tensor(index) if all(isinstance(part, int) for part in index) else tuple(index)
    return index


def _mixed(func: Any, args: Any, there: list[Any], here: list[Any]) -> list[torch.Tensor]:
    """The tensors that CUDA would refuse to an operator that also takes some of its own."""
    if func in COPIES or not there or not here:
        return []
    if func in INDEXING:
        if not isinstance(args[0], Elsewhere):
            return there
        indices = {id(part) for part in tree_leaves(args[1])}
        here = [tensor for tensor in here if id(tensor) not in indices]
    return [tensor for tensor in here if tensor.ndim > 0 or func in JOINING]


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operator gives, after the checks of a real device."""
    leaves = [part for part in tree_leaves((args, kwargs)) if isinstance(part, torch.Tensor)]
    there = [part for part in leaves if isinstance(part, Elsewhere)]
    here = [part for part in leaves if not isinstance(part, Elsewhere)]
    if _mixed(func, args, there, here):
        shapes = ", ".join(f"{tuple(part.shape)} on {part.device}" for part in leaves)
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got {shapes}")
    if func is aten._fused_sdp_choice.default:
        return 0
    asked = kwargs.get("device")
    ours = is_ours(asked) if asked is not None else bool(there)
    if func is aten.copy_.default:
        ours = isinstance(args[0], Elsewhere)

    def plain(part: Any) -> Any:
        if isinstance(part, Elsewhere):
            return part.raw
        return torch.device("cpu") if isinstance(part, torch.device) and part.type == NAME else part

    plain_kwargs = {**tree_map(plain, kwargs), **({"pin_memory": False} if kwargs.get("pin_memory") else {})}
    result = func(*tree_map(plain, args), **plain_kwargs)
    if func is aten._to_copy.default and asked is not None:
        result = result.clone() if any(result is plain(part) for part in leaves) else result
    known = {id(part.raw): part for part in there} | {id(part): part for part in here}

    def placed(part: Any) -> Any:
        if not isinstance(part, torch.Tensor) or isinstance(part, Elsewhere):
            return part
        return known.get(id(part)) if id(part) in known else Elsewhere(part) if ours else part

    return tree_map(placed, result)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def _made(*args: Any, **kwargs: Any) -> torch.Tensor:
    if not is_ours(kwargs.get("device")):
        return _tensor(*args, **kwargs)
    return Elsewhere(_tensor(*args, **{**kwargs, "device": "cpu"}))


def _taken(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
    if isinstance(data, torch.Tensor):  # kept as it is, or brought where it is wanted
        if isinstance(data, Elsewhere) or is_ours(device):
            return data.to(dtype=dtype or data.dtype, device=device or data.device)
        return _as_tensor(data, dtype=dtype, device=device)
    made = _as_tensor(data, dtype=dtype, device="cpu" if is_ours(device) else device)
    return Elsewhere(made) if is_ours(device) else made


def register() -> None:
    """Tell torch of the device, once in a process and before its first backward pass."""
    if OURS.registered:
        return
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    module = getattr(torch, NAME)
    answers = {
        "is_available": lambda: True, "is_initialized": lambda: True, "_is_in_bad_fork": lambda: False,
        "_lazy_init": lambda: None, "current_device": lambda: 0, "device_count": lambda: 1,
        "manual_seed_all": lambda seed: None, "get_rng_state": lambda device=0: torch.get_rng_state(),
        "set_rng_state": lambda state, device=0: None, "synchronize": lambda *_: None,
        "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
    }  # fmt: skip
    for name, answer in answers.items():
        setattr(module, name, answer)
    OURS.registered = True


@contextlib.contextmanager
def _without_inference_mode() -> Iterator[None]:
    """Inference mode, which hands operators on before they are taken apart, is no more than switching off gradients."""
    kind = torch.inference_mode
    known = kind.__enter__, kind.__exit__

    def enter(self: Any) -> None:
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(self.before and not self.mode)

    def leave(self: Any, *_: Any) -> None:
        torch.set_grad_enabled(self.before)

    kind.__enter__, kind.__exit__ = enter, leave  # type: ignore[method-assign]
    try:
        yield
    finally:
        kind.__enter__, kind.__exit__ = known  # type: ignore[method-assign]


@contextlib.contextmanager
def active(float64: bool = True) -> Iterator[torch.device]:
    """Within it the device works; what is to run on it is imported before."""
    register()
    OURS.float64 = float64
    torch.tensor, torch.as_tensor = _made, _taken  # type: ignore[assignment]
    try:
        with _without_inference_mode(), _Mode():
            yield torch.device(NAME, 0)
    finally:
        torch.tensor, torch.as_tensor = _tensor, _as_tensor
        OURS.float64 = True


def supported() -> bool:
    """Whether this torch lets a device be written in Python; 2.9 and later do."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")

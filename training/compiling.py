"""Compiled training steps (`torch.compile`), for those who ask for them: whether this machine can, and what it says."""

from collections.abc import Iterator
from contextlib import contextmanager


def check_compiler(kind: str) -> None:
    """Look for what `torch.compile` needs before anything is trained.

    Args:
        kind: `cpu`, `cuda` or `mps`.

    Raises:
        ValueError: no C++ compiler (CPU), or no Triton (CUDA).
    """
    if kind == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ValueError(
                "compile: expected Triton and a card that it can compile for, received none; install triton (it comes "
                "with torch on Linux), or set compile: false"
            )
    elif kind == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except (InvalidCxxCompiler, RuntimeError) as error:
            raise ValueError(
                "compile: expected a C++ compiler on the path (or named by CXX), received none that works "
                f"({str(error).splitlines()[0]}); install one (g++ or clang++), or set compile: false"
            ) from error


@contextmanager
def said_clearly() -> Iterator[None]:
    """Around the first compiled call: what the compiler cannot do is told as the config's mistake.

    Raises:
        ValueError: compiling failed.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise ValueError(
            f"compile: this network cannot be compiled here ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "set compile: false"
        ) from error

"""How many threads numpy may use."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Keep numpy's matrix products to the calling thread, from now to the end of a ``with``.

    Ours are small: more threads win nothing on an idle machine and wait for one another on a busy one. The extra
    ``audio`` brings threadpoolctl, which does it; without that numpy goes on with its own number of threads
    (`can_limit` tells), which ``OPENBLAS_NUM_THREADS=1`` in the environment sets from outside.
    """
    if not can_limit():
        return nullcontext()
    import threadpoolctl

    limit: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return limit


def can_limit() -> bool:
    """Whether threadpoolctl is there."""
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        return False
    return True

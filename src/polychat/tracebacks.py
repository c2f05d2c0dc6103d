"""What errors keep alive by their tracebacks."""

from __future__ import annotations


def release_locals(error: BaseException) -> None:
    """Clear the local variables of the frames that ``error`` and its causes went through, such as bodies of requests.

    An error that is kept would keep them. The tracebacks stay, but for the frames that still run.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            left += (one.__cause__, one.__context__)
            step = one.__traceback__
            while step is not None:
                try:
                    step.tb_frame.clear()
                except RuntimeError:  # it still runs
                    one.__traceback__ = step.tb_next
                step = step.tb_next

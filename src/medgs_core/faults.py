"""What went wrong, where a user can do something about it: an exception comes in, an answer goes out."""

import sys

CPU_WORDS = "can't allocate memory"
"""In the message of the plain RuntimeError that torch raises where the CPU's memory is not enough."""


def is_out_of_memory(fault: BaseException) -> bool:
    """Return whether an exception says that memory, of the machine or of the GPU, was not enough.

    Examples
    --------
    >>> is_out_of_memory(MemoryError())
    True
    """
    if isinstance(fault, MemoryError):
        return True
    torch = sys.modules.get("torch")  # whoever raised its errors has loaded it
    if torch is None:
        return False
    return isinstance(fault, torch.OutOfMemoryError) or CPU_WORDS in str(fault)

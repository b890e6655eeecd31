"""Numba kernels of both rules; float32 planes in and out.

They are not under the jaxtyping hook of the tests, which cannot wrap what numba compiles.
Numba keeps compiled entry points on disk but looks for changes only in the file that defines one, not in
those it calls. So every entry point takes `SOURCES` as an argument nobody passes: the value is part of its
signature, and a change to any file here compiles it anew.
"""

import hashlib
from pathlib import Path

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()

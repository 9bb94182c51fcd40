"""Everything worth knowing on a GPU, in under nine minutes: `python tests/benchmarks/gpu_session.py [RUN...]`.

A line per fact, most telling first, each with the seconds since the beginning; the same for machines in
``facts.jsonl``, and what is longer as files, in the folder of ``--out``. A part that fails is reported and the next
one runs, in a new process where the old one cannot go on. With the time that is left RUN is trained (default:
``paper/vgg7_le``; a scenario, or the directory of an earlier run, which is copied and resumed), and its run directory
is left in the folder, so that ``neurosim-ep resume`` goes on with it.

`--tiny --device cpu` is a rehearsal: the same parts on small networks, in about a minute.
"""

from __future__ import annotations

import sys

from gpu.plan import options
from gpu.supervisor import Supervisor


def main() -> int:
    given = options(description=__doc__)
    if given.worker:
        from gpu.session import work

        return work(given)
    return min(1, Supervisor(given, __file__).run())


if __name__ == "__main__":
    sys.exit(main())

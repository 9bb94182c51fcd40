"""Every kind of file with random changes, thousands of times: read or refused in one sentence, never anything else.

    python tests/campaigns/fuzz.py [--tries 10000] [--seed 0]

Tries run in processes of their own, so that one that crashes, hangs or takes all memory is counted and not the end.
Prints a line per kind and ends with 1 where anything went wrong; docs/reliability.md has the last figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from pathlib import Path

from processes import ended, load_everything

TOGETHER, SECONDS, MEMORY = 50, 120.0, 12 * 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    load_everything()
    from fuzzing import kinds

    began = time.monotonic()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        found = kinds(base)
        print(f"{len(found)} kinds of files", flush=True)
        done, names = 0, list(found)
        while done < chosen.tries:
            name = names[done // TOGETHER % len(names)]
            seeds = range(chosen.seed + done, chosen.seed + min(done + TOGETHER, chosen.tries))
            told = base / "told"
            _share(found[name], seeds, told)
            lines = [json.loads(line) for line in told.read_text().splitlines()]
            for line in lines:
                counts[name][line["how"]] += 1
                if line["how"] == "failed":
                    wrong.append(f"{name}, seed {line['seed']}: {line['problem']}")
            if len(lines) < len(seeds):
                counts[name]["crashed or hung"] += 1
                wrong.append(f"{name}, seed {seeds[len(lines)]}: crashed or hung")
            done = seeds[len(lines)] - chosen.seed + 1 if len(lines) < len(seeds) else done + len(seeds)
            if done // TOGETHER % 20 == 0:
                print(f"{done} tries, {len(wrong)} wrong, {time.monotonic() - began:.0f} s", flush=True)
    total = Counter[str]()
    for name, count in sorted(counts.items()):
        print(f"{name:<36} {dict(count)}")
        total += count
    for line in wrong:
        print(f"WRONG {line}")
    print(f"{total.total()} tries: {dict(total)}, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    return bool(wrong)


def _share(kind: object, seeds: range, told: Path) -> None:
    """Try ``seeds`` in a process of its own, which writes a line to ``told`` for each that it comes through."""
    told.write_text("")
    work = told.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(kind.folder, work)  # type: ignore[attr-defined]
    if pid := os.fork():
        ended(pid, SECONDS)
        return
    try:
        _try_all(kind, seeds, told, work)
    finally:
        os._exit(0)


def _try_all(kind: object, seeds: range, told: Path, work: Path) -> None:
    from fuzzing import tried

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    with told.open("w") as file:
        for seed in seeds:
            line = {"seed": seed}
            try:
                line["how"] = tried(kind, seed, work)  # type: ignore[arg-type, assignment]
            except BaseException as problem:
                line |= {"how": "failed", "problem": "".join(traceback.format_exception(problem)[-4:])}  # type: ignore[dict-item]
            file.write(json.dumps(line) + "\n")
            file.flush()


if __name__ == "__main__":
    sys.exit(main())

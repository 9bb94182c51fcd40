"""BookSim gets the reader of traces that it lacks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from exporting import export
from tiny_run import tiny_run

from neurosim_ep.record.export.booksim import SOURCES

SMALL = ("data.train_samples=48", "data.test_samples=40")


def test_booksim_gets_the_reader_that_it_needs(tmp_path: Path) -> None:
    """The script changes the two places of BookSim's sources that choose by name, once."""
    document = export(tiny_run(tmp_path / "run", *SMALL), "booksim", tmp_path / "out")
    assert "sh add_trace_reader.sh" in document["prepare"] and document["command"].endswith("mesh_config")
    sources = tmp_path / "src"
    sources.mkdir()
    for name, kind in (("injection", "process_name"), ("traffic", "pattern_name")):
        first = "bernoulli" if name == "injection" else "bitcomp"
        (sources / f"{name}.cpp").write_text(f'#include "{name}.hpp"\n  if({kind} == "{first}") {{\n  }}\n')
    for _ in range(2):
        subprocess.run(["sh", tmp_path / "out" / "add_trace_reader.sh", sources], check=True)
    injection, traffic = ((sources / f"{name}.cpp").read_text() for name in ("injection", "traffic"))
    assert injection.splitlines() == [
        '#include "trace_reader.hpp"',
        '#include "injection.hpp"',
        '  if (process_name == "trace") { result = new TraceInjectionProcess(nodes, load, params); } '
        'else if(process_name == "bernoulli") {',
        "  }",
    ]
    assert 'new TraceTrafficPattern(nodes, params); } else if(pattern_name == "bitcomp") {' in traffic
    assert (sources / "trace_reader.hpp").read_text() == (tmp_path / "out" / "trace_reader.hpp").read_text()


READING = """
#include <string>
#include <vector>
struct InjectionProcess {
  InjectionProcess(int, double) {}
  virtual ~InjectionProcess() {}
  virtual void reset() {}
  virtual bool test(int source) = 0;
};
struct TrafficPattern {
  TrafficPattern(int) {}
  virtual ~TrafficPattern() {}
  virtual int dest(int source) = 0;
};
#include "trace_reader.hpp"
int main() {
  std::vector<std::string> parameters;
  parameters.push_back("trace.txt");
  parameters.push_back("10");
  TraceInjectionProcess process(2, 0.1, parameters);
  TraceTrafficPattern pattern(2, parameters);
  process.reset();
  for (int cycle = 0; cycle < 20; ++cycle)
    for (int source = 0; source < 2; ++source)
      if (process.test(source)) std::cout << cycle << ' ' << source << ' ' << pattern.dest(source) << std::endl;
}
"""


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_the_reader_of_booksim_gives_every_packet_at_its_cycle(tmp_path: Path) -> None:
    """One per source and cycle, those of one cycle one after the other; the trace starts where it is told to."""
    (tmp_path / "trace.txt").write_text("0 1 0\n0 1 3\n1 0 3\n1 0 3\n")
    (tmp_path / "main.cpp").write_text(READING)
    for name in ("injection.hpp", "traffic.hpp"):
        (tmp_path / name).write_text("")
    shutil.copy(SOURCES / "trace_reader.hpp", tmp_path)
    subprocess.run(["c++", "-Wall", "-Werror", "-o", "read", "main.cpp"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "read"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["10 0 1", "13 0 1", "13 1 0", "14 1 0"]
    (tmp_path / "trace.txt").write_text("0 7 0\n")
    failed = subprocess.run([tmp_path / "read"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode != 0 and "names a router that is not there" in failed.stderr

#!/bin/sh
# Teaches BookSim 2 to read traces: sh add_trace_reader.sh BOOKSIM2/src && make -C BOOKSIM2/src
# Copies trace_reader.hpp there and adds an include and a branch to injection.cpp and to traffic.cpp.
set -e
source=${1:?give the folder src of BookSim 2}
grep -q '(process_name == "bernoulli")' "$source/injection.cpp"
grep -q '(pattern_name == "bitcomp")' "$source/traffic.cpp"
cp "$(dirname "$0")/trace_reader.hpp" "$source"
for name in injection traffic; do
  if ! grep -q trace_reader.hpp "$source/$name.cpp"; then
    sed -i.before \
      -e '1i\
#include "trace_reader.hpp"' \
      -e 's/if *(process_name == "bernoulli")/if (process_name == "trace") { result = new TraceInjectionProcess(nodes, load, params); } else &/' \
      -e 's/if *(pattern_name == "bitcomp")/if (pattern_name == "trace") { result = new TraceTrafficPattern(nodes, params); } else &/' \
      "$source/$name.cpp"
  fi
done

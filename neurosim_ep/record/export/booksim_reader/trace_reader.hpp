// Packets from a file for BookSim 2: traffic = trace({FILE,START}); injection_process = trace({FILE,START});
//
// Cycle 0 of the file is BookSim's cycle START, which skips the period that BookSim does not measure.
// Every line of the file is a packet, "source destination cycle", in the order of cycles. BookSim asks an injection
// process once for every source and cycle, late where a source is held up; a packet leaves when it is asked for its
// cycle or a later one, one packet per source and cycle. The file is read as the cycles pass and never held as a whole.

#ifndef TRACE_READER_HPP
#define TRACE_READER_HPP

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "injection.hpp"
#include "traffic.hpp"

class Trace {
public:
  static Trace * of(std::vector<std::string> const & parameters, int nodes) {
    if (parameters.size() != 2) {
      std::cerr << "trace: takes a file and the cycle in which it starts, trace({FILE,START})" << std::endl;
      exit(-1);
    }
    static std::map<std::string, Trace *> opened;
    Trace * & found = opened[parameters[0]];
    if (!found) found = new Trace(parameters[0], atol(parameters[1].c_str()), nodes);
    return found;
  }

  void begin() {
    file.close();
    file.clear();
    file.open(path.c_str());
    if (!file) stop("cannot be opened");
    asked.assign(nodes, -1 - start);
    waiting.assign(nodes, std::queue<Packet>());
    read_line();
  }

  bool leaves(int source) {
    long const cycle = ++asked[source];
    while (more && time <= cycle) {
      waiting[from].push(Packet(time, to));
      read_line();
    }
    return !waiting[source].empty() && waiting[source].front().first <= cycle;
  }

  int destination(int source) {
    int const found = waiting[source].front().second;
    waiting[source].pop();
    return found;
  }

private:
  typedef std::pair<long, int> Packet;  // cycle and destination

  Trace(std::string const & path, long start, int nodes)
    : path(path), start(start), nodes(nodes), more(false), from(0), to(0), time(0) {
    begin();
  }

  void read_line() {
    long const before = more ? time : 0;
    more = static_cast<bool>(file >> from >> to >> time);
    if (!more && !file.eof()) stop("has a line that is not three whole numbers");
    if (more && (from < 0 || from >= nodes || to < 0 || to >= nodes)) stop("names a router that is not there");
    if (more && time < before) stop("is not in the order of cycles");
  }

  void stop(char const * what) const {
    std::cerr << path << ": " << what << std::endl;
    exit(-1);
  }

  std::string path;
  long start;
  int nodes;
  std::ifstream file;
  bool more;
  int from, to;
  long time;
  std::vector<long> asked;
  std::vector<std::queue<Packet> > waiting;
};

class TraceInjectionProcess : public InjectionProcess {
public:
  TraceInjectionProcess(int nodes, double rate, std::vector<std::string> const & parameters)
    : InjectionProcess(nodes, rate), trace(Trace::of(parameters, nodes)) {}
  virtual void reset() { trace->begin(); }
  virtual bool test(int source) { return trace->leaves(source); }

private:
  Trace * trace;
};

class TraceTrafficPattern : public TrafficPattern {
public:
  TraceTrafficPattern(int nodes, std::vector<std::string> const & parameters)
    : TrafficPattern(nodes), trace(Trace::of(parameters, nodes)) {}
  virtual int dest(int source) { return trace->destination(source); }

private:
  Trace * trace;
};

#endif

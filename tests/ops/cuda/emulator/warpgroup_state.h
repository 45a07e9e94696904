// What compute capability 9.0 keeps of a block while it runs: barriers in memory, bulk copies, products of warpgroups.
#pragma once

#include <map>

namespace emulator {

struct Barrier {
  int arrivals = 0, awaited = 0;
  long long bytes = 0;  // announced and not come
  unsigned phase = 0;
  bool visible = false;  // to bulk copies

  bool passed(unsigned parity) const { return (phase & 1u) != parity; }
  void look() {
    if (awaited || bytes) return;
    ++phase;
    awaited = arrivals;
  }
};

struct BulkCopy {
  void* to;
  const void* from;
  int bytes;
  Barrier* barrier;
};

// What a thread stored for products, which see it when the thread says so.
struct StoredOperand {
  void* to;
  unsigned numbers[2];
};

// One of those that a warp has in flight.
struct WarpProduct {
  unsigned long long a, b;
  bool add, half, done;
  int group;
};

struct WarpProducts {
  static constexpr int rows = 16, columns = 128, entries = 64;
  std::vector<WarpProduct> queue;
  float* sums[32];               // of the lanes
  float shadow[rows][columns];   // what they will be
  int committed = 0;
  bool begun = false;
  std::vector<WarpProduct> history;  // of all that the warp ever asked for
};

}  // namespace emulator

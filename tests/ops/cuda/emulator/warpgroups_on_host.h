// The functions of csrc/cuda/units_sm90.cuh; included by cuda_on_host.h.
//
// Products and bulk copies are done as early as they may or as late (the one early where the other is late, so that what
// is overwritten too soon shows); until a warp has waited for its products, their sums are NaN.
#pragma once

namespace emulator {

// The window of shared memory begins at an address that is aligned to 16 bytes and no more.
constexpr unsigned window = 0x410;

inline char* in_shared(unsigned address, long long bytes, const char* what) {
  const long long offset = (long long)address - window;
  if (offset < 0 || offset + bytes > block.dynamic_bytes) {
    fail(std::string(what) + ": reaches byte " + std::to_string(offset < 0 ? offset : offset + bytes - 1) +
         " of dynamic shared memory of " + std::to_string(block.dynamic_bytes) + " bytes");
  }
  return reinterpret_cast<char*>(block.dynamic) + offset;
}

inline Barrier& barrier_at(unsigned address, const char* what) {
  const auto found = block.barriers.find(address);
  if (found == block.barriers.end()) fail(std::string(what) + ": there is no barrier at this address");
  return found->second;
}

inline void bring(const BulkCopy& copy) {
  memcpy(copy.to, copy.from, copy.bytes);
  copy.barrier->bytes -= copy.bytes;
  copy.barrier->look();
}

// Does the oldest copy that is on its way, when no thread can go on without one. Returns whether there was one.
inline bool bring_one() {
  if (block.bulk.empty()) return false;
  bring(block.bulk.front());
  block.bulk.erase(block.bulk.begin());
  return true;
}

// Entry (i, k) of an operand of 16-bit numbers, where i runs along memory, as its descriptor places it.
inline uint16_t operand(unsigned long long descriptor, int i, int k) {
  const unsigned start = unsigned(descriptor & 0x3fff) << 4, leading = unsigned(descriptor >> 16 & 0x3fff) << 4;
  const unsigned stride = unsigned(descriptor >> 32 & 0x3fff) << 4;
  const int mode = int(descriptor >> 62);  // 0: not permuted; 1, 2, 3: in rows of 128, 64, 32 bytes
  const unsigned row_bytes = mode ? 256u >> mode : 16u, group = row_bytes / 2;
  if (descriptor >> 49 & 7 || (mode && start & 7 * row_bytes)) {
    fail("a matrix descriptor: a pattern that does not begin at a multiple of its size wants a base offset");
  }
  // Without a permutation the two offsets change places.
  const unsigned next_group = mode ? leading : stride, next_rows = mode ? stride : leading;
  unsigned address = start + unsigned(i) / group * next_group + unsigned(i) % group * 2 + unsigned(k) / 8 * next_rows +
                     unsigned(k) % 8 * row_bytes;
  // Units of 16 bytes change places: address bits 4.. by bits 7..
  if (mode) address ^= (address >> 7 & (row_bytes / 16 - 1)) << 4;
  uint16_t entry;
  memcpy(&entry, in_shared(address, 2, "a product of a warpgroup"), 2);
  return entry;
}

inline void multiply_rows(WarpProducts& own, WarpProduct& product, int warp) {
  const auto value = product.half ? from_float16 : from_bfloat16;
  float left[WarpProducts::rows][16];
  for (int k = 0; k < 16; ++k) {
    for (int i = 0; i < WarpProducts::rows; ++i) {
      left[i][k] = value(operand(product.a, warp % 4 * WarpProducts::rows + i, k));
    }
  }
  for (int j = 0; j < WarpProducts::columns; ++j) {
    float right[16];
    for (int k = 0; k < 16; ++k) right[k] = value(operand(product.b, j, k));
    for (int i = 0; i < WarpProducts::rows; ++i) {
      float& sum = own.shadow[i][j];
      if (!product.add) sum = 0.0f;
      for (int first = 0; first < 16; first += 8) {
        double products[8];
        for (int k = 0; k < 8; ++k) products[k] = double(left[i][first + k]) * double(right[first + k]);
        sum = add_products(sum, products);
      }
    }
  }
  product.done = true;
}

// Calls act(sum, shadow) for each sum of each lane.
template <class Act>
void each_sum(WarpProducts& own, Act&& act) {
  for (int lane = 0; lane < lanes; ++lane) {
    for (int e = 0; e < WarpProducts::entries; ++e) {
      act(own.sums[lane][e], own.shadow[lane / 4 + e / 2 % 2 * 8][e / 4 * 8 + lane % 4 * 2 + e % 2]);
    }
  }
}

struct WarpgroupDeposit {
  float* c;
  unsigned long long a, b;
  bool add, half;
};

inline void start_product(WarpgroupDeposit** all) {
  const int warp = block.current / lanes;
  if (warp / 4 * 4 + 4 > int(block.warps.size())) fail("a product of a warpgroup of fewer than four warps");
  WarpProducts& own = block.products[warp];
  for (int lane = 1; lane < lanes; ++lane) {
    if (all[lane]->a != all[0]->a || all[lane]->b != all[0]->b) fail("lanes of a warp give other descriptors");
  }
  if (!own.begun) fail("products of a warpgroup without products_begin() since their sums were touched");
  WarpProduct next{all[0]->a, all[0]->b, all[0]->add, all[0]->half, false, own.committed};
  // The four warps of a group ask for the same in the same order.
  const size_t number = own.history.size();
  own.history.push_back(next);
  for (int other = warp / 4 * 4; other < warp / 4 * 4 + 4; ++other) {
    const auto& history = block.products[other].history;
    if (history.size() > number && (history[number].a != next.a || history[number].b != next.b)) {
      fail("warps of a warpgroup give other descriptors");
    }
  }
  const bool first = own.queue.empty();
  for (int lane = 0; lane < lanes; ++lane) {
    if (!first && own.sums[lane] != all[lane]->c) fail("products in flight that add to other sums");
    own.sums[lane] = all[lane]->c;
  }
  if (first) each_sum(own, [](float sum, float& shadow) { shadow = sum; });
  each_sum(own, [](float& sum, float) { sum = NAN; });
  own.queue.push_back(next);
  if (!block.eager) multiply_rows(own, own.queue.back(), warp);
}

inline void multiply_warpgroup(float* c, unsigned long long a, unsigned long long b, bool add, bool half) {
  WarpgroupDeposit mine{c, a, b, add, half};
  with_warp("multiply_warpgroup", 0, mine, start_product);
}

inline void end_products() {
  const int warp = block.current / lanes;
  WarpProducts& own = block.products[warp];
  size_t ready = 0;
  for (; ready < own.queue.size() && own.queue[ready].group < own.committed; ++ready) {
    if (!own.queue[ready].done) multiply_rows(own, own.queue[ready], warp);
  }
  if (!ready) return;
  own.queue.erase(own.queue.begin(), own.queue.begin() + ready);
  own.begun = false;
  if (own.queue.empty()) each_sum(own, [](float& sum, float shadow) { sum = shadow; });
}

// Of a warp, once for all of its lanes.
template <class Act>
void once(const char* at, Act&& act) {
  char nothing = 0;
  with_warp(at, 0, nothing, [&](char**) { act(block.products[block.current / lanes]); });
}

}  // namespace emulator

namespace featdiv {

inline unsigned shared_address(const void* p) {
  return unsigned(static_cast<const unsigned char*>(p) - emulator::block.dynamic) + emulator::window;
}

inline void barrier_prepare(unsigned barrier, int arrivals) {
  if (barrier % 8) emulator::fail("barrier_prepare: an address that is not aligned to 8 bytes");
  emulator::in_shared(barrier, 8, "barrier_prepare");
  emulator::block.barriers[barrier] = {arrivals, arrivals, 0, 0, false};
}

inline void barriers_prepared() {
  for (auto& each : emulator::block.barriers) each.second.visible = true;
}

// Others go on before this thread does: what was not waited for may be gone then.
inline void barrier_arrive(unsigned barrier) {
  emulator::Barrier& own = emulator::barrier_at(barrier, "barrier_arrive");
  if (!own.awaited) emulator::fail("barrier_arrive: more arrivals than the barrier was prepared for");
  --own.awaited;
  own.look();
  emulator::to_scheduler();
}

inline void barrier_announce(unsigned barrier, int bytes) {
  emulator::Barrier& own = emulator::barrier_at(barrier, "barrier_announce");
  if (!own.awaited) emulator::fail("barrier_announce: more arrivals than the barrier was prepared for");
  own.bytes += bytes;
  --own.awaited;
  own.look();
}

inline void barrier_wait(unsigned barrier, unsigned parity) {
  emulator::Barrier& own = emulator::barrier_at(barrier, "barrier_wait");
  while (!own.passed(parity)) {
    emulator::own().barrier = &own;
    emulator::own().parity = parity;
    emulator::own().at = "barrier_wait()";
    emulator::own().line = 0;
    emulator::to_scheduler();
  }
}

inline void copy_bulk(unsigned shared, const void* global, int bytes, unsigned barrier) {
  if (shared % 16 || reinterpret_cast<uintptr_t>(global) % 16 || bytes % 16 || bytes <= 0) {
    emulator::fail("copy_bulk: an address or a size that is no multiple of 16 bytes");
  }
  emulator::Barrier& own = emulator::barrier_at(barrier, "copy_bulk");
  if (!own.visible) emulator::fail("copy_bulk: barriers_prepared() has not shown it the barrier");
  const emulator::BulkCopy copy{emulator::in_shared(shared, bytes, "copy_bulk"), global, bytes, &own};
  if (emulator::block.eager) emulator::bring(copy);
  else emulator::block.bulk.push_back(copy);
}

// Seen by products only from operands_stored() on, and by nobody before.
inline void store_operand(unsigned shared, unsigned first, unsigned second) {
  if (shared % 8) emulator::fail("store_operand: an address that is no multiple of 8 bytes");
  emulator::own().stored.push_back({emulator::in_shared(shared, 8, "store_operand"), {first, second}});
}

inline void operands_stored() {
  for (const auto& each : emulator::own().stored) memcpy(each.to, each.numbers, sizeof each.numbers);
  emulator::own().stored.clear();
}

template <int count>
void give_registers() {
  static_assert(count >= 24 && count % 8 == 0, "a count that a device takes");
}
template <int count>
void take_registers() {
  static_assert(count <= 256 && count % 8 == 0, "a count that a device takes");
}

inline unsigned pair_of_bfloat16(float low, float high) {
  const auto nearest = [](float x) {
    const uint32_t bits = emulator_bits<uint32_t>(x);
    return x != x ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  };
  return nearest(low) | nearest(high) << 16;
}

inline bool is_positive(int x) { return x > 0; }

inline void products_begin() {
  emulator::once("products_begin", [](emulator::WarpProducts& own) { own.begun = true; });
}

inline void products_commit() {
  emulator::once("products_commit", [](emulator::WarpProducts& own) { ++own.committed; });
}

inline void products_wait(float (&)[64]) {
  emulator::once("products_wait", [](emulator::WarpProducts&) { emulator::end_products(); });
}

template <bool add>
void multiply_warpgroup_bfloat16(float (&c)[64], unsigned long long a, unsigned long long b) {
  emulator::multiply_warpgroup(c, a, b, add, false);
}

template <bool add>
void multiply_warpgroup_float16(float (&c)[64], unsigned long long a, unsigned long long b) {
  emulator::multiply_warpgroup(c, a, b, add, true);
}

}  // namespace featdiv

// CUDA's language on a host, for tests: a .cuh is included after this file and compiled as C++17.
//
// Threads of a block are fibres that run one after the other, each until it waits at a barrier or for its warp; blocks
// run one after the other. Everything is the same on each run. What a launch can vary is what no result may depend on:
// the order of threads (and of blocks), and whether an asynchronous copy is done when it is asked for or when it is
// waited for. Shared memory begins as NaN in every block. Barriers that not all threads reach, warps that diverge, masks
// that are not full, addresses that are not aligned and accesses out of bounds (see guards.h) end the launch with a
// message.
#pragma once

// Fortified, longjmp takes a change of stacks for a fault.
#undef _FORTIFY_SOURCE

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define FEATDIV_ON_HOST 1
#ifndef FEATDIV_KERNEL
#define FEATDIV_KERNEL
#endif
#define __global__ FEATDIV_KERNEL
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __shared__ static __attribute__((section("featdiv_shared")))

// The linker sets these around the section; it need not be there.
extern "C" char __start_featdiv_shared[] __attribute__((weak));
extern "C" char __stop_featdiv_shared[] __attribute__((weak));

struct Index {
  unsigned x, y, z;
};
inline Index threadIdx, blockIdx, blockDim, gridDim;

#include "warpgroup_state.h"

namespace emulator {

constexpr int lanes = 32;
constexpr size_t stack_bytes = 256 << 10;

struct Copy {
  void* to;
  const void* from;
  int group;
};

struct Thread {
  ucontext_t entry;
  jmp_buf place;  // where it goes on, once it has been entered
  bool entered = false;
  char* stack = nullptr;
  bool waiting = false, done = true;
  int line = 0;
  const char* at = "";
  std::vector<Copy> copies;
  int committed = 0;
  std::vector<StoredOperand> stored;
  const Barrier* barrier = nullptr;  // waited for until its phase of this parity has ended
  unsigned parity = 0;

  bool ready() const { return !done && !waiting && !(barrier && !barrier->passed(parity)); }
};

struct Warp {
  int arrived = 0, line = 0;
  const char* at = nullptr;
  void* deposits[lanes];
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  jmp_buf scheduler;
  int count = 0, current = 0, at_barrier = 0, barrier_line = 0;
  bool eager = false;
  unsigned char* dynamic = nullptr;
  long long dynamic_bytes = 0;
  std::map<unsigned, Barrier> barriers;  // by address
  std::vector<BulkCopy> bulk;
  std::vector<WarpProducts> products;  // of each warp
  void (*run)(void*) = nullptr;
  void* arguments = nullptr;
  std::string failure;
};

inline Block block;

inline Thread& own() { return block.threads[block.current]; }

// Jumps, since swapcontext asks the system for the mask of signals each time.
[[gnu::noinline]] inline void to_scheduler() {
  if (!_setjmp(own().place)) _longjmp(block.scheduler, 1);
}

[[gnu::noinline]] inline void to_thread(Thread& thread) {
  if (_setjmp(block.scheduler)) return;
  if (thread.entered) _longjmp(thread.place, 1);
  thread.entered = true;
  setcontext(&thread.entry);
}

// Ends the launch: the fibres are never entered again.
[[noreturn]] inline void fail(const std::string& what) {
  char where[160];
  snprintf(where, sizeof where, "block (%u, %u, %u), thread %d: ", blockIdx.x, blockIdx.y, blockIdx.z, block.current);
  block.failure = where + what;
  _longjmp(block.scheduler, 1);
}

inline void wait(const char* at, int line) {
  own().waiting = true;
  own().at = at;
  own().line = line;
  to_scheduler();
}

inline void barrier(int line) {
  if (block.at_barrier && block.barrier_line != line) {
    fail("reached __syncthreads() of line " + std::to_string(line) + " while others wait at that of line " +
         std::to_string(block.barrier_line));
  }
  block.barrier_line = line;
  if (++block.at_barrier < block.count) return wait("__syncthreads()", line);
  block.at_barrier = 0;
  for (Thread& each : block.threads) each.waiting = false;
  // The last to come goes on in its turn, as the others do.
  to_scheduler();
}

// Calls act(deposits of all lanes) once, when every lane of the warp has come here with its own.
template <class Deposit, class Act>
void with_warp(const char* at, int line, Deposit& mine, Act&& act) {
  Warp& warp = block.warps[block.current / lanes];
  if (warp.arrived && (warp.at != at || warp.line != line)) {
    fail(std::string("reached ") + at + " of line " + std::to_string(line) + " while its warp waits at " + warp.at +
         " of line " + std::to_string(warp.line));
  }
  warp.at = at;
  warp.line = line;
  warp.deposits[block.current % lanes] = &mine;
  if (++warp.arrived < lanes) return wait(at, line);
  Deposit* all[lanes];
  for (int lane = 0; lane < lanes; ++lane) all[lane] = static_cast<Deposit*>(warp.deposits[lane]);
  act(all);
  warp.arrived = 0;
  const int first = block.current / lanes * lanes;
  for (int lane = 0; lane < lanes; ++lane) block.threads[first + lane].waiting = false;
  to_scheduler();
}

}  // namespace emulator

#include "guards.h"

namespace emulator {

inline void fibre() {
  for (;;) {
    block.run(block.arguments);
    own().done = true;
    to_scheduler();
  }
}

inline void prepare(int count) {
  if (int(block.threads.size()) < count) block.threads.resize(count);
  for (Thread& each : block.threads) {
    if (!each.stack) {
      void* const stack = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (stack == MAP_FAILED) abort();
      each.stack = static_cast<char*>(stack);
    }
    each.entered = false;
    getcontext(&each.entry);
    each.entry.uc_stack.ss_sp = each.stack;
    each.entry.uc_stack.ss_size = stack_bytes;
    each.entry.uc_link = nullptr;
    makecontext(&each.entry, fibre, 0);
  }
}

inline bool bring_one();

inline void run_block(bool backwards) {
  block.warps.assign(block.count / lanes, Warp{});
  block.products.assign(block.count / lanes, WarpProducts{});
  block.barriers.clear();
  block.bulk.clear();
  block.at_barrier = 0;
  for (int i = 0; i < block.count; ++i) {
    Thread& each = block.threads[i];
    each.done = each.waiting = false;
    each.copies.clear();
    each.committed = 0;
    each.stored.clear();
    each.barrier = nullptr;
  }
  for (int left = block.count, progress = 1; left;) {
    if (!progress && !bring_one()) {
      for (int i = 0; i < block.count; ++i) {
        const Thread& each = block.threads[i];
        if (each.done) continue;
        block.current = i;
        block.failure = "block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + "), thread " +
                        std::to_string(i) + " waits at " + each.at + " of line " + std::to_string(each.line) +
                        " for threads that never come";
        return;
      }
    }
    progress = 0;
    for (int i = 0; i < block.count; ++i) {
      const int number = backwards ? block.count - 1 - i : i;
      Thread& each = block.threads[number];
      if (!each.ready()) continue;
      each.barrier = nullptr;
      block.current = number;
      threadIdx = {unsigned(number), 0, 0};
      progress = 1;
      to_thread(each);
      if (!block.failure.empty()) return;
      left -= each.done;
    }
  }
  for (const WarpProducts& each : block.products) {
    if (!each.queue.empty()) block.failure = "a warp ended with products that nobody waited for";
  }
  for (int i = 0; i < block.count; ++i) {
    if (!block.threads[i].stored.empty()) block.failure = "a thread ended without operands_stored() after a store";
  }
}

template <class T>
const char* name_of() {
  using Plain = std::remove_cv_t<T>;
  if constexpr (std::is_pointer_v<Plain>) {
    using To = std::remove_cv_t<std::remove_pointer_t<Plain>>;
    if constexpr (std::is_void_v<To>) return "pointer to anything";
    else if constexpr (std::is_same_v<To, double>) return "pointer to float64";
    else if constexpr (std::is_same_v<To, float>) return "pointer to float32";
    else if constexpr (std::is_integral_v<To> && sizeof(To) == 8) return "pointer to int64";
    else if constexpr (std::is_integral_v<To> && sizeof(To) == 4) return "pointer to int32";
    else return "pointer to anything";
  } else if constexpr (std::is_floating_point_v<Plain>) {
    return sizeof(Plain) == 8 ? "float64" : "float32";
  } else {
    return sizeof(Plain) == 8 ? "int64" : "int32";
  }
}

inline bool fits(const char* wanted, const char* given) {
  const bool pointers = !strncmp(wanted, "pointer", 7) && !strncmp(given, "pointer", 7);
  if (pointers && (!strcmp(wanted, "pointer to anything") || !strcmp(given, "pointer to nothing"))) return true;
  return !strcmp(wanted, given);
}

struct Launch {
  unsigned grid[3];
  int threads;
  long long shared_bytes;
  int backwards, eager;
};

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** values, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_cv_t<P>*>(values[I])...);
}

// Runs a kernel on every block. Returns null, or what went wrong; `types` names what is given, as `name_of` does.
template <class... P>
const char* launch(void (*kernel)(P...), const Launch* how, int count, const char** types, void** given, int regions,
                   const Region* memory) {
  const char* const wanted[] = {name_of<P>()...};
  block.failure.clear();
  if (count != int(sizeof...(P))) {
    block.failure = "the kernel has " + std::to_string(sizeof...(P)) + " parameters; " + std::to_string(count) + " given";
    return block.failure.c_str();
  }
  for (int i = 0; i < count; ++i) {
    if (fits(wanted[i], types[i])) continue;
    block.failure = "parameter " + std::to_string(i) + " is " + wanted[i] + "; given " + types[i];
    return block.failure.c_str();
  }
  if (how->threads < 1 || how->threads > 1024 || how->threads % lanes || how->grid[1] > 65535 || how->grid[2] > 65535 ||
      how->grid[0] > 0x7fffffffu || !how->grid[0] || !how->grid[1] || !how->grid[2]) {
    return "the grid or block is not one that a device takes";
  }
  Guards guards(memory, regions, how->eager);
  std::vector<void*> pointers(count + 1), values(given, given + count);
  for (int i = 0; i < count; ++i) {
    if (strncmp(types[i], "pointer", 7)) continue;
    pointers[i] = guards.moved(*static_cast<char**>(given[i]));
    values[i] = &pointers[i];
  }
  struct Arguments {
    void (*kernel)(P...);
    void** values;
  } arguments{kernel, values.data()};
  block.run = [](void* opaque) {
    const auto* const own = static_cast<Arguments*>(opaque);
    call(own->kernel, own->values, std::index_sequence_for<P...>{});
  };
  block.arguments = &arguments;
  block.count = how->threads;
  block.eager = how->eager;
  prepare(how->threads);
  blockDim = {unsigned(how->threads), 1, 1};
  gridDim = {how->grid[0], how->grid[1], how->grid[2]};
  const unsigned long long blocks = 1ull * gridDim.x * gridDim.y * gridDim.z;
  for (unsigned long long at = 0; at < blocks && block.failure.empty(); ++at) {
    const unsigned long long number = how->backwards ? blocks - 1 - at : at;
    blockIdx = {unsigned(number % gridDim.x), unsigned(number / gridDim.x % gridDim.y),
                unsigned(number / gridDim.x / gridDim.y)};
    Guarded dynamic(nullptr, how->shared_bytes, 0, false);
    block.dynamic = reinterpret_cast<unsigned char*>(dynamic.start);
    block.dynamic_bytes = how->shared_bytes;
    if (__start_featdiv_shared) memset(__start_featdiv_shared, 0xff, __stop_featdiv_shared - __start_featdiv_shared);
    guards.watch(&dynamic);
    run_block(how->backwards);
  }
  guards.give_back();
  return block.failure.empty() ? nullptr : block.failure.c_str();
}

template <class T>
T shuffled(const char* at, int line, unsigned mask, T value, int (*from)(int, int), int argument, int width) {
  if (mask != 0xffffffffu || width != lanes) fail(std::string(at) + ": a mask or width that is not full");
  struct Deposit {
    T value, got;
    int from;
  } mine{value, value, from(block.current % lanes, argument)};
  with_warp(at, line, mine, [](Deposit** all) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int source = all[lane]->from;
      if (source >= 0 && source < lanes) all[lane]->got = all[source]->value;
    }
  });
  return mine.got;
}

inline unsigned ballot(const char* at, int line, unsigned mask, bool yes) {
  if (mask != 0xffffffffu) fail(std::string(at) + ": a mask that is not full");
  struct Deposit {
    bool yes;
    unsigned got;
  } mine{yes, 0};
  with_warp(at, line, mine, [](Deposit** all) {
    unsigned votes = 0;
    for (int lane = 0; lane < lanes; ++lane) votes |= unsigned(all[lane]->yes) << lane;
    for (int lane = 0; lane < lanes; ++lane) all[lane]->got = votes;
  });
  return mine.got;
}

inline void warp_barrier(int line) { ballot("__syncwarp()", line, 0xffffffffu, true); }

inline int lane_itself(int, int argument) { return argument % lanes; }
inline int lane_below(int lane, int argument) { return lane - argument; }
inline int lane_above(int lane, int argument) { return lane + argument; }
inline int lane_across(int lane, int argument) { return lane ^ argument; }

template <class T>
T shuffle(const char* at, int line, int (*from)(int, int), unsigned mask, T value, int argument, int width = lanes) {
  return shuffled(at, line, mask, value, from, argument, width);
}

}  // namespace emulator

#define __syncthreads() emulator::barrier(__LINE__)
#define __syncwarp() emulator::warp_barrier(__LINE__)
#define __shfl_sync(...) emulator::shuffle("__shfl_sync", __LINE__, emulator::lane_itself, __VA_ARGS__)
#define __shfl_up_sync(...) emulator::shuffle("__shfl_up_sync", __LINE__, emulator::lane_below, __VA_ARGS__)
#define __shfl_down_sync(...) emulator::shuffle("__shfl_down_sync", __LINE__, emulator::lane_above, __VA_ARGS__)
#define __shfl_xor_sync(...) emulator::shuffle("__shfl_xor_sync", __LINE__, emulator::lane_across, __VA_ARGS__)
#define __ballot_sync(mask, yes) emulator::ballot("__ballot_sync", __LINE__, mask, yes)
#define __any_sync(mask, yes) (emulator::ballot("__any_sync", __LINE__, mask, yes) != 0)
#define __all_sync(mask, yes) (emulator::ballot("__all_sync", __LINE__, mask, yes) == 0xffffffffu)

#include "intrinsics.h"
#include "units_on_host.h"
#include "warpgroups_on_host.h"

// Exports a kernel as play_NAME.
#define FEATDIV_PLAY(name)                                                                                    \
  extern "C" const char* play_##name(const emulator::Launch* how, int count, const char** types, void** values, \
                                     int regions, const emulator::Region* memory) {                           \
    return emulator::launch(name, how, count, types, values, regions, memory);                                \
  }

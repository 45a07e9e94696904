// Memory of kernels between pages that nobody may touch; included by cuda_on_host.h.
#pragma once

namespace emulator {

// Memory that arguments point into.
struct Region {
  char* start;
  long long bytes;
};

// A copy of some memory (of NaN, without one), either right before a forbidden page or right behind one, with the
// alignment that it had; what lies between it and the other page is checked for writes.
class Guarded {
 public:
  Guarded(const char* from, long long size, int misaligned, bool at_front) : bytes(size) {
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), room = (size_t(size) + 16 + page - 1) / page * page;
    length = room + 2 * page;
    void* const all = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) abort();
    base = static_cast<char*>(all);
    mprotect(base, page, PROT_NONE);
    mprotect(base + page + room, page, PROT_NONE);
    first = base + page;
    last = first + room;
    start = at_front ? first + misaligned : last - (size + misaligned + 15) / 16 * 16 + misaligned;
    memset(first, canary, room);
    if (from) memcpy(start, from, bytes);
    else memset(start, 0xff, bytes);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base, length); }

  bool untouched_outside() const {
    const auto touched = [](char each) { return each != canary; };
    return std::none_of(first, start, touched) && std::none_of(start + bytes, last, touched);
  }
  bool near(const char* at) const { return at >= base && at < base + length; }

  char *start, *base, *first, *last;
  long long bytes;
  size_t length;

 private:
  static constexpr char canary = 0x5a;
};

// All memory of one launch, and the handler of forbidden accesses while it runs.
class Guards {
 public:
  Guards(const Region* memory, int count, bool at_front) : regions(memory, memory + count) {
    for (const Region& each : regions) {
      const int misaligned = int(reinterpret_cast<uintptr_t>(each.start) % 16);
      copies.push_back(std::make_unique<Guarded>(each.start, each.bytes, misaligned, at_front));
    }
    current = this;
    struct sigaction action = {};
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before);
  }
  Guards(const Guards&) = delete;
  Guards& operator=(const Guards&) = delete;
  ~Guards() {
    sigaction(SIGSEGV, &before, nullptr);
    current = nullptr;
  }

  // Where a pointer into the regions points now.
  char* moved(char* pointer) const {
    for (size_t i = 0; i < regions.size(); ++i) {
      const auto offset = pointer - regions[i].start;
      if (pointer && offset >= 0 && offset <= regions[i].bytes) return copies[i]->start + offset;
    }
    return nullptr;
  }

  void watch(const Guarded* dynamic) { shared = dynamic; }

  // Copies back what kernels wrote, if nothing went wrong.
  void give_back() {
    for (size_t i = 0; i < regions.size() && block.failure.empty(); ++i) {
      if (!copies[i]->untouched_outside()) block.failure = "wrote outside of " + name(*copies[i]);
    }
    for (size_t i = 0; i < regions.size() && block.failure.empty(); ++i) {
      memcpy(regions[i].start, copies[i]->start, regions[i].bytes);
    }
  }

 private:
  static std::string name(const Guarded& memory) {
    return "an argument's memory of " + std::to_string(memory.bytes) + " bytes";
  }

  static void caught(int, siginfo_t* info, void*) {
    const char* const at = static_cast<char*>(info->si_addr);
    const Guarded* found = current->shared && current->shared->near(at) ? current->shared : nullptr;
    std::string what = "dynamic shared memory of " + (found ? std::to_string(found->bytes) : "") + " bytes";
    for (const auto& each : current->copies) {
      if (!each->near(at)) continue;
      found = each.get();
      what = name(*found);
    }
    if (!found) fail("reached for memory that is no argument of the kernel, or a null pointer");
    fail("reached for byte " + std::to_string(at - found->start) + " of " + what);
  }

  static inline Guards* current = nullptr;
  std::vector<Region> regions;
  std::vector<std::unique_ptr<Guarded>> copies;
  const Guarded* shared = nullptr;
  struct sigaction before;
};

}  // namespace emulator

// Kernels of a build by name, and how one is launched. What goes wrong is returned as text, never printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace featdiv {

// A kernel that was built. The sources that setup.py writes hold one for each.
struct Kernel {
  template <class... A>
  Kernel(const char* source, const char* name, void (*kernel)(A...))
      : source(source), name(name), function(reinterpret_cast<const void*>(kernel)), sizes{int(sizeof(A))...}, next(first) {
    first = this;
  }

  const char* source;  // file in csrc/cuda
  const char* name;
  const void* function;
  std::vector<int> sizes;  // bytes of each parameter
  Kernel* next;

  inline static Kernel* first = nullptr;
};

struct Launch {
  std::string source, name;
  unsigned grid[3];
  int threads;
  int64_t shared_bytes;
  uintptr_t stream;
  int device;
  std::string slots;       // 8 bytes for each argument, its own bytes first
  std::vector<int> sizes;  // bytes of each argument
};

// Queues a kernel on a stream and does not wait for it. Returns "", or what went wrong.
std::string launch(const Launch& what);

// Returns why there is no device to launch on, or "".
std::string missing_device();

}  // namespace featdiv

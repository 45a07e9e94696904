// Scratch memory of the host kernels: aligned to a vector, uninitialised, freed with its owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace featdiv {

struct Freed {
  void operator()(void* p) const { std::free(p); }
};

template <class T>
using Array = std::unique_ptr<T[], Freed>;

template <class T>
Array<T> aligned_array(int64_t count) {
  const size_t bytes = (size_t(count) * sizeof(T) + 63) / 64 * 64;
  void* p = std::aligned_alloc(64, bytes ? bytes : 64);
  if (!p) throw std::bad_alloc();
  return Array<T>(static_cast<T*>(p));
}

}  // namespace featdiv

// What both ways of topk share: candidates as integers, and rows packed for blocks of products.
#pragma once

#include <algorithm>
#include <atomic>

#include "arrays.h"
#include "pool.h"
#include "topk.h"

namespace featdiv {

// Query panels of one task: with one panel of the gallery they fit the second-level cache for some hundred features.
constexpr int64_t task_panels = 4;
// Queries whose candidates are held at a time, and bytes of the packed gallery that they are compared with.
constexpr int64_t held_queries = 8192;
constexpr int64_t gallery_bytes = 8 << 20;

// Candidates as integers: the nearer is larger, and of two equal ones the one of lower index.
inline uint64_t key_of(float nearness, int64_t index) {
  nearness += 0.0f;  // turns -0.0 into 0.0
  uint32_t bits;
  memcpy(&bits, &nearness, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t(bits) << 32 | (0xffffffffu - uint32_t(index));
}

inline float nearness_of(uint64_t key) {
  uint32_t bits = uint32_t(key >> 32);
  bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
  float nearness;
  memcpy(&nearness, &bits, sizeof nearness);
  return nearness;
}

inline int64_t index_of(uint64_t key) { return int64_t(0xffffffffu - uint32_t(key)); }

// The tasks of a job, which are left alone once one has failed or the caller wants no more.
struct Tasks {
  explicit Tasks(const TopkJob& job) : job(job) {}

  template <class F>
  void each(int64_t tasks, F&& f) {
    parallel_for(job.threads, tasks, [&](int64_t task) {
      // Another thread writes it, through Python.
      if (job.watch && __atomic_load_n(job.watch + 1, __ATOMIC_RELAXED) != 0) worst = Outcome::stopped;
      if (worst != Outcome::done) return;
      try {
        f(task);
      } catch (const std::bad_alloc&) {
        worst = Outcome::no_memory;
      }
    });
  }

  const TopkJob& job;
  std::atomic<Outcome> worst{Outcome::done};
};

// Rows as floats in panels of W features, W rows each; false where one is not finite. `by_row` has room for W rows.
inline bool pack_by_row(const Kernels& kernels, const Rows& rows, float* by_row) {
  const int64_t width = kernels.f32.panel_width, padded = (rows.d + width - 1) / width * width;
  auto total = aligned_array<double>(padded);
  auto peaks = aligned_array<float>(padded);
  if (rows.n < width) std::fill_n(by_row, padded * width, 0.0f);
  PackBlock<float> block{};
  block.rows = rows.data;
  block.index = rows.index;
  block.row_stride = rows.stride;
  block.n = rows.n;
  block.d = rows.d;
  block.element = rows.element;
  block.panels = by_row;
  block.panel_stride = width * width;
  block.wide = !fits_float(rows.element);
  block.total = total.get();
  block.peak = peaks.get();
  return kernels.f32.pack(block);
}

}  // namespace featdiv

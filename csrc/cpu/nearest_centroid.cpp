#include "nearest_centroid.h"

#include <atomic>

#include "arrays.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {

Outcome nearest_centroid(const CentroidJob& job) {
  // A multiple of the lanes of every instruction set.
  const int64_t padded = (job.rows.d + 15) / 16 * 16;
  std::atomic<Outcome> worst{Outcome::done};
  parallel_for(job.threads, job.episodes, [&](int64_t episode) {
    const InStage stage(Stage::product);
    try {
      auto centroids = aligned_array<float>((job.ways + 2) * padded);
      auto levels = aligned_array<float>(job.ways);
      EpisodeBlock block{};
      block.rows = job.rows.data;
      block.row_stride = job.rows.stride;
      block.d = job.rows.d;
      block.element = job.rows.element;
      block.index = job.index + episode * job.ways * job.taken;
      block.ways = int(job.ways);
      block.shots = int(job.shots);
      block.taken = job.taken;
      block.centroids = centroids.get();
      block.levels = levels.get();
      block.nearest = job.nearest + episode * job.ways * (job.taken - job.shots);
      kernels(job.isa).nearest_centroids(block);
    } catch (const std::bad_alloc&) {
      worst = Outcome::no_memory;
    }
  });
  return worst;
}

}  // namespace featdiv

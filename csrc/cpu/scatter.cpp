#include "scatter.h"

#include "tile_scatter.h"

namespace featdiv {
namespace {

Status run(ScatterJob job) {
  const Kernels& k = kernels(job.isa);
  if (job.doubles) return TileScatter<double>(job, job.rows.n, k).run(job, nullptr);
  const bool as_they_are = !job.shift && !job.exponent && !job.normalize;
  job.split = choose_split(k.split, job.rows.element, as_they_are, job.bound);
  std::vector<std::pair<int64_t, int64_t>> untamed;
  Status status = TileScatter<float>(job, job.rows.n, k).run(job, &untamed);
  if (status.outcome != Outcome::done) return status;
  status.outcome = run_untamed(job, untamed, k);
  status.tiles_in_doubles = int64_t(untamed.size());
  return status;
}

}  // namespace

Status scatter(const ScatterJob& job) {
  try {
    return run(job);
  } catch (const std::bad_alloc&) {
    return {Outcome::no_memory, 0, 0};
  }
}

}  // namespace featdiv

#include "scatter.h"

#include "tile_scatter.h"

namespace featdiv {
namespace {

// The fewest products of bfloat16 terms that keep the bound. Types of few bits are split exactly, unless something is
// done to them first.
Split choose_split(const ScatterJob& job, const Kernels& k) {
  if (!k.split) return {};
  const bool as_they_are = !job.shift && !job.exponent && !job.normalize;
  const Element e = job.rows.element;
  const bool eight_bits = e == Element::bf16 || e == Element::i8 || e == Element::u8;
  const bool sixteen_bits = e == Element::f16 || e == Element::i16 || e == Element::u16;
  // Two terms are off by up to 0.75 of the bound of `mixed`, always; one by up to 2^-7, which may be too much.
  const double half = job.bound / 2;
  if (as_they_are && eight_bits) return {k.split, 1, false, half};
  if (job.bound < 0x1p-15) return {k.split, as_they_are && sixteen_bits ? 2 : 3, true, half};
  if (job.bound < 0x1p-8) return {k.split, 2, false, 0.8 * job.bound};
  return {k.split, 1, false, job.bound};
}

Status run(ScatterJob job) {
  const Kernels& k = kernels(job.isa);
  if (job.doubles) return TileScatter<double>(job, job.rows.n, k).run(job, nullptr);
  job.split = choose_split(job, k);
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

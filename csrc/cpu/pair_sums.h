// The pair_sums op on the host: see featdiv/ops/pair_sums/__init__.py.
#pragma once

#include "scatter.h"

namespace featdiv {

struct PairJob {
  Rows x;
  Rows other;          // n = 0: pairs within x
  const int64_t* block_edges;  // [blocks + 1] rows of x from 0 to n: pairs are summed by blocks of their rows
  int blocks;                  // one across two sets
  const double* shift; // [d] subtracted from all rows (distances do not change); null for none
  bool normalize;
  bool doubles;
  bool rounded;        // exponentials of rows rounded to 16 bits, and nothing else; where the kernels have such
  const float* basis;  // [d, d] orthonormal columns by falling size of the rows along them, to round tapered rows, see
                       // tapered.h, where the kernels have such; null for none
  int lead;            // columns before the bytes: a multiple of 16 below d
  const double* rates;
  int rate_count;
  bool distances;      // whether to add them up
  Measure measure;
  int bins;
  const double* edges;  // [bins + 1], equally spaced
  bool has_threshold;
  double threshold;
  int64_t most_examples;
  int64_t* watch;  // [2] pairs compared so far; the caller makes the second other than zero to stop. Null for neither
  int threads;
  IsaName isa;
};

struct PairResult {
  double* exp_sums;    // [blocks, blocks, rate_count], the block of the left row first, never after that of the right
  double* distance_sums;  // [blocks, blocks] likewise; null where distances are not wanted
  int64_t* histogram;  // [blocks, blocks, bins + 2], below and above included
  int64_t* examples;   // [most_examples, 2] the first close pairs, by left row and then right row
  int64_t close = 0;   // pairs on the near side of the threshold
  int64_t nearest[2] = {-1, -1};
  double nearest_value = 0;
};

// `out_of_range`: squares of the entries overflow or vanish, or rounded rows are too long for the rates; the same job
// may do with rows that are not rounded, or then in `doubles`.
enum class PairOutcome : int { done, not_finite, zero_norm, no_memory, out_of_range, stopped };

PairOutcome pair_sums(const PairJob&, PairResult&);

}  // namespace featdiv

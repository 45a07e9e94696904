// Blocks of pairs of rounded rows, callable through ctypes: on the software tile unit, and on integers with or without
// the instructions of VNNI.
#include "core/tile_pairs.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace featdiv {
namespace {

struct Wide : Avx512 {
  static inline __attribute__((always_inline)) Vec<int32_t, 16> add_products(Vec<int32_t, 16> sums, int32_t word,
                                                                             Vec<int32_t, 16> words) {
    return sums + (words << 16 >> 16) * int32_t(int16_t(word)) + (words >> 16) * (word >> 16);
  }
};

}  // namespace
}  // namespace featdiv

EXPORTED int64_t words_of(int tiles, int64_t d) {
  return 48 * (tiles ? featdiv::term_words(d) : featdiv::integer_words(d));
}

// `by_row` holds panels of 48 features of 48 rows.
EXPORTED void round_rows(int tiles, const float* by_row, int64_t n, int64_t d, uint32_t stream, int64_t first_row,
                         int32_t* words, float* units) {
  const featdiv::RoundBlock block{by_row, 48 * 48, n, d, stream, first_row, words, units, nullptr};
  if (tiles) featdiv::round_to_terms<featdiv::Wide>(block);
  else featdiv::round_to_integers<featdiv::Wide, true>(block);
}

EXPORTED double sum_of_pairs(int tiles, const int32_t* left, const int32_t* right, const float* left_units,
                             const float* right_units, const float* left_squares, const float* right_squares, int64_t d,
                             int left_valid, int right_valid, int triangle, double rate) {
  double sum = 0;
  featdiv::PairBlock<float> block{};
  block.d = d;
  block.left_squares = left_squares;
  block.right_squares = right_squares;
  block.left_valid = left_valid;
  block.right_valid = right_valid;
  block.triangle = triangle != 0;
  block.rates = &rate;
  block.rate_count = 1;
  block.exp_sums = &sum;
  const featdiv::RoundedSides sides{left, right, left_units, right_units};
  if (tiles) featdiv::tile_pair_block<featdiv::Wide>(block, sides);
  else featdiv::integer_pair_block<featdiv::Wide>(block, sides);
  return sum;
}

// `round_rows` to the nearest integers; `errors` are norms of what that took away.
EXPORTED void round_to_nearest(const float* by_row, int64_t n, int64_t d, int32_t* words, float* units, float* errors) {
  featdiv::round_to_integers<featdiv::Wide, false>({by_row, 48 * 48, n, d, 0, 0, words, units, errors});
}

EXPORTED void nearest_pairs(const int32_t* left, const int32_t* right, const float* left_units,
                            const float* right_units, const float* half_squares, const float* thresholds, int64_t d,
                            int left_valid, int right_valid, float* nearness, uint64_t* better) {
  const featdiv::NearestBlock block{nullptr,      nullptr,    d,        left_valid, right_valid,
                                    half_squares, thresholds, nearness, better};
  featdiv::integer_nearest_block<featdiv::Wide>(block, {left, right, left_units, right_units});
}

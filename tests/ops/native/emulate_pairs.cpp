// Blocks of pairs of rounded rows, callable through ctypes: on the software tile unit, and on integers with or without
// the instructions of VNNI.
#include "core/tapered.h"
#include "core/tile_pairs.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace featdiv {
namespace {

// Words of bytes: those of `word` without signs.
template <class I>
FEATDIV_INLINE I bytes_multiplied(I sums, int32_t word, I words) {
  for (int shift = 0; shift < 32; shift += 8) sums += (words << (24 - shift) >> 24) * (word >> shift & 255);
  return sums;
}

struct Wide : Avx512 {
  static inline __attribute__((always_inline)) Vec<int32_t, 16> add_products(Vec<int32_t, 16> sums, int32_t word,
                                                                             Vec<int32_t, 16> words) {
    return sums + (words << 16 >> 16) * int32_t(int16_t(word)) + (words >> 16) * (word >> 16);
  }

  static inline __attribute__((always_inline)) Vec<int32_t, 16> add_byte_products(Vec<int32_t, 16> sums, int32_t word,
                                                                                  Vec<int32_t, 16> words) {
    return bytes_multiplied(sums, word, words);
  }
};

// The same of half the width.
struct Narrow : Avx2 {
  static inline __attribute__((always_inline)) Vec<int32_t, 8> add_products(Vec<int32_t, 8> sums, int32_t word,
                                                                            Vec<int32_t, 8> words) {
    return sums + (words << 16 >> 16) * int32_t(int16_t(word)) + (words >> 16) * (word >> 16);
  }

  static inline __attribute__((always_inline)) Vec<int32_t, 8> add_byte_products(Vec<int32_t, 8> sums, int32_t word,
                                                                                 Vec<int32_t, 8> words) {
    return bytes_multiplied(sums, word, words);
  }
};

enum Unit : int { integers, tiles, narrow_integers };

PairBlock<float> exponentials(const float* left_squares, const float* right_squares, int64_t d, int left_valid,
                              int right_valid, bool triangle, const double& rate, double& sum) {
  PairBlock<float> block{};
  block.d = d;
  block.left_squares = left_squares;
  block.right_squares = right_squares;
  block.left_valid = left_valid;
  block.right_valid = right_valid;
  block.triangle = triangle;
  block.rates = &rate;
  block.rate_count = 1;
  block.exp_sums = &sum;
  return block;
}

}  // namespace
}  // namespace featdiv

EXPORTED int width_of(int unit) { return unit == featdiv::narrow_integers ? 24 : 48; }

EXPORTED int64_t words_of(int unit, int64_t d) {
  return width_of(unit) * (unit == featdiv::tiles ? featdiv::term_words(d) : featdiv::integer_words(d));
}

// `by_row` holds panels of as many features as rows, the width of the unit.
EXPORTED void round_rows(int unit, const float* by_row, int64_t n, int64_t d, uint32_t stream, int64_t first_row,
                         int32_t* words, float* units) {
  const featdiv::RoundBlock block{by_row, width_of(unit) * width_of(unit), n, d, stream, first_row, words, units};
  if (unit == featdiv::tiles) featdiv::round_to_terms<featdiv::Wide>(block);
  else if (unit == featdiv::integers) featdiv::round_to_integers<featdiv::Wide, true>(block);
  else featdiv::round_to_integers<featdiv::Narrow, true>(block);
}

EXPORTED double sum_of_pairs(int unit, const int32_t* left, const int32_t* right, const float* left_units,
                             const float* right_units, const float* left_squares, const float* right_squares, int64_t d,
                             int left_valid, int right_valid, int triangle, double rate) {
  double sum = 0;
  const auto block = featdiv::exponentials(left_squares, right_squares, d, left_valid, right_valid, triangle != 0, rate, sum);
  const featdiv::RoundedSides sides{left, right, left_units, right_units};
  if (unit == featdiv::tiles) featdiv::tile_pair_block<featdiv::Wide>(block, sides);
  else if (unit == featdiv::integers) featdiv::integer_pair_block<featdiv::Wide>(block, sides);
  else featdiv::integer_pair_block<featdiv::Narrow>(block, sides);
  return sum;
}

EXPORTED int64_t tapered_words_of(int unit, int64_t d, int64_t lead) {
  return width_of(unit) * featdiv::tapered_words(d, lead);
}

EXPORTED void taper_rows(int unit, const float* by_row, int64_t n, int64_t d, int64_t lead, int64_t first_row,
                         int32_t* words, float* units, int32_t* offsets) {
  const featdiv::RoundBlock block{by_row, width_of(unit) * width_of(unit), n, d, 0, first_row, words, units,
                                  nullptr, lead, offsets};
  if (unit == featdiv::integers) featdiv::taper_rows<featdiv::Wide>(block);
  else featdiv::taper_rows<featdiv::Narrow>(block);
}

EXPORTED double sum_of_tapered_pairs(int unit, const int32_t* left, const int32_t* right, const float* left_units,
                                     const float* right_units, const int32_t* right_offsets, const float* left_squares,
                                     const float* right_squares, int64_t d, int64_t lead, int left_valid,
                                     int right_valid, int triangle, double rate) {
  double sum = 0;
  const auto block = featdiv::exponentials(left_squares, right_squares, d, left_valid, right_valid, triangle != 0, rate, sum);
  const featdiv::TaperedSides sides{{left, right, left_units, right_units}, right_offsets, lead};
  if (unit == featdiv::integers) featdiv::tapered_pair_block<featdiv::Wide>(block, sides);
  else featdiv::tapered_pair_block<featdiv::Narrow>(block, sides);
  return sum;
}

EXPORTED void turn_into_basis(int unit, const float* columns, const float* basis, int64_t d, float* by_row) {
  if (unit == featdiv::integers) featdiv::turn_into_basis<featdiv::Wide>(columns, basis, d, by_row);
  else featdiv::turn_into_basis<featdiv::Narrow>(columns, basis, d, by_row);
}

// `round_rows` to the nearest integers; `errors` are norms of what that took away.
EXPORTED void round_to_nearest(int unit, const float* by_row, int64_t n, int64_t d, int32_t* words, float* units,
                               float* errors) {
  const featdiv::RoundBlock block{by_row, width_of(unit) * width_of(unit), n, d, 0, 0, words, units, errors};
  if (unit == featdiv::integers) featdiv::round_to_integers<featdiv::Wide, false>(block);
  else featdiv::round_to_integers<featdiv::Narrow, false>(block);
}

EXPORTED void nearest_pairs(int unit, const int32_t* left, const int32_t* right, const float* left_units,
                            const float* right_units, const float* half_squares, const float* thresholds, int64_t d,
                            int left_valid, int right_valid, float* nearness, uint64_t* better) {
  const featdiv::NearestBlock block{nullptr,      nullptr,    d,        left_valid, right_valid,
                                    half_squares, thresholds, nearness, better};
  const featdiv::RoundedSides sides{left, right, left_units, right_units};
  if (unit == featdiv::integers) featdiv::integer_nearest_block<featdiv::Wide>(block, sides);
  else featdiv::integer_nearest_block<featdiv::Narrow>(block, sides);
}

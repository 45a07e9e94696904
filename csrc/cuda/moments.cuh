// What scatter, class_scatter and cross_gram do with rows before their products: reading any type, moving, scaling,
// splitting into planes of terms, and sums of columns in float64.
//
// A packed row p comes from row source[p] of x, or first + p where `source` is null; -1 marks filling, which becomes
// zeros. Planes lie one after the other: plane t holds term t of every packed row, rows of `padded` entries (a multiple
// of 64), or tiles as `Planes::tile` says. Blocks of 64 packed rows belong to one group each. Every sum is taken in a
// fixed order.
#include "elements.cuh"

constexpr int moments_threads = 256;

namespace featdiv {

constexpr int block_rows = 64;
constexpr int block_columns = 64;

// z = (x / |x| - shift) 2^e; what is null is left out. 1 / |x| is a power of two and what is left: the square of 1e200
// would be infinite. Rows and columns of x may have any strides.
struct Moved {
  const void* x;
  const double *shift, *powers, *scale, *inverse;
  long long row_stride, column_stride;
  int d, padded;

  template <class T>
  __device__ __forceinline__ T at(long long row, int column) const {
    return static_cast<const T*>(x)[row * row_stride + column * column_stride];
  }
  template <class T>
  __device__ __forceinline__ double wide(long long row, int column, int group) const {
    double z = to_double(at<T>(row, column));
    if (scale) z = z * scale[row] * inverse[row];
    if (shift) z -= shift[(long long)group * padded + column];
    if (powers) z *= powers[column];
    return z;
  }
};

struct Places {
  const long long* source;
  long long first, count;

  // The row of x at a packed place, -1 where there is none.
  __device__ __forceinline__ long long row(long long place) const {
    if (place >= count) return -1;
    return source ? source[place] : first + place;
  }
};

// Adds up `value` of the threads with the same `column`, in the order of `strip`; true in those that hold the sum.
template <int columns, int strips>
__device__ __forceinline__ bool add_strips(double* shared, int column, int strip, double* value) {
  static_assert(columns * strips == moments_threads, "each thread has one value");
  __syncthreads();
  shared[strip * columns + column] = *value;
  __syncthreads();
  if (strip != 0) return false;
  for (int other = 1; other < strips; ++other) *value += shared[other * columns + column];
  return true;
}

__device__ __forceinline__ double over_warp(double own) {
  for (int step = 16; step > 0; step /= 2) own += __shfl_xor_sync(0xffffffffu, own, step);
  return own;
}

struct Planes {
  void* planes;
  long long stride;
  int terms;  // of bfloat16; 0: the float16 numbers themselves; -1: float64
  bool tiled;

  __device__ __forceinline__ long long where(long long place, int column, int padded) const {
    return tiled ? tile(place, column, padded) : place * padded + column;
  }

  // Tiles of 64 rows by 64 columns of 16-bit numbers one after the other, all of one block of rows first. Units of 16
  // bytes change places within a row of a tile, as warpgroups read it from shared memory (units_sm90.cuh).
  __device__ __forceinline__ static long long tile(long long place, int column, int padded) {
    const long long number = place / block_rows * (padded / block_columns) + column / block_columns;
    const int row = int(place % block_rows), inner = column % block_columns;
    return (number * block_rows + row) * block_columns + ((inner / 8 ^ (row & 7)) * 8 + inner % 8);
  }
};

__device__ __forceinline__ unsigned short stored_bits(Half x) { return x.bits; }
template <class T>
__device__ __forceinline__ unsigned short stored_bits(T) {
  return 0;  // only float16 rows are packed as they are
}

// Writes z of one place and column as terms, and returns what they leave out of it.
template <class T, class Z>
__device__ __forceinline__ Z write_terms(const Planes& out, long long where, T raw, Z z) {
  if (out.terms < 0) {
    static_cast<double*>(out.planes)[where] = z;
    return Z(0);
  }
  unsigned short* const plane = static_cast<unsigned short*>(out.planes) + where;
  if (out.terms == 0) {
    *plane = stored_bits(raw);
    return Z(0);
  }
  for (int term = 0; term < out.terms; ++term) {
    const BFloat part = {nearest_bfloat16(float(z))};
    plane[term * out.stride] = part.bits;
    z -= Z(to_float(part));
  }
  return z;
}

// Packs 64 rows by 64 columns, and writes the sums of the columns, of their squares, and (unless that is null) of the
// squares of what their terms leave out: (blocks, padded).
template <class T, bool narrow>
__device__ __forceinline__ void pack_block(const Moved& rows, const Places& places, const Planes& out, double* totals,
                                           double* squares, double* rests, const int* group_of_block, double* shared) {
  const long long block = blockIdx.x;
  const int inner = threadIdx.x % block_columns, strip = threadIdx.x / block_columns;
  const int column = blockIdx.y * block_columns + inner;
  const int group = group_of_block[block];
  constexpr int strips = moments_threads / block_columns;
  double total = 0.0, square = 0.0, rest = 0.0;
#pragma unroll 2
  for (int r = strip; r < block_rows; r += strips) {
    const long long place = block * block_rows + r, row = places.row(place);
    const bool present = row >= 0 && column < rows.d;
    T raw = {};
    if (present) raw = rows.at<T>(row, column);
    if constexpr (narrow) {
      const float z = to_float(raw);
      total += z;
      square += double(z) * z;
      const double left = write_terms(out, out.where(place, column, rows.padded), raw, z);
      if (rests) rest += left * left;
    } else {
      const double z = present ? rows.wide<T>(row, column, group) : 0.0;
      total += z;
      square += z * z;
      const double left = write_terms(out, out.where(place, column, rows.padded), raw, z);
      if (rests) rest += left * left;
    }
  }
  const long long sums = block * rows.padded + column;
  if (add_strips<block_columns, strips>(shared, inner, strip, &total)) totals[sums] = total;
  if (add_strips<block_columns, strips>(shared, inner, strip, &square)) squares[sums] = square;
  if (rests && add_strips<block_columns, strips>(shared, inner, strip, &rest)) rests[sums] = rest;
}

}  // namespace featdiv

// Grid: blocks of rows, columns to fill / 64. `wide`: whether z is computed in float64.
extern "C" __global__ void __launch_bounds__(moments_threads)
    pack_rows(const void* x, int element, long long row_stride, long long column_stride, int d, int padded,
              const long long* source, long long first, long long count, const int* group_of_block, const double* shift,
              const double* powers, const double* scale, const double* inverse, int wide, void* planes,
              long long plane_stride, int terms, int tiled, double* totals, double* squares, double* rests) {
  using namespace featdiv;
  __shared__ double shared[moments_threads];
  const Moved rows = {x, shift, powers, scale, inverse, row_stride, column_stride, d, padded};
  const Places places = {source, first, count};
  const Planes out = {planes, plane_stride, terms, tiled != 0};
  with_element(element, [&](auto value) {
    using T = decltype(value);
    if (wide || sizeof(T) == 8) {
      pack_block<T, false>(rows, places, out, totals, squares, rests, group_of_block, shared);
    } else {
      pack_block<T, true>(rows, places, out, totals, squares, rests, group_of_block, shared);
    }
  });
}

// A power of two for each row, about 1 over its largest magnitude, and 1 / |row times it|; their product with a row of
// zeros, or with one that is not finite, is NaN. One warp for each row.
extern "C" __global__ void __launch_bounds__(moments_threads)
    row_norms(const void* x, int element, long long row_stride, long long column_stride, long long n, int d,
              double* scale, double* inverse) {
  using namespace featdiv;
  const Moved rows = {x, nullptr, nullptr, nullptr, nullptr, row_stride, column_stride, d, d};
  const int lane = threadIdx.x % 32;
  const long long row = (long long)blockIdx.x * (moments_threads / 32) + threadIdx.x / 32;
  if (row >= n) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    double most = 0.0, poison = 0.0;
    for (int column = lane; column < d; column += 32) {
      const double z = rows.wide<T>(row, column, 0);
      most = fmax(most, fabs(z));
      // 0 for finite entries, NaN for others, which a maximum passes over.
      poison += z * 0.0;
    }
    for (int step = 16; step > 0; step /= 2) most = fmax(most, __shfl_xor_sync(0xffffffffu, most, step));
    most += over_warp(poison);
    // Not above 2^1023, which brings even the smallest denormal to 2^-51.
    const double power = most > 0.0 ? scalbn(1.0, -max(ilogb(most), -1023)) : most + 1.0;
    double square = 0.0;
    for (int column = lane; column < d; column += 32) {
      const double z = rows.wide<T>(row, column, 0) * power;
      square += z * z;
    }
    square = over_warp(square);
    if (lane == 0) {
      scale[row] = power;
      inverse[row] = 1.0 / sqrt(square);
    }
  });
}

// The sum of the first used[g] packed rows of group g, which begin at places[g]. Grid: groups, padded / 64.
extern "C" __global__ void __launch_bounds__(moments_threads)
    first_rows(const void* x, int element, long long row_stride, long long column_stride, int d, int padded,
                const long long* source, const long long* first_place, const long long* used, const double* scale,
                const double* inverse, double* sums) {
  using namespace featdiv;
  __shared__ double shared[moments_threads];
  constexpr int strips = moments_threads / block_columns;
  const Moved rows = {x, nullptr, nullptr, scale, inverse, row_stride, column_stride, d, padded};
  const int inner = threadIdx.x % block_columns, strip = threadIdx.x / block_columns;
  const int column = blockIdx.y * block_columns + inner;
  const long long group = blockIdx.x, count = used[group];
  with_element(element, [&](auto value) {
    using T = decltype(value);
    double total = 0.0;
    for (long long r = strip; r < count; r += strips) {
      const long long row = source[first_place[group] + r];
      if (column < d) total += rows.wide<T>(row, column, 0);
    }
    if (add_strips<block_columns, strips>(shared, inner, strip, &total)) sums[group * padded + column] = total;
  });
}

// |z|^2 of blocks of 64 rows, 0 for filling.
extern "C" __global__ void __launch_bounds__(moments_threads)
    squared_norms(const void* x, int element, long long row_stride, long long column_stride, int d, int padded,
                  const long long* source, long long first, long long count, const int* group_of_block,
                  const double* shift, const double* powers, const double* scale, const double* inverse,
                  double* squares) {
  using namespace featdiv;
  const Moved rows = {x, shift, powers, scale, inverse, row_stride, column_stride, d, padded};
  const Places places = {source, first, count};
  const long long block = blockIdx.x;
  const int group = group_of_block[block], lane = threadIdx.x % 32;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    for (int r = threadIdx.x / 32; r < block_rows; r += moments_threads / 32) {
      const long long row = places.row(block * block_rows + r);
      double square = 0.0;
      for (int column = lane; row >= 0 && column < d; column += 32) {
        const double z = rows.wide<T>(row, column, group);
        square += z * z;
      }
      square = over_warp(square);
      if (lane == 0) squares[block * block_rows + r] = square;
    }
  });
}

// For blocks of 64 rows, with the squared norms of these rows and of those that weigh them, which may be the same: sums
// of weight z into `width` columns of `weighted` (blocks, padded), and of |z|^2 weight into `fourth` (blocks).
extern "C" __global__ void __launch_bounds__(moments_threads)
    norm_sums(const void* x, int element, long long row_stride, long long column_stride, int d, int padded,
              const long long* source, long long first, long long count, const int* group_of_block, const double* shift,
              const double* powers, const double* scale, const double* inverse, const double* squares,
              const double* weights, int width, double* weighted, double* fourth) {
  using namespace featdiv;
  const Moved rows = {x, shift, powers, scale, inverse, row_stride, column_stride, d, padded};
  const Places places = {source, first, count};
  const long long block = blockIdx.x;
  const int group = group_of_block[block];
  if (threadIdx.x == 0) {
    double sum = 0.0;
    for (int r = 0; r < block_rows; ++r) sum += squares[block * block_rows + r] * weights[block * block_rows + r];
    fourth[block] = sum;
  }
  with_element(element, [&](auto value) {
    using T = decltype(value);
    for (int column = threadIdx.x; column < width; column += moments_threads) {
      double sum = 0.0;
      for (int r = 0; r < block_rows && column < d; ++r) {
        const long long row = places.row(block * block_rows + r);
        if (row >= 0) sum += weights[block * block_rows + r] * rows.wide<T>(row, column, group);
      }
      weighted[block * padded + column] = sum;
    }
  });
}

// Adds rows starts[g] to starts[g + 1] of `partial` (blocks, width) to row g of `out`. Grid: groups, width / 32 up.
extern "C" __global__ void __launch_bounds__(moments_threads)
    sum_blocks(const double* partial, const long long* starts, double* out, int width) {
  using namespace featdiv;
  __shared__ double shared[moments_threads];
  constexpr int columns = 32, strips = moments_threads / columns;
  const int inner = threadIdx.x % columns, strip = threadIdx.x / columns;
  const int column = blockIdx.y * columns + inner;
  const long long group = blockIdx.x, stop = starts[group + 1];
  double total = 0.0;
#pragma unroll 4
  for (long long row = starts[group] + strip; row < stop; row += strips) {
    if (column < width) total += partial[row * width + column];
  }
  if (add_strips<columns, strips>(shared, inner, strip, &total) && column < width) out[group * width + column] += total;
}

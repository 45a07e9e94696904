// The functions of csrc/cuda/units.cuh, lane by lane; included by cuda_on_host.h.
#pragma once

namespace featdiv {

inline unsigned char* dynamic_shared() { return emulator::block.dynamic; }

}  // namespace featdiv

namespace emulator {

inline float from_bfloat16(uint16_t bits) { return emulator_bits<float>(uint32_t(bits) << 16); }

inline float from_float16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexpf(float(1024 + fraction), exponent - 25) : ldexpf(float(fraction), -24));
}

inline int exponent_of(double x) {
  const int biased = int(emulator_bits<uint64_t>(x) >> 52 & 2047);
  return x == 0.0 ? -2000 : biased - 1023;
}

inline double power_of_two(int exponent) { return emulator_bits<double>(uint64_t(1023 + exponent) << 52); }

// c plus eight exact products, as a tensor core of compute capability 8.0 adds them: aligned to the largest, cut off one
// bit below the last of a float32, and the sum cut off to float32. Newer ones keep more bits.
inline float add_products(float c, const double* products) {
  double plain = c, largest = fabs(double(c));
  for (int k = 0; k < 8; ++k) {
    plain += products[k];
    largest = std::max(largest, fabs(products[k]));
  }
  if (!std::isfinite(plain)) return float(plain);
  const int lowest = std::max(exponent_of(largest), -126) - 24;
  const double units = power_of_two(-lowest);
  int64_t sum = int64_t(double(c) * units);
  for (int k = 0; k < 8; ++k) sum += int64_t(products[k] * units);
  if (!sum) return 0.0f;
  const uint64_t magnitude = uint64_t(sum < 0 ? -sum : sum);
  const int dropped = std::max(0, 64 - __builtin_clzll(magnitude) - 24);
  const float result = float(double(magnitude >> dropped) * power_of_two(lowest + dropped));
  return sum < 0 ? -result : result;
}

struct Multiply {
  float* c;
  const unsigned* a;
  unsigned b[2];
};

template <float (*value)(uint16_t)>
void multiply(Multiply** all) {
  float left[16][16], right[16][8];
  for (int lane = 0; lane < lanes; ++lane) {
    const int g = lane / 4, p = 2 * (lane % 4);
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 4; ++r) {
        left[g + 8 * (r % 2)][p + 8 * (r / 2) + half] = value(uint16_t(all[lane]->a[r] >> 16 * half));
      }
      for (int r = 0; r < 2; ++r) right[p + 8 * r + half][g] = value(uint16_t(all[lane]->b[r] >> 16 * half));
    }
  }
  for (int lane = 0; lane < lanes; ++lane) {
    const int g = lane / 4, p = 2 * (lane % 4);
    for (int r = 0; r < 4; ++r) {
      const int i = g + 8 * (r / 2), j = p + r % 2;
      for (int k = 0; k < 16; k += 8) {
        double products[8];
        for (int q = 0; q < 8; ++q) products[q] = double(left[i][k + q]) * double(right[k + q][j]);
        all[lane]->c[r] = add_products(all[lane]->c[r], products);
      }
    }
  }
}

struct Matrices {
  const char* row;
  unsigned* r;
};

inline void load(const char* at, bool transposed, unsigned* r, const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fail(std::string(at) + ": an address that is not aligned to 16 bytes");
  Matrices mine{static_cast<const char*>(row), r};
  with_warp(at, 0, mine, [transposed](Matrices** all) {
    uint16_t entry[4][8][8];
    for (int lane = 0; lane < lanes; ++lane) memcpy(entry[lane / 8][lane % 8], all[lane]->row, 16);
    for (int lane = 0; lane < lanes; ++lane) {
      const int g = lane / 4, p = 2 * (lane % 4);
      for (int m = 0; m < 4; ++m) {
        const unsigned low = transposed ? entry[m][p][g] : entry[m][g][p];
        const unsigned high = transposed ? entry[m][p + 1][g] : entry[m][g][p + 1];
        all[lane]->r[m] = low | high << 16;
      }
    }
  });
}

}  // namespace emulator

namespace featdiv {

inline void load_matrices(unsigned (&r)[4], const void* row) { emulator::load("load_matrices", false, r, row); }

inline void load_matrices_transposed(unsigned (&r)[4], const void* row) {
  emulator::load("load_matrices_transposed", true, r, row);
}

inline void multiply_bfloat16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulator::Multiply mine{c, a, {b0, b1}};
  emulator::with_warp("multiply_bfloat16", 0, mine, emulator::multiply<emulator::from_bfloat16>);
}

inline void multiply_float16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulator::Multiply mine{c, a, {b0, b1}};
  emulator::with_warp("multiply_float16", 0, mine, emulator::multiply<emulator::from_float16>);
}

inline void multiply_float64(double (&c)[2], double a, double b) {
  struct Deposit {
    double *c, a, b;
  } mine{c, a, b};
  emulator::with_warp("multiply_float64", 0, mine, [](Deposit** all) {
    for (int lane = 0; lane < emulator::lanes; ++lane) {
      const int g = lane / 4, p = 2 * (lane % 4);
      for (int r = 0; r < 2; ++r) {
        for (int k = 0; k < 4; ++k) {
          all[lane]->c[r] = std::fma(all[4 * g + k]->a, all[4 * (p + r) + k]->b, all[lane]->c[r]);
        }
      }
    }
  });
}

inline void copy_async(void* shared, const void* global) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 || reinterpret_cast<uintptr_t>(global) % 16) {
    emulator::fail("copy_async: an address that is not aligned to 16 bytes");
  }
  if (emulator::block.eager) {
    memcpy(shared, global, 16);
  } else {
    emulator::own().copies.push_back({shared, global, emulator::own().committed});
  }
}

inline void copy_commit() { ++emulator::own().committed; }

template <int left>
void copy_wait() {
  auto& copies = emulator::own().copies;
  size_t done = 0;
  for (; done < copies.size() && copies[done].group < emulator::own().committed - left; ++done) {
    memcpy(copies[done].to, copies[done].from, 16);
  }
  copies.erase(copies.begin(), copies.begin() + done);
}

}  // namespace featdiv

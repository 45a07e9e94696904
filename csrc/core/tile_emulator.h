// A tile unit in software with the arithmetic of Intel's manual for TDPBF16PS: two chains of fused multiply-adds in
// float32, one for each half of the pairs, added to one another and then to the sum; rounding to nearest, denormals
// taken and given as zero. For tests: it is slow.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace featdiv {

class TileEmulator {
 public:
  void configure(const void* config) {
    uint8_t bytes[64];
    std::memcpy(bytes, config, sizeof bytes);
    for (int tile = 0; tile < 8; ++tile) {
      uint16_t row_bytes;
      std::memcpy(&row_bytes, bytes + 16 + 2 * tile, sizeof row_bytes);
      if (bytes[0] != 1 || row_bytes != 64 || bytes[48 + tile] != 16) std::abort();
    }
    configured_ = true;
    std::memset(tiles_, 0, sizeof tiles_);
  }
  void release() { configured_ = false; }
  void zero(int tile) { std::memset(at(tile), 0, sizeof tiles_[0]); }
  void load(int tile, const void* from) { std::memcpy(at(tile), from, sizeof tiles_[0]); }
  void store(int tile, void* to) { std::memcpy(to, at(tile), sizeof tiles_[0]); }

  void dot(int sum, int left, int right) {
    const uint32_t* a = at(left);
    const uint32_t* b = at(right);
    uint32_t* c = at(sum);
    for (int m = 0; m < 16; ++m) {
      float even[16] = {}, odd[16] = {};
      for (int k = 0; k < 16; ++k)
        for (int n = 0; n < 16; ++n) {
          even[n] = flushed(std::fma(low(a[16 * m + k]), low(b[16 * k + n]), even[n]));
          odd[n] = flushed(std::fma(high(a[16 * m + k]), high(b[16 * k + n]), odd[n]));
        }
      for (int n = 0; n < 16; ++n) {
        const float pair = flushed(even[n] + odd[n]);
        const float total = flushed(flushed(value(c[16 * m + n])) + pair);
        std::memcpy(&c[16 * m + n], &total, sizeof total);
      }
    }
  }

 private:
  // Hardware faults on a tile that is not configured.
  uint32_t* at(int tile) {
    if (!configured_) std::abort();
    return tiles_[tile];
  }
  static float value(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  static float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
  static float low(uint32_t pair) { return flushed(value(pair << 16)); }
  static float high(uint32_t pair) { return flushed(value(pair & 0xffff0000u)); }

  uint32_t tiles_[8][256];
  bool configured_ = false;
};

inline thread_local TileEmulator tile_emulator;

}  // namespace featdiv

#define FEATDIV_TILE_CONFIG(config) ::featdiv::tile_emulator.configure(config)
#define FEATDIV_TILE_RELEASE() ::featdiv::tile_emulator.release()
#define FEATDIV_TILE_ZERO(tile) ::featdiv::tile_emulator.zero(tile)
#define FEATDIV_TILE_LOAD(tile, from) ::featdiv::tile_emulator.load(tile, from)
#define FEATDIV_TILE_STORE(tile, to) ::featdiv::tile_emulator.store(tile, to)
#define FEATDIV_TILE_DOT(sum, left, right) ::featdiv::tile_emulator.dot(sum, left, right)

// The tile registers of AMX, by number: eight of sixteen rows of 64 bytes. With FEATDIV_EMULATED_TILES a software unit
// stands in for them, so that everything around the instructions runs where they are missing.
#pragma once

#include <cstdint>

#if defined(FEATDIV_EMULATED_TILES)
#include "tile_emulator.h"
#else
#include <immintrin.h>

// Macros, because the number of a register is part of the instruction. Rows follow one another without a gap.
#define FEATDIV_TILE_CONFIG(config) _tile_loadconfig(config)
#define FEATDIV_TILE_RELEASE() _tile_release()
#define FEATDIV_TILE_ZERO(tile) _tile_zero(tile)
#define FEATDIV_TILE_LOAD(tile, from) _tile_loadd(tile, from, 64)
#define FEATDIV_TILE_STORE(tile, to) _tile_stored(tile, to, 64)
#define FEATDIV_TILE_DOT(sum, left, right) _tile_dpbf16ps(sum, left, right)
#endif

namespace featdiv {

// What LDTILECFG reads.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64, "the processor reads 64 bytes");

}  // namespace featdiv

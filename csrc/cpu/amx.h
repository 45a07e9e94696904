// Whether the tiles of AMX may be used.
#pragma once

namespace featdiv {

// Why they may not, in words, or "" where they may. The first call asks the processor and the kernel, and checks
// small products on the tiles against plain ones; later calls repeat the answer.
const char* amx_problem();

}  // namespace featdiv

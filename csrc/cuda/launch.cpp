#include "launch.h"

#include <cuda_runtime_api.h>

namespace featdiv {
namespace {

constexpr int64_t static_shared = 48 << 10;  // bytes that a block may have without asking for more

std::string said(const char* call, cudaError_t error) {
  cudaGetLastError();  // an error that has been told must not come up in the next call
  return std::string(call) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
}

const Kernel* found(const std::string& source, const std::string& name) {
  for (const Kernel* each = Kernel::first; each; each = each->next) {
    if (source == each->source && name == each->name) return each;
  }
  return nullptr;
}

// The device of this thread, which is put back.
struct OnDevice {
  int before = 0;
  cudaError_t error;

  explicit OnDevice(int device) {
    error = cudaGetDevice(&before);
    if (error == cudaSuccess) error = cudaSetDevice(device);
  }
  ~OnDevice() {
    if (error == cudaSuccess) cudaSetDevice(before);
  }
};

}  // namespace

std::string launch(const Launch& what) {
  const Kernel* const kernel = found(what.source, what.name);
  if (!kernel) return "this build has no kernel " + what.name + " of " + what.source;
  if (what.sizes != kernel->sizes || what.slots.size() != 8 * what.sizes.size()) {
    return "the arguments are not those of the kernel: " + std::to_string(kernel->sizes.size()) + " expected, " +
           std::to_string(what.sizes.size()) + " given, or of other sizes";
  }
  const OnDevice device(what.device);
  if (device.error != cudaSuccess) return said("cudaSetDevice", device.error);
  if (what.shared_bytes > static_shared) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel->function, cudaFuncAttributeMaxDynamicSharedMemorySize, int(what.shared_bytes));
    if (error != cudaSuccess) return said("cudaFuncSetAttribute", error);
  }
  std::string slots = what.slots;
  std::vector<void*> arguments;
  for (size_t i = 0; i < what.sizes.size(); ++i) arguments.push_back(&slots[8 * i]);
  const cudaError_t error = cudaLaunchKernel(
      kernel->function, dim3(what.grid[0], what.grid[1], what.grid[2]), dim3(unsigned(what.threads)), arguments.data(),
      size_t(what.shared_bytes), reinterpret_cast<cudaStream_t>(what.stream));
  return error == cudaSuccess ? "" : said("cudaLaunchKernel", error);
}

std::string missing_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return said("cudaGetDeviceCount", error);
  return count ? "" : "there is no CUDA device";
}

}  // namespace featdiv

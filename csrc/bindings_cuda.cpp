// Integers in, error text out, GIL released: what Python sees of the CUDA kernels. Arguments have been checked there.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "cuda/launch.h"

namespace py = pybind11;

namespace {

std::string launch(const std::string& source, const std::string& name, std::array<unsigned, 3> grid, int threads,
                   int64_t shared_bytes, uintptr_t stream, int device, const py::bytes& slots,
                   const std::vector<int>& sizes) {
  const featdiv::Launch what{source, name,   {grid[0], grid[1], grid[2]}, threads, shared_bytes, stream,
                             device, slots, sizes};
  py::gil_scoped_release released;
  return featdiv::launch(what);
}

std::string missing_device() {
  py::gil_scoped_release released;
  return featdiv::missing_device();
}

py::list kernels() {
  py::list found;
  for (const featdiv::Kernel* each = featdiv::Kernel::first; each; each = each->next) {
    found.append(py::make_tuple(each->source, each->name));
  }
  return found;
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Device kernels of featdiv. Private: the cuda backends of featdiv.ops are its only callers.";
  m.attr("INTERFACE") = 4;
  m.attr("TOOLKIT") = CUDART_VERSION;
  m.attr("ARCHITECTURES") = FEATDIV_ARCHITECTURES;
  m.def("kernels", &kernels);
  m.def("missing_device", &missing_device);
  m.def("launch", &launch, py::kw_only(), py::arg("source"), py::arg("name"), py::arg("grid"), py::arg("threads"),
        py::arg("shared_bytes"), py::arg("stream"), py::arg("device"), py::arg("slots"), py::arg("sizes"));
}

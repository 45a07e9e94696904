// Integers in, codes out, GIL released: the only file that sees pybind11. Every argument has been checked in Python.
#include <pybind11/pybind11.h>

#include "cpu/amx.h"
#include "cpu/centred_rows.h"
#include "cpu/class_scatter.h"
#include "cpu/cross_gram.h"
#include "cpu/nearest_centroid.h"
#include "cpu/pair_sums.h"
#include "cpu/stages.h"
#include "cpu/topk.h"

namespace py = pybind11;

namespace {

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

featdiv::Rows rows_at(uintptr_t rows, uintptr_t index, int64_t n, int64_t d, int64_t row_stride, int element) {
  return {at<const char>(rows), at<const int64_t>(index), n, d, row_stride, featdiv::Element(element)};
}

py::tuple scatter(uintptr_t rows, int64_t n, int64_t d, int64_t row_stride, int element, uintptr_t shift,
                  uintptr_t exponent, bool normalize, bool doubles, double bound, uintptr_t total, uintptr_t gram,
                  uintptr_t weighted, uintptr_t fourth, int threads, int isa) {
  const featdiv::ScatterJob job{rows_at(rows, 0, n, d, row_stride, element),
                                at<const double>(shift),
                                at<const int32_t>(exponent),
                                normalize,
                                doubles,
                                at<double>(total),
                                at<double>(gram),
                                at<double>(weighted),
                                at<double>(fourth),
                                threads,
                                featdiv::IsaName(isa),
                                bound,
                                {}};
  featdiv::Status status;
  {
    py::gil_scoped_release released;
    status = featdiv::scatter(job);
  }
  return py::make_tuple(int(status.outcome), status.tiles, status.tiles_in_doubles);
}

int class_scatter(uintptr_t rows, int64_t n, int64_t d, int64_t row_stride, int element, uintptr_t index,
                  uintptr_t starts, int64_t classes, bool normalize, bool doubles, double bound, uintptr_t means,
                  uintptr_t scatters, bool narrow, int threads, int isa) {
  const featdiv::ClassScatterJob job{rows_at(rows, index, n, d, row_stride, element),
                                     at<const int64_t>(starts),
                                     classes,
                                     normalize,
                                     doubles,
                                     bound,
                                     at<double>(means),
                                     at<void>(scatters),
                                     narrow,
                                     threads,
                                     featdiv::IsaName(isa)};
  py::gil_scoped_release released;
  return int(featdiv::class_scatter(job));
}

int centred_rows(uintptr_t rows, int64_t n, int64_t d, int64_t row_stride, int element, uintptr_t index,
                 uintptr_t codes, uintptr_t pilots, uintptr_t exponent, bool normalize, uintptr_t places,
                 uintptr_t out, bool narrow, uintptr_t sums, int threads, int isa) {
  const featdiv::CentredRowsJob job{rows_at(rows, index, n, d, row_stride, element),
                                    at<const int64_t>(codes),
                                    at<const double>(pilots),
                                    at<const int32_t>(exponent),
                                    normalize,
                                    at<const int64_t>(places),
                                    at<void>(out),
                                    narrow,
                                    at<double>(sums),
                                    threads,
                                    featdiv::IsaName(isa)};
  py::gil_scoped_release released;
  return int(featdiv::centred_rows(job));
}

py::tuple cross_gram(uintptr_t x, int64_t x_stride, int64_t x_d, uintptr_t x_shift, uintptr_t x_exponent,
                     uintptr_t x_total, uintptr_t x_weighted, uintptr_t other, int64_t other_stride, int64_t other_d,
                     uintptr_t other_shift, uintptr_t other_exponent, uintptr_t other_total, uintptr_t other_weighted,
                     int64_t n, int element, bool normalize, bool doubles, double bound, uintptr_t gram,
                     uintptr_t fourth, int threads, int isa) {
  const featdiv::CrossJob job{
      {rows_at(x, 0, n, x_d, x_stride, element), at<const double>(x_shift), at<const int32_t>(x_exponent),
       at<double>(x_total), at<double>(x_weighted)},
      {rows_at(other, 0, n, other_d, other_stride, element), at<const double>(other_shift),
       at<const int32_t>(other_exponent), at<double>(other_total), at<double>(other_weighted)},
      normalize,
      doubles,
      bound,
      at<double>(gram),
      at<double>(fourth),
      threads,
      featdiv::IsaName(isa)};
  featdiv::Status status;
  {
    py::gil_scoped_release released;
    status = featdiv::cross_gram(job);
  }
  return py::make_tuple(int(status.outcome), status.tiles, status.tiles_in_doubles);
}

py::tuple pair_sums(uintptr_t x, int64_t n, int64_t x_stride, uintptr_t other, int64_t m, int64_t other_stride,
                    int64_t d, int element, uintptr_t block_edges, int blocks, uintptr_t shift, bool normalize,
                    bool doubles, bool rounded, uintptr_t basis, int lead, uintptr_t rates, int rate_count,
                    bool distances, int measure, int bins, uintptr_t edges, bool has_threshold, double threshold, int64_t most_examples, uintptr_t exp_sums,
                    uintptr_t distance_sums, uintptr_t histogram, uintptr_t examples, uintptr_t watch, int threads,
                    int isa) {
  const featdiv::PairJob job{rows_at(x, 0, n, d, x_stride, element),
                             rows_at(other, 0, m, d, other_stride, element),
                             at<const int64_t>(block_edges),
                             blocks,
                             at<const double>(shift),
                             normalize,
                             doubles,
                             rounded,
                             at<const float>(basis),
                             lead,
                             at<const double>(rates),
                             rate_count,
                             distances,
                             featdiv::Measure(measure),
                             bins,
                             at<const double>(edges),
                             has_threshold,
                             threshold,
                             most_examples,
                             at<int64_t>(watch),
                             threads,
                             featdiv::IsaName(isa)};
  featdiv::PairResult result{at<double>(exp_sums), at<double>(distance_sums), at<int64_t>(histogram),
                             at<int64_t>(examples)};
  featdiv::PairOutcome outcome;
  {
    py::gil_scoped_release released;
    outcome = featdiv::pair_sums(job, result);
  }
  return py::make_tuple(int(outcome), result.close, result.nearest[0], result.nearest[1], result.nearest_value);
}

int topk(uintptr_t queries, int64_t m, int64_t query_stride, uintptr_t gallery, int64_t n, int64_t gallery_stride,
         int64_t d, int element, int64_t k, bool l2, uintptr_t values, uintptr_t indices, uintptr_t watch,
         int threads, int isa) {
  const featdiv::TopkJob job{rows_at(queries, 0, m, d, query_stride, element),
                             rows_at(gallery, 0, n, d, gallery_stride, element),
                             k,
                             l2,
                             at<float>(values),
                             at<int64_t>(indices),
                             at<const int64_t>(watch),
                             threads,
                             featdiv::IsaName(isa)};
  py::gil_scoped_release released;
  return int(featdiv::topk(job));
}

int nearest_centroid(uintptr_t rows, int64_t n, int64_t d, int64_t row_stride, int element, uintptr_t index,
                     int64_t episodes, int64_t ways, int64_t shots, int64_t taken, uintptr_t nearest, int threads,
                     int isa) {
  const featdiv::CentroidJob job{rows_at(rows, 0, n, d, row_stride, element),
                                 at<const int64_t>(index),
                                 episodes,
                                 ways,
                                 shots,
                                 taken,
                                 at<int64_t>(nearest),
                                 threads,
                                 featdiv::IsaName(isa)};
  py::gil_scoped_release released;
  return int(featdiv::nearest_centroid(job));
}

py::tuple find_bad_rows(uintptr_t rows, int64_t n, int64_t d, int64_t row_stride, int element) {
  featdiv::BadRows found;
  {
    py::gil_scoped_release released;
    found = featdiv::find_bad_rows(rows_at(rows, 0, n, d, row_stride, element));
  }
  return py::make_tuple(found.entries, found.first_entry_row, found.zeros, found.first_zero_row);
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "Host kernels of featdiv. Private: the native backends of featdiv.ops are its only callers.";
  m.attr("INTERFACE") = 17;
  m.attr("COMPILER") = __VERSION__;
  m.def("best_isa", [] { return int(featdiv::best_isa()); });
  m.def("rounds_pairs", [](int isa) { return featdiv::kernels(featdiv::IsaName(isa)).rounded != nullptr; });
  m.def("tapers_pairs", [](int isa) { return featdiv::kernels(featdiv::IsaName(isa)).tapered != nullptr; });
  m.def("amx_problem", [] { return featdiv::amx_problem(); });
  m.def("scatter", &scatter, py::kw_only(), py::arg("rows"), py::arg("n"), py::arg("d"), py::arg("row_stride"),
        py::arg("element"), py::arg("shift"), py::arg("exponent"), py::arg("normalize"), py::arg("doubles"),
        py::arg("bound"), py::arg("total"), py::arg("gram"), py::arg("weighted"), py::arg("fourth"),
        py::arg("threads"), py::arg("isa"));
  m.def("class_scatter", &class_scatter, py::kw_only(), py::arg("rows"), py::arg("n"), py::arg("d"),
        py::arg("row_stride"), py::arg("element"), py::arg("index"), py::arg("starts"), py::arg("classes"),
        py::arg("normalize"), py::arg("doubles"), py::arg("bound"), py::arg("means"), py::arg("scatters"),
        py::arg("narrow"), py::arg("threads"), py::arg("isa"));
  m.def("centred_rows", &centred_rows, py::kw_only(), py::arg("rows"), py::arg("n"), py::arg("d"),
        py::arg("row_stride"), py::arg("element"), py::arg("index"), py::arg("codes"), py::arg("pilots"),
        py::arg("exponent"), py::arg("normalize"), py::arg("places"), py::arg("out"), py::arg("narrow"),
        py::arg("sums"), py::arg("threads"), py::arg("isa"));
  m.def("cross_gram", &cross_gram, py::kw_only(), py::arg("x"), py::arg("x_stride"), py::arg("x_d"),
        py::arg("x_shift"), py::arg("x_exponent"), py::arg("x_total"), py::arg("x_weighted"), py::arg("other"),
        py::arg("other_stride"), py::arg("other_d"), py::arg("other_shift"), py::arg("other_exponent"),
        py::arg("other_total"), py::arg("other_weighted"), py::arg("n"), py::arg("element"), py::arg("normalize"),
        py::arg("doubles"), py::arg("bound"), py::arg("gram"), py::arg("fourth"), py::arg("threads"), py::arg("isa"));
  m.def("pair_sums", &pair_sums, py::kw_only(), py::arg("x"), py::arg("n"), py::arg("x_stride"), py::arg("other"),
        py::arg("m"), py::arg("other_stride"), py::arg("d"), py::arg("element"), py::arg("block_edges"),
        py::arg("blocks"), py::arg("shift"), py::arg("normalize"), py::arg("doubles"), py::arg("rounded"),
        py::arg("basis"), py::arg("lead"), py::arg("rates"), py::arg("rate_count"), py::arg("distances"),
        py::arg("measure"), py::arg("bins"),
        py::arg("edges"), py::arg("has_threshold"), py::arg("threshold"), py::arg("most_examples"), py::arg("exp_sums"),
        py::arg("distance_sums"), py::arg("histogram"), py::arg("examples"), py::arg("watch"), py::arg("threads"),
        py::arg("isa"));
  m.def("topk", &topk, py::kw_only(), py::arg("queries"), py::arg("m"), py::arg("query_stride"), py::arg("gallery"),
        py::arg("n"), py::arg("gallery_stride"), py::arg("d"), py::arg("element"), py::arg("k"), py::arg("l2"),
        py::arg("values"), py::arg("indices"), py::arg("watch"), py::arg("threads"), py::arg("isa"));
  m.def("nearest_centroid", &nearest_centroid, py::kw_only(), py::arg("rows"), py::arg("n"), py::arg("d"),
        py::arg("row_stride"), py::arg("element"), py::arg("index"), py::arg("episodes"), py::arg("ways"),
        py::arg("shots"), py::arg("taken"), py::arg("nearest"), py::arg("threads"), py::arg("isa"));
  m.def("watch_stages", &featdiv::watch_stages, py::arg("on"));
  m.def("stage_seconds", [] {
    using featdiv::Stage;
    return py::make_tuple(featdiv::stage_seconds(Stage::pack), featdiv::stage_seconds(Stage::product),
                          featdiv::stage_seconds(Stage::flush));
  });
  m.def("find_bad_rows", &find_bad_rows, py::kw_only(), py::arg("rows"), py::arg("n"), py::arg("d"),
        py::arg("row_stride"), py::arg("element"));
}

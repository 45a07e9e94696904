// topk by products of rows rounded to integers, which leave few candidates to compute from the rows themselves.
#pragma once

#include <vector>

#include "topk.h"

namespace featdiv {

// Whether the machine multiplies integers faster than floats, and the job is large enough.
bool filter_pays(const TopkJob&);

// Writes the neighbours of all queries but the `undecided`: so many rows are about as near to those as the k-th that
// the rounding of integers does not tell them apart.
Outcome filtered_topk(const TopkJob&, std::vector<int64_t>& undecided);

}  // namespace featdiv

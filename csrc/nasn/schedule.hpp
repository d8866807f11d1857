// The order in which a whole NasN module is computed depth first.
//
// Every tensor keeps its last rows only. In step s a layer with lag L computes the rows [s R - L, (s + 1) R - L): it
// lags behind each of its inputs by its radius, so that the rows it reads exist, and an input keeps
// R + (L - its own lag) + radius rows for it. All rows together fit the last-level cache where whole tensors do not.
#pragma once
#include <cstdint>
#include <vector>

#include "rows/separable.hpp"

namespace csmri {

struct CascadeEdge {
  Separable operation;
  int source;  // 0: the cell before the last, 1: the last cell, 2 + j: node j of the same cell
};

struct CascadeShape {
  std::int64_t in_channels, channels;
  int cells;
  bool composite;                               // both convolutions of the stem as one
  std::vector<std::vector<CascadeEdge>> nodes;  // of every cell; edges that are "none" left out
};

// Weights are numbered: the two of the stem; for each cell those in front of it, before and last, then of each edge
// its one or two (skip: none); at last the final convolution.
struct CascadeTerm {
  Separable operation;
  int tensor;
  int first, second;             // weights; -1: none
  std::int64_t column, columns;  // point-wise: the tensor's first column in `second`, and the columns of that
};

enum class LayerKind : int { load, stem, sum, products, output };

struct CascadeLayer {
  LayerKind kind;
  int out;  // tensor; -1 for output
  std::vector<CascadeTerm> terms;
  int lag;
  bool meets_before;  // reads beyond its own columns what was written since the last meeting of the threads
};

// Tensors that a training step keeps are numbered: the stem; for each cell s_0, s_1 and its nodes.
struct CascadeTensor {
  std::int64_t channels;
  int lag;
  int raw_rows, rectified_rows;  // rows to keep as they are, and after ReLU; 0: not needed
  int saved;                     // its place among the tensors that a training step keeps; -1: none
};

struct CascadeSchedule {
  std::vector<CascadeTensor> tensors;
  std::vector<CascadeLayer> layers;
  int lag;   // of the output
  int step;  // R
  int n_weights;

  ~CascadeSchedule();  // in schedule.cpp: an inline one would be compiled for every instruction set
};

CascadeSchedule cascade_schedule(const CascadeShape& shape, int rows_per_step);

}  // namespace csmri

#include "nasn/schedule.hpp"

#include <algorithm>

namespace csmri {
namespace {

int weights_of(Separable operation) {
  return operation == Separable::skip ? 0 : operation == Separable::pointwise ? 1 : 2;
}
bool reads_raw(LayerKind kind, Separable operation) {
  return operation == Separable::skip || operation == Separable::relu_conv || kind == LayerKind::stem;
}
int radius_of(LayerKind kind, Separable operation) {
  return kind == LayerKind::stem ? 2 : kind == LayerKind::output ? 1 : radius_of(operation);
}

class Builder {
 public:
  explicit Builder(const CascadeShape& shape) : shape_(shape) {
    for (const auto& node : shape.nodes)
      for (const CascadeEdge& edge : node) edge_weights_ += weights_of(edge.operation);
  }

  CascadeSchedule build(int rows_per_step) {
    const int image = add(LayerKind::load, shape_.in_channels, {}, kNotSaved);
    int stem = image;
    if (shape_.composite) {
      stem = add(LayerKind::stem, shape_.channels, {{Separable::relu_conv, image, 0, 1, 0, 0}}, 0);
    } else {
      stem = add(LayerKind::sum, shape_.channels, {{Separable::relu_conv, image, -1, 0, 0, 0}}, kNotSaved);
      stem = add(LayerKind::sum, shape_.channels, {{Separable::relu_conv, stem, -1, 1, 0, 0}}, 0);
    }
    before_.assign(shape_.cells + 2, -1);
    last_ = before_;
    std::vector<int> output{stem};
    add_state(0, 0, output);
    add_state(0, 1, output);
    add_state(1, 0, output);
    for (int cell = 0; cell < shape_.cells; ++cell) {
      output = add_nodes(cell);
      add_state(cell + 1, 1, output);  // at once, so that only these narrow tensors live long
      add_state(cell + 2, 0, output);
    }
    const int weight = first_weight(shape_.cells);
    const int products = add(LayerKind::products, 9 * shape_.in_channels, from_all(output, weight), kNotSaved);
    layers_.push_back({LayerKind::output, -1, {{Separable::pointwise, products, -1, -1, 0, 0}}, 0, false});
    drop_unread();
    assign_lags(rows_per_step);
    return {tensors_, layers_, layers_.back().lag, rows_per_step, weight + 1};
  }

 private:
  static constexpr int kNotSaved = -1;

  int first_weight(int cell) const { return 2 + cell * (2 + edge_weights_); }
  int first_saved(int cell) const { return 1 + cell * (2 + static_cast<int>(shape_.nodes.size())); }

  int add(LayerKind kind, std::int64_t channels, std::vector<CascadeTerm> terms, int saved) {
    tensors_.push_back({channels, 0, 0, 0, saved});
    const int out = static_cast<int>(tensors_.size()) - 1;
    layers_.push_back({kind, out, std::move(terms), 0, false});
    return out;
  }

  // Point-wise terms over the concatenation of `tensors`.
  std::vector<CascadeTerm> from_all(const std::vector<int>& tensors, int weight) const {
    std::vector<CascadeTerm> terms;
    const std::int64_t columns = shape_.channels * static_cast<std::int64_t>(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i)
      terms.push_back(
          {Separable::pointwise, tensors[i], -1, weight, shape_.channels * static_cast<std::int64_t>(i), columns});
    return terms;
  }

  void add_state(int cell, int which, const std::vector<int>& output) {
    if (cell >= shape_.cells) return;
    (which ? last_ : before_)[cell] =
        add(LayerKind::sum, shape_.channels, from_all(output, first_weight(cell) + which), first_saved(cell) + which);
  }

  std::vector<int> add_nodes(int cell) {
    std::vector<int> states{before_[cell], last_[cell]};
    int weight = first_weight(cell) + 2;
    for (const auto& node : shape_.nodes) {
      std::vector<CascadeTerm> terms;
      for (const CascadeEdge& edge : node) {
        const int n = weights_of(edge.operation);
        terms.push_back(
            {edge.operation, states[edge.source], n == 2 ? weight : -1, n ? weight + n - 1 : -1, 0, shape_.channels});
        weight += n;
      }
      const int saved = first_saved(cell) + static_cast<int>(states.size());
      states.push_back(add(LayerKind::sum, shape_.channels, std::move(terms), saved));
    }
    return {states.begin() + 2, states.end()};
  }

  void drop_unread() {
    std::vector<bool> read(tensors_.size(), false);
    std::vector<CascadeLayer> kept;
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
      if (layer->out >= 0 && !read[layer->out]) continue;
      for (const CascadeTerm& term : layer->terms) read[term.tensor] = true;
      kept.push_back(std::move(*layer));
    }
    layers_.assign(kept.rbegin(), kept.rend());
  }

  void assign_lags(int rows_per_step) {
    std::vector<bool> written(tensors_.size(), false);  // since the threads last met
    for (CascadeLayer& layer : layers_) {
      for (const CascadeTerm& term : layer.terms) {
        const int radius = radius_of(layer.kind, term.operation);
        layer.lag = std::max(layer.lag, tensors_[term.tensor].lag + radius);
        layer.meets_before = layer.meets_before || (radius > 0 && written[term.tensor]);
      }
      if (layer.meets_before) std::fill(written.begin(), written.end(), false);
      for (const CascadeTerm& term : layer.terms) {
        CascadeTensor& tensor = tensors_[term.tensor];
        int& rows = reads_raw(layer.kind, term.operation) || layer.kind == LayerKind::output ? tensor.raw_rows
                                                                                             : tensor.rectified_rows;
        rows = std::max(rows, rows_per_step + layer.lag - tensor.lag + radius_of(layer.kind, term.operation));
      }
      if (layer.out < 0) continue;
      tensors_[layer.out].lag = layer.lag;
      written[layer.out] = true;
    }
  }

  const CascadeShape& shape_;
  int edge_weights_ = 0;
  std::vector<CascadeTensor> tensors_;
  std::vector<CascadeLayer> layers_;
  std::vector<int> before_, last_;  // the states of each cell
};

}  // namespace

CascadeSchedule::~CascadeSchedule() = default;

CascadeSchedule cascade_schedule(const CascadeShape& shape, int rows_per_step) {
  return Builder(shape).build(rows_per_step);
}

}  // namespace csmri

// Runs a grid: its blocks (or clusters) one after another, the threads of each in the order that CUDA_ON_CPU_ORDER
// says.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "fibers.hpp"

namespace cuda_on_cpu {

class Order {
 public:
  explicit Order(const char* name) {
    const std::string text = name && *name ? name : "forward";
    random_ = text.rfind("random", 0) == 0;
    reverse_ = text == "reverse";
    if (random_)
      engine_.seed(text.size() > 7 ? static_cast<unsigned>(std::stoul(text.substr(7))) : 1u);
    else if (!reverse_ && text != "forward")
      throw std::runtime_error("CUDA_ON_CPU_ORDER: forward, reverse or random[:SEED]");
  }
  // The numbers below n in this order; random: another one each time.
  void arrange(std::vector<int>& numbers, int n) {
    if (static_cast<int>(numbers.size()) != n) {
      numbers.resize(n);
      for (int i = 0; i < n; ++i) numbers[i] = reverse_ ? n - 1 - i : i;
    }
    if (random_) std::shuffle(numbers.begin(), numbers.end(), engine_);
  }
  bool skips() { return random_ && engine_() % 2; }  // lets the threads of a block drift apart

 private:
  bool random_, reverse_;
  std::mt19937 engine_;
};

inline Fiber* new_fiber() {
  auto* fiber = new Fiber;
  fiber->stack = new_stack();
  fiber->context.prepare(fiber->stack, fiber_main);
#ifdef __SANITIZE_THREAD__
  fiber->tsan_fiber = __tsan_create_fiber(0);
#endif
  return fiber;
}

CUDA_ON_CPU_QUIET inline void place(Fiber* fiber, int i) {
  fiber->block = &machine.blocks[i / machine.block_threads];
  fiber->linear = i % machine.block_threads;
  const unsigned linear = static_cast<unsigned>(fiber->linear), nx = machine.block.x, ny = machine.block.y;
  fiber->thread = {linear % nx, linear / nx % ny, linear / (nx * ny)};
  fiber->state = State::ready;
}

CUDA_ON_CPU_QUIET inline State state_of(const Fiber* fiber) { return fiber->state; }

CUDA_ON_CPU_QUIET inline void note_return(Fiber* fiber) {
  Block& block = *fiber->block;
  ++block.finished;
  if (block.arrived && !machine.error[0])
    std::snprintf(machine.error, sizeof machine.error,
                  "a thread returned while others wait at __syncthreads on line %d", block.line);
}

CUDA_ON_CPU_QUIET inline void seat_cluster(Block* blocks, Fiber** team) {
  machine.blocks = blocks;
  machine.team = team;
  machine.cluster_arrived = 0;
  for (int i = 0; i < machine.threads; ++i) place(team[i], i);
}

// Runs the cluster that is seated until all its threads have returned.
inline void run_cluster(Order& order, std::vector<int>& numbers) {
  int done = 0;
  while (done < machine.threads) {
    bool ran = false;
    order.arrange(numbers, machine.threads);
    for (const int i : numbers) {
      Fiber* fiber = machine.team[i];
      if (state_of(fiber) != State::ready) continue;
      ran = true;
      if (order.skips()) continue;
      to_fiber(fiber);
      if (state_of(fiber) == State::done) {
        ++done;
        note_return(fiber);
      }
      if (machine.error[0]) return;
    }
    if (!ran) {
      std::string waiting;
      for (int i = 0; i < machine.threads && waiting.size() < 120; ++i)
        if (state_of(machine.team[i]) != State::done)
          waiting += " " + std::to_string(i) + ":" + std::to_string(machine.team[i]->line);
      std::snprintf(machine.error, sizeof machine.error, "deadlock; waiting threads (thread:line):%s", waiting.c_str());
      return;
    }
  }
}

// Runs body() once for every thread of the grid. Throws std::runtime_error for misuse of barriers and collectives.
inline void launch(dim3 grid, dim3 block, std::size_t shared_bytes, int cluster, const std::function<void()>& body) {
  Order order(std::getenv("CUDA_ON_CPU_ORDER"));
  Machine& m = machine;
  m.grid = grid;
  m.block = block;
  m.cluster_blocks = cluster;
  m.block_threads = static_cast<int>(block.x * block.y * block.z);
  m.threads = m.block_threads * cluster;
  const int n_blocks = static_cast<int>(grid.x * grid.y * grid.z), n_clusters = n_blocks / cluster;
  if (m.block_threads < 1 || m.block_threads > 1024) throw std::runtime_error("a block has 1 to 1024 threads");
  if (grid.y > 65535 || grid.z > 65535) throw std::runtime_error("grid.y and grid.z are at most 65535");
  if (grid.x % cluster) throw std::runtime_error("grid.x must be a multiple of the cluster size");
  if (shared_bytes > 227 * 1024) throw std::runtime_error("a block has at most 227 KiB of shared memory");
  m.body = &body;
  m.error[0] = 0;
#ifdef __SANITIZE_THREAD__
  m.scheduler_tsan = __tsan_get_current_fiber();
#endif
  while (m.pool.size() < 2 * static_cast<std::size_t>(m.threads)) m.pool.push_back(new_fiber());

  std::vector<Block> blocks(n_blocks);
  std::vector<std::unique_ptr<unsigned char[]>> shared(n_blocks);
  for (int i = 0; i < n_blocks; ++i) {
    shared[i].reset(new unsigned char[shared_bytes]);
    std::memset(shared[i].get(), 0xFF, shared_bytes);
    const unsigned u = static_cast<unsigned>(i);
    blocks[i].index = {u % grid.x, u / grid.x % grid.y, u / (grid.x * grid.y)};
    blocks[i].shared = shared[i].get();
    blocks[i].rank = i % cluster;
  }
  release(&m.launch_tag);
  int turn = 0;
  std::vector<int> cluster_numbers, thread_numbers;
  order.arrange(cluster_numbers, n_clusters);
  for (const int c : cluster_numbers) {
    seat_cluster(&blocks[static_cast<std::size_t>(c) * cluster], m.pool.data() + (turn++ % 2 ? m.threads : 0));
    run_cluster(order, thread_numbers);
    if (m.error[0]) break;
  }
  acquire(&m.end_tag);
  m.body = nullptr;
  if (m.error[0]) {
    m.pool.clear();  // those fibers are stuck inside the kernel
    throw std::runtime_error(std::string("cuda_on_cpu: ") + m.error);
  }
}

}  // namespace cuda_on_cpu

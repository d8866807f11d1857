// Runs CUDA threads as fibers of one OS thread, with the barriers and warp collectives of CUDA as the only points
// where they switch. Test code: nothing of it is in the package.
//
// - A team of fibers runs one thread block (or one cluster). Two teams take turns, block after block, and no two
//   blocks are ordered with respect to each other: ThreadSanitizer sees the races inside a block and between
//   neighbouring blocks.
// - Dynamic shared memory is one heap block per thread block, of exactly the size asked for and full of NaN:
//   AddressSanitizer sees overruns, results show reads of what nobody wrote.
// - The environment variable CUDA_ON_CPU_ORDER (forward, reverse, random or random:SEED) sets the order of blocks
//   and of the threads in a block. A correct kernel gives the same bits in any order.
// - Stricter than a GPU on purpose: barriers that are reached on different lines, and threads that return while
//   others wait, are errors (GPUs allow some of that).
//
// TSan would report the bookkeeping below, which fibers share without locks. Such functions are CUDA_ON_CPU_QUIET
// and touch no std container; the orderings that CUDA promises are announced with acquire and release instead.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "context.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define CUDA_ON_CPU_QUIET __attribute__((no_sanitize("thread"), noinline))
#else
#define CUDA_ON_CPU_QUIET
#endif

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cuda_on_cpu {

constexpr int kWarp = 32;

enum class State : unsigned char { ready, at_block_barrier, at_cluster_barrier, at_warp, done, failed };

struct Block {
  uint3 index{};
  unsigned char* shared = nullptr;
  int rank = 0, arrived = 0, line = 0, finished = 0;
  unsigned generation = 0;
  int counts[3] = {};  // of __syncthreads_count
  // One per parity of `generation`: a thread that is late to leave one barrier must not see the next.
  char tags[2] = {};
};

struct Copy {  // an asynchronous copy that has not arrived
  void* shared;
  const void* global;  // null: zeros
  int bytes, group;
};

struct Fiber {
  Context context;
  unsigned char* stack = nullptr;
  Block* block = nullptr;
  uint3 thread{};
  int linear = 0;  // thread number in its block
  int line = 0;
  State state = State::ready;
  unsigned warp_mask = 0;
  void* record = nullptr;  // what this lane brings to a warp collective
  char tag = 0;
  std::vector<Copy> copies;  // seen by this fiber only
  int commits = 0;
  void* asan_stack = nullptr;
  void* tsan_fiber = nullptr;
};

struct Machine {
  dim3 grid, block;
  int block_threads = 0, cluster_blocks = 1, threads = 0;  // threads: of one cluster
  std::vector<Fiber*> pool;                                // grows, kept for the life of the process
  Fiber** team = nullptr;                                  // the fibers that run now, `threads` of them
  Fiber* current = nullptr;
  Block* blocks = nullptr;  // of the cluster that runs now
  int cluster_arrived = 0, cluster_line = 0;
  unsigned cluster_generation = 0;
  char cluster_tags[2] = {};
  char launch_tag = 0, end_tag = 0;
  const std::function<void()>* body = nullptr;
  char error[256] = {};
  Context scheduler;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
  void* scheduler_asan = nullptr;
  void* scheduler_tsan = nullptr;
};
inline Machine machine;

inline void acquire([[maybe_unused]] void* tag) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(tag);
#endif
}
inline void release([[maybe_unused]] void* tag) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(tag);
#endif
}

// --- switching ------------------------------------------------------------------------------------------------
CUDA_ON_CPU_QUIET inline void to_scheduler() {
  Fiber* self = machine.current;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&self->asan_stack, machine.scheduler_stack, machine.scheduler_stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(machine.scheduler_tsan, __tsan_switch_to_fiber_no_sync);
#endif
  switch_context(&self->context, &machine.scheduler);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(self->asan_stack, &machine.scheduler_stack, &machine.scheduler_stack_bytes);
#endif
}

CUDA_ON_CPU_QUIET inline void to_fiber(Fiber* fiber) {
  machine.current = fiber;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&machine.scheduler_asan, fiber->stack, kStackBytes);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(fiber->tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
  switch_context(&machine.scheduler, &fiber->context);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(machine.scheduler_asan, nullptr, nullptr);
#endif
  machine.current = nullptr;
}

CUDA_ON_CPU_QUIET inline void wait_as(State state) {
  machine.current->state = state;
  to_scheduler();
}

// Stops the launch with a message: launch() throws it. The calling fiber never runs again.
template <class... Numbers>
CUDA_ON_CPU_QUIET void fail(const char* format, Numbers... numbers) {
  const Block& block = *machine.current->block;
  const int used = std::snprintf(machine.error, sizeof machine.error, format, numbers...);
  if (used > 0 && used < static_cast<int>(sizeof machine.error))
    std::snprintf(machine.error + used, sizeof machine.error - used, " (block %u,%u,%u, thread %d)", block.index.x,
                  block.index.y, block.index.z, machine.current->linear);
  wait_as(State::failed);
}

inline void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack, &machine.scheduler_stack_bytes);
#endif
  for (;;) {  // one turn for each block
    acquire(&machine.launch_tag);
    machine.current->copies.clear();
    machine.current->commits = 0;
    (*machine.body)();
    release(&machine.end_tag);
    wait_as(State::done);
  }
}

// --- what kernels call ----------------------------------------------------------------------------------------
CUDA_ON_CPU_QUIET inline void block_barrier(int line) {
  Fiber* self = machine.current;
  Block& block = *self->block;
  if (block.finished) fail("__syncthreads on line %d, but %d threads have returned", line, block.finished);
  if (block.arrived && block.line != line)
    fail("divergent __syncthreads: some threads on line %d, some on line %d", block.line, line);
  block.line = self->line = line;
  char* tag = &block.tags[block.generation % 2];
  release(tag);
  if (++block.arrived == machine.block_threads) {
    block.arrived = 0;
    ++block.generation;
    for (int i = 0; i < machine.threads; ++i)
      if (machine.team[i]->block == &block) machine.team[i]->state = State::ready;
    to_scheduler();
  } else {
    wait_as(State::at_block_barrier);
  }
  acquire(tag);
}

CUDA_ON_CPU_QUIET inline void cluster_barrier(int line) {
  if (machine.cluster_arrived && machine.cluster_line != line)
    fail("divergent cluster barrier: some threads on line %d, some on line %d", machine.cluster_line, line);
  machine.cluster_line = machine.current->line = line;
  char* tag = &machine.cluster_tags[machine.cluster_generation % 2];
  release(tag);
  if (++machine.cluster_arrived == machine.threads) {
    machine.cluster_arrived = 0;
    ++machine.cluster_generation;
    for (int i = 0; i < machine.threads; ++i) machine.team[i]->state = State::ready;
    to_scheduler();
  } else {
    wait_as(State::at_cluster_barrier);
  }
  acquire(tag);
}

// The lanes that `mask` names and that exist. Sets the fibers of the calling thread's warp.
CUDA_ON_CPU_QUIET inline unsigned warp_lanes(unsigned mask, Fiber** lanes) {
  Fiber* self = machine.current;
  const int first = self->linear - self->linear % kWarp, offset = self->block->rank * machine.block_threads + first;
  unsigned found = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    const bool named = (mask >> lane & 1) && first + lane < machine.block_threads;
    lanes[lane] = named ? machine.team[offset + lane] : nullptr;
    if (named) found |= 1u << lane;
  }
  return found;
}

CUDA_ON_CPU_QUIET inline void wake(Fiber* lane) { lane->state = State::ready; }

CUDA_ON_CPU_QUIET inline bool warp_arrive(unsigned mask, int line, void* record, Fiber** lanes) {
  Fiber* self = machine.current;
  mask = warp_lanes(mask, lanes);
  if (!(mask >> self->linear % kWarp & 1)) fail("warp collective on line %d: lane not in its own mask", line);
  self->line = line;
  self->warp_mask = mask;
  self->record = record;
  bool complete = true;
  for (int lane = 0; lane < kWarp; ++lane) {
    const Fiber* other = lanes[lane];
    if (!other || other == self) continue;
    if (other->state == State::done) fail("warp collective on line %d: lane %d has returned", line, lane);
    if (other->state != State::at_warp) {
      complete = false;
    } else if (other->line != line || other->warp_mask != mask) {
      fail("divergent warp collective: some lanes on line %d, some on line %d, or masks differ", other->line, line);
    }
  }
  return complete;
}

// All lanes of `mask` meet; the last one to come calls exchange(records), records[lane] being null for lanes that do
// not take part; then all go on.
template <class Record, class Exchange>
void warp_collective(unsigned mask, int line, Record& record, const Exchange& exchange) {
  Fiber* lanes[kWarp];
  Fiber* self = machine.current;
  release(&self->tag);
  if (!warp_arrive(mask, line, &record, lanes)) {
    wait_as(State::at_warp);
    acquire(&self->tag);
    return;
  }
  Record* records[kWarp];
  for (int lane = 0; lane < kWarp; ++lane) {
    if (lanes[lane]) acquire(&lanes[lane]->tag);
    records[lane] = lanes[lane] ? static_cast<Record*>(lanes[lane]->record) : nullptr;
  }
  exchange(static_cast<Record* const*>(records));
  for (Fiber* lane : lanes)
    if (lane && lane != self) {
      release(&lane->tag);
      wake(lane);
    }
}

template <class T>
T shuffle(unsigned mask, int line, const T& value, int source) {
  struct Lane {
    T value, result;
    int source;
  } mine{value, value, source};
  warp_collective(mask, line, mine, [](Lane* const* lanes) {
    for (int lane = 0; lane < kWarp; ++lane) {
      if (!lanes[lane]) continue;
      const int from = lanes[lane]->source;
      if (from < 0 || from >= kWarp) continue;  // as on a GPU: the lane keeps its own value
      if (lanes[from])
        lanes[lane]->result = lanes[from]->value;
      else
        std::memset(&lanes[lane]->result, 0xFF, sizeof(T));  // undefined on a GPU
    }
  });
  return mine.result;
}

inline int lane_number() { return machine.current->linear % kWarp; }

inline unsigned char* shared_memory() { return machine.current->block->shared; }

// The address in block `rank` of the cluster that corresponds to p in the calling block (DSMEM).
template <class T>
T* shared_of_rank(T* p, int rank) {
  const auto offset = reinterpret_cast<unsigned char*>(p) - machine.current->block->shared;
  return reinterpret_cast<T*>(machine.blocks[rank].shared + offset);
}

}  // namespace cuda_on_cpu

// Stacks that one OS thread switches between.
//
// x86-64 switches in a dozen instructions; elsewhere ucontext does, with a system call at every switch.
#pragma once
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstddef>
#include <new>

namespace cuda_on_cpu {

constexpr std::size_t kStackBytes = 1024 * 1024;  // unoptimised kernels have large frames; untouched pages cost nothing

inline unsigned char* new_stack() {
  const std::size_t page = 4096;  // below the stack: a page that faults when the stack overflows
  void* memory =
      mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  return static_cast<unsigned char*>(memory) + page;
}

#if defined(__x86_64__)
struct Context {
  void* stack_pointer = nullptr;
  // entry() is called at the first switch to this context, and never returns.
  void prepare(unsigned char* stack, void (*entry)()) {
    auto** top = reinterpret_cast<void**>(stack + kStackBytes);
    *--top = nullptr;  // keeps the stack aligned as a call would
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    stack_pointer = top;
  }
};
// Saves what a function call must preserve, and goes on where `to` was saved.
__attribute__((naked, noinline)) inline void switch_context(Context* /*from: rdi*/, Context* /*to: rsi*/) {
  asm("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp, (%rdi)\n\tmovq (%rsi), %rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
#else
struct Context {
  ucontext_t context;
  void prepare(unsigned char* stack, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
};
inline void switch_context(Context* from, Context* to) { swapcontext(&from->context, &to->context); }
#endif

}  // namespace cuda_on_cpu

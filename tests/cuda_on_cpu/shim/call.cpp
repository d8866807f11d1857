// call LIBRARY FUNCTION FILE: one call of a CUDA_ON_CPU_ENTRY in a process of its own, for the sanitizers.
//
// FILE holds int64 words, then the arrays: n_arrays, n_numbers, the sizes of the arrays in bytes, the numbers. After
// the call it holds the arrays as the function left them. Every array is one heap block of exactly its size. What the
// function throws goes to stderr, with exit status 3.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {
[[noreturn]] void quit(const char* what, const char* detail, int status) {
  std::fprintf(stderr, "%s: %s\n", what, detail);
  std::exit(status);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) quit("usage", "call LIBRARY FUNCTION FILE", 2);
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) quit("dlopen", dlerror(), 2);
  using Entry = const char* (*)(void* const*, const std::int64_t*);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, argv[2]));
  if (!entry) quit("dlsym", dlerror(), 2);

  std::FILE* file = std::fopen(argv[3], "r+b");
  if (!file) quit("fopen", argv[3], 2);
  const auto read = [&](void* to, std::size_t bytes) {
    if (bytes && std::fread(to, 1, bytes, file) != bytes) quit("fread", argv[3], 2);
  };
  std::int64_t counts[2];
  read(counts, sizeof counts);
  std::vector<std::int64_t> sizes(counts[0]), numbers(counts[1]);
  read(sizes.data(), sizes.size() * 8);
  read(numbers.data(), numbers.size() * 8);
  std::vector<std::unique_ptr<char[]>> memory;
  std::vector<void*> arrays;
  for (const std::int64_t size : sizes) {
    memory.emplace_back(new char[size]);
    arrays.push_back(memory.back().get());
    read(arrays.back(), size);
  }

  if (const char* error = entry(arrays.data(), numbers.data())) quit("error", error, 3);

  std::rewind(file);
  for (std::size_t i = 0; i < arrays.size(); ++i) std::fwrite(arrays[i], 1, sizes[i], file);
  if (std::fclose(file)) quit("fclose", argv[3], 2);
  std::fflush(stderr);
  std::_Exit(0);  // sanitizer reports so far decide the status; thread-local clean-up of fibers is not the point
}

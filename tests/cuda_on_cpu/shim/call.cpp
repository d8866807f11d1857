// call LIBRARY: calls CUDA_ON_CPU_ENTRY functions in a process of its own, for the sanitizers.
//
// Each line of stdin is "FUNCTION ORDER FILE", ORDER as in CUDA_ON_CPU_ORDER. FILE holds int64 words, then the arrays:
// n_arrays, n_numbers, the sizes of the arrays in bytes, the numbers. After the call it holds the arrays as the
// function left them, and a line on stdout says "done", or "error" and what the function threw. Every array is one heap
// block of exactly its size.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

[[noreturn]] void quit(const char* what, const char* detail) {
  std::fprintf(stderr, "%s: %s\n", what, detail);
  std::_Exit(2);
}

const char* call(void* library, const char* name, const char* path) {
  using Entry = const char* (*)(void* const*, const std::int64_t*);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, name));
  if (!entry) quit("dlsym", dlerror());
  std::FILE* file = std::fopen(path, "r+b");
  if (!file) quit("fopen", path);
  const auto read = [&](void* to, std::size_t bytes) {
    if (bytes && std::fread(to, 1, bytes, file) != bytes) quit("fread", path);
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
  const char* error = entry(arrays.data(), numbers.data());
  std::rewind(file);
  for (std::size_t i = 0; i < arrays.size(); ++i) std::fwrite(arrays[i], 1, sizes[i], file);
  if (std::fclose(file)) quit("fclose", path);
  return error;
}

}  // namespace

int main(int argc, char** argv) {
  void* library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : nullptr;
  if (!library) quit("call LIBRARY", argc == 2 ? dlerror() : "one argument");
  char name[256], order[64], path[4096];
  while (std::scanf("%255s %63s %4095s", name, order, path) == 3) {
    setenv("CUDA_ON_CPU_ORDER", order, 1);
    const char* error = call(library, name, path);
    std::printf("%s %s\n", error ? "error" : "done", error ? error : "");
    std::fflush(stdout);
  }
  std::_Exit(0);  // fibers are still there: nothing to clean up
}

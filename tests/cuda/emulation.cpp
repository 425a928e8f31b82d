#include "cuda/emulation.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace lora::emulation {

Coordinates current;

namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = size_t{128} * 1024;

/// Threads that wait until all of them have arrived.
struct Barrier {
  int arrived = 0;
  int64_t passed = 0;
};

struct Thread {
  ucontext_t context;
  dim3 index;
  bool done = false;
};

struct Block {
  ucontext_t scheduler;
  std::vector<Thread> threads;
  std::vector<Barrier> warps;
  std::vector<float> exchanged;
  Barrier barrier;
  size_t running = 0;
  int64_t progress = 0;
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
};
Block* block = nullptr;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "CUDA emulation: %s\n", what);
  std::abort();
}

void wait_at(Barrier& barrier, int threads) {
  ++block->progress;
  const int64_t passed = barrier.passed;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.passed;
  }
  while (barrier.passed == passed) {
    Thread& thread = block->threads[block->running];
    swapcontext(&thread.context, &block->scheduler);
  }
}

void run_thread() {
  block->body(block->arguments);
  block->threads[block->running].done = true;
  ++block->progress;
}

/// Stacks are kept from launch to launch: touching new memory would take longer than the kernels.
char* stack_of(size_t thread) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= thread) {
    stacks.push_back(std::make_unique_for_overwrite<char[]>(kStackBytes));
  }
  return stacks[thread].get();
}

void start_thread(Thread& thread) {
  thread.done = false;
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = stack_of(static_cast<size_t>(&thread - block->threads.data()));
  thread.context.uc_stack.ss_size = kStackBytes;
  thread.context.uc_link = &block->scheduler;
  makecontext(&thread.context, run_thread, 0);
}

/// Runs the threads in turn until all are done.
void run_block(bool backwards) {
  for (Thread& thread : block->threads) {
    start_thread(thread);
  }
  const size_t count = block->threads.size();
  for (size_t done = 0; done < count;) {
    const int64_t before = block->progress;
    done = 0;
    for (size_t i = 0; i < count; ++i) {
      block->running = backwards ? count - 1 - i : i;
      Thread& thread = block->threads[block->running];
      if (!thread.done) {
        current.thread_index = thread.index;
        swapcontext(&block->scheduler, &thread.context);
      }
      done += thread.done ? 1 : 0;
    }
    if (done < count && block->progress == before) {
      fail("threads wait at a barrier that others never reach");
    }
  }
}

}  // namespace

void block_barrier() {
  wait_at(block->barrier, static_cast<int>(block->threads.size()));
}

float warp_exchange(float value, int mask) {
  const size_t self = block->running;
  Barrier& warp = block->warps[self / kWarp];
  block->exchanged[self] = value;
  wait_at(warp, kWarp);
  const float other = block->exchanged[self ^ static_cast<size_t>(mask)];
  wait_at(warp, kWarp);
  return other;
}

void run(dim3 grid, dim3 block_size, void (*body)(const void*), const void* arguments) {
  Block made;
  block = &made;
  made.body = body;
  made.arguments = arguments;
  made.threads.resize(static_cast<size_t>(block_size.x) * block_size.y);
  if (made.threads.size() % kWarp != 0 || made.threads.size() > 1024 || grid.x == 0 || grid.y == 0 || grid.y > 65535) {
    fail("CUDA takes no launch of this shape");
  }
  made.warps.resize(made.threads.size() / kWarp);
  made.exchanged.resize(made.threads.size());
  for (size_t i = 0; i < made.threads.size(); ++i) {
    made.threads[i].index = dim3(static_cast<unsigned>(i % block_size.x), static_cast<unsigned>(i / block_size.x), 0);
  }
  current.grid = grid;
  current.block = block_size;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      current.block_index = dim3(x, y, 0);
      run_block((x + y) % 2 == 1);
    }
  }
  block = nullptr;
}

}  // namespace lora::emulation

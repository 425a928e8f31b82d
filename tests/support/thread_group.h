#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <barrier>
#include <functional>
#include <thread>
#include <vector>

#include "lora/comm/communicator.h"

namespace lora::test {

/// Threads that communicate as processes that train together do.
class ThreadGroup {
 public:
  explicit ThreadGroup(int size) : size_(size), all_(size), values_(static_cast<size_t>(size)), tensors_(static_cast<size_t>(size)) {}

  /// Calls `work` in each thread, with that thread's communicator. It must not throw: the others would wait.
  void run(const std::function<void(comm::Communicator&)>& work) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size_; ++rank) {
      threads.emplace_back([this, rank, &work] {
        Member member(*this, rank);
        work(member);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

 private:
  class Member : public comm::Communicator {
   public:
    Member(ThreadGroup& group, int rank) : group_(group), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return group_.size_; }

   private:
    void sum(std::span<double> values) override {
      group_.values_[static_cast<size_t>(rank_)].assign(values.begin(), values.end());
      group_.all_.arrive_and_wait();
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = 0;
        for (const std::vector<double>& own : group_.values_) {
          values[i] += own.at(i);
        }
      }
      group_.all_.arrive_and_wait();
    }
    void sum(std::span<const at::Tensor> tensors) override {
      const at::NoGradGuard no_grad;
      std::vector<at::Tensor>& given = group_.tensors_[static_cast<size_t>(rank_)];
      given.clear();
      for (const at::Tensor& tensor : tensors) {
        given.push_back(tensor.clone());
      }
      group_.all_.arrive_and_wait();
      for (size_t i = 0; i < tensors.size(); ++i) {
        tensors[i].zero_();
        for (const std::vector<at::Tensor>& own : group_.tensors_) {
          tensors[i].add_(own.at(i));
        }
      }
      group_.all_.arrive_and_wait();
    }

    ThreadGroup& group_;
    int rank_;
  };

  int size_;
  std::barrier<> all_;
  std::vector<std::vector<double>> values_;      ///< by rank
  std::vector<std::vector<at::Tensor>> tensors_;  ///< by rank
};

}  // namespace lora::test

#include "lora/ops/host_store.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <optional>
#include <utility>
#include <vector>

#include "lora/ops/streams.h"

namespace lora::ops {

namespace {

/// Tensors that are being copied to the host and whose memory is not yet free.
constexpr int64_t kOnTheirWay = 2;

}  // namespace

struct HostStore::Impl {
  struct Item {
    Tensor source;  ///< until it is copied
    Tensor host;
    Tensor device;  ///< the copy on the device, once it has been started
    std::optional<c10::Event> copied;
  };

  ~Impl();
  int64_t put(const Tensor& x);
  void begin_return(Item& item);
  Tensor take(int64_t number);

  std::vector<Item> items;
  std::optional<c10::Stream> copies;  ///< for copies, on the device
};

/// Memory that copies still write to or read from is freed when they are done: after a backward that failed, some are in progress.
HostStore::Impl::~Impl() {
  try {
    for (const Item& item : items) {
      if (item.copied) {
        item.copied->block(current_stream(copies->device()));
      }
    }
  } catch (const c10::Error&) {  // the device is lost
  }
}

int64_t HostStore::Impl::put(const Tensor& x) {
  const auto number = static_cast<int64_t>(items.size());
  Item& item = items.emplace_back();
  if (!x.is_cuda()) {
    item.host = x.detach().clone();
    return number;
  }
  if (!copies) {
    copies = other_stream(x.device());
  }
  const c10::Stream computation = current_stream(x.device());
  follow(*copies, computation);
  item.source = x.detach();
  item.host = at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  const c10::StreamGuard guard(*copies);
  item.host.copy_(item.source, /*non_blocking=*/true);
  item.copied.emplace(at::kCUDA);
  item.copied->record(*copies);
  if (number >= kOnTheirWay) {
    // The caching allocator reuses memory in the order of its own stream's work: that stream waits for the copy, the host does not.
    Item& earlier = items[static_cast<size_t>(number - kOnTheirWay)];
    earlier.copied->block(computation);
    earlier.source = Tensor();
  }
  return number;
}

void HostStore::Impl::begin_return(Item& item) {
  if (item.device.defined() || !item.copied) {
    return;
  }
  const c10::Stream computation = current_stream(copies->device());
  item.copied->block(computation);  // the copy from it must be done before its memory is freed
  item.source = Tensor();
  item.device = at::empty(item.host.sizes(), item.host.options().device(copies->device()).pinned_memory(false));
  follow(*copies, computation);  // work that used this memory before
  const c10::StreamGuard guard(*copies);
  item.device.copy_(item.host, /*non_blocking=*/true);
  item.copied->record(*copies);
}

Tensor HostStore::Impl::take(int64_t number) {
  Item item = std::exchange(items.at(static_cast<size_t>(number)), Item{});
  if (!item.copied) {
    return item.host;
  }
  begin_return(item);
  item.copied->block(current_stream(copies->device()));
  if (number > 0) {
    begin_return(items[static_cast<size_t>(number - 1)]);
  }
  return item.device;
}

HostStore::HostStore() : impl_(std::make_unique<Impl>()) {}
HostStore::~HostStore() = default;

int64_t HostStore::put(const Tensor& x) {
  return impl_->put(x);
}

Tensor HostStore::take(int64_t number) {
  return impl_->take(number);
}

}  // namespace lora::ops

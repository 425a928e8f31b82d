#pragma once
#include <algorithm>
#include <string>
#include <vector>

namespace lora::nn {

/// Makes this adapter's the only one in use among the attachments of one kind at one host; "": none.
template <typename Attachment>
void enable_only(std::vector<Attachment>& attachments, const std::string& adapter) {
  for (Attachment& attached : attachments) {
    attached.enabled = !adapter.empty() && attached.adapter == adapter;
  }
}

template <typename Attachment>
bool any_enabled(const std::vector<Attachment>& attachments) {
  return std::any_of(attachments.begin(), attachments.end(), [](const Attachment& attached) { return attached.enabled; });
}

}  // namespace lora::nn

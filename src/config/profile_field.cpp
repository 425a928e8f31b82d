#include "config/profile_field.h"

namespace lora::config {

namespace {

using train::ProfileOptions;
using train::TrainOptions;

Field<ProfileOptions> steps_field() {
  Rule rule = list_of(integer(1), 2);
  rule.expected = "the first and the last step, from 1, such as [3, 6]";
  Field<ProfileOptions> field{"steps", "First and last step to profile, counted from 1.", rule.schema, Json::array({3, 6}), nullptr};
  field.read = [rule](const Json& value, ProfileOptions& options, const ConfigPlace& at) {
    if (!accept(rule, value, at)) {
      return;
    }
    options = {value[0].get<int64_t>(), value[1].get<int64_t>()};
    if (value.size() > 2 || options.first > options.last) {
      at.add("found " + shown(value) + ", expected " + rule.expected);
    }
  };
  field.show = [](const ProfileOptions& options) { return Json::array({options.first, options.last}); };
  field.required = true;
  field.example = Json::array({3, 6});
  return field;
}

const Table<ProfileOptions>& profile_table() {
  static const Table<ProfileOptions> kTable = [] {
    Table<ProfileOptions> table;
    table.custom(steps_field());
    return table;
  }();
  return kTable;
}

}  // namespace

Field<TrainOptions> profile_field() {
  Json schema = profile_table().schema();
  schema["type"] = {"object", "null"};
  Field<TrainOptions> field{"profile", "Optimiser steps to profile; a trace and a table of the time per operation are written.", schema,
                            nullptr, nullptr};
  field.read = [](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (!value.is_null()) {
      profile_table().read(value, options.profile.emplace(), at);
    }
  };
  field.show = [](const TrainOptions& options) {
    return options.profile ? profile_table().resolved(*options.profile, Json::object()) : Json(nullptr);
  };
  return field;
}

}  // namespace lora::config

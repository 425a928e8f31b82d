// The one precompiled header of every area that uses torch.
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

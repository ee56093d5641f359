#pragma once

#include <nlohmann/json_fwd.hpp>

namespace chronos::repo {
struct RandomAccess;
}

namespace chronos::present {

/// {"in-parts": bytes, "whole": bytes, "largest-whole": {"name": ..., "size": bytes} or null}.
nlohmann::json random_access_object(const repo::RandomAccess& access);

}  // namespace chronos::present

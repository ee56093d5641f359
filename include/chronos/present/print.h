#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "chronos/base/result.h"

namespace chronos::present {

/// What print() does first: takes a progress bar off the terminal, which the output shares with it.
void set_before_print(std::function<void()> before);
/// Standard output, whole; SIGPIPE is ignored, so a reader who left is an error here.
Result<> print(std::string_view text);
/// Text for a reader's terminal: print() of what has no control characters any more. Names and
/// texts in it are a stranger's, or of another tool.
Result<> print_text(std::string_view text);
/// One line of JSON. What comes from a repository need not be UTF-8.
Result<> print_json(const nlohmann::json& value);

}  // namespace chronos::present

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chronos/config/config.h"
#include "result_matchers.h"

namespace chronos::test {

/// Of a command line alone, without a file.
inline config::Config config_of(std::vector<std::string> arguments,
                                std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), "--no-config");
    std::vector<std::string> warnings;
    auto config = config::resolve({.arguments = std::move(arguments),
                                   .environment = std::move(environment),
                                   .program = {},
                                   .terminal = false,
                                   .exec_id = {}},
                                  warnings);
    EXPECT_OK(config);
    return std::move(*config);
}

}  // namespace chronos::test

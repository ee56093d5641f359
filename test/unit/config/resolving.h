#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "chronos/config/config.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::config {

/// One resolution: arguments, variables and one configuration file, and what came out of them.
struct Resolving {
    std::vector<std::string> arguments;
    std::string file = {};  ///< content of the configuration file
    std::vector<std::string> environment = {};
    bool terminal = false;

    std::vector<std::string> warnings = {};

    Result<Config> run() {
        const test::TemporaryDirectory directory;
        std::ofstream(directory / "test.conf") << file;
        Input input{.arguments = {"--config=" + (directory / "test.conf")},
                    .environment = environment,
                    .program = "/usr/bin/chronos",
                    .terminal = terminal,
                    .exec_id = {}};
        input.arguments.insert(input.arguments.end(), arguments.begin(), arguments.end());
        warnings.clear();
        return resolve(input, warnings);
    }

    /// The message of the error, with its code, or what proves that there is none.
    std::string error() {
        const auto result = run();
        if (result) return "no error";
        return std::to_string(static_cast<int>(result.error().kind())) + " " +
               result.error().message();
    }

    std::string hint() {
        const auto result = run();
        return result ? "no error" : result.error().hint();
    }
};

/// For a restore of stanza "demo", which every option of restore can be added to.
inline const std::string kDemo = "[demo]\npg1-path=/pg\n";

inline std::string error_of(std::vector<std::string> arguments, std::string file = kDemo,
                            std::vector<std::string> environment = {}) {
    return Resolving{.arguments = std::move(arguments),
                     .file = std::move(file),
                     .environment = std::move(environment)}
        .error();
}

inline std::string hint_of(std::vector<std::string> arguments, std::string file = kDemo) {
    return Resolving{.arguments = std::move(arguments), .file = std::move(file)}.hint();
}

}  // namespace chronos::config

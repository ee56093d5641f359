#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "chronos/ops/verify/verify.h"
#include "fixture.h"
#include "result_matchers.h"

namespace chronos::ops::verify {

/// The backups of the fixture that is damaged.
inline const std::string kFull = "20261120-083824F";
inline const std::string kDiff = kFull + "_20261120-083826D";
inline const std::string kIncr = kFull + "_20261120-083828I";

/// "<status>: <where>: <file>: <message> => <consequence>"
inline std::string text_of(const VerifyFinding& finding) {
    return std::string(finding_status_name(finding.status)) + ": " + finding.where + ": " +
           finding.file + ": " + finding.message + " => " + finding.consequence;
}

inline std::vector<std::string> texts_of(const VerifyResult& result) {
    std::vector<std::string> texts;
    for (const VerifyFinding& finding : result.findings) texts.push_back(text_of(finding));
    return texts;
}

inline VerifyRequest request_for(repo::Repository repository, std::vector<std::string> sets = {}) {
    VerifyRequest request;
    request.stanza = "main";
    request.repositories = {std::move(repository)};
    request.sets = std::move(sets);
    request.process_max = 2;
    return request;
}

inline VerifyResult verify(const VerifyRequest& request) {
    const Cancellation never;
    auto result = run_verify(request, {}, never);
    if (!result) throw std::runtime_error(result.error().text());
    return std::move(result).value();
}

/// A file of the fixture whose path contains all of `parts`; the first by name.
inline std::string find_path(const std::string& root, const std::vector<std::string>& parts) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
        const std::string path = entry.path().string();
        const bool fits = std::ranges::all_of(parts, [&](const std::string& part) {
            return path.find(part, root.size()) != std::string::npos;
        });
        if (fits && entry.is_regular_file() && path.find("/latest/") == std::string::npos)
            found.push_back(path);
    }
    if (found.empty()) throw std::runtime_error("no file " + testing::PrintToString(parts));
    std::ranges::sort(found);
    return found.front();
}

inline void change_byte(const std::string& path, std::size_t at) {
    std::string content = test::read_file(path);
    content.at(at) = static_cast<char>(content.at(at) ^ 0x40);
    test::write_file(path, content);
}

}  // namespace chronos::ops::verify

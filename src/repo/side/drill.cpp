#include "chronos/repo/side/drill.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "chronos/base/text.h"
#include "chronos/repo/proven_text.h"

namespace chronos::repo {
namespace {

constexpr std::string_view kRecordSuffix = ".json";
constexpr std::size_t kTimeSize = 16;  // 20261120T151617Z
constexpr std::size_t kIdSize = 8;

std::string drill_path(const std::string& stanza) {
    return "chronos/" + stanza + "/drills";
}

std::optional<UnixTime> parse_time(std::string_view text) {
    if (text.size() != kTimeSize || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
    const std::string iso = std::string(text.substr(0, 4)) + "-" + std::string(text.substr(4, 2)) +
                            "-" + std::string(text.substr(6, 2)) + " " +
                            std::string(text.substr(9, 2)) + ":" + std::string(text.substr(11, 2)) +
                            ":" + std::string(text.substr(13, 2)) + "+00";
    const auto time_us = parse_time_us(iso);
    if (!time_us) return std::nullopt;
    return *time_us / 1000000;
}

/// The number of a member of the report. In a text of the report its name has other quotes.
std::optional<double> number_of(std::string_view json, std::string_view member) {
    const std::string name = "\"" + std::string(member) + "\":";
    const std::size_t at = json.find(name);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view rest = trim(json.substr(at + name.size()));
    double value = 0;
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    return read.ec == std::errc{} ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<double> drill_recovery_time(std::string_view json) {
    const auto restore = number_of(json, "restore-seconds");
    const auto recovery = number_of(json, "recovery-seconds");
    if (!restore || !recovery) return std::nullopt;
    return *restore + *recovery;
}

std::optional<DrillRecord> parse_drill_name(std::string_view name) {
    if (!name.ends_with(kRecordSuffix)) return std::nullopt;
    const std::vector<std::string_view> parts =
        split(name.substr(0, name.size() - kRecordSuffix.size()), '-');
    if (parts.size() != 3 || (parts[1] != "passed" && parts[1] != "failed") ||
        parts[2].size() != kIdSize)
        return std::nullopt;
    const auto finished = parse_time(parts[0]);
    if (!finished) return std::nullopt;
    return DrillRecord{std::string(name), *finished, parts[1] == "passed", std::string(parts[2])};
}

std::string drill_name(UnixTime finished, bool passed, const std::string& id) {
    const auto value = static_cast<std::time_t>(finished);
    std::tm parts{};
    gmtime_r(&value, &parts);
    char time[32];
    time[std::strftime(time, sizeof time, "%Y%m%dT%H%M%SZ", &parts)] = '\0';
    return std::string(time) + (passed ? "-passed-" : "-failed-") + id + std::string(kRecordSuffix);
}

Result<std::vector<DrillRecord>> list_drills(const Repository& repository,
                                             const std::string& stanza) {
    std::vector<DrillRecord> records;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(drill_path(stanza))))
        if (auto record = parse_drill_name(entry.name)) records.push_back(std::move(*record));
    // Of two that ended in the same second a failure is not hidden behind a success.
    std::ranges::stable_sort(records, {}, [](const DrillRecord& record) {
        return std::pair(record.finished, !record.passed);
    });
    return records;
}

Result<std::string> read_drill(const Repository& repository, const std::string& stanza,
                               const std::string& name, const std::string& pass) {
    return read_text(repository, drill_path(stanza) + "/" + name, pass);
}

Result<> save_drill(const Repository& repository, const std::string& stanza,
                    const std::string& name, const std::string& json, const std::string& pass) {
    // The name is the record of those that do not ask for the report.
    const auto read_back = [&](std::string_view text) -> Result<> {
        const std::string_view object = trim(text);
        if (parse_drill_name(name) && object.starts_with('{') && object.ends_with('}') &&
            drill_recovery_time(text) == drill_recovery_time(json))
            return {};
        return Error(ErrorKind::format, "it is no report of a drill");
    };
    return write_text(repository, drill_path(stanza) + "/" + name, json, pass, read_back);
}

}  // namespace chronos::repo

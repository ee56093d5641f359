#include "chronos/repo/verify_result.h"

#include "chronos/base/text.h"
#include "chronos/repo/proven_text.h"

namespace chronos::repo {
namespace {

std::string object_of(const std::string& stanza) {
    return "chronos/" + stanza + "/verify/result";
}

std::string line(std::string_view key, std::uint64_t value) {
    return std::string(key) + "=" + std::to_string(value) + "\n";
}

/// Keys that a later release writes are passed over.
void take_value(VerifySummary& summary, std::string_view key, std::string_view value) {
    const std::uint64_t number = parse_uint(value).value_or(0);
    if (key == "started") summary.started = static_cast<UnixTime>(number);
    if (key == "finished") summary.finished = static_cast<UnixTime>(number);
    if (key == "full") summary.full = number != 0;
    if (key == "failures") summary.failures = number;
    if (key == "notes") summary.notes = number;
    if (key == "backups") summary.backups = number;
    if (key == "wal-segments") summary.wal_segments = number;
    if (key == "bytes-read") summary.bytes_read = number;
    if (key == "first-failure") summary.first_failure = value;
}

VerifySummary parse_summary(std::string_view text) {
    VerifySummary summary;
    for (const std::string_view one : split(text, '\n')) {
        const std::size_t equals = one.find('=');
        if (equals != std::string_view::npos)
            take_value(summary, one.substr(0, equals), one.substr(equals + 1));
    }
    return summary;
}

}  // namespace

Result<std::optional<VerifySummary>> load_verify_summary(const Repository& repository,
                                                         const std::string& stanza,
                                                         const std::string& pass) {
    const auto text = read_text(repository, object_of(stanza), pass);
    if (!text && text.error().kind() == ErrorKind::not_found) return std::optional<VerifySummary>();
    if (!text) return text.error();
    return std::optional(parse_summary(*text));
}

Result<> save_verify_summary(const Repository& repository, const std::string& stanza,
                             const VerifySummary& summary, const std::string& pass) {
    const std::string text =
        line("started", static_cast<std::uint64_t>(summary.started)) +
        line("finished", static_cast<std::uint64_t>(summary.finished)) +
        line("full", summary.full ? 1 : 0) + line("failures", summary.failures) +
        line("notes", summary.notes) + line("backups", summary.backups) +
        line("wal-segments", summary.wal_segments) + line("bytes-read", summary.bytes_read) +
        "first-failure=" + printable(summary.first_failure, 1024) + "\n";
    VerifySummary meant = summary;
    meant.first_failure = printable(summary.first_failure, 1024);
    const auto parse = [](std::string_view stored) { return std::optional(parse_summary(stored)); };
    return write_text(repository, object_of(stanza), text, pass, reads_back_as(meant, parse));
}

}  // namespace chronos::repo

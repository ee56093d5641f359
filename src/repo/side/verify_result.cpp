#include "chronos/repo/side/verify_result.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/repo/proven_text.h"

namespace chronos::repo {
namespace {

std::string object_of(const std::string& stanza) {
    return "chronos/" + stanza + "/verify/result";
}

std::string history_of(const std::string& stanza) {
    return "chronos/" + stanza + "/verify/history";
}

std::string unfinished_of(const std::string& stanza) {
    return "chronos/" + stanza + "/verify/unfinished";
}

std::string line(std::string_view key, std::uint64_t value) {
    return std::string(key) + "=" + std::to_string(value) + "\n";
}

/// Keys that a later release writes are passed over.
void take_value(VerifySummary& summary, std::string_view key, std::string_view value) {
    const std::uint64_t number = parse_uint(value).value_or(0);
    const UnixTime time = parse_unix_time(value).value_or(0);
    if (key == "started") summary.started = time;
    if (key == "finished") summary.finished = time;
    if (key == "full") summary.full = number != 0;
    if (key == "failures") summary.failures = number;
    if (key == "notes") summary.notes = number;
    if (key == "backups") summary.backups = number;
    if (key == "wal-segments") summary.wal_segments = number;
    if (key == "bytes-read") summary.bytes_read = number;
    if (key == "first-failure") summary.first_failure = value;
}

void take_value(UnfinishedVerify& unfinished, std::string_view key, std::string_view value) {
    const std::uint64_t number = parse_uint(value).value_or(0);
    const UnixTime time = parse_unix_time(value).value_or(0);
    if (key == "since") unfinished.since = time;
    if (key == "finished") unfinished.finished = time;
    if (key == "reason") unfinished.reason = value;
    if (key == "failures") unfinished.failures = number;
    if (key == "first-failure") unfinished.first_failure = value;
}

template <class Record>
Record parse_record(std::string_view text) {
    Record record;
    for (const std::string_view one : split(text, '\n')) {
        const std::size_t equals = one.find('=');
        if (equals != std::string_view::npos)
            take_value(record, one.substr(0, equals), one.substr(equals + 1));
    }
    return record;
}

VerifySummary parse_summary(std::string_view text) {
    return parse_record<VerifySummary>(text);
}

std::string format_summary(const VerifySummary& summary) {
    return line("started", static_cast<std::uint64_t>(summary.started)) +
           line("finished", static_cast<std::uint64_t>(summary.finished)) +
           line("full", summary.full ? 1 : 0) + line("failures", summary.failures) +
           line("notes", summary.notes) + line("backups", summary.backups) +
           line("wal-segments", summary.wal_segments) + line("bytes-read", summary.bytes_read) +
           "first-failure=" + summary.first_failure + "\n";
}

UnfinishedVerify parse_unfinished(std::string_view text) {
    return parse_record<UnfinishedVerify>(text);
}

std::string format_unfinished(const UnfinishedVerify& unfinished) {
    return line("since", static_cast<std::uint64_t>(unfinished.since)) +
           line("finished", static_cast<std::uint64_t>(unfinished.finished)) +
           "reason=" + unfinished.reason + "\n" + line("failures", unfinished.failures) +
           "first-failure=" + unfinished.first_failure + "\n";
}

std::string format_history(const std::vector<VerifySummary>& history) {
    std::vector<std::string> texts;
    texts.reserve(history.size());
    for (const VerifySummary& summary : history) texts.push_back(format_summary(summary));
    return join(texts, "\n");
}

std::vector<VerifySummary> parse_history(std::string_view text) {
    std::vector<VerifySummary> history;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find("\n\n", at), text.size());
        history.push_back(parse_summary(text.substr(at, end - at)));
        at = end + 2;
    }
    return history;
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

Result<std::vector<VerifySummary>> load_verify_history(const Repository& repository,
                                                       const std::string& stanza,
                                                       const std::string& pass) {
    const auto last = CHRONOS_TRY(load_verify_summary(repository, stanza, pass));
    std::vector<VerifySummary> history;
    if (!last) return history;
    if (const auto text = read_text(repository, history_of(stanza), pass))
        history = parse_history(*text);
    else if (text.error().kind() != ErrorKind::not_found)
        return text.error();
    if (history.empty() || history.back() != *last) history.push_back(*last);
    return history;
}

Result<> save_verify_summary(const Repository& repository, const std::string& stanza,
                             const VerifySummary& summary, const std::string& pass) {
    VerifySummary meant = summary;
    meant.first_failure = one_line(summary.first_failure);
    // One that cannot be read begins anew: what was is worth less than what is.
    const auto before = load_verify_history(repository, stanza, pass);
    std::vector<VerifySummary> history = before ? *before : std::vector<VerifySummary>();
    history.push_back(meant);
    if (history.size() > kVerifyHistory)
        history.erase(history.begin(), history.end() - static_cast<long>(kVerifyHistory));
    const auto parse = [](std::string_view stored) { return std::optional(parse_summary(stored)); };
    CHRONOS_TRY(write_text(repository, object_of(stanza), format_summary(meant), pass,
                           reads_back_as(meant, parse)));
    const auto parse_all = [](std::string_view stored) {
        return std::optional(parse_history(stored));
    };
    CHRONOS_TRY(write_text(repository, history_of(stanza), format_history(history), pass,
                           reads_back_as(history, parse_all)));
    return repository.storage->remove(unfinished_of(stanza));
}

Result<std::optional<UnfinishedVerify>> load_unfinished_verify(const Repository& repository,
                                                               const std::string& stanza,
                                                               const std::string& pass) {
    const auto text = read_text(repository, unfinished_of(stanza), pass);
    if (!text && text.error().kind() == ErrorKind::not_found)
        return std::optional<UnfinishedVerify>();
    if (!text) return text.error();
    UnfinishedVerify unfinished = parse_unfinished(*text);
    const auto whole = CHRONOS_TRY(load_verify_summary(repository, stanza, pass));
    if (whole && whole->started > unfinished.finished) return std::optional<UnfinishedVerify>();
    return std::optional(std::move(unfinished));
}

Result<> save_unfinished_verify(const Repository& repository, const std::string& stanza,
                                const UnfinishedVerify& unfinished, const std::string& pass) {
    UnfinishedVerify meant = unfinished;
    meant.reason = one_line(unfinished.reason);
    meant.first_failure = one_line(unfinished.first_failure);
    meant.since = unfinished.finished;
    if (const auto before = load_unfinished_verify(repository, stanza, pass); before && *before)
        meant.since = std::min((*before)->since, meant.since);
    const auto parse = [](std::string_view stored) {
        return std::optional(parse_unfinished(stored));
    };
    return write_text(repository, unfinished_of(stanza), format_unfinished(meant), pass,
                      reads_back_as(meant, parse));
}

}  // namespace chronos::repo

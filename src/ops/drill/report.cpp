#include <algorithm>
#include <cstdio>

#include "chronos/base/text.h"
#include "chronos/ops/drill/drill.h"

namespace chronos::ops::drill {
namespace {

std::string seconds_text(double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1fs", seconds);
    return text;
}

std::string age_text(std::int64_t seconds) {
    std::string text = std::to_string(seconds) + "s";
    if (seconds >= 3600) text += " (" + std::to_string(seconds / 3600) + "h)";
    return text;
}

std::string target_text(const RestoredBackup& backup) {
    return backup.target.empty() ? backup.type : backup.type + " " + backup.target;
}

std::string verdict(const DrillReport& report) {
    if (report.passed) return "passed";
    return "FAILED while " + std::string(report.failed_phase == "restore"   ? "restoring"
                                         : report.failed_phase == "start"   ? "starting the server"
                                         : report.failed_phase == "recover" ? "recovering"
                                                                            : "checking");
}

/// What every format shows, in order.
std::vector<std::pair<std::string, std::string>> rows_of(const DrillReport& report) {
    const RestoredBackup& backup = report.backup;
    std::vector<std::pair<std::string, std::string>> rows;
    const auto add = [&](const char* name, const std::string& value) {
        if (!value.empty()) rows.emplace_back(name, value);
    };
    add("result", verdict(report));
    add("failure", report.failure);
    add("hint", report.failure_hint);
    add("stanza", report.stanza);
    if (!backup.label.empty())
        add("backup", backup.label + " in repo" + std::to_string(backup.repo_key) +
                          (backup.reason.empty() ? "" : ", which " + backup.reason));
    add("recovered to", target_text(backup));
    add("started", format_local_time(report.started));
    add("finished", format_local_time(report.finished));
    if (backup.fetched_bytes) {
        add("time to mount", seconds_text(report.restore_seconds) + ", nothing was restored");
        add("was read", format_size(*backup.fetched_bytes) + " of " +
                            format_size(backup.size_bytes) + "; of the rest this proves nothing");
    } else if (backup.file_count != 0) {
        add("time to restore", seconds_text(report.restore_seconds) + " for " +
                                   format_size(backup.size_bytes) + " in " +
                                   std::to_string(backup.file_count) + " files");
    }
    if (report.recovery_seconds > 0)
        add("time to recover", seconds_text(report.recovery_seconds) + " for " +
                                   std::to_string(backup.wal_segments) + " WAL segments");
    if (!report.server_version.empty()) add("time to check", seconds_text(report.check_seconds));
    add("server", report.server_version);
    if (!report.server_version.empty())
        add("last transaction",
            report.last_commit_text.empty() ? "none was replayed" : report.last_commit_text);
    add("last LSN", report.last_lsn);
    if (report.data_age_s) add("data age", age_text(*report.data_age_s));
    for (const DatabaseFacts& database : report.databases)
        add("database", printable(database.name) + ": " + std::to_string(database.tables) +
                            " tables, " + format_size(database.size_bytes));
    add("kept in", report.kept_path);
    add("start it with", report.start_command);
    return rows;
}

/// A cell of a table in Markdown.
std::string cell(const std::string& text) {
    std::string result;
    for (const char c : text) {
        if (c == '|' || c == '\\') result += '\\';
        result += c == '\n' ? ' ' : c;
    }
    return result;
}

}  // namespace

DrillReport without_answers(DrillReport report) {
    for (CheckOutcome& check : report.checks)
        if (check.kind == "assert" || check.kind == "command") check.actual = check.verdict;
    return report;
}

std::string format_text(const DrillReport& report) {
    std::string text = "restore drill\n";
    constexpr std::size_t kWidth = 18;
    constexpr std::size_t kTextMax = 64 << 10;  // queries and answers are told as they are
    for (const auto& [name, value] : rows_of(report)) {
        std::string line = "  " + name + ":";
        line.resize(std::max(line.size() + 1, kWidth + 2), ' ');
        text += line + one_line(value, kTextMax) + "\n";
    }
    for (const CheckOutcome& check : report.checks)
        text += std::string(check.passed ? "  ok      " : "  FAILED  ") + check.kind + ": " +
                one_line(check.text, kTextMax) + " -> " + one_line(check.actual, kTextMax) +
                (check.passed || check.expected.empty() ? "" : ", expected " + check.expected) +
                "\n";
    return text;
}

std::string format_markdown(const DrillReport& report) {
    std::string text = "## Restore drill of " + report.stanza + ", " +
                       format_local_time(report.finished) + ": " + verdict(report) +
                       "\n\n| | |\n|---|---|\n";
    for (const auto& [name, value] : rows_of(report))
        text += "| " + name + " | " + cell(value) + " |\n";
    if (report.checks.empty()) return text;
    text += "\n| check | question | expected | answer | time | |\n|---|---|---|---|---|---|\n";
    for (const CheckOutcome& check : report.checks)
        text += "| " + check.kind + " | " + cell(check.text) + " | " + cell(check.expected) +
                " | " + cell(check.actual) + " | " + seconds_text(check.seconds) + " | " +
                (check.passed ? "ok" : "**failed**") + " |\n";
    return text;
}

}  // namespace chronos::ops::drill

#include "chronos/present/drill_output.h"

#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/present/json_text.h"

namespace chronos::present {
namespace {

using nlohmann::json;
using ops::drill::DrillReport;

/// 1 has the answers of the cluster in it, which are nobody's who reads records.
constexpr int kRecordFormat = 2;

template <class T>
json or_null(const std::optional<T>& value) {
    return value ? json(*value) : json(nullptr);
}

/// Milliseconds are enough, and a record shows no 0.30000000000000004.
double rounded(double seconds) {
    return static_cast<double>(static_cast<std::int64_t>(seconds * 1000 + 0.5)) / 1000;
}

json backup_json(const ops::drill::RestoredBackup& backup) {
    return {{"repo", backup.repo_key},
            {"label", text_or_null(backup.label)},
            {"stop", backup.backup_stop},
            {"pg-version", text_or_null(backup.pg_version)},
            {"size", backup.size_bytes},
            {"files", backup.file_count},
            {"wal-segments", backup.wal_segments}};
}

json failure_json(const DrillReport& report) {
    if (report.passed) return nullptr;
    return {{"phase", report.failed_phase},
            {"code", report.failure_code},
            {"message", report.failure},
            {"hint", text_or_null(report.failure_hint)}};
}

std::string member_text(const json& record, const char* name) {
    const auto found = record.find(name);
    return found != record.end() && found->is_string() ? found->get<std::string>() : "";
}

void withhold_answers(json& record) {
    if (record.value("format", 1) >= kRecordFormat) return;
    const auto checks = record.find("checks");
    if (checks == record.end() || !checks->is_array()) return;
    for (json& check : *checks) {
        if (!check.is_object()) continue;
        const std::string kind = member_text(check, "kind");
        if (kind != "assert" && kind != "command") continue;
        check["actual"] = check.value("passed", false) ? "as expected" : "not as expected";
    }
}

}  // namespace

json drill_json(const DrillReport& report, const std::string& reason) {
    json databases = json::array();
    for (const auto& database : report.databases)
        databases.push_back(
            {{"name", database.name}, {"tables", database.tables}, {"size", database.size_bytes}});
    json checks = json::array();
    for (const auto& check : report.checks)
        checks.push_back({{"kind", check.kind},
                          {"text", check.text},
                          {"expected", check.expected},
                          {"actual", check.actual},
                          {"passed", check.passed},
                          {"seconds", rounded(check.seconds)}});
    return {{"format", kRecordFormat},
            {"stanza", report.stanza},
            {"passed", report.passed},
            {"failure", failure_json(report)},
            {"started", report.started},
            {"finished", report.finished},
            {"reason", text_or_null(reason)},
            {"backup", backup_json(report.backup)},
            {"type", report.backup.type},
            {"target", text_or_null(report.backup.target)},
            {"restore-seconds", rounded(report.restore_seconds)},
            {"recovery-seconds", rounded(report.recovery_seconds)},
            {"check-seconds", rounded(report.check_seconds)},
            {"server-version", text_or_null(report.server_version)},
            {"last-commit", text_or_null(report.last_commit_text)},
            {"last-lsn", text_or_null(report.last_lsn)},
            {"data-age-seconds", or_null(report.data_age_s)},
            {"databases", databases},
            {"checks", checks},
            {"kept", text_or_null(report.kept_path)}};
}

json parse_drill_record(std::string_view text) {
    json record = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object()) return nullptr;
    withhold_answers(record);
    return record;
}

std::string format_drill_history(const json& history) {
    std::string text;
    for (const json& record : history) {
        const bool passed = record.value("passed", false);
        const json failure = record.value("failure", json());
        const json backup = record.value("backup", json::object());
        text += format_local_time(record.value("finished", UnixTime{0})) + "  " +
                (passed ? "passed" : "FAILED") + "  " + member_text(backup, "label") + "  " +
                member_text(record, "type");
        if (const std::string target = member_text(record, "target"); !target.empty())
            text += " " + printable(target);
        if (failure.is_object()) text += "  " + printable(member_text(failure, "message"));
        text += "\n";
    }
    return text.empty() ? "no drills\n" : text;
}

}  // namespace chronos::present

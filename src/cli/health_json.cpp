#include <time.h>

#include <array>
#include <nlohmann/json.hpp>

#include "cli/health_view.h"

namespace chronos::cli {
namespace {

using nlohmann::json;
using ops::health::RuleState;

std::string utc_time(UnixTime time) {
    const time_t seconds = time;
    tm parts = {};
    gmtime_r(&seconds, &parts);
    std::array<char, 32> text;
    return {text.data(), strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

json time_or_null(UnixTime time) {
    return time == 0 ? json() : json(time);
}

/// Names on a file system need not be UTF-8, and a report must not fail on one.
std::string text_of(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json backup_json(const repo::BackupEntry& backup) {
    return {{"label", backup.label},
            {"type", repo::backup_type_name(backup.type)},
            {"start", backup.timestamp_start},
            {"stop", backup.timestamp_stop},
            {"size", backup.size},
            {"delta", backup.size_delta},
            {"repo_size", backup.repo_size},
            {"repo_delta", backup.repo_size_delta},
            {"page_errors", backup.error.value_or(false)},
            {"annotations", backup.annotations}};
}

json archive_json(const ops::health::ArchiveFacts& archive) {
    json gaps = json::array(), hours = json::array();
    for (const ops::health::WalGap& gap : archive.gaps)
        gaps.push_back({{"first", gap.first},
                        {"last", gap.last},
                        {"segments", gap.segments},
                        {"backup", gap.backup},
                        {"from", time_or_null(gap.from)},
                        {"until", time_or_null(gap.until)}});
    for (const ops::health::WalHour& hour : archive.hours)
        hours.push_back(
            {{"begin", hour.begin}, {"segments", hour.segments}, {"bytes", hour.stored_bytes}});
    return {{"id", archive.database.archive_id()},
            {"min", archive.min},
            {"max", archive.max},
            {"segments", archive.segments},
            {"bytes", archive.stored_bytes},
            {"newest", time_or_null(archive.newest)},
            {"gaps", gaps},
            {"hours", hours}};
}

json repository_json(const ops::health::RepositoryFacts& repository) {
    json backups = json::array(), archives = json::array();
    for (const repo::BackupEntry& backup : repository.backups)
        backups.push_back(backup_json(backup));
    for (const ops::health::ArchiveFacts& archive : repository.archives)
        archives.push_back(archive_json(archive));
    return {{"key", repository.key},
            {"place", repository.place},
            {"cipher", crypto::cipher_type_name(repository.cipher)},
            {"problem", repository.problem},
            {"backup_bytes", repository.backup_bytes()},
            {"wal_bytes", repository.wal_bytes()},
            {"backups", backups},
            {"archives", archives}};
}

json server_json(const std::optional<ops::health::ServerFacts>& server) {
    if (!server) return {};
    return {{"at", server->at},
            {"in_recovery", server->in_recovery},
            {"archive_mode", server->archive_mode},
            {"last_archived_wal", server->last_archived_wal},
            {"last_archived_at", time_or_null(server->last_archived_at)},
            {"failed_count", server->failed_count},
            {"ready_segments", server->ready_segments},
            {"unarchived_bytes", server->unarchived_bytes},
            {"data_loss_seconds", server->data_loss_seconds()},
            {"pg_wal_bytes", server->pg_wal_bytes},
            {"disk_total_bytes", server->disk_total_bytes},
            {"disk_free_bytes", server->disk_free_bytes}};
}

json running_json(const std::vector<RunningBackup>& running) {
    json list = json::array();
    for (const RunningBackup& backup : running) {
        json item{{"repo", backup.repo_key}};
        if (backup.bytes_total) item["bytes_total"] = *backup.bytes_total;
        if (backup.bytes_done) item["bytes_done"] = *backup.bytes_done;
        list.push_back(item);
    }
    return list;
}

}  // namespace

std::string_view health_word(RuleState overall) {
    if (overall == RuleState::critical) return "unhealthy";
    return overall == RuleState::warning ? "degraded" : "healthy";
}

std::string health_summary_json(const HealthView& view) {
    json messages = json::array();
    for (const ops::health::Rule& rule : view.rules)
        if (rule.state == RuleState::critical || rule.state == RuleState::warning)
            messages.push_back(std::string(rule_state_name(rule.state)) + ": " + rule.name + ": " +
                               rule.message);
    const repo::BackupEntry* latest = view.snapshot.latest_backup();
    const std::string age =
        latest == nullptr
            ? "unknown"
            : std::to_string(std::max<UnixTime>(0, view.now - latest->timestamp_stop) / 3600);
    return text_of({{"status", health_word(view.overall())},
                    {"timestamp", utc_time(view.now)},
                    {"last_backup_age_hours", age},
                    {"messages", messages}}) +
           "\n";
}

json rules_json(const std::vector<ops::health::Rule>& rules) {
    json rows = json::array();
    for (const ops::health::Rule& rule : rules)
        rows.push_back({{"rule", rule.name},
                        {"state", rule_state_name(rule.state)},
                        {"value", rule.value},
                        {"threshold", rule.threshold},
                        {"message", rule.message},
                        {"hint", rule.hint},
                        {"since", time_or_null(rule.since)}});
    return rows;
}

std::string health_status_json(const HealthView& view) {
    json repositories = json::array();
    for (const ops::health::RepositoryFacts& repository : view.snapshot.repositories)
        repositories.push_back(repository_json(repository));
    return text_of({{"stanza", view.snapshot.stanza},
                    {"version", CHRONOS_VERSION},
                    {"now", view.now},
                    {"taken_at", view.snapshot.taken_at},
                    {"status", health_word(view.overall())},
                    {"rules", rules_json(view.rules)},
                    {"repositories", repositories},
                    {"server", server_json(view.server)},
                    {"running", running_json(view.running)}}) +
           "\n";
}

}  // namespace chronos::cli

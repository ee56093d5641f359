#include <time.h>

#include <array>
#include <nlohmann/json.hpp>

#include "chronos/ops/health/note.h"
#include "chronos/present/health_view.h"
#include "chronos/present/json_text.h"

namespace chronos::present {
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
    json gaps = json::array(), lost_timelines = json::array(), hours = json::array();
    for (const ops::health::WalGap& gap : archive.gaps)
        gaps.push_back({{"first", gap.first},
                        {"last", gap.last},
                        {"segments", gap.segments},
                        {"backup", gap.backup},
                        {"next_backup", gap.next_backup},
                        {"from", time_or_null(gap.from)},
                        {"until", time_or_null(gap.until)}});
    for (const ops::health::LostTimeline& lost : archive.lost_timelines)
        lost_timelines.push_back({{"timeline", lost.timeline},
                                  {"told_by", lost.told_by == 0 ? json() : json(lost.told_by)},
                                  {"first", lost.first},
                                  {"next_backup", lost.next_backup}});
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
            {"lost_timelines", lost_timelines},
            {"hours", hours}};
}

json verify_json(const std::optional<ops::health::VerifyFacts>& verify) {
    if (!verify) return {};
    return {{"finished_at", verify->finished_at}, {"problems", verify->problems},
            {"message", verify->message},         {"full", verify->full},
            {"backups", verify->backups},         {"wal_segments", verify->wal_segments}};
}

json unfinished_json(const std::optional<ops::health::UnfinishedVerifyFacts>& verify) {
    if (!verify) return {};
    return {{"since", verify->since},
            {"finished_at", verify->finished_at},
            {"reason", verify->reason},
            {"problems", verify->problems},
            {"message", verify->message}};
}

json drill_json(const ops::health::RepositoryFacts& repository) {
    json drills = json::array();
    for (const ops::health::DrillEntry& drill : repository.drills)
        drills.push_back(
            {{"finished_at", drill.finished_at}, {"passed", drill.passed}, {"id", drill.id}});
    return drills;
}

json hold_json(const ops::health::RepositoryFacts& repository) {
    json holds = json::array();
    for (const ops::health::HoldFacts& hold : repository.holds)
        holds.push_back(
            {{"label", hold.label}, {"reason", hold.reason}, {"since", time_or_null(hold.since)}});
    return holds;
}

json repository_json(const HealthView& view, const ops::health::RepositoryFacts& repository) {
    const auto memory = view.memories.find(repository.key);
    const ops::health::RepositoryMemory known =
        memory == view.memories.end() ? ops::health::RepositoryMemory() : memory->second;
    json backups = json::array(), archives = json::array(), verifies = json::array();
    for (const ops::health::VerifyFacts& verify : repository.verifies)
        verifies.push_back(verify_json(verify));
    for (const repo::BackupEntry& backup : repository.backups)
        backups.push_back(backup_json(backup));
    for (const ops::health::ArchiveFacts& archive : repository.archives)
        archives.push_back(archive_json(archive));
    return {
        {"key", repository.key},
        {"place", repository.place},
        {"cipher", crypto::cipher_type_name(repository.cipher)},
        {"problem", repository.problem},
        {"state", rule_state_name(ops::health::state_of(repository, view.rules))},
        {"read_at", time_or_null(known.read_at)},
        {"failing_since", repository.problem.empty() ? json() : time_or_null(known.failing_since)},
        {"known_backups", known.backups},
        {"known_newest", time_or_null(known.newest)},
        {"verify", verify_json(repository.verify)},
        {"verifies", verifies},
        {"unfinished_verify", unfinished_json(repository.unfinished_verify)},
        {"recovery_time", repository.drill && repository.drill->recovery_time
                              ? json(*repository.drill->recovery_time)
                              : json()},
        {"drills", drill_json(repository)},
        {"holds", hold_json(repository)},
        {"backup_bytes", repository.backup_bytes()},
        {"wal_bytes", repository.wal_bytes()},
        {"backups", backups},
        {"archives", archives}};
}

json heartbeats_json(const std::vector<ops::health::HeartbeatFacts>& heartbeats) {
    json rows = json::array();
    for (const ops::health::HeartbeatFacts& one : heartbeats)
        rows.push_back({{"subject", one.subject},
                        {"late", one.late},
                        {"seen_seconds", one.seen < 0 ? json() : json(one.seen)},
                        {"late_seconds", one.late_by},
                        {"message", one.message}});
    return rows;
}

json data_loss_json(const HealthView& view) {
    const auto lost = ops::health::data_loss_seconds(*view.server, view.snapshot);
    return lost ? json(*lost) : json();
}

json server_json(const HealthView& view) {
    const std::optional<ops::health::ServerFacts>& server = view.server;
    if (!server) return {};
    return {{"at", server->at},
            {"in_recovery", server->in_recovery},
            {"archive_mode", server->archive_mode},
            {"last_archived_wal", server->last_archived_wal},
            {"last_archived_at", time_or_null(server->last_archived_at)},
            {"failed_count", server->failed_count},
            {"ready_segments", server->ready_segments},
            {"unarchived_bytes", server->unarchived_bytes},
            {"data_loss_seconds", data_loss_json(view)},
            {"pg_wal_bytes", server->pg_wal_bytes},
            {"disk_total_bytes", server->disk_total_bytes},
            {"disk_free_bytes", server->disk_free_bytes},
            {"heartbeats", heartbeats_json(server->heartbeats)}};
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

json completing_json(const std::vector<CompletingRestore>& completing) {
    json list = json::array();
    for (const CompletingRestore& restore : completing)
        list.push_back({{"path", restore.path},
                        {"repo", restore.repo_key},
                        {"label", restore.label},
                        {"problem", restore.problem},
                        {"left_bytes", restore.left_bytes},
                        {"missing_bytes", restore.missing_bytes},
                        {"bytes_per_second", restore.bytes_per_second},
                        {"whole", restore.whole},
                        {"waits_for_room", restore.waits_for_room}});
    return list;
}

json job_json(const ops::health::JobEntry& job) {
    return {{"id", job.id},
            {"type", job.type},
            {"state", job.state},
            {"requested_by", job.requested_by},
            {"schedule", job.schedule},
            {"phase", job.phase},
            {"label", job.label},
            {"error", job.error},
            {"hint", job.hint},
            {"requested_at", time_or_null(job.requested_at)},
            {"started_at", time_or_null(job.started_at)},
            {"finished_at", time_or_null(job.finished_at)},
            {"due_at", time_or_null(job.due_at)},
            {"phase_started_at", time_or_null(job.phase_started_at)},
            {"bytes_done", job.bytes_done},
            {"bytes_total", job.bytes_total},
            {"files_done", job.files_done},
            {"files_total", job.files_total},
            {"still_for", job.still_for}};
}

json schedule_json(const ops::health::ScheduleEntry& schedule) {
    return {{"name", schedule.name},
            {"type", schedule.type},
            {"cron", schedule.cron},
            {"timezone", schedule.timezone},
            {"enabled", schedule.enabled},
            {"next_run", time_or_null(schedule.next_run)},
            {"last_due", time_or_null(schedule.last_due)},
            {"last_state", schedule.last_state},
            {"last_error", schedule.last_error}};
}

json age_json(const FactsAge& facts) {
    return {{"at", time_or_null(facts.at)},
            {"age", facts.age},
            {"limit", facts.limit},
            {"expected", facts.limit != 0},
            {"known", facts.limit != 0 && facts.problem.empty()},
            {"problem", facts.problem}};
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
                    // Of what the verdict rests on, not of the question.
                    {"timestamp", utc_time(view.snapshot.taken_at)},
                    {"last_backup_age_hours", age},
                    {"messages", messages}}) +
           "\n";
}

json rules_json(const std::vector<ops::health::Rule>& rules) {
    json rows = json::array();
    for (const ops::health::Rule& rule : rules) {
        json findings = json::array();
        for (const ops::health::RepositoryFinding& finding : rule.repositories)
            findings.push_back({{"repo", finding.key},
                                {"state", rule_state_name(finding.state)},
                                {"message", finding.message}});
        rows.push_back({{"rule", rule.name},
                        {"state", rule_state_name(rule.state)},
                        {"value", rule.value},
                        {"threshold", rule.threshold},
                        {"message", rule.message},
                        {"hint", rule.hint},
                        {"since", time_or_null(rule.since)},
                        {"repositories", findings}});
    }
    return rows;
}

std::string health_status_json(const HealthView& view) {
    json repositories = json::array(), jobs = json::array(), schedules = json::array();
    for (const ops::health::RepositoryFacts& repository : view.snapshot.repositories)
        repositories.push_back(repository_json(view, repository));
    for (const ops::health::JobEntry& job : view.activity.jobs) jobs.push_back(job_json(job));
    for (const ops::health::ScheduleEntry& schedule : view.activity.schedules)
        schedules.push_back(schedule_json(schedule));
    return text_of({{"stanza", view.snapshot.stanza},
                    {"version", CHRONOS_VERSION},
                    {"now", view.now},
                    {"taken_at", view.snapshot.taken_at},
                    {"status", health_word(view.overall())},
                    {"facts",
                     {{"repositories", age_json(view.of_repositories)},
                      {"server", age_json(view.of_server)},
                      {"jobs", age_json(view.of_jobs)},
                      {"schedules", age_json(view.of_schedules)}}},
                    {"rules", rules_json(view.rules)},
                    {"repositories", repositories},
                    {"server", server_json(view)},
                    {"running", running_json(view.running)},
                    {"completing", completing_json(view.completing)},
                    {"jobs", jobs},
                    {"schedules", schedules},
                    {"restore_options", view.restore_options}}) +
           "\n";
}

}  // namespace chronos::present

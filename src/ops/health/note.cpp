#include "chronos/ops/health/note.h"
#include <algorithm>
#include <array>
#include <charconv>

#include "chronos/base/text.h"
#include "chronos/control/message.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"

namespace chronos::ops::health {
namespace {

using control::Message;
using ops::health::HeartbeatFacts;
using ops::health::JobEntry;
using ops::health::JobFacts;
using ops::health::RuleMemory;
using ops::health::ScheduleEntry;
using ops::health::ServerFacts;
using ops::health::WalDirectory;

constexpr const char* kDirectory = "/pg_stat_tmp";
constexpr const char* kNoteName = "chronos_health";
constexpr const char* kMemoryName = "chronos_wal";
/// Of a note that does not say when the next one comes: the usual chronos.health_interval.
constexpr std::int64_t kUsualInterval = 60;
/// What a look may take longer than the one before.
constexpr std::int64_t kNoteGrace = 30;
constexpr std::size_t kSizeMax = 64 << 20;

template <class Type, class Of = ServerFacts>
struct Field {
    const char* name;
    Type Of::*member;
};
constexpr std::array kTexts{
    Field<std::string>{"version", &ServerFacts::version},
    Field<std::string>{"archive_mode", &ServerFacts::archive_mode},
    Field<std::string>{"foreign_archiver", &ServerFacts::foreign_archiver},
    Field<std::string>{"last_archived_wal", &ServerFacts::last_archived_wal},
    Field<std::string>{"last_failed_wal", &ServerFacts::last_failed_wal}};
constexpr std::array kTimes{Field<UnixTime>{"at", &ServerFacts::at},
                            Field<UnixTime>{"last_archived_at", &ServerFacts::last_archived_at},
                            Field<UnixTime>{"last_failed_at", &ServerFacts::last_failed_at},
                            Field<UnixTime>{"oldest_ready", &ServerFacts::oldest_ready}};
constexpr std::array kNumbers{
    Field<std::uint64_t>{"system_id", &ServerFacts::system_id},
    Field<std::uint64_t>{"archived_count", &ServerFacts::archived_count},
    Field<std::uint64_t>{"failed_count", &ServerFacts::failed_count},
    Field<std::uint64_t>{"ready_segments", &ServerFacts::ready_segments},
    Field<std::uint64_t>{"unarchived_bytes", &ServerFacts::unarchived_bytes},
    Field<std::uint64_t>{"pg_wal_bytes", &ServerFacts::pg_wal_bytes},
    Field<std::uint64_t>{"disk_total_bytes", &ServerFacts::disk_total_bytes},
    Field<std::uint64_t>{"disk_free_bytes", &ServerFacts::disk_free_bytes}};

constexpr std::array kJobTexts{
    Field<std::string, JobEntry>{"type", &JobEntry::type},
    Field<std::string, JobEntry>{"state", &JobEntry::state},
    Field<std::string, JobEntry>{"requested_by", &JobEntry::requested_by},
    Field<std::string, JobEntry>{"schedule", &JobEntry::schedule},
    Field<std::string, JobEntry>{"phase", &JobEntry::phase},
    Field<std::string, JobEntry>{"label", &JobEntry::label},
    Field<std::string, JobEntry>{"error", &JobEntry::error},
    Field<std::string, JobEntry>{"hint", &JobEntry::hint}};
constexpr std::array kJobTimes{
    Field<UnixTime, JobEntry>{"requested_at", &JobEntry::requested_at},
    Field<UnixTime, JobEntry>{"started_at", &JobEntry::started_at},
    Field<UnixTime, JobEntry>{"finished_at", &JobEntry::finished_at},
    Field<UnixTime, JobEntry>{"due_at", &JobEntry::due_at},
    Field<UnixTime, JobEntry>{"phase_started_at", &JobEntry::phase_started_at}};
constexpr std::array kJobNumbers{
    Field<std::uint64_t, JobEntry>{"bytes_done", &JobEntry::bytes_done},
    Field<std::uint64_t, JobEntry>{"bytes_total", &JobEntry::bytes_total},
    Field<std::uint64_t, JobEntry>{"files_done", &JobEntry::files_done},
    Field<std::uint64_t, JobEntry>{"files_total", &JobEntry::files_total},
    Field<std::uint64_t, JobEntry>{"still_for", &JobEntry::still_for}};
constexpr std::array kScheduleTexts{
    Field<std::string, ScheduleEntry>{"name", &ScheduleEntry::name},
    Field<std::string, ScheduleEntry>{"type", &ScheduleEntry::type},
    Field<std::string, ScheduleEntry>{"cron", &ScheduleEntry::cron},
    Field<std::string, ScheduleEntry>{"timezone", &ScheduleEntry::timezone},
    Field<std::string, ScheduleEntry>{"last_state", &ScheduleEntry::last_state},
    Field<std::string, ScheduleEntry>{"last_error", &ScheduleEntry::last_error}};

std::uint64_t unsigned_of(UnixTime time) {
    return static_cast<std::uint64_t>(time);
}

UnixTime bounded(std::uint64_t time) {
    return static_cast<UnixTime>(std::min(time, std::uint64_t{kUnixTimeMax}));
}

/// Also of a length of time: what is computed with both has room.
std::optional<UnixTime> time_if(const Message& message, const char* key) {
    const std::string* value = message.get(key);
    return value == nullptr ? std::nullopt : parse_unix_time(*value);
}

UnixTime time_in(const Message& message, const char* key) {
    return time_if(message, key).value_or(0);
}

Message server_message(const ServerFacts& server) {
    Message message("server");
    const auto put = [&](const char* name, std::string value) {
        message.fields.emplace_back(name, std::move(value));
    };
    for (const auto& field : kTexts) put(field.name, server.*field.member);
    for (const auto& field : kTimes) put(field.name, std::to_string(server.*field.member));
    for (const auto& field : kNumbers) put(field.name, std::to_string(server.*field.member));
    put("in_recovery", server.in_recovery ? "y" : "n");
    if (server.exposed_seconds) put("exposed_seconds", std::to_string(*server.exposed_seconds));
    if (const auto& job = server.last_backup_job) {
        put("job", std::to_string(job->id));
        put("job_type", job->type);
        put("job_state", job->state);
        put("job_error", job->error);
        put("job_finished_at", std::to_string(job->finished_at));
    }
    return message;
}

Message heartbeat_message(const HeartbeatFacts& one) {
    Message message = Message("heartbeat")
                          .with("subject", one.subject)
                          .with("late", one.late ? "y" : "n")
                          .with("late_by", unsigned_of(one.late_by))
                          .with("message", one.message);
    if (one.seen >= 0) message.fields.emplace_back("seen", std::to_string(one.seen));
    return message;
}

HeartbeatFacts heartbeat_of(const Message& message) {
    HeartbeatFacts one;
    one.subject = message.get_or("subject", "");
    one.late = message.get_or("late", "n") == "y";
    one.late_by = time_in(message, "late_by");
    one.message = message.get_or("message", "");
    if (const auto seen = time_if(message, "seen")) one.seen = *seen;
    return one;
}

ServerFacts server_of(const Message& message) {
    ServerFacts server;
    for (const auto& field : kTexts) server.*field.member = message.get_or(field.name, "");
    for (const auto& field : kTimes) server.*field.member = time_in(message, field.name);
    for (const auto& field : kNumbers)
        server.*field.member = message.get_uint(field.name).value_or(0);
    server.in_recovery = message.get_or("in_recovery", "n") == "y";
    server.exposed_seconds = time_if(message, "exposed_seconds");
    if (const auto id = message.get_uint("job"))
        server.last_backup_job = JobFacts{
            static_cast<std::int64_t>(*id), std::string(message.get_or("job_type", "")),
            std::string(message.get_or("job_state", "")),
            std::string(message.get_or("job_error", "")), time_in(message, "job_finished_at")};
    return server;
}

Message schedule_message(const ScheduleEntry& schedule) {
    Message message("schedule");
    for (const auto& field : kScheduleTexts)
        message.fields.emplace_back(field.name, schedule.*field.member);
    return std::move(message)
        .with("enabled", schedule.enabled ? "y" : "n")
        .with("next_run", unsigned_of(schedule.next_run))
        .with("last_due", unsigned_of(schedule.last_due));
}

ScheduleEntry schedule_of(const Message& message) {
    ScheduleEntry schedule;
    for (const auto& field : kScheduleTexts)
        schedule.*field.member = message.get_or(field.name, "");
    schedule.enabled = message.get_or("enabled", "n") == "y";
    schedule.next_run = time_in(message, "next_run");
    schedule.last_due = time_in(message, "last_due");
    return schedule;
}

Message rule_message(const std::string& name, const RuleMemory& memory) {
    return Message("rule")
        .with("name", name)
        .with("state", rule_state_name(memory.state))
        .with("since", unsigned_of(memory.since))
        .with("announced", rule_state_name(memory.announced));
}

void take_rule(const Message& message, ops::health::RuleMemories& memories) {
    const auto state = ops::health::parse_rule_state(message.get_or("state", ""));
    if (message.verb == "rule" && state)
        memories[std::string(message.get_or("name", ""))] = RuleMemory{
            *state, time_in(message, "since"),
            ops::health::parse_rule_state(message.get_or("announced", "")).value_or(*state)};
}

/// Calls `take` for each message of a text; kind format if one is none.
template <class Take>
Result<> each_message(std::string_view text, Take&& take) {
    for (const std::string_view line : split(text, '\n')) {
        if (line.empty()) continue;
        const auto message = control::decode(line);
        if (!message)
            return Error(ErrorKind::format, "'" + printable(line, 64) + "' is no message");
        take(*message);
    }
    return {};
}

std::string format_runs(const std::vector<ops::health::WalRun>& runs) {
    std::string text;
    for (const auto& run : runs)
        text += (text.empty() ? "" : ",") + std::to_string(run.first) + ":" +
                std::to_string(run.last) + ":" + std::to_string(run.first_at) + ":" +
                std::to_string(run.last_at);
    return text;
}

/// `count` numbers a group: "1:2,3:4"; nothing if it is not of that form.
std::vector<std::vector<std::uint64_t>> parse_groups(std::string_view text, std::size_t count) {
    std::vector<std::vector<std::uint64_t>> groups;
    if (text.empty()) return groups;
    for (const std::string_view group : split(text, ',')) {
        auto& numbers = groups.emplace_back();
        for (const std::string_view part : split(group, ':'))
            if (const auto value = parse_uint(part)) numbers.push_back(*value);
        if (numbers.size() != count) return {};
    }
    return groups;
}

Message directory_message(const std::string& name, const WalDirectory& directory) {
    std::string hours;
    for (const auto& hour : directory.hours)
        hours += (hours.empty() ? "" : ",") + std::to_string(hour.begin) + ":" +
                 std::to_string(hour.segments) + ":" + std::to_string(hour.stored_bytes);
    return Message("wal")
        .with("name", name)
        .with("looked_at", unsigned_of(directory.looked_at))
        .with("segments", directory.segments)
        .with("stored_bytes", directory.stored_bytes)
        .with("newest", unsigned_of(directory.newest))
        .with("runs", format_runs(directory.runs))
        .with("hours", hours);
}

WalDirectory directory_of(const Message& message) {
    WalDirectory directory;
    directory.looked_at = time_in(message, "looked_at");
    directory.segments = message.get_uint("segments").value_or(0);
    directory.stored_bytes = message.get_uint("stored_bytes").value_or(0);
    directory.newest = time_in(message, "newest");
    for (const auto& run : parse_groups(message.get_or("runs", ""), 4))
        directory.runs.push_back({static_cast<std::uint32_t>(run[0]),
                                  static_cast<std::uint32_t>(run[1]), bounded(run[2]),
                                  bounded(run[3])});
    for (const auto& hour : parse_groups(message.get_or("hours", ""), 3))
        directory.hours.push_back({bounded(hour[0]), hour[1], hour[2]});
    return directory;
}

Result<std::string> read_note_file(const std::string& pgdata, const char* name) {
    const auto storage = storage::make_posix_storage(pgdata + kDirectory);
    return storage::read_object(*storage, name, kSizeMax);
}

/// What could not be read back is not written.
Result<> write_note_file(const std::string& pgdata, const char* name, std::string_view text) {
    std::string read;
    CHRONOS_TRY(
        each_message(text, [&](const Message& message) { read += control::encode(message); }));
    if (read != text || text.size() > kSizeMax)
        return Error(ErrorKind::format,
                     "'" + std::string(name) + "' was not written, because nobody could read it");
    const auto storage =
        storage::make_posix_storage(pgdata + kDirectory, {.file_mode = 0600, .path_mode = 0700});
    CHRONOS_TRY(storage->make_path(""));
    return storage::write_object(*storage, name, text);
}

}  // namespace

Message job_message(const JobEntry& job) {
    Message message("job");
    message.fields.emplace_back("id", std::to_string(job.id));
    const auto put = [&](const char* name, std::string value) {
        message.fields.emplace_back(name, std::move(value));
    };
    for (const auto& field : kJobTexts) put(field.name, job.*field.member);
    for (const auto& field : kJobTimes) put(field.name, std::to_string(job.*field.member));
    for (const auto& field : kJobNumbers) put(field.name, std::to_string(job.*field.member));
    return message;
}

JobEntry job_of(const Message& message) {
    JobEntry job;
    job.id = static_cast<std::int64_t>(message.get_uint("id").value_or(0));
    for (const auto& field : kJobTexts) job.*field.member = message.get_or(field.name, "");
    for (const auto& field : kJobTimes) job.*field.member = time_in(message, field.name);
    for (const auto& field : kJobNumbers)
        job.*field.member = message.get_uint(field.name).value_or(0);
    return job;
}

std::int64_t HealthNote::limit() const {
    return 2 * (interval > 0 ? interval : kUsualInterval) + kNoteGrace;
}

std::string format_health_note(const HealthNote& note) {
    std::string text = control::encode(
        server_message(note.server).with("interval", std::to_string(note.interval)));
    for (const HeartbeatFacts& one : note.server.heartbeats)
        text += control::encode(heartbeat_message(one));
    for (const auto& [rule, memory] : note.memories)
        text += control::encode(rule_message(rule, memory));
    for (const JobEntry& job : note.activity.jobs) text += control::encode(job_message(job));
    for (const ScheduleEntry& schedule : note.activity.schedules)
        text += control::encode(schedule_message(schedule));
    return text;
}

Result<HealthNote> parse_health_note(std::string_view text) {
    HealthNote note;
    bool has_server = false;
    CHRONOS_TRY(each_message(text, [&](const Message& message) {
        if (message.verb == "server") {
            note.server = server_of(message);
            note.interval = time_in(message, "interval");
            has_server = true;
        }
        take_rule(message, note.memories);
        if (message.verb == "job") note.activity.jobs.push_back(job_of(message));
        if (message.verb == "schedule") note.activity.schedules.push_back(schedule_of(message));
        if (message.verb == "heartbeat") note.server.heartbeats.push_back(heartbeat_of(message));
    }));
    if (!has_server) return Error(ErrorKind::format, "the note about the server holds nothing");
    return note;
}

Result<> write_health_note(const std::string& pgdata, const HealthNote& note) {
    return write_note_file(pgdata, kNoteName, format_health_note(note));
}

Result<HealthNote> read_health_note(const std::string& pgdata) {
    return parse_health_note(CHRONOS_TRY(read_note_file(pgdata, kNoteName)));
}

std::string format_serve_memory(const ServeMemory& memory) {
    std::string text;
    for (const auto& [rule, state] : memory.rules)
        text += control::encode(rule_message(rule, state));
    for (const auto& [key, repository] : memory.repositories)
        text += control::encode(Message("repository")
                                    .with("key", std::uint64_t{key})
                                    .with("read_at", unsigned_of(repository.read_at))
                                    .with("failing_since", unsigned_of(repository.failing_since))
                                    .with("backups", repository.backups)
                                    .with("newest", unsigned_of(repository.newest)));
    return text;
}

ServeMemory parse_serve_memory(std::string_view text) {
    ServeMemory memory;
    for (const std::string_view line : split(text, '\n')) {
        const auto message = control::decode(line);
        if (!message) continue;
        take_rule(*message, memory.rules);
        const auto key = message->get_uint("key");
        if (message->verb == "repository" && key)
            memory.repositories[static_cast<unsigned>(*key)] = {
                time_in(*message, "read_at"), time_in(*message, "failing_since"),
                message->get_uint("backups").value_or(0), time_in(*message, "newest")};
    }
    return memory;
}

ops::health::WalMemory read_wal_memory(const std::string& pgdata) {
    ops::health::WalMemory memory;
    const auto text = read_note_file(pgdata, kMemoryName);
    if (!text) return memory;
    const auto parsed = each_message(*text, [&](const Message& message) {
        if (message.verb == "wal")
            memory[std::string(message.get_or("name", ""))] = directory_of(message);
    });
    if (!parsed) memory.clear();
    return memory;
}

Result<> write_wal_memory(const std::string& pgdata, const ops::health::WalMemory& memory) {
    std::string text;
    for (const auto& [name, directory] : memory)
        text += control::encode(directory_message(name, directory));
    return write_note_file(pgdata, kMemoryName, text);
}

}  // namespace chronos::ops::health

#include <array>
#include <charconv>

#include "chronos/base/text.h"
#include "chronos/control/message.h"
#include "chronos/storage/storage.h"
#include "cli/health_view.h"

namespace chronos::cli {
namespace {

using control::Message;
using ops::health::JobFacts;
using ops::health::RuleMemory;
using ops::health::ServerFacts;
using ops::health::WalDirectory;

constexpr const char* kDirectory = "/pg_stat_tmp";
constexpr const char* kNoteName = "chronos_health";
constexpr const char* kMemoryName = "chronos_wal";
/// The longest chronos.health_interval is an hour; whoever is later has ended.
constexpr UnixTime kNoteAgeMax = 2 * 3600;
constexpr std::size_t kSizeMax = 64 << 20;

template <class Type>
struct Field {
    const char* name;
    Type ServerFacts::*member;
};
constexpr std::array kTexts{
    Field<std::string>{"archive_mode", &ServerFacts::archive_mode},
    Field<std::string>{"last_archived_wal", &ServerFacts::last_archived_wal},
    Field<std::string>{"last_failed_wal", &ServerFacts::last_failed_wal}};
constexpr std::array kTimes{Field<UnixTime>{"at", &ServerFacts::at},
                            Field<UnixTime>{"last_archived_at", &ServerFacts::last_archived_at},
                            Field<UnixTime>{"last_failed_at", &ServerFacts::last_failed_at},
                            Field<UnixTime>{"oldest_ready", &ServerFacts::oldest_ready}};
constexpr std::array kNumbers{
    Field<std::uint64_t>{"archived_count", &ServerFacts::archived_count},
    Field<std::uint64_t>{"failed_count", &ServerFacts::failed_count},
    Field<std::uint64_t>{"ready_segments", &ServerFacts::ready_segments},
    Field<std::uint64_t>{"unarchived_bytes", &ServerFacts::unarchived_bytes},
    Field<std::uint64_t>{"pg_wal_bytes", &ServerFacts::pg_wal_bytes},
    Field<std::uint64_t>{"disk_total_bytes", &ServerFacts::disk_total_bytes},
    Field<std::uint64_t>{"disk_free_bytes", &ServerFacts::disk_free_bytes}};

std::uint64_t number(UnixTime time) {
    return static_cast<std::uint64_t>(time);
}

UnixTime time_of(const Message& message, const char* key) {
    return static_cast<UnixTime>(message.get_uint(key).value_or(0));
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

ServerFacts server_of(const Message& message) {
    ServerFacts server;
    for (const auto& field : kTexts) server.*field.member = message.get_or(field.name, "");
    for (const auto& field : kTimes) server.*field.member = time_of(message, field.name);
    for (const auto& field : kNumbers)
        server.*field.member = message.get_uint(field.name).value_or(0);
    server.in_recovery = message.get_or("in_recovery", "n") == "y";
    if (const auto seconds = message.get_uint("exposed_seconds"))
        server.exposed_seconds = static_cast<std::int64_t>(*seconds);
    if (const auto id = message.get_uint("job"))
        server.last_backup_job = JobFacts{
            static_cast<std::int64_t>(*id), std::string(message.get_or("job_type", "")),
            std::string(message.get_or("job_state", "")),
            std::string(message.get_or("job_error", "")), time_of(message, "job_finished_at")};
    return server;
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
        .with("looked_at", number(directory.looked_at))
        .with("segments", directory.segments)
        .with("stored_bytes", directory.stored_bytes)
        .with("newest", number(directory.newest))
        .with("runs", format_runs(directory.runs))
        .with("hours", hours);
}

WalDirectory directory_of(const Message& message) {
    WalDirectory directory;
    directory.looked_at = time_of(message, "looked_at");
    directory.segments = message.get_uint("segments").value_or(0);
    directory.stored_bytes = message.get_uint("stored_bytes").value_or(0);
    directory.newest = time_of(message, "newest");
    for (const auto& run : parse_groups(message.get_or("runs", ""), 4))
        directory.runs.push_back({static_cast<std::uint32_t>(run[0]),
                                  static_cast<std::uint32_t>(run[1]), static_cast<UnixTime>(run[2]),
                                  static_cast<UnixTime>(run[3])});
    for (const auto& hour : parse_groups(message.get_or("hours", ""), 3))
        directory.hours.push_back({static_cast<UnixTime>(hour[0]), hour[1], hour[2]});
    return directory;
}

Result<std::string> read_note_file(const std::string& pgdata, const char* name) {
    const auto storage = storage::make_posix_storage(pgdata + kDirectory);
    return storage::read_object(*storage, name, kSizeMax);
}

Result<> write_note_file(const std::string& pgdata, const char* name, std::string_view text) {
    const auto storage =
        storage::make_posix_storage(pgdata + kDirectory, {.file_mode = 0600, .path_mode = 0700});
    return storage::write_object(*storage, name, text);
}

}  // namespace

std::string format_health_note(const HealthNote& note) {
    std::string text = control::encode(server_message(note.server));
    for (const auto& [rule, memory] : note.memories)
        text += control::encode(Message("rule")
                                    .with("name", rule)
                                    .with("state", rule_state_name(memory.state))
                                    .with("since", number(memory.since)));
    return text;
}

Result<HealthNote> parse_health_note(std::string_view text) {
    HealthNote note;
    bool has_server = false;
    CHRONOS_TRY(each_message(text, [&](const Message& message) {
        if (message.verb == "server") {
            note.server = server_of(message);
            has_server = true;
        }
        const auto state = ops::health::parse_rule_state(message.get_or("state", ""));
        if (message.verb == "rule" && state)
            note.memories[std::string(message.get_or("name", ""))] =
                RuleMemory{*state, time_of(message, "since"), *state};
    }));
    if (!has_server) return Error(ErrorKind::format, "the note about the server holds nothing");
    return note;
}

Result<> write_health_note(const std::string& pgdata, const HealthNote& note) {
    return write_note_file(pgdata, kNoteName, format_health_note(note));
}

Result<HealthNote> read_health_note(const std::string& pgdata, UnixTime now) {
    const std::string text = CHRONOS_TRY(read_note_file(pgdata, kNoteName));
    HealthNote note = CHRONOS_TRY(parse_health_note(text));
    if (now - note.server.at > kNoteAgeMax)
        return Error(ErrorKind::not_found, "what the server said last is too old");
    return note;
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

}  // namespace chronos::cli

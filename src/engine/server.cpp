#include <algorithm>
#include <chrono>
#include <optional>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/present/failures.h"
#include "chronos/requests/server_commands.h"
#include "engine/connection.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;

const char* status_name(ops::check::CheckStatus status) {
    switch (status) {
        case ops::check::CheckStatus::ok: return "ok";
        case ops::check::CheckStatus::note: return "note";
        case ops::check::CheckStatus::failure: break;
    }
    return "failure";
}

/// The backup is there, and whoever asked for it must learn its label; what expire left undone, the
/// next one does. Nothing if there was no error.
std::optional<Error> expire_error_of(const flows::BackupOutcome& outcome) {
    Result<> expired = present::report_expire(outcome);
    if (expired) return std::nullopt;
    log_warn("backup " + outcome.result->entry.label +
             " is complete, but expire failed: " + expired.error().text());
    return std::move(expired).error();
}

/// A backup that one of the repositories has not got is no success: who looks at the job must see
/// where it is, where not, and why.
void send_failures(Channel& channel, const std::vector<flows::BackupOutcome>& backups) {
    std::string label, there;
    for (const flows::BackupOutcome& backup : backups) {
        if (!backup.result) continue;
        label = backup.result->entry.label;
        there += (there.empty() ? "repo" : ", repo") + std::to_string(backup.key);
    }
    for (const flows::BackupOutcome& backup : backups)
        if (!backup.result)
            channel.send(Message("finding")
                             .with("test", "backup " + label + " is in " + there +
                                               ", but not in repo" + std::to_string(backup.key))
                             .with("status", "failure")
                             .with("message", backup.result.error().message())
                             .with("hint", backup.result.error().hint()));
}

using Backups = std::vector<flows::BackupOutcome>;

/// Somebody is at work in the repository, or may be: a backup that was asked for by hand, or the
/// last one of a primary that was lost (docs/wal.md).
bool is_held_up(const Result<Backups>& backups) {
    const auto locked = [](const Error& error) { return error.kind() == ErrorKind::lock_acquire; };
    if (!backups) return locked(backups.error());
    return std::ranges::all_of(*backups, [&](const flows::BackupOutcome& backup) {
        return !backup.result && locked(backup.result.error());
    });
}

/// Whoever has the turn makes the run, and nobody else does: what passes is waited for.
Result<Backups> make_backups(requests::Context& context, db::Connection& connection) {
    constexpr std::chrono::hours kPatience(1);
    constexpr std::chrono::seconds kPause(10);
    const Deadline patience(kPatience);
    for (;; Activity::note()) {
        // Asked anew: whoever waited for a turn has waited for hours, perhaps.
        const auto request = CHRONOS_TRY(requests::backup_request(context, &connection));
        auto backups = flows::run_backup(request, &connection, context.progress, context.cancel);
        if (!is_held_up(backups) || patience.passed()) return backups;
        const Error& why = backups ? backups->front().result.error() : backups.error();
        log_info("the backup is tried again in " + std::to_string(kPause.count()) +
                 " seconds: " + why.message());
        CHRONOS_TRY(context.cancel.sleep(kPause));
    }
}

/// The other servers learn what has become of it.
void settle(std::unique_ptr<repo::Turn> turn, const flows::AwaitTurn& await,
            db::Connection& connection, const Result<Backups>& backups) {
    if (turn == nullptr) return;
    if (!backups)
        return flows::settle_failed_turn(std::move(turn), await, connection, backups.error());
    const Error* failed = nullptr;
    for (const flows::BackupOutcome& backup : *backups) {
        if (!backup.result) {
            failed = &backup.result.error();
            continue;
        }
        // In one of the repositories is enough: the others are a finding of this job.
        if (const Result<> written = turn->succeeded(backup.result->entry.label); !written)
            log_warn(
                "that the run is made is not on record for the other servers, and so one of"
                " them may make it again: " +
                written.error().message());
        return;
    }
    if (failed != nullptr) flows::settle_failed_turn(std::move(turn), await, connection, *failed);
}

/// Where another server has the run, nothing is left to be made here.
Result<std::optional<Backups>> make_in_turn(requests::Context& context, db::Connection& connection,
                                            Channel& channel) {
    const auto request = CHRONOS_TRY(requests::backup_request(context, &connection));
    const auto await = requests::turn_request(context, request);
    if (!await)
        return std::optional(
            CHRONOS_TRY(flows::run_backup(request, &connection, context.progress, context.cancel)));
    auto awaited =
        CHRONOS_TRY(flows::await_turn(*await, connection, context.progress, context.cancel));
    if (!awaited.made_elsewhere.empty()) {
        channel.send(Message("done").with("status", 0).with("skipped", awaited.made_elsewhere));
        return std::optional<Backups>();
    }
    auto backups = make_backups(context, connection);
    settle(std::move(awaited.turn), *await, connection, backups);
    return std::optional(CHRONOS_TRY(std::move(backups)));
}

}  // namespace

Result<> serve_backup(requests::Context& context, Channel& channel) {
    ControlConnection connection(channel, context.cancel);
    const auto made = CHRONOS_TRY(make_in_turn(context, connection, channel));
    if (!made) return {};
    const Backups& backups = *made;
    const auto done = std::ranges::find_if(backups, [](const flows::BackupOutcome& backup) {
        return static_cast<bool>(backup.result);
    });
    const Result<> reported = present::report_backups(backups);
    if (done == backups.end()) return reported.error();
    const ops::backup::BackupResult& result = *done->result;
    const repo::BackupEntry& entry = result.entry;
    std::optional<Error> expire_error;
    for (const flows::BackupOutcome& backup : backups)
        if (backup.result)
            if (auto error = expire_error_of(backup)) expire_error = std::move(error);
    if (!reported) send_failures(channel, backups);
    const auto code = [](const Error& error) { return static_cast<std::uint64_t>(error.kind()); };
    channel.send(Message("done")
                     .with("status", reported ? 0 : code(reported.error()))
                     .with("label", entry.label)
                     .with("type", repo::backup_type_name(entry.type))
                     .with("size", entry.size)
                     .with("repo_size", entry.repo_size)
                     .with("repo_size_delta", entry.repo_size_delta)
                     .with("files", result.file_total)
                     .with("warning", result.warning)
                     .with("expire_code", expire_error ? code(*expire_error) : 0)
                     .with("expire_error", expire_error ? expire_error->message() : ""));
    return {};
}

Result<> serve_check(requests::Context& context, Channel& channel) {
    ControlConnection connection(channel, context.cancel);
    for (const ops::check::CheckFinding& finding :
         CHRONOS_TRY(requests::check_over(context, connection)))
        channel.send(Message("finding")
                         .with("test", finding.test)
                         .with("status", status_name(finding.status))
                         .with("message", finding.message)
                         .with("hint", finding.hint));
    channel.send(Message("done"));
    return {};
}

Result<> serve_stanza_create(requests::Context& context, Channel& channel) {
    ControlConnection connection(channel, context.cancel);
    CHRONOS_TRY(requests::create_stanza_over(context, connection));
    channel.send(Message("done"));
    return {};
}

}  // namespace chronos::engine

#include <algorithm>
#include <optional>

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

}  // namespace

Result<> serve_backup(requests::Context& context, Channel& channel) {
    ControlConnection connection(channel, context.cancel);
    const auto request = CHRONOS_TRY(requests::backup_request(context, &connection));
    const auto backups =
        CHRONOS_TRY(flows::run_backup(request, &connection, context.progress, context.cancel));
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

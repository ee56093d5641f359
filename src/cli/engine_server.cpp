#include <algorithm>

#include "chronos/base/log.h"
#include "cli/engine_connection.h"
#include "cli/engine_roles.h"
#include "cli/expire_options.h"
#include "cli/server_commands.h"

namespace chronos::cli {
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
/// next one does. Returns the error code, 0 if there was no error.
std::uint64_t expire_after(Context& context, const RepositoryBackup& backup) {
    const Result<> expired = expire_after_backup(context, backup.key);
    if (expired) return 0;
    log_warn("backup " + backup.result->entry.label +
             " is complete, but expire failed: " + expired.error().text());
    return static_cast<std::uint64_t>(expired.error().kind());
}

}  // namespace

Result<> serve_backup(Context& context, EngineChannel& channel) {
    ControlConnection connection(channel, context.cancel);
    const auto backups = CHRONOS_TRY(backup_over(context, connection));
    const auto done = std::ranges::find_if(
        backups, [](const RepositoryBackup& backup) { return static_cast<bool>(backup.result); });
    const Result<> reported = report_backups(backups);
    if (done == backups.end()) return reported.error();
    // The job is about a backup; that another repository has not got it stands in the log.
    if (!reported) log_warn(reported.error().text());
    const ops::backup::BackupResult& result = *done->result;
    const repo::BackupEntry& entry = result.entry;
    std::uint64_t expire_code = 0;
    for (const RepositoryBackup& backup : backups)
        if (backup.result) expire_code = std::max(expire_code, expire_after(context, backup));
    channel.send(Message("done")
                     .with("label", entry.label)
                     .with("type", repo::backup_type_name(entry.type))
                     .with("size", entry.size)
                     .with("repo_size", entry.repo_size)
                     .with("repo_size_delta", entry.repo_size_delta)
                     .with("files", result.file_total)
                     .with("warning", result.left_out)
                     .with("expire_code", expire_code));
    return {};
}

Result<> serve_check(Context& context, EngineChannel& channel) {
    ControlConnection connection(channel, context.cancel);
    for (const ops::check::CheckFinding& finding : CHRONOS_TRY(check_over(context, connection)))
        channel.send(Message("finding")
                         .with("test", finding.test)
                         .with("status", status_name(finding.status))
                         .with("message", finding.message)
                         .with("hint", finding.hint));
    channel.send(Message("done"));
    return {};
}

Result<> serve_stanza_create(Context& context, EngineChannel& channel) {
    ControlConnection connection(channel, context.cancel);
    CHRONOS_TRY(create_stanza_over(context, connection));
    channel.send(Message("done"));
    return {};
}

}  // namespace chronos::cli

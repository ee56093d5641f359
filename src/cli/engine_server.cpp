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

}  // namespace

Result<> serve_backup(Context& context, EngineChannel& channel) {
    ControlConnection connection(channel, context.cancel);
    const ops::backup::BackupResult result = CHRONOS_TRY(backup_over(context, connection));
    const repo::BackupEntry& entry = result.entry;
    // The backup is there, and whoever asked for it must learn its label; what expire left undone,
    // the next one does.
    std::uint64_t expire_code = 0;
    if (const Result<> expired = expire_after_backup(context); !expired) {
        log_warn("backup " + entry.label +
                 " is complete, but expire failed: " + expired.error().text());
        expire_code = static_cast<std::uint64_t>(expired.error().kind());
    }
    channel.send(Message("done")
                     .with("label", entry.label)
                     .with("type", repo::backup_type_name(entry.type))
                     .with("size", entry.size)
                     .with("repo_size", entry.repo_size)
                     .with("repo_size_delta", entry.repo_size_delta)
                     .with("files", result.file_total)
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

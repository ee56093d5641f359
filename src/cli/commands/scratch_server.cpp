#include "cli/commands/scratch_server.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "chronos/requests/fetch_settings.h"
#include "chronos/requests/restore_request.h"

namespace chronos::cli {
namespace {

/// Who may be a superuser of the cluster: initdb takes the operating system's user.
std::vector<std::string> likely_superusers(const config::Config& config) {
    std::vector<std::string> users;
    const auto add = [&](const std::string& user) {
        if (!user.empty() && std::ranges::find(users, user) == users.end()) users.push_back(user);
    };
    add(config.get_string("pg1-user"));
    if (const passwd* user = getpwuid(geteuid())) add(user->pw_name);
    add("postgres");
    return users;
}

}  // namespace

ops::drill::DrillRequest scratch_server(const requests::Context& context) {
    const config::Config& config = context.config;
    ops::drill::DrillRequest request;
    request.stanza = config.stanza();
    request.scratch_parent = config.get_string("drill-path");
    request.port = static_cast<unsigned>(config.get_int("port"));
    request.bin_path = config.get_string("bin-path");
    // "make install" puts this program where those of the server are.
    request.own_path = context.program.substr(0, context.program.rfind('/'));
    request.preload = config.get_string("preload");
    request.settings = config.get_hash("setting");
    request.database = config.get_string("pg1-database");
    request.users = likely_superusers(config);
    request.recovery_timeout = config.get_time("recovery-timeout");
    request.query_timeout = config.get_time("db-timeout");
    return request;
}

ops::mount::ScratchMountRequest scratch_mount(const requests::Context& context) {
    const config::Config& config = context.config;
    ops::mount::ScratchMountRequest request;
    request.exec_id = config.get_string("exec-id");
    request.fetch = requests::fetch_settings(config);
    request.databases = {config.get_string("pg1-database")};
    return request;
}

Result<ops::restore::RestoreRequest> scratch_restore(const requests::Context& context,
                                                     const std::string& pg_path,
                                                     const std::string& spool_path) {
    auto request = CHRONOS_TRY(requests::restore_request(context));
    request.restore_command = requests::make_restore_command(context, pg_path, spool_path);
    return request;
}

flows::LookRequest scratch_look(const requests::Context& context) {
    return {.server = scratch_server(context),
            .restore =
                [&context](const std::string& pg_path, const std::string& spool_path) {
                    return scratch_restore(context, pg_path, spool_path);
                },
            .mount = scratch_mount(context)};
}

Result<> keep_mounts_to_myself() {
    const Result<> kept = ops::mount::keep_mounts_to_myself();
    if (kept) return kept;
    return Error(kept.error())
        .with_hint(
            "Without a mount: chronos recover-table brings tables back, chronos drill --keep makes "
            "a copy that can be asked.");
}

Result<> check_scratch_type(const requests::Context& context, const std::string& what) {
    const std::string type = context.config.get_string("type");
    if (type != "none" && type != "preserve" && type != "standby") return {};
    return Error(ErrorKind::option_invalid_value,
                 "'" + type + "' is not allowed for 'type' option of " + what)
        .with_hint("It has an end: default, immediate, time, lsn, name or xid.");
}

}  // namespace chronos::cli

#include <unistd.h>

#include <optional>

#include "chronos/base/log.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/requests/archive_settings.h"
#include "cli/commands/commands.h"
#include "cli/prefetch.h"

namespace chronos::cli {
namespace {

using ops::archive::GetOutcome;

bool is_standby(const std::string& pg_path) {
    return ::access((pg_path + "/standby.signal").c_str(), F_OK) == 0;
}

/// A standby waits for the rest of a segment; and takes it from its primary.
bool recovers_to_an_end(const std::string& pg_path) {
    return ::access((pg_path + "/recovery.signal").c_str(), F_OK) == 0 && !is_standby(pg_path);
}

/// Where a standby notes what it has been told; nullopt if there is no such place.
std::optional<ops::archive::Spool> notes_of_standby(const requests::Context& context) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (!is_standby(pg_path)) return std::nullopt;
    const auto control = pgdata::read_control_file(pg_path);
    if (!control) return std::nullopt;
    auto spool =
        ops::archive::Spool::of({config.get_string("spool-path"), config.stanza(), pg_path},
                                *control, config.get_size("archive-get-queue-max"));
    if (!spool) return std::nullopt;
    return *std::move(spool);
}

Result<GetOutcome> get_from_archive(requests::Context& context, const std::string& name,
                                    const std::string& destination) {
    auto settings = CHRONOS_TRY(requests::archive_get_settings(context.config));
    settings.use_streamed = recovers_to_an_end(settings.pg_path);
    const auto notes = notes_of_standby(context);
    settings.answered = notes ? &*notes : nullptr;
    return ops::archive::get_wal_patiently(
        settings, name, destination, context.config.get_time("archive-timeout"), context.cancel);
}

}  // namespace

/// 0 or 1; what becomes of an error, archive_get_status() decides.
Result<int> run_archive_get(requests::Context& context) {
    if (context.config.get_bool("ls")) {
        CHRONOS_TRY(print_wal_report(context));
        return 0;
    }
    const std::vector<std::string>& parameters = context.config.parameters();
    if (parameters.empty()) return Error(ErrorKind::param_required, "WAL segment to get required");
    if (parameters.size() == 1)
        return Error(ErrorKind::param_required, "path to copy WAL segment required");
    if (parameters.size() > 2) return Error(ErrorKind::param_invalid, "extra parameters found");
    const std::string name = requests::base_name(parameters[0]);
    const std::string destination =
        CHRONOS_TRY(requests::resolve_wal_path(context.config, parameters[1]));
    CHRONOS_TRY(ops::archive::check_backup_label(context.config.get_string("pg1-path")));
    const Prefetch prefetch(context, name);
    prefetch.clear_between();
    if (prefetch.take(destination)) {
        log_info("found " + name + " in the spool");
    } else if (CHRONOS_TRY(get_from_archive(context, name, destination)) == GetOutcome::missing) {
        log_info("unable to find " + name + " in the archive");
        return 1;
    }
    const std::string& pg_path = context.config.get_string("pg1-path");
    if (Result<> joined = ops::archive::check_joint(pg_path, name, destination); !joined) {
        ::unlink(destination.c_str());
        return std::move(joined).error();
    }
    prefetch.go_on();
    return 0;
}

}  // namespace chronos::cli

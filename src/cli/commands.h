#pragma once

#include "cli/context.h"

/// One line for each command: declared here, written in command_<verb>.cpp, listed in dispatch.cpp.
namespace chronos::cli {

Result<int> run_annotate(Context& context);
Result<int> run_archive_get(Context& context);
Result<int> run_archive_push(Context& context);
Result<int> run_backup(Context& context);
Result<int> run_check(Context& context);
Result<int> run_config_list(Context& context);
Result<int> run_drill(Context& context);
/// As a job of the server: what it prints and finds goes to logs and views that others read, so it
/// is without what the cluster has answered.
Result<int> run_drill_job(Context& context);
Result<int> run_expire(Context& context);
Result<int> run_health(Context& context);
Result<int> run_help(Context& context);
Result<int> run_hold(Context& context);
Result<int> run_info(Context& context);
Result<int> run_maintenance(Context& context);
Result<int> run_rekey(Context& context);
Result<int> run_repair(Context& context);
Result<int> run_repo_get(Context& context);
Result<int> run_repo_ls(Context& context);
Result<int> run_repo_usage(Context& context);
Result<int> run_restore(Context& context);
Result<int> run_serve(Context& context);
Result<int> run_stanza_claim(Context& context);
Result<int> run_stanza_create(Context& context);
Result<int> run_stanza_delete(Context& context);
Result<int> run_stanza_upgrade(Context& context);
Result<int> run_start(Context& context);
Result<int> run_stop(Context& context);
Result<int> run_unhold(Context& context);
Result<int> run_verify(Context& context);
Result<int> run_version(Context& context);

/// `archive-get --ls` and `info --wal`: prints which WAL the stanza's archives hold, what is
/// missing and where one can recover to, as text or as JSON. Kind option_required without a stanza.
Result<> print_wal_report(Context& context);

}  // namespace chronos::cli

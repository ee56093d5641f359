#pragma once

#include "chronos/requests/context.h"

/// One line for each command: declared here, written in <verb>.cpp, listed in dispatch.cpp.
namespace chronos::cli {

Result<int> run_annotate(requests::Context& context);
Result<int> run_archive_get(requests::Context& context);
Result<int> run_archive_push(requests::Context& context);
Result<int> run_backup(requests::Context& context);
Result<int> run_check(requests::Context& context);
Result<int> run_config_list(requests::Context& context);
Result<int> run_drill(requests::Context& context);
/// As a job of the server: what it prints and finds goes to logs and views that others read, so it
/// is without what the cluster has answered.
Result<int> run_drill_job(requests::Context& context);
Result<int> run_expire(requests::Context& context);
Result<int> run_health(requests::Context& context);
Result<int> run_help(requests::Context& context);
Result<int> run_hold(requests::Context& context);
Result<int> run_info(requests::Context& context);
Result<int> run_look(requests::Context& context);
Result<int> run_maintenance(requests::Context& context);
Result<int> run_mount(requests::Context& context);
Result<int> run_mounts(requests::Context& context);
Result<int> run_recover_table(requests::Context& context);
/// As a job of the server: with `report`, a JSON text, as a figure of its outcome. A plan that
/// finds something missing is a success, which says so.
Result<int> run_recover_table_job(requests::Context& context);
Result<int> run_rekey(requests::Context& context);
Result<int> run_repair(requests::Context& context);
Result<int> run_replica(requests::Context& context);
Result<int> run_repo_get(requests::Context& context);
Result<int> run_repo_ls(requests::Context& context);
Result<int> run_repo_usage(requests::Context& context);
Result<int> run_restore(requests::Context& context);
Result<int> run_serve(requests::Context& context);
Result<int> run_stanza_claim(requests::Context& context);
Result<int> run_stanza_create(requests::Context& context);
Result<int> run_stanza_delete(requests::Context& context);
Result<int> run_stanza_upgrade(requests::Context& context);
Result<int> run_start(requests::Context& context);
Result<int> run_stop(requests::Context& context);
Result<int> run_unhold(requests::Context& context);
Result<int> run_verify(requests::Context& context);
Result<int> run_version(requests::Context& context);

/// `archive-get --ls` and `info --wal`: prints which WAL the stanza's archives hold, what is
/// missing and where one can recover to, as text or as JSON. Kind option_required without a stanza.
Result<> print_wal_report(requests::Context& context);

}  // namespace chronos::cli

#pragma once

#include <string_view>

/// Which entries of a data directory a backup leaves out, by name alone.
/// Source: docs/format/cluster-files.md, What is backed up, and the behaviour of pgBackRest 2.45.
namespace chronos::pgdata {

/// "pgsql_tmp...": files, directories and links, wherever they are.
bool is_temporary_name(std::string_view file_name);

/// Directories (manifest names) that are kept without their contents.
bool has_skipped_contents(std::string_view manifest_name, bool online);

/// Files directly in PGDATA that belong to the running server or to another backup.
bool is_skipped_root_file(std::string_view file_name, unsigned major);

/// Files directly in a database directory that the server makes again.
bool is_skipped_database_file(std::string_view file_name);
/// The directory that an instant restore has for itself as long as it is not whole, or was
/// interrupted at its end: not the cluster's.
bool is_instant_state(std::string_view manifest_name);

/// "16384_init": the mark of an unlogged relation, whose other forks start afresh after a crash.
bool is_init_fork(std::string_view file_name);
/// "16384", "16384_vm.1", ...: a fork other than _init; its number is relation_number().
bool is_relation_file(std::string_view file_name);
/// A fork of a relation, _init too: what has pages.
bool is_relation_name(std::string_view file_name);
/// The digits that a name begins with.
std::string_view relation_number(std::string_view file_name);

/// "pg_data/base/5" or "pg_tblspc/16387/PG_15_202209061/5", in place "pg_data/pg_tblspc/...", or
/// "pg_data/global".
bool is_database_directory(std::string_view manifest_name);

/// Whether the server needs what has that name, should it be out of reach: not what lies about
/// among its files, which it ignores. WAL is archived, and no part of the list.
bool is_needed_by_server(std::string_view manifest_name);

}  // namespace chronos::pgdata

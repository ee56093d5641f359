#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Connects a background worker to chronos.database, as the cluster's first superuser, with the
/// settings of sessions that nobody may cut short. Raises FATAL if there is no such database.
void connect_worker();

/// Whether the extension and so chronos.<table> is there. SPI is connected.
bool has_table(const char* table);

/// A worker's transaction with SPI connected, for what is written beside the work proper.
/// begin_record() says whether chronos.<table> is there to write into.
///
/// Triggers and functions of the extension's objects belong to those who own the objects. Where
/// these were given to a role that is no superuser, as by REASSIGN OWNED, the transaction runs as
/// that role, in a restricted context: nobody gains anything by being called from a worker. What
/// the role may not do then fails, and the server log says as whom it was tried.
bool begin_record(const char* table);
void commit_record();

/// For a worker whose session reads and writes what is of the extension as a superuser all the way:
/// raises an error if anything of it was given to a role that is none.
void refuse_given_away();

/// Calls `write`; an error is a warning "could not record <what>", and its transaction is rolled
/// back.
void try_to_record(const char* what, void (*write)(int64), int64 argument);

}  // namespace chronos::extension

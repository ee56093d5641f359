#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/lsn.h"
#include "chronos/db/connection.h"
#include "chronos/db/conninfo.h"

/// A server as its standbys meet it: by the protocol of replication, which asks for no more than
/// the right to stream, and for all of that.
namespace chronos::db {

/// A session as the one that a standby with this primary_conninfo opens; its statements are the
/// commands of replication. Kind db_connect, with what to do about it. As for connect() what is not
/// given comes from the environment.
Result<std::unique_ptr<Connection>> connect_for_replication(const ConnectionParameters& parameters,
                                                            const Cancellation& cancel);

/// What a server says of itself to whoever streams from it.
struct SenderFacts {
    unsigned version_num = 0;
    std::uint64_t system_id = 0;
    Timeline timeline = 0;
    Lsn end;  ///< of its WAL: what it has written, or as a standby has received
    std::optional<bool> in_recovery;  ///< before version 14 it does not say
    std::string wal_level;
    /// The settings that no standby may have lower, by name.
    std::map<std::string, std::uint32_t> parameters;
};
Result<SenderFacts> read_sender_facts(Connection& replication);

/// The content of the history file of a timeline that the server is on, or was.
Result<std::string> timeline_history(Connection& replication, Timeline timeline);

enum class SlotState { absent, free };
/// Whether a standby could stream from a slot: asked for as the standby will, so that afterwards
/// the session is of no more use. Kind db_query for one that is in use, logical or invalid.
Result<SlotState> probe_slot(Connection& replication, const std::string& slot,
                             const SenderFacts& facts);
/// A physical one that holds no WAL back until somebody has streamed from it.
Result<> create_slot(Connection& replication, const std::string& slot);
Result<> drop_slot(Connection& replication, const std::string& slot);

/// Names that a server takes: lower case letters, digits and underscores, 63 at most.
bool is_slot_name(const std::string& name);

}  // namespace chronos::db

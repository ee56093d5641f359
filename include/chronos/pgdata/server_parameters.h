#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

/// The settings that a server which replays WAL must have at least as high as the server that wrote
/// it: else it stands still in front of the record that says so.
namespace chronos::pgdata {

struct ServerParameters {
    static constexpr std::size_t kCount = 5;
    struct Setting {
        std::string_view name;
        std::uint32_t standard;  ///< the value of a server that is told nothing
    };
    static std::array<Setting, kCount> settings(unsigned major);

    std::array<std::uint32_t, kCount> values{};  ///< in the order of settings()

    /// Raises each value to that of `other`.
    void raise(const ServerParameters& other);
    bool operator==(const ServerParameters&) const = default;
};

/// From global/pg_control of version 12 or later; nullopt for an older or damaged one.
std::optional<ServerParameters> parameters_in_control_file(io::Bytes content);

/// From such a file: the first transaction id, with its epoch, that was not given out then. 0 where
/// that is not known.
std::uint64_t next_xid_in_control_file(io::Bytes content);

/// The highest values that records in a WAL segment (or the front part of one) of version 12 or
/// later announce; nullopt if none does. Looks at every place where a record may begin, so that
/// what precedes need not be whole.
std::optional<ServerParameters> parameters_in_wal(io::Bytes content);

/// Where a WAL segment (or the front part of one) first says that what follows was written with
/// wal_level = minimal: no server replays that, and version 14 or later ends there.
std::optional<Lsn> minimal_wal_from(io::Bytes content);

}  // namespace chronos::pgdata

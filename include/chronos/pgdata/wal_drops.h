#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// A relation of a database, by oid, as pg_class has it.
struct RelationId {
    std::uint32_t database = 0;
    std::uint32_t oid = 0;
    bool operator==(const RelationId&) const = default;
};

/// A row of a catalog by the hash of one of its keys, as caches of the server know it: a table of
/// the same name in the same schema shares that of its name, whatever its number.
struct CatalogKey {
    std::int8_t cache = 0;
    std::uint32_t database = 0;
    std::uint32_t hash = 0;
    auto operator<=>(const CatalogKey&) const = default;
};

/// The end of a transaction that changed what sessions know of relations: of a table that was
/// dropped it is the last one that names it.
struct DefinitionChange {
    Lsn begin;                 ///< of the record: recovery that ends in front of it is without it
    std::uint32_t xid = 0;     ///< the lower half
    std::int64_t time_us = 0;  ///< since 1970 UTC, by the clock of the server
    std::vector<RelationId> relations;
    std::vector<CatalogKey> keys;  ///< of the rows that were made, changed or taken away; sorted
    bool dropped_files = false;    ///< it took away files, as dropping and rewriting a table does

    bool names(const RelationId& relation) const;
    /// Whether one of the rows has a key of one of the other's, as a table that was made anew does.
    bool shares_key_with(const DefinitionChange& other) const;
};

/// nullopt if it is no such commit. `version`: "15", of the WAL. Source:
/// docs/format/cluster-files.md, WAL pages.
std::optional<DefinitionChange> parse_definition_change(io::Bytes record, Lsn begin,
                                                        std::string_view version);

/// No record of a commit is looked at that is larger: it names some hundred thousand relations.
inline constexpr std::size_t kCommitRecordMax = std::size_t{16} << 20;
/// Of the transaction manager, for WalReader::Wanted.
inline constexpr std::uint8_t kTransactionRecords = 1;

}  // namespace chronos::pgdata

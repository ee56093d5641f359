#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// A commit as its WAL record tells it.
struct WalCommit {
    std::int64_t time_us = 0;  ///< since 1970 UTC, by the clock of the server
    Lsn end;                   ///< where the record ends: recovery up to here has it
    Lsn begin;                 ///< where it begins: the target for a recovery that ends with it
};

/// The last commit whose record is whole in `content`, which begins at the position `start` with a
/// page of a segment. nullopt if there is none, or if the content is not such WAL: this is for
/// information, so that what cannot be read is not an error.
///
/// Looks at the end first, and at all of it only if there is no commit: of a busy server's segment
/// it reads some ten kB. Source: docs/format/cluster-files.md, WAL pages;
/// access/xlogrecord.h and access/xact.h of PostgreSQL 13 to 18 agree in what is used.
std::optional<WalCommit> last_commit(io::Bytes content, Lsn start);

/// The same of what is before `at`, where a timeline was left: what such content has behind it is
/// on no way that leads to the next timeline. Copies what it looks at.
std::optional<WalCommit> last_commit_before(io::Bytes content, Lsn start, Lsn at);

/// Such content up to `at`, with zeros in the rest of that page: pages are read whole.
std::string wal_before(io::Bytes content, Lsn start, Lsn at);

/// Where the last record begins that is whole in such content: a recovery with a target up to there
/// needs nothing behind it. nullopt as above.
std::optional<Lsn> last_record(io::Bytes content, Lsn start);
/// The same of the last one that begins there, whole or not. `start` may be of any page.
std::optional<Lsn> last_begun(io::Bytes content, Lsn start);

/// Whether a server has written WAL behind `at`, where a record ends. `pages` begin at `start`,
/// with the page of `at`, and have the next one, too. What a recycled segment has there is not
/// taken for WAL: it names positions of an older segment.
bool is_written_behind(io::Bytes pages, Lsn start, Lsn at, std::uint32_t segment_size);
inline constexpr std::size_t kWalPageSize = 8192;

}  // namespace chronos::pgdata

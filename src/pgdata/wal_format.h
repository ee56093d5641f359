#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "chronos/io/stream.h"
#include "chronos/pgdata/wal_commits.h"

namespace chronos::pgdata {

/// WAL is a row of pages. Each has a header; the first one of a segment has a longer one.
namespace wal_page {

inline constexpr std::size_t kSize = kWalPageSize;
inline constexpr std::size_t kHeaderSize = 24;
inline constexpr std::size_t kLongHeaderSize = 40;

inline constexpr std::size_t kMagicAt = 0;
inline constexpr std::size_t kFlagsAt = 2;
inline constexpr std::size_t kTimelineAt = 4;
inline constexpr std::size_t kAddressAt = 8;
inline constexpr std::size_t kRemainderAt = 16;  ///< bytes of the record that goes on in this page
inline constexpr std::size_t kSystemIdAt = 24;   ///< these in long headers only
inline constexpr std::size_t kSegmentSizeAt = 32;
inline constexpr std::size_t kPageSizeAt = 36;

inline constexpr std::uint16_t kContinuesRecord = 0x0001;
inline constexpr std::uint16_t kLongHeader = 0x0002;

bool has_long_header(io::Bytes content, std::size_t page);
/// Of the page that begins at `page` in `content`, where its header lies within.
std::size_t header_size(io::Bytes content, std::size_t page);

}  // namespace wal_page

/// Records begin at multiples of eight bytes and go on behind the headers of pages.
namespace wal_record {

inline constexpr std::size_t kHeaderSize = 24;
/// None is larger, nor farther from the one before it.
inline constexpr std::uint64_t kSizeMax = std::uint64_t{1} << 30;
inline constexpr std::size_t kXidAt = 4;
inline constexpr std::size_t kPreviousAt = 8;
inline constexpr std::size_t kInfoAt = 16;
inline constexpr std::size_t kManagerAt = 17;
inline constexpr std::size_t kCrcAt = 20;

inline constexpr std::uint8_t kLogManager = 0;
inline constexpr std::uint8_t kTransactionManager = 1;
inline constexpr std::uint8_t kTablespaceManager = 5;
/// What a record of the transaction manager tells, in its info.
inline constexpr std::uint8_t kOperationMask = 0x70;
inline constexpr std::uint8_t kCommit = 0x00;
inline constexpr std::uint8_t kAbort = 0x20;
inline constexpr std::uint8_t kCommitPrepared = 0x30;
inline constexpr std::uint8_t kAbortPrepared = 0x40;

/// With it in its info a commit tells more behind its time: flags of 32 bits, then what each of
/// them stands for, in the order of these.
inline constexpr std::uint8_t kHasFlags = 0x80;
inline constexpr std::uint32_t kTellsDatabase = 1u << 0;
inline constexpr std::uint32_t kTellsSubtransactions = 1u << 1;
inline constexpr std::uint32_t kTellsDroppedFiles = 1u << 2;
inline constexpr std::uint32_t kTellsDroppedStatistics = 1u << 8;  ///< of a size by the version
inline constexpr std::uint32_t kTellsInvalidations = 1u << 3;
inline constexpr std::uint32_t kTellsPrepared = 1u << 4;
inline constexpr std::size_t kDroppedFileSize = 12;
inline constexpr std::size_t kInvalidationSize = 16;

/// What stands before the data of a record that changes no pages.
inline constexpr std::uint8_t kDataShort = 255;
inline constexpr std::uint8_t kDataLong = 254;
inline constexpr std::uint8_t kOrigin = 253;
inline constexpr std::uint8_t kTopLevelXid = 252;
/// As much as tells where the data of a record begin: header, origin, top-level xid, length.
inline constexpr std::size_t kHeadSize = kHeaderSize + 3 + 5 + 5;

inline constexpr std::int64_t kEpochUs = std::int64_t{946684800} * 1000000;  ///< 2000-01-01

/// Where the first record can begin from `at` on.
constexpr std::size_t align(std::size_t at) {
    return (at + 7) & ~std::size_t{7};
}

/// Where the data of a record begin, behind what describes them; nullopt if it is made otherwise,
/// or if its size is not that of what it says. `head` is as much of it as there is need for.
std::optional<std::size_t> data_at(io::Bytes head, std::uint64_t size);

/// The bytes of a record from `at` on, over the headers of pages; false if they go on behind
/// `content`.
bool take(io::Bytes content, std::size_t at, io::MutableBytes out);

/// The time that a record says at `at`, where it has eight bytes: microseconds since 1970. nullopt
/// if it is none that the clock of a server shows, but one that is out of the reach of times.
std::optional<std::int64_t> time_us(io::Bytes record, std::size_t at);

/// Whether the checksum of a whole record is right.
bool is_intact(io::Bytes record);

}  // namespace wal_record

}  // namespace chronos::pgdata

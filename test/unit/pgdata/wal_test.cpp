#include "chronos/pgdata/wal.h"

#include <gtest/gtest.h>

#include "chronos/base/text.h"
#include "chronos/pgdata/timeline_history.h"
#include "result_matchers.h"

namespace chronos::pgdata {
namespace {

constexpr std::uint32_t kMiB = 1u << 20;

/// The start of the first segment that initdb 15 made.
std::string header_15() {
    const auto bytes = from_hex(
        "10d1020001000000000000010000000000000000000000"
        "00fe49462e491e006b0000000100200000");
    std::string content(kWalHeaderSize, '\0');
    for (std::size_t at = 0; at < bytes->size(); ++at)
        content[at] = static_cast<char>((*bytes)[at]);
    return content;
}

TEST(ParseWalHeader, ReadsWhatInitdbWrote) {
    const auto header = parse_wal_header(io::bytes(header_15()));
    ASSERT_OK(header);
    EXPECT_EQ(header->version, "15");
    EXPECT_EQ(header->system_id, 7710195861716093438u);
    EXPECT_EQ(header->segment_size, 16 * kMiB);
    EXPECT_EQ(header->timeline, 1u);
    EXPECT_EQ(header->page_address.str(), "0/1000000");
}

TEST(ParseWalHeader, WhatIsNotTheStartOfASegmentIsRefused) {
    std::string content = header_15();
    content[2] = 0;
    EXPECT_ERROR(ErrorKind::format, parse_wal_header(io::bytes(content)));
    content = header_15();
    content[0] = 0x11;
    EXPECT_ERROR(ErrorKind::version_not_supported, parse_wal_header(io::bytes(content)));
    content = header_15();
    content[32] = 1;
    EXPECT_ERROR(ErrorKind::format, parse_wal_header(io::bytes(content)));
    EXPECT_ERROR(ErrorKind::format, parse_wal_header(io::bytes(header_15().substr(0, 39))));
    EXPECT_ERROR(ErrorKind::format, parse_wal_header({}));
}

TEST(WalSegmentName, CountsInUnitsOfTheSegmentSize) {
    EXPECT_EQ(wal_segment_name(1, Lsn{0x3000028}, 16 * kMiB), "000000010000000000000003");
    EXPECT_EQ(wal_segment_name(0x1A, Lsn{0x2FF000000}, 16 * kMiB), "0000001A00000002000000FF");
    EXPECT_EQ(wal_segment_name(1, Lsn{0x3000028}, kMiB), "000000010000000000000030");
    EXPECT_EQ(wal_segment_name(1, Lsn{0x1C0000000}, 1024 * kMiB), "000000010000000100000003");
}

// A backup that ends exactly on a boundary does not need the segment that starts there.
TEST(WalSegmentName, BeforeABoundaryIsTheSegmentThatEndsThere) {
    EXPECT_EQ(wal_segment_name(1, Lsn{0x4000000}, 16 * kMiB), "000000010000000000000004");
    EXPECT_EQ(wal_segment_name_before(1, Lsn{0x4000000}, 16 * kMiB), "000000010000000000000003");
    EXPECT_EQ(wal_segment_name_before(1, Lsn{0x4000001}, 16 * kMiB), "000000010000000000000004");
    EXPECT_EQ(wal_segment_name_before(1, Lsn{0x100000000}, 16 * kMiB), "0000000100000000000000FF");
}

TEST(NextWalSegment, CarriesAtTheEndOfALog) {
    EXPECT_EQ(next_wal_segment("000000010000000000000003", 16 * kMiB), "000000010000000000000004");
    EXPECT_EQ(next_wal_segment("0000000100000000000000FF", 16 * kMiB), "000000010000000100000000");
    EXPECT_EQ(next_wal_segment("000000010000000000000FFF", kMiB), "000000010000000100000000");
    EXPECT_EQ(next_wal_segment("000000010000000000000003", 1024 * kMiB),
              "000000010000000100000000");
}

TEST(WalSegmentRange, IncludesBothEnds) {
    const auto range =
        wal_segment_range("0000000200000000000000FE", "000000020000000100000001", 16 * kMiB);
    ASSERT_OK(range);
    EXPECT_EQ(*range,
              (std::vector<std::string>{"0000000200000000000000FE", "0000000200000000000000FF",
                                        "000000020000000100000000", "000000020000000100000001"}));
    const auto one =
        wal_segment_range("0000000200000000000000FE", "0000000200000000000000FE", 16 * kMiB);
    ASSERT_OK(one);
    EXPECT_EQ(one->size(), 1u);
}

TEST(WalSegmentRange, EndsAtTheLastSegmentOfAll) {
    const auto range =
        wal_segment_range("00000002FFFFFFFF000000FE", "00000002FFFFFFFF000000FF", 16 * kMiB);
    ASSERT_OK(range);
    EXPECT_EQ(range->size(), 2u);
}

TEST(WalSegmentRange, NonsenseIsRefused) {
    const char* const first = "000000010000000000000003";
    EXPECT_ERROR(ErrorKind::format,
                 wal_segment_range(first, "000000020000000000000004", 16 * kMiB));
    EXPECT_ERROR(ErrorKind::format,
                 wal_segment_range(first, "000000010000000000000002", 16 * kMiB));
    EXPECT_ERROR(ErrorKind::format,
                 wal_segment_range(first, "0000000100000000000001FF", 16 * kMiB));
    EXPECT_ERROR(ErrorKind::format,
                 wal_segment_range(first, "00000001000000000000000G", 16 * kMiB));
    EXPECT_ERROR(ErrorKind::format, wal_segment_range(first, first, 0));
    EXPECT_ERROR(ErrorKind::format,
                 wal_segment_range(first, "000000010000000100000003", 16 * kMiB, 256));
    EXPECT_OK(wal_segment_range(first, "000000010000000100000003", 16 * kMiB, 257));
}

TEST(WalNames, AreToldApart) {
    EXPECT_TRUE(is_wal_segment("00000001000000000000000A"));
    EXPECT_FALSE(is_wal_segment("00000001000000000000000a"));
    EXPECT_FALSE(is_wal_segment("00000001000000000000000A0"));
    EXPECT_TRUE(is_wal_partial("00000001000000000000000A.partial"));
    EXPECT_FALSE(is_wal_partial(".partial"));
    EXPECT_TRUE(is_backup_history("00000001000000000000000A.00000028.backup"));
    EXPECT_FALSE(is_backup_history("00000001000000000000000A.00000028.backuq"));
    EXPECT_FALSE(is_backup_history("00000001000000000000000A"));
    EXPECT_TRUE(is_timeline_history("0000000A.history"));
    EXPECT_FALSE(is_timeline_history("A.history"));
    EXPECT_FALSE(is_timeline_history(".history"));
    EXPECT_EQ(timeline_of_segment("0000001A000000000000000A"), 26u);
}

TEST(ParseTimelineHistory, ReadsParentsAndSwitchPoints) {
    const auto history = parse_timeline_history(
        "1\t0/3000148\tno recovery target specified\n\n"
        "# a comment\r\n"
        "2\t1/A0000000\tbefore 2026-11-20 08:11:30+00\n");
    ASSERT_OK(history);
    ASSERT_EQ(history->size(), 2u);
    EXPECT_EQ((*history)[0].parent, 1u);
    EXPECT_EQ((*history)[0].switch_lsn.str(), "0/3000148");
    EXPECT_EQ((*history)[1].parent, 2u);
    EXPECT_EQ((*history)[1].switch_lsn.str(), "1/A0000000");
}

TEST(ParseTimelineHistory, GarbageIsAnError) {
    for (const char* text : {"x\t0/1\tr", "1", "1\t", "1\t01\tr", "0\t0/1\tr", "2\t0/1\n1\t0/2\n",
                             "4294967296\t0/1\tr"}) {
        SCOPED_TRACE(text);
        EXPECT_ERROR(ErrorKind::format, parse_timeline_history(text));
    }
    const auto empty = parse_timeline_history("");
    ASSERT_OK(empty);
    EXPECT_TRUE(empty->empty());
}

// Who reads a file under the name of a timeline counts on its saying where that one comes from.
TEST(ParseHistoryOf, IsThatOfTheTimelineOrAnError) {
    EXPECT_OK(parse_history_of(3, "1\t0/1000000\tr\n2\t0/2000000\tr\n"));
    EXPECT_OK(parse_history_of(3, "# c\r\n\r\n2\t0/2000000\r\n\t\r\n"));
    EXPECT_OK(parse_history_of(900, "1\t0/1000000\tr\n"));
    for (const char* text : {"", "# c\n", "3\t0/1\tr\n", "4\t0/1\tr\n", "1\t0/1\tr\n1\t0/1\tr\n"}) {
        SCOPED_TRACE(text);
        EXPECT_ERROR(ErrorKind::format, parse_history_of(3, text));
    }
    EXPECT_ERROR(ErrorKind::format, parse_history_of(0xFFFFFFFF, "1\t0/1000000\tr\n"));
}

}  // namespace
}  // namespace chronos::pgdata

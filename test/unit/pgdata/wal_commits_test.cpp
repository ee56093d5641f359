#include "chronos/pgdata/wal_commits.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

/// Writes WAL as PostgreSQL 15 does: pages with headers, records across them.
class WalBuilder {
public:
    explicit WalBuilder(std::size_t size) : content_(size, '\0') {}

    /// Ends of records are what the server calls them: aligned.
    Lsn record(std::uint8_t manager, std::uint8_t info, const std::string& data) {
        at_ = (at_ + 7) & ~std::size_t{7};
        std::string bytes(24, '\0');
        const auto size = static_cast<std::uint32_t>(24 + data.size());
        std::memcpy(bytes.data(), &size, 4);
        bytes[16] = static_cast<char>(info);
        bytes[17] = static_cast<char>(manager);
        append(bytes + data);
        return Lsn{kStart + ((at_ + 7) & ~std::size_t{7})};
    }
    Lsn commit(std::int64_t time, const std::string& before = "") {
        std::string data = before + "\xff\x20";
        data.append(reinterpret_cast<const char*>(&time), 8);
        return record(1, 0x80, data + std::string(24, 'x'));
    }
    void filler(std::size_t size) { record(10, 0, std::string(size, 'f')); }
    std::size_t at() const { return at_; }

    io::Bytes bytes() const { return io::bytes(content_); }
    std::string& content() { return content_; }

private:
    template <class T>
    void put(std::size_t at, T value) {
        std::memcpy(content_.data() + at, &value, sizeof value);
    }
    void begin_page(std::size_t rest) {
        const bool first = at_ == 0;
        put(at_, std::uint16_t{0xD110});
        put(at_ + 2, static_cast<std::uint16_t>((first ? 2 : 0) | (rest > 0 ? 1 : 0)));
        put(at_ + 4, std::uint32_t{1});
        put(at_ + 8, kStart + at_);
        put(at_ + 16, static_cast<std::uint32_t>(rest));
        if (first) put(at_ + 36, static_cast<std::uint32_t>(kPage));
        at_ += first ? 40 : 24;
    }
    void append(std::string_view bytes) {
        if (at_ % kPage == 0) begin_page(0);
        while (!bytes.empty()) {
            const std::size_t part = std::min(bytes.size(), kPage - at_ % kPage);
            std::memcpy(content_.data() + at_, bytes.data(), part);
            at_ += part;
            bytes.remove_prefix(part);
            if (!bytes.empty() && at_ % kPage == 0) begin_page(bytes.size());
        }
    }

    std::string content_;
    std::size_t at_ = 0;
};

TEST(LastCommit, IsTheLastOfManyWhereverItsRecordCrossesAPage) {
    // Each filler shifts what follows by one alignment: a record is cut at each possible place.
    for (std::size_t shift = 0; shift < 96; shift += 8) {
        SCOPED_TRACE(shift);
        WalBuilder wal(16 * kPage);
        wal.commit(1);
        wal.filler(kPage - 200 - wal.at() + shift);
        const Lsn end = wal.commit(2000000);
        wal.filler(3 * kPage);
        const auto found = last_commit(wal.bytes(), Lsn{kStart});
        ASSERT_TRUE(found);
        EXPECT_EQ(found->time_us, kEpochUs + 2000000);
        EXPECT_EQ(found->end.str(), end.str());
    }
}

TEST(LastCommit, IsFoundFarBeforeTheEndAndBeforeAnEmptyRest) {
    WalBuilder wal(256 * kPage);
    wal.filler(5 * kPage);
    wal.commit(7);
    wal.filler(100 * kPage);  // and pages that were never written behind it
    ASSERT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
    EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 7);
}

TEST(LastCommit, KnowsOriginsAndSubtransactionsAndPreparedOnes) {
    for (const std::string& before :
         {std::string("\xfd\x01\x00", 3), std::string("\xfc\x01\x00\x00\x00", 5),
          std::string("\xfd\x01\x00\xfc\x01\x00\x00\x00", 8)}) {
        WalBuilder wal(4 * kPage);
        wal.commit(9, before);
        ASSERT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
        EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 9);
    }
    WalBuilder wal(4 * kPage);
    const std::int64_t time = 11;
    std::string data = "\xff\x20";
    data.append(reinterpret_cast<const char*>(&time), 8);
    wal.record(1, 0x30, data);
    EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 11);
}

TEST(LastCommit, AbortsAndOtherRecordsAreNone) {
    WalBuilder wal(4 * kPage);
    const std::int64_t time = 11;
    std::string data = "\xff\x20";
    data.append(reinterpret_cast<const char*>(&time), 8);
    wal.record(1, 0x20, data);   // abort
    wal.record(10, 0x00, data);  // of another resource manager
    EXPECT_FALSE(last_commit(wal.bytes(), Lsn{kStart}));
}

TEST(LastCommit, CutOffRecordAndGarbageAreNotRead) {
    WalBuilder wal(2 * kPage);
    wal.filler(kPage - 100);
    wal.commit(5);
    EXPECT_FALSE(last_commit(wal.bytes().first(kPage), Lsn{kStart})) << "the rest is not there";
    EXPECT_FALSE(last_commit(wal.bytes(), Lsn{kStart + 2 * kPage})) << "of another position";
    EXPECT_FALSE(last_commit(io::bytes(std::string(3 * kPage, '\xff')), Lsn{kStart}));
    EXPECT_FALSE(last_commit({}, Lsn{kStart}));
    EXPECT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
}

}  // namespace
}  // namespace chronos::pgdata

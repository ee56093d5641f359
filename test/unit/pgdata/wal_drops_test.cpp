// Commits that change what is known of relations are found in WAL that comes segment by segment,
// and say of which.
#include "chronos/pgdata/wal_drops.h"

#include <gtest/gtest.h>

#include <array>

#include "chronos/pgdata/wal_extent.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

constexpr std::int64_t kTime = 1'000'000;

std::string message(std::int8_t id, std::uint32_t first, std::uint32_t second) {
    return std::string(1, static_cast<char>(id)) + std::string(3, '\0') + raw(first) + raw(second) +
           std::string(4, '\0');
}

std::string main_data(const std::string& body) {
    return body.size() < 256
               ? std::string("\xff", 1) + static_cast<char>(body.size()) + body
               : std::string("\xfe", 1) + raw(static_cast<std::uint32_t>(body.size())) + body;
}

/// What a commit tells of, each as often as it is told.
struct Commit {
    bool database = true;
    std::uint32_t subtransactions = 0;
    std::uint32_t files = 0;
    std::uint32_t statistics = 0;
    std::size_t statistics_size = 12;
    std::vector<RelationId> relations;

    std::string data() const {
        const std::uint32_t flags = (database ? 1u : 0u) | (subtransactions > 0 ? 2u : 0u) |
                                    (files > 0 ? 4u : 0u) | (relations.empty() ? 0u : 8u) |
                                    (statistics > 0 ? 0x100u : 0u);
        std::string body = raw(kTime) + raw(flags);
        if (database) body += raw(std::uint32_t{5}) + raw(std::uint32_t{1663});
        if (subtransactions > 0)
            body += raw(subtransactions) + std::string(4 * std::size_t{subtransactions}, 's');
        if (files > 0) body += raw(files) + std::string(12 * std::size_t{files}, 'f');
        if (statistics > 0)
            body += raw(statistics) + std::string(statistics_size * statistics, 'x');
        if (!relations.empty()) {
            body += raw(static_cast<std::uint32_t>(2 * relations.size()));
            for (const RelationId& one : relations)
                body += message(51, one.database, 1) + message(-2, one.database, one.oid);
        }
        return main_data(body);
    }
};

std::optional<DefinitionChange> parse(const std::string& data, std::string_view version = "15",
                                      std::uint8_t info = 0x80) {
    Wal wal;
    wal.record_of(data, kTransactionRecords, info);
    return parse_definition_change(
        io::bytes(std::string_view(wal.content()).substr(40, 24 + data.size())),
        Lsn{kWalBegin + 40}, version);
}

TEST(DefinitionChanges, NameTheirRelationsWhateverElseTheCommitTells) {
    for (const bool database : {false, true})
        for (const std::uint32_t subtransactions : {0u, 3u})
            for (const std::uint32_t files : {0u, 2u})
                for (const std::uint32_t statistics : {0u, 4u})
                    for (const bool new_version : {false, true}) {
                        const Commit commit{database,
                                            subtransactions,
                                            files,
                                            statistics,
                                            new_version ? std::size_t{16} : std::size_t{12},
                                            {{5, 16400}, {0, 1262}}};
                        const auto change = parse(commit.data(), new_version ? "18" : "17");
                        ASSERT_TRUE(change);
                        EXPECT_EQ(change->relations, commit.relations);
                        EXPECT_EQ(change->dropped_files, files > 0);
                        EXPECT_EQ(change->time_us, kEpochUs + kTime);
                        EXPECT_EQ(change->xid, 7u);
                        EXPECT_TRUE(change->names({5, 16400}));
                        EXPECT_FALSE(change->names({5, 1262}));
                    }
}

TEST(DefinitionChanges, OfAPreparedTransactionHaveItsNumber) {
    const std::string body = raw(kTime) + raw(std::uint32_t{8 | 16}) + raw(std::uint32_t{1}) +
                             message(-2, 5, 16400) + raw(std::uint32_t{4711});
    const auto change = parse(main_data(body), "15", 0x80 | 0x30);
    ASSERT_TRUE(change);
    EXPECT_EQ(change->xid, 4711u);
}

TEST(DefinitionChanges, ShareTheKeysOfTheirRows) {
    const auto change_of = [](const std::vector<std::array<std::uint32_t, 3>>& keys) {
        std::string body =
            raw(kTime) + raw(std::uint32_t{8}) + raw(static_cast<std::uint32_t>(keys.size() + 1));
        for (const auto& [cache, database, hash] : keys)
            body += message(static_cast<std::int8_t>(cache), database, hash);
        return parse(main_data(body + message(-2, 5, 16400)));
    };
    const auto one = change_of({{51, 5, 77}, {3, 5, 1}}),
               same = change_of({{9, 5, 2}, {51, 5, 77}});
    ASSERT_TRUE(one && same);
    EXPECT_TRUE(one->shares_key_with(*same));
    EXPECT_TRUE(same->shares_key_with(*one));
    for (const auto& other : {change_of({{50, 5, 77}}), change_of({{51, 6, 77}}),
                              change_of({{51, 5, 78}}), change_of({})}) {
        ASSERT_TRUE(other);
        EXPECT_FALSE(one->shares_key_with(*other)) << "also of the relation, which both name";
    }
}

TEST(DefinitionChanges, OtherRecordsAndCutOnesAreNone) {
    const Commit commit{true, 1, 1, 1, 12, {{5, 16400}}};
    EXPECT_TRUE(parse(commit.data()));
    EXPECT_TRUE(parse(commit.data(), "15", 0x80 | 0x30)) << "of a prepared transaction";
    EXPECT_FALSE(parse(commit.data(), "15", 0x80 | 0x20)) << "an abort";
    EXPECT_FALSE(parse(commit.data(), "15", 0x00)) << "without flags";
    EXPECT_FALSE(parse(Commit{}.data()));
    const std::string data = commit.data();
    for (std::size_t size = 2; size < data.size(); ++size)
        EXPECT_FALSE(parse(main_data(data.substr(2, size - 2)))) << size;
    // A count that is not there.
    std::string body = raw(kTime) + raw(std::uint32_t{8}) + raw(std::uint32_t{0xFFFFFFFF});
    EXPECT_FALSE(parse(main_data(body + message(-2, 5, 16400))));
}

TEST(DefinitionChanges, AreReadOverTheEndsOfSegments) {
    const Commit commit{true, 0, 1, 0, 12, {{5, 16400}, {5, 16403}, {5, 16404}}};
    Wal alone;
    alone.record_of(commit.data(), kTransactionRecords, 0x80);
    const std::string record = alone.content().substr(40, 24 + commit.data().size());
    for (std::size_t here = 8; here + 8 < record.size(); here += 8) {
        Wal before;
        before.fill(kWalSize - 3 * kPage);
        while (before.at() < kWalSize - 4000) before.record(64);
        before.record(kWalSize - here - before.at());
        before.append_record(record);
        Wal next;
        next.begin_with(record.substr(here));
        next.record(100);
        // Of the segment behind it the header says where it is.
        next.content().replace(8, 8, raw(kWalBegin + kWalSize));
        next.content().replace(kPage + 8, 8, raw(kWalBegin + kWalSize + kPage));
        WalReader reader(WalReader::Depth::pages, 1);
        std::vector<DefinitionChange> changes;
        reader.want({kTransactionRecords, kCommitRecordMax, [&](Lsn begin, io::Bytes one) {
                         if (auto change = parse_definition_change(one, begin, "15"))
                             changes.push_back(*change);
                     }});
        for (Wal* wal : {&before, &next}) {
            reader.go_on(1);
            EXPECT_TRUE(reader.write(io::bytes(wal->content())));
        }
        ASSERT_EQ(changes.size(), 1u) << here;
        EXPECT_EQ(changes[0].relations, commit.relations);
        EXPECT_EQ(changes[0].begin, Lsn{kWalBegin + kWalSize - here});
    }
}

}  // namespace
}  // namespace chronos::pgdata

#include "chronos/pgdata/control_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "control_vector.h"
#include "pgdata/crc32c.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::pgdata {
namespace {

// The check value of the CRC catalogue: pins both inversions.
TEST(Crc32c, MatchesItsCheckValue) {
    EXPECT_EQ(crc32c(io::bytes("123456789")), 0xE3069283u);
    EXPECT_EQ(crc32c({}), 0u);
}

TEST(ParseControlFile, ReadsWhatInitdbWrote) {
    const auto control = parse_control_file(io::bytes(control_15()));
    ASSERT_OK(control);
    EXPECT_EQ(control->system_id, 7710195861716093438u);
    EXPECT_EQ(control->control_version, 1300u);
    EXPECT_EQ(control->catalog_version, 202209061u);
    EXPECT_EQ(control->version, "15");
    EXPECT_EQ(control->major(), 15u);
    EXPECT_EQ(control->checkpoint.str(), "0/17529B0");
    EXPECT_EQ(control->timeline, 1u);
    EXPECT_EQ(control->page_size, 8192u);
    EXPECT_EQ(control->wal_segment_size, 16u << 20);
    EXPECT_EQ(control->data_checksum_version, 1u);
    EXPECT_EQ(control->tablespace_directory(), "PG_15_202209061");
}

/// `content` with a number in another place, and its CRC made right.
std::string with_number(std::string content, std::size_t at, unsigned char value) {
    content[at] = static_cast<char>(value);
    return *invalidate_checkpoint(content.replace(288, 4, [&] {
        const std::uint32_t crc = crc32c(io::bytes(content).first(288));
        std::string bytes(4, 0);
        for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(crc >> (8 * i));
        return bytes;
    }()));
}

// Between a promotion and the checkpoint after it, which may take minutes.
TEST(ParseControlFile, PromotedServerIsOnItsNewTimeline) {
    EXPECT_EQ(parse_control_file(io::bytes(control_15()))->current_timeline(), 1u);
    const auto control = parse_control_file(io::bytes(with_number(control_15(), 144, 3)));
    ASSERT_OK(control);
    EXPECT_EQ(control->timeline, 1u);
    EXPECT_EQ(control->current_timeline(), 3u);
}

TEST(ParseControlFile, StandbyIsTold) {
    for (const unsigned char state : {1, 2, 4, 5, 6}) {
        const auto control = parse_control_file(io::bytes(with_number(control_15(), 16, state)));
        ASSERT_OK(control);
        EXPECT_EQ(control->in_recovery, state == 2 || state == 5);
    }
}

TEST(ParseControlFile, AnyChangedByteIsNoticed) {
    const std::string good = control_15();
    for (std::size_t at = 16; at < 292; ++at) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 0x10);
        SCOPED_TRACE(at);
        EXPECT_ERROR(ErrorKind::checksum, parse_control_file(io::bytes(bad)));
    }
}

TEST(ParseControlFile, UnknownVersionIsNotGuessedAt) {
    std::string content = control_15();
    content[12] = static_cast<char>(content[12] + 1);
    const auto control = parse_control_file(io::bytes(content));
    ASSERT_FALSE(static_cast<bool>(control));
    EXPECT_EQ(control.error().kind(), ErrorKind::version_not_supported);
    EXPECT_EQ(control.error().message(),
              "unexpected control version = 1300 and catalog version = 202209062");
}

TEST(ParseControlFile, ShortContentIsMalformed) {
    EXPECT_ERROR(ErrorKind::format, parse_control_file(io::bytes(control_15().substr(0, 511))));
    EXPECT_ERROR(ErrorKind::format, parse_control_file({}));
}

TEST(InvalidateCheckpoint, ChangesTheCheckpointAndKeepsTheFileValid) {
    const auto changed = invalidate_checkpoint(control_15());
    ASSERT_OK(changed);
    const auto control = parse_control_file(io::bytes(*changed));
    ASSERT_OK(control);
    EXPECT_EQ(control->checkpoint.value, kInvalidCheckpoint);
    EXPECT_EQ(control->system_id, 7710195861716093438u);
    EXPECT_EQ(changed->size(), control_15().size());
}

TEST(InvalidateCheckpoint, DamagedFileIsNotMadeToLookGood) {
    std::string content = control_15();
    content[60] = 'x';
    EXPECT_ERROR(ErrorKind::checksum, invalidate_checkpoint(content));
}

class ReadControlFile : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(pgdata_ / "global"); }
    void store(const std::string& content) { std::ofstream(path(), std::ios::binary) << content; }
    std::string path() const { return pgdata_ / "global/pg_control"; }
    test::TemporaryDirectory pgdata_;
};

TEST_F(ReadControlFile, ContentIsPaddedWithZerosWhateverFollowsInTheFile) {
    store(control_15() + std::string(7680, 'x'));
    const auto content = read_control_file_content(pgdata_.path());
    ASSERT_OK(content);
    EXPECT_EQ(*content, control_15() + std::string(7680, '\0'));
    EXPECT_OK(read_control_file(pgdata_.path()));
}

TEST_F(ReadControlFile, MissingFileIsNotFound) {
    EXPECT_ERROR(ErrorKind::not_found, read_control_file(pgdata_.path()));
}

TEST_F(ReadControlFile, LastingDamageIsReportedWithThePath) {
    std::string bad = control_15();
    bad[100] = 'x';
    store(bad);
    const auto control = read_control_file(pgdata_.path());
    ASSERT_FALSE(static_cast<bool>(control));
    EXPECT_EQ(control.error().kind(), ErrorKind::checksum);
    EXPECT_THAT(control.error().message(), testing::HasSubstr(path()));
}

TEST_F(ReadControlFile, TornReadIsRepeatedUntilTheFileIsWhole) {
    std::string bad = control_15();
    bad[100] = 'x';
    store(bad);
    std::thread writer([&] {
        // Before the second read, which comes 50 ms after the first.
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        std::ofstream(pgdata_ / "new", std::ios::binary) << control_15();
        std::filesystem::rename(pgdata_ / "new", path());
    });
    const auto control = read_control_file(pgdata_.path());
    writer.join();
    EXPECT_OK(control);
}

TEST(CatalogVersionOf, KnowsTheSupportedVersions) {
    EXPECT_EQ(catalog_version_of(15), 202209061u);
    EXPECT_EQ(catalog_version_of(18), 202506291u);
    EXPECT_EQ(catalog_version_of(99), 0u);
}

}  // namespace
}  // namespace chronos::pgdata

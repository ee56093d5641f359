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

TEST(ParseControlFile, LayoutIsThatOfTheVersion) {
    const auto control = parse_control_file(io::bytes(control_19()));
    ASSERT_OK(control);
    EXPECT_EQ(control->system_id, 7713638696791722663u);
    EXPECT_EQ(control->control_version, 1905u);
    EXPECT_EQ(control->version, "19");
    EXPECT_EQ(control->checkpoint.str(), "0/B50018");
    EXPECT_EQ(control->current_timeline(), 1u);
    EXPECT_EQ(control->page_size, 8192u);
    EXPECT_EQ(control->wal_segment_size, 4u << 20);
    EXPECT_EQ(control->data_checksum_version, 1u);
    EXPECT_EQ(control->tablespace_directory(), "PG_19_202610061");
}

/// `content` with the CRC made right that lies at `crc_at`.
std::string sealed(std::string content, std::size_t crc_at) {
    const std::uint32_t crc = crc32c(io::bytes(content).first(crc_at));
    for (std::size_t i = 0; i < 4; ++i) content[crc_at + i] = static_cast<char>(crc >> (8 * i));
    return content;
}

constexpr std::size_t kCrcAt15 = 288;
constexpr std::size_t kCrcAt19 = 308;

/// A control file of 15 with a number in another place.
std::string with_number(std::string content, std::size_t at, unsigned char value) {
    content[at] = static_cast<char>(value);
    return sealed(std::move(content), kCrcAt15);
}

/// One of 19 with other version numbers.
std::string with_versions(std::uint32_t control_version, std::uint32_t catalog_version) {
    std::string content = control_19();
    for (std::size_t i = 0; i < 4; ++i) {
        content[8 + i] = static_cast<char>(control_version >> (8 * i));
        content[12 + i] = static_cast<char>(catalog_version >> (8 * i));
    }
    return sealed(std::move(content), kCrcAt19);
}

// Between a promotion and the checkpoint after it, which may take minutes.
TEST(ParseControlFile, PromotedServerIsOnItsNewTimeline) {
    EXPECT_EQ(parse_control_file(io::bytes(control_15()))->current_timeline(), 1u);
    const auto control = parse_control_file(io::bytes(with_number(control_15(), 144, 3)));
    ASSERT_OK(control);
    EXPECT_EQ(control->timeline, 1u);
    EXPECT_EQ(control->current_timeline(), 3u);
}

TEST(ParseControlFile, StandbyIsToldAndWhatWasShutDown) {
    for (const unsigned char state : {1, 2, 4, 5, 6}) {
        const auto control = parse_control_file(io::bytes(with_number(control_15(), 16, state)));
        ASSERT_OK(control);
        EXPECT_EQ(control->in_recovery, state == 2 || state == 5);
        EXPECT_EQ(control->shut_down, state == 1);
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

std::string message_of(const Result<ControlFile>& control) {
    if (control) return "";
    EXPECT_EQ(control.error().kind(), ErrorKind::version_not_supported);
    return control.error().message();
}

// Four major versions share 1300: what another catalog belongs to, nobody knows.
TEST(ParseControlFile, UnknownVersionIsNotGuessedAt) {
    std::string content = control_15();
    content[12] = static_cast<char>(content[12] + 1);
    EXPECT_EQ(
        message_of(parse_control_file(io::bytes(content))),
        "unexpected control version = 1300 and catalog version = 202209062, of PostgreSQL 13");
}

TEST(ParseControlFile, LaterCatalogOfAControlVersionIsTaken) {
    const auto control = parse_control_file(io::bytes(with_versions(1905, 202611191)));
    ASSERT_OK(control);
    EXPECT_EQ(control->version, "19");
    EXPECT_EQ(control->tablespace_directory(), "PG_19_202611191");
    // Of a beta, whose WAL is another one.
    EXPECT_EQ(
        message_of(parse_control_file(io::bytes(with_versions(1905, 202609011)))),
        "unexpected control version = 1905 and catalog version = 202609011, of PostgreSQL 19");
}

TEST(ParseControlFile, NewerVersionIsNamed) {
    const auto control = parse_control_file(io::bytes(with_versions(2001, 202710101)));
    EXPECT_EQ(
        message_of(control),
        "unexpected control version = 2001 and catalog version = 202710101, of PostgreSQL 20");
    EXPECT_THAT(control.error().hint(),
                testing::HasSubstr("knows the releases of PostgreSQL 11 to 19"));
    EXPECT_EQ(message_of(parse_control_file(io::bytes(with_versions(0x71070000, 1)))),
              "unexpected control version = 1896284160 and catalog version = 1");
}

// Betas of 19 change them under a running server.
TEST(ParseControlFile, OnlyChecksumsThatAreOnHoldForEveryPage) {
    for (const unsigned char state : {0, 1, 2, 3}) {
        std::string content = control_19();
        content[268] = static_cast<char>(state);
        const auto control = parse_control_file(io::bytes(sealed(std::move(content), kCrcAt19)));
        ASSERT_OK(control);
        EXPECT_EQ(control->pages_have_checksums(), state == 1);
    }
    std::string content = control_19();
    content[268] = 4;
    EXPECT_ERROR(ErrorKind::format,
                 parse_control_file(io::bytes(sealed(std::move(content), kCrcAt19))));
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

// The next major version begins with the control version of the one before it.
TEST_F(ReadControlFile, LaterCatalogIsTakenIfTheVersionFileAgrees) {
    const auto version_file = [&](const char* text) {
        std::ofstream(pgdata_ / "PG_VERSION") << text;
        return read_control_file(pgdata_.path());
    };
    store(with_versions(1905, 202611191));
    EXPECT_OK(read_control_file(pgdata_.path()));
    EXPECT_OK(version_file("19\n"));
    EXPECT_THAT(message_of(version_file("20devel\n")),
                testing::EndsWith("unexpected control version = 1905 and catalog version = "
                                  "202611191, of PostgreSQL 20devel"));
    store(with_versions(2001, 202710101));
    EXPECT_THAT(message_of(version_file("20devel\n")), testing::EndsWith("of PostgreSQL 20devel"));
    // Only an unknown one needs to be confirmed.
    store(control_19());
    EXPECT_OK(version_file("20devel\n"));
}

}  // namespace
}  // namespace chronos::pgdata

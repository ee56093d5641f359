#include <gtest/gtest.h>

#include "chronos/repo/info.h"
#include "info_samples.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

TEST(ArchiveInfo, ReferenceExampleComesBackByteForByte) {
    const auto info = parse_archive_info(kArchiveInfo);
    ASSERT_OK(info);
    EXPECT_EQ(format_archive_info(*info), kArchiveInfo);
    // The trap of the format: "db-id" of the history holds the system identifier.
    EXPECT_EQ(info->current().id, 2u);
    EXPECT_EQ(info->current().system_id, 7710165747029732600u);
    EXPECT_EQ(info->history.at(0).archive_id(), "15-1");
}

TEST(ArchiveInfo, HistoryIsInNumericOrder) {
    ArchiveInfo info;
    info.backrest_version = "2.59.1";
    for (std::uint64_t id = 1; id <= 11; ++id) info.history.push_back({id, 100 + id, "15", 0, 0});
    info.current_id = 11;
    const std::string text = format_archive_info(info);
    EXPECT_LT(text.find("\n9={"), text.find("\n10={"));
    const auto back = parse_archive_info(text);
    ASSERT_OK(back);
    EXPECT_EQ(*back, info);
}

TEST(ArchiveInfo, CurrentIdMustBeInTheHistory) {
    const std::string text(kArchiveInfo);
    const auto message = [](const std::string& changed_text) {
        const auto info = parse_archive_info(changed_text);
        return info ? std::string("no error") : info.error().message();
    };
    EXPECT_EQ(message(changed(text, "db-id=2", "db-id=3")), "unable to find current id in history");
    EXPECT_EQ(message(changed(text, "db-id=2\n", "")), "current id is missing");
    EXPECT_EQ(message(changed(text, "[db:history]", "[db:other]")), "history is missing");
    EXPECT_EQ(message(changed(text, "\n2={", "\n01={")), "history id 1 is there twice");
    EXPECT_NE(message(changed(text, "\n2={", "\nx={")).find("not a history id"), std::string::npos);
}

// The version becomes part of a path.
TEST(ArchiveInfo, AVersionThatIsNoneIsRefused) {
    const std::string text = changed(std::string(kArchiveInfo),
                                     "1={\"db-id\":7710159678555610611,\"db-version\":\"15\"}",
                                     "1={\"db-id\":7710159678555610611,\"db-version\":\"../15\"}");
    EXPECT_ERROR(ErrorKind::version_not_supported, parse_archive_info(text));
}

// What is computed with it, an age or microseconds, would overflow.
TEST(BackupInfo, ATimeThatNoClockShowsIsRefused) {
    const std::string text(kBackupInfo);
    const std::size_t at = text.find("\"backup-timestamp-stop\":") + 24;
    const std::string time = text.substr(at, text.find(',', at) - at);
    for (const std::string other :
         {"9223372036854775807", "-9223372036854775807", "253402300800"}) {
        SCOPED_TRACE(other);
        EXPECT_ERROR(ErrorKind::json_format,
                     parse_backup_info(changed(text, "\"backup-timestamp-stop\":" + time,
                                               "\"backup-timestamp-stop\":" + other)));
    }
}

TEST(BackupInfo, ReferenceExampleComesBackByteForByte) {
    const auto info = parse_backup_info(kBackupInfo);
    ASSERT_OK(info);
    EXPECT_EQ(format_backup_info(*info), kBackupInfo);
    ASSERT_EQ(info->backups.size(), 2u);
    const BackupEntry* diff = info->find("20261120-075745F_20261120-075816D");
    ASSERT_NE(diff, nullptr);
    EXPECT_EQ(diff->type, BackupType::diff);
    EXPECT_EQ(diff->references, std::vector<std::string>{"20261120-075745F"});
    EXPECT_EQ(diff->repo_size_delta, 136903u);
    EXPECT_EQ(info->backups[0].annotations.at("k1"), "v1");
    EXPECT_EQ(info->current().catalog_version, 202209061u);
}

TEST(BackupInfo, AnOfflineBackupHasNullSegmentsAndNoLsn) {
    BackupInfo info = parse_backup_info(kBackupInfo).value();
    BackupEntry& entry = info.backups.at(0);
    entry.archive_start = entry.archive_stop = "";
    entry.lsn_start = entry.lsn_stop = std::nullopt;
    entry.error = std::nullopt;
    entry.map_size = entry.map_size_delta = 0;
    const std::string text = format_backup_info(info);
    EXPECT_NE(text.find("\"backup-archive-start\":null,\"backup-archive-stop\":null,\"backup-info"),
              std::string::npos);
    const auto back = parse_backup_info(text);
    ASSERT_OK(back);
    EXPECT_EQ(*back, info);
}

TEST(BackupInfo, AnEntryLacksNothingThatReadersNeed) {
    for (const char* member :
         {"\"backrest-format\":5,", "\"backup-info-size\":47652227,", "\"backup-type\":\"full\",",
          "\"db-id\":1,", "\"backup-timestamp-stop\":1795161470,", "\"option-hardlink\":false,"}) {
        const auto info = parse_backup_info(changed(std::string(kBackupInfo), member, ""));
        EXPECT_ERROR(ErrorKind::json_format, info);
        EXPECT_NE(info.error().message().find("20261120-075745F"), std::string::npos);
    }
    EXPECT_FALSE(parse_backup_info(
        changed(std::string(kBackupInfo), "\n20261120-075745F=", "\n20261120-075745X=")));
    EXPECT_FALSE(
        parse_backup_info(changed(std::string(kBackupInfo), "\"backup-prior\":\"20261120-075745F\"",
                                  "\"backup-prior\":\"../../x\"")));
}

TEST(BackupInfo, AStanzaWithoutBackupsHasNoSectionForThem) {
    BackupInfo info = parse_backup_info(kBackupInfo).value();
    info.backups.clear();
    info.cipher_pass = "secret";
    const std::string text = format_backup_info(info);
    EXPECT_EQ(text.find("[backup:current]"), std::string::npos);
    EXPECT_LT(text.find("[cipher]\ncipher-pass=\"secret\"\n\n"), text.find("[db]"));
    const auto back = parse_backup_info(text);
    ASSERT_OK(back);
    EXPECT_EQ(*back, info);
}

TEST(Annotation, KeysThatWouldDamageTheFileAreRefused) {
    EXPECT_OK(check_annotation_key("key two"));
    EXPECT_OK(check_annotation_key(std::string(66, 'k')));
    for (const std::string& key : {std::string(), std::string(67, 'k'), std::string("a\"b"),
                                   std::string("a\\b"), std::string("a\nb")})
        EXPECT_ERROR(ErrorKind::option_invalid_value, check_annotation_key(key));
}

TEST(Names, LabelsVersionsAndArchiveIds) {
    EXPECT_TRUE(is_backup_label("20261120-075745F"));
    EXPECT_TRUE(is_backup_label("20261120-075745F_20261120-075816I"));
    for (const char* other :
         {"", "latest", "20261120-075745D", "20261120-075745F_",
          "20261120-075745F_20261120-075816F", "20261120-075745F/20261120-075816I",
          "20261120-07574xF", "20261120-075745F_20261120-075816II"})
        EXPECT_FALSE(is_backup_label(other)) << other;
    EXPECT_TRUE(is_archive_id("9.6-12"));
    for (const char* other : {"", "15", "15-", "-1", "15-x", "15.-1", "15-1-2", "../15-1"})
        EXPECT_FALSE(is_archive_id(other)) << other;
}

}  // namespace
}  // namespace chronos::repo

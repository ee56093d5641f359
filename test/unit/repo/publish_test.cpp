// Nothing that cannot be read back becomes visible in a repository.
#include <gmock/gmock.h>

#include "chronos/repo/annotations.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/verify_result.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"

namespace chronos::repo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kLabel = "20260101-000001F";

class Publish : public testing::TestWithParam<const char*> {
protected:
    Publish() {
        stanza_.add(kLabel, 2, 3);
        stanza_.save();
        before_ = test::content_of(*memory_);
    }
    const Repository& repository() const { return stanza_.repository(); }
    Manifest manifest() const { return stanza_.manifest_of(stanza_.backups().front()); }
    std::string pass() { return stanza_.backup_info().cipher_pass; }
    void expect_nothing_changed() { EXPECT_EQ(test::content_of(*memory_), before_); }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_, GetParam()};
    std::map<std::string, std::string> before_;
};

INSTANTIATE_TEST_SUITE_P(Encryption, Publish, testing::Values("", "secret"));

TEST_P(Publish, AManifestThatCannotBeReadBackIsStoredNowhere) {
    Manifest bad = manifest();
    bad.files.front().name = "pg_data/a\nb";
    bad.label = "20260101-000002F";
    const auto refused = save_manifest(repository(), "main", bad, pass());
    EXPECT_ERROR(ErrorKind::format, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("backup.manifest.copy"));
    EXPECT_THAT(refused.error().message(), HasSubstr("was not written"));
    EXPECT_ERROR(ErrorKind::format, save_manifest_copy(repository(), "main", bad, pass()));
    EXPECT_ERROR(ErrorKind::format, save_history_manifest(repository(), "main", bad, pass()));
    bad = manifest();
    bad.annotations["a\nb"] = "x";
    EXPECT_FALSE(save_manifest(repository(), "main", bad, pass()));
    expect_nothing_changed();
}

TEST_P(Publish, AManifestComesBackFromAllThreePlaces) {
    Manifest meant = manifest();
    meant.label = "20260101-000002F";
    meant.references = {meant.label};
    std::mutex mutex;
    ASSERT_OK(save_partial_manifest(repository(), "main", meant, pass(), mutex));
    EXPECT_TRUE(mutex.try_lock());
    EXPECT_EQ(*load_manifest_copy(repository(), "main", meant.label, pass()), meant);
    ASSERT_OK(save_manifest(repository(), "main", meant, pass()));
    ASSERT_OK(save_history_manifest(repository(), "main", meant, pass()));
    for (const auto& read : {load_manifest(repository(), "main", meant.label, pass()),
                             load_manifest_copy(repository(), "main", meant.label, pass()),
                             load_history_manifest(repository(), "main", meant.label, pass())}) {
        ASSERT_OK(read);
        EXPECT_EQ(*read, meant);
    }
}

TEST_P(Publish, AnInfoFileThatCannotBeReadBackLeavesTheOldOne) {
    BackupInfo info = stanza_.backup_info();
    info.backups.front().annotations["a\nb"] = "x";
    const auto refused = save_backup_info(repository(), "main", info);
    EXPECT_ERROR(ErrorKind::format, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("backup/main/backup.info"));
    info = stanza_.backup_info();
    info.backups.front().annotations["a\"b"] = "x";
    EXPECT_FALSE(save_backup_info(repository(), "main", info));
    info = stanza_.backup_info();
    info.backups.front().label = "not a label";
    EXPECT_FALSE(save_backup_info(repository(), "main", info));
    expect_nothing_changed();
}

TEST_P(Publish, RecordsOfOurOwnComeBackOrAreRefused) {
    EXPECT_OK(save_hold(repository(), "main", {kLabel, "a\nb = c", 7}, pass()));
    before_ = test::content_of(*memory_);
    EXPECT_ERROR(ErrorKind::format,
                 save_hold(repository(), "main", {kLabel, " at its ends ", 7}, pass()));
    EXPECT_ERROR(ErrorKind::format, save_hold(repository(), "main", {kLabel, "x", -1}, pass()));
    expect_nothing_changed();
    VerifySummary summary;
    summary.started = 1;
    summary.first_failure = "a\nfailures=0\xff";
    EXPECT_OK(save_verify_summary(repository(), "main", summary, pass()));
}

TEST_P(Publish, WhatABackupHasStoredIsProvenByNamesAndSizes) {
    EXPECT_OK(prove_stored(repository(), "main", manifest()));
    Manifest other = manifest();
    other.files.front().repo_size = 5;
    auto refused = prove_stored(repository(), "main", other);
    EXPECT_ERROR(ErrorKind::repo_invalid, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("has 4 bytes instead of 5"));

    other = manifest();
    other.bundle = true;
    other.files.front().bundle_id = 1;
    other.files.front().bundle_offset = 10;
    refused = prove_stored(repository(), "main", other);
    EXPECT_ERROR(ErrorKind::repo_invalid, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("bundle/1' is missing"));
    stanza_.write("backup/main/" + kLabel + "/bundle/1", std::string(13, 'x'));
    EXPECT_ERROR(ErrorKind::repo_invalid, prove_stored(repository(), "main", other));
    stanza_.write("backup/main/" + kLabel + "/bundle/1", std::string(14, 'x'));
    EXPECT_OK(prove_stored(repository(), "main", other));
    // What another backup stores is that one's.
    other.files.front().reference = "20250101-000001F";
    EXPECT_OK(memory_->remove("backup/main/" + kLabel + "/bundle/1"));
    EXPECT_OK(prove_stored(repository(), "main", other));

    EXPECT_OK(memory_->remove(stanza_.data_of(kLabel)));
    refused = prove_stored(repository(), "main", manifest());
    EXPECT_ERROR(ErrorKind::repo_invalid, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("PG_VERSION' is missing"));
}

TEST(ProvenText, IsWhatIsStoredToTheByte) {
    const auto memory = std::make_shared<test::MemoryStorage>();
    Repository repository;
    repository.storage = memory;
    repository.cipher = crypto::CipherType::aes_256_cbc;
    repository.passphrase = "secret";
    std::string seen;
    ASSERT_OK(write_text_pair(repository, {"a", "b"}, "text", "secret",
                              [&](std::string_view text) -> Result<> {
                                  seen = text;
                                  return {};
                              }));
    EXPECT_EQ(seen, "text");
    EXPECT_EQ(test::content_of(*memory)["a"], test::content_of(*memory)["b"]);
    const auto refused = write_text(
        repository, "a", "other", "secret",
        [](std::string_view) -> Result<> { return Error(ErrorKind::json_format, "why"); });
    EXPECT_ERROR(ErrorKind::format, refused);
    EXPECT_EQ(refused.error().message(),
              "'" + memory->describe("a") + "' was not written, because nobody could read it: why");
    EXPECT_EQ(*read_text(repository, "a", "secret"), "text");
}

TEST(Annotations, AreTextOnOneLineOfAFile) {
    EXPECT_OK(check_annotations({{"a=b", "x"}, {"k ü", "first\nsecond\t\"third\" \\"}, {"e", ""}}));
    for (const auto& [key, value] :
         std::map<std::string, std::string>{{"a\nb", "x"},
                                            {"a\"b", "x"},
                                            {"a\\b", "x"},
                                            {"", "x"},
                                            {"a\x7f", "x"},
                                            {"\xff", "x"},
                                            {std::string(67, 'a'), "x"},
                                            {std::string("a\0b", 3), "x"},
                                            {"nul", std::string("a\0b", 3)},
                                            {"escape", "\x1b[31m"},
                                            {"return", "a\rb"},
                                            {"latin1", "caf\xe9"},
                                            {"broken", "\xc3\n\xa9"},
                                            {"torn", "\xc3\t\xa9"}}) {
        const auto refused = check_annotations({{key, value}});
        EXPECT_ERROR(ErrorKind::option_invalid_value, refused);
        EXPECT_EQ(refused.error().message().find_first_of("\n\x1b\xff\xe9"), std::string::npos);
    }
}

TEST(ArchivesOf, AClusterThatCameBackAreAllItsIdsAndThatOfTheBackupFirst) {
    const std::vector<HistoryEntry> history = {
        {1, 7, "15"}, {2, 8, "15"}, {3, 7, "15"}, {4, 7, "16"}, {5, 7, "15"}};
    const auto ids = [&](std::uint64_t history_id) {
        std::vector<std::string> found;
        for (const HistoryEntry& entry : archives_of(history, "15", 7, history_id))
            found.push_back(entry.archive_id());
        return found;
    };
    EXPECT_THAT(ids(0), ElementsAre("15-5", "15-3", "15-1"));
    EXPECT_THAT(ids(3), ElementsAre("15-3", "15-5", "15-1"));
    EXPECT_THAT(ids(1), ElementsAre("15-1", "15-5", "15-3"));
    // The id of another cluster says nothing.
    EXPECT_THAT(ids(2), ElementsAre("15-5", "15-3", "15-1"));
    EXPECT_TRUE(archives_of(history, "15", 9).empty());
}

}  // namespace
}  // namespace chronos::repo

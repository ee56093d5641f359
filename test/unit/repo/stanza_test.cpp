#include "chronos/repo/stanza.h"

#include <gmock/gmock.h>

#include "fault_storage.h"
#include "info_samples.h"
#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;

const ClusterIdentity kCluster{.system_id = 7710195861716093438,
                               .version = "15",
                               .control_version = 1300,
                               .catalog_version = 202209061};

class CreateStanza : public testing::Test {
protected:
    CreateStanza() {
        repository_.storage = memory_;
        repository_.cipher = crypto::CipherType::aes_256_cbc;
        repository_.passphrase = "secret";
    }
    Result<StanzaOutcome> create() { return create_stanza(repository_, kStanza, kCluster); }
    std::vector<std::string> objects() {
        const auto listed = memory_->list_tree("");
        std::vector<std::string> names;
        for (const storage::Entry& entry : *listed) names.push_back(entry.name);
        return names;
    }
    void remove(const std::string& name) {
        for (const char* suffix : {"", ".copy"}) ASSERT_OK(memory_->remove(name + suffix));
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    Repository repository_;
};

TEST_F(CreateStanza, WritesFourFilesThatAgree) {
    const auto outcome = create();
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, StanzaOutcome::created);
    EXPECT_THAT(objects(),
                testing::ElementsAre("archive/main/archive.info", "archive/main/archive.info.copy",
                                     "backup/main/backup.info", "backup/main/backup.info.copy"));
    EXPECT_OK(validate_stanza(repository_, kStanza, kCluster));
    const auto archive = load_archive_info(repository_, kStanza);
    const auto backup = load_backup_info(repository_, kStanza);
    ASSERT_OK(archive);
    ASSERT_OK(backup);
    EXPECT_EQ(backup->current().catalog_version, kCluster.catalog_version);
    EXPECT_NE(archive->cipher_pass, "");
    EXPECT_NE(archive->cipher_pass, backup->cipher_pass);
}

// Killed, or without power, between any two changes: whoever comes next must be able to go on.
TEST_F(CreateStanza, CanBeRepeatedWhereverItWasCutOff) {
    unsigned steps = 0;
    for (;; ++steps) {
        memory_ = std::make_shared<test::MemoryStorage>();
        auto faulty = std::make_shared<test::FaultStorage>(*memory_);
        faulty->add({.operation = test::Operation::finish, .first_call = steps + 1, .calls = 99});
        repository_.storage = faulty;
        const bool whole = static_cast<bool>(create());
        repository_.storage = memory_;
        memory_->crash();
        SCOPED_TRACE("cut off before change " + std::to_string(steps + 1));
        ASSERT_OK(create());
        EXPECT_EQ(objects().size(), 4u);
        EXPECT_OK(validate_stanza(repository_, kStanza, kCluster));
        if (whole) break;
    }
    EXPECT_EQ(steps, 4u);
}

TEST_F(CreateStanza, PassphraseOfTheArchiveSurvivesTheRepair) {
    ASSERT_OK(create());
    const std::string before = load_archive_info(repository_, kStanza)->cipher_pass;
    remove("backup/main/backup.info");
    ASSERT_OK(memory_->remove("archive/main/archive.info"));
    const auto outcome = create();
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, StanzaOutcome::repaired);
    EXPECT_EQ(load_archive_info(repository_, kStanza)->cipher_pass, before);
}

TEST_F(CreateStanza, MissingInfoFilesBesideContentAreNotMadeUp) {
    ASSERT_OK(storage::write_object(*memory_, "backup/main/20261120-081500F/backup.manifest", "x"));
    auto outcome = create();
    EXPECT_ERROR(ErrorKind::path_not_empty, outcome);
    EXPECT_EQ(outcome.error().message(), "backup directory not empty");
    EXPECT_THAT(outcome.error().hint(), testing::Not(testing::HasSubstr("stanza-delete")));

    ASSERT_OK(storage::write_object(*memory_, "archive/main/15-1/00000002.history", "x"));
    outcome = create();
    EXPECT_EQ(outcome.error().message(), "backup directory and/or archive directory not empty");

    ASSERT_OK(memory_->remove_tree("backup/main"));
    outcome = create();
    EXPECT_EQ(outcome.error().message(), "archive directory not empty");
    EXPECT_THAT(outcome.error().hint(), testing::HasSubstr("'stanza-delete --force'"))
        << "WAL alone is what a server leaves that archives meanwhile";
}

// With a backup there, a missing backup.info is damage: writing an empty one would hide the backup.
TEST_F(CreateStanza, MissingBackupInfoIsDamageOnceThereIsABackup) {
    ASSERT_OK(create());
    remove("backup/main/backup.info");
    ASSERT_OK(storage::write_object(*memory_, "backup/main/20261120-081500F/backup.manifest", "x"));
    auto outcome = create();
    EXPECT_ERROR(ErrorKind::not_found, outcome);
    EXPECT_THAT(outcome.error().message(),
                HasSubstr("archive.info exists but backup.info is missing on repo1"));
}

TEST_F(CreateStanza, MissingArchiveInfoIsDamage) {
    ASSERT_OK(create());
    remove("archive/main/archive.info");
    const auto outcome = create();
    EXPECT_ERROR(ErrorKind::not_found, outcome);
    EXPECT_THAT(outcome.error().message(),
                HasSubstr("backup.info exists but archive.info is missing on repo1"));
}

TEST_F(CreateStanza, InfoFilesThatDisagreeAreNamed) {
    ASSERT_OK(create());
    BackupInfo info = *load_backup_info(repository_, kStanza);
    info.history.front().system_id += 1;
    ASSERT_OK(save_backup_info(repository_, kStanza, info));
    const Result<> validated = validate_stanza(repository_, kStanza, kCluster);
    const auto created = create();
    for (const Error& error : {created.error(), validated.error()}) {
        EXPECT_EQ(error.kind(), ErrorKind::file_invalid);
        EXPECT_THAT(error.message(),
                    HasSubstr("backup info file and archive info file do not match\n"
                              "archive: id = 1, version = 15, system-id = 7710195861716093438\n"
                              "backup : id = 1, version = 15, system-id = 7710195861716093439"));
    }
}

}  // namespace
}  // namespace chronos::repo

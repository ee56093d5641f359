#include "chronos/ops/stanza/stanza.h"

#include <gmock/gmock.h>

#include <fstream>

#include "chronos/repo/info.h"
#include "chronos/storage/posix/posix_storage.h"
#include "control_vector.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::stanza {
namespace {

class Stanza : public testing::Test {
protected:
    Stanza() {
        request_.stanza = "main";
        request_.lock_path = locks_.path();
        request_.exec_id = "1-00000000";
        cluster_ = *pgdata::parse_control_file(io::bytes(pgdata::control_15()));
        add_repository(1);
    }
    repo::Repository& add_repository(unsigned key) {
        repo::Repository& repository = request_.repositories.emplace_back();
        repository.key = key;
        repository.storage = std::make_shared<test::MemoryStorage>();
        return repository;
    }
    bool has(std::size_t at, const std::string& name) {
        return storage::exists(*request_.repositories[at].storage, name).value();
    }

    test::TemporaryDirectory locks_;
    StanzaRequest request_;
    pgdata::ControlFile cluster_;
};

TEST_F(Stanza, IsCreatedInEveryRepositoryAndFoundValidAfterwards) {
    add_repository(2);
    for (const auto expected : {repo::StanzaOutcome::created, repo::StanzaOutcome::already_valid}) {
        const auto outcomes = create_stanza(request_, cluster_);
        ASSERT_OK(outcomes);
        ASSERT_EQ(outcomes->size(), 2u);
        for (const StanzaOutcome& outcome : *outcomes) EXPECT_EQ(outcome.state, expected);
    }
    EXPECT_EQ(request_.repositories[1].key, 2u);
    EXPECT_TRUE(has(1, "archive/main/archive.info"));
    EXPECT_TRUE(has(1, "backup/main/backup.info.copy"));
}

TEST_F(Stanza, OfAnotherClusterIsNeverOverwritten) {
    ASSERT_OK(create_stanza(request_, cluster_));
    cluster_.system_id += 1;
    EXPECT_ERROR(ErrorKind::file_invalid, create_stanza(request_, cluster_));
    const auto info = repo::load_backup_info(request_.repositories[0], "main");
    ASSERT_OK(info);
    EXPECT_EQ(info->current().system_id + 1, cluster_.system_id);
}

TEST_F(Stanza, IsNotCreatedWhileAStopFileForbidsIt) {
    std::ofstream(locks_ / "all.stop") << "";
    EXPECT_ERROR(ErrorKind::stop, create_stanza(request_, cluster_));
    EXPECT_FALSE(has(0, "archive/main/archive.info"));
}

TEST_F(Stanza, IsNotCreatedWhileABackupRuns) {
    const auto other =
        repo::Lock::acquire({locks_.path(), "main", repo::LockType::backup, 1, "2-00000000"});
    ASSERT_OK(other);
    EXPECT_ERROR(ErrorKind::lock_acquire, create_stanza(request_, cluster_));
}

TEST_F(Stanza, FirstUseCreatesOnlyWhatIsMissing) {
    ASSERT_OK(create_stanza(request_, cluster_));
    add_repository(2);
    ASSERT_OK(ensure_stanza(request_, cluster_));
    EXPECT_TRUE(has(1, "backup/main/backup.info"));
    // With nothing to create no lock is asked for.
    const auto other =
        repo::Lock::acquire({locks_.path(), "main", repo::LockType::backup, 1, "2-00000000"});
    ASSERT_OK(other);
    EXPECT_OK(ensure_stanza(request_, cluster_));
}

TEST_F(Stanza, FirstUseCompletesACreationThatWasCutOff) {
    ASSERT_OK(create_stanza(request_, cluster_));
    for (const char* name : {"backup/main/backup.info", "backup/main/backup.info.copy"})
        ASSERT_OK(request_.repositories[0].storage->remove(name));
    ASSERT_OK(ensure_stanza(request_, cluster_));
    EXPECT_TRUE(has(0, "backup/main/backup.info"));
}

// A mount point whose disk is missing would otherwise get an empty repository of its own.
TEST_F(Stanza, FirstUseDoesNotMakeTheDirectoryOfARepository) {
    test::TemporaryDirectory root;
    request_.repositories[0].storage = storage::make_posix_storage(root / "not mounted");
    EXPECT_ERROR(ErrorKind::path_missing, ensure_stanza(request_, cluster_));
    EXPECT_OK(create_stanza(request_, cluster_));
}

}  // namespace
}  // namespace chronos::ops::stanza

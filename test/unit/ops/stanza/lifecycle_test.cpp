#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "chronos/ops/stanza/stanza.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/hold.h"
#include "dying_storage.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::stanza {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const std::string kFirst = "20260101-000001F";

pgdata::ControlFile cluster(const std::string& version, std::uint64_t system_id) {
    pgdata::ControlFile control;
    control.version = version;
    control.system_id = system_id;
    control.control_version = 1300;
    control.catalog_version = 202307071;
    return control;
}

class LifecycleTest : public testing::Test {
protected:
    static void fill(test::SyntheticStanza& stanza) {
        stanza.add(kFirst, 2, 3);
        stanza.add_segments(1, 4);
        stanza.write("chronos/main/verify/ledger", "x");
        stanza.save();
    }
    StanzaRequest upgrade(const repo::Repository& repository) const {
        return {"main", {repository}, directory_ / "lock", "1-00000000"};
    }
    DeleteRequest remove(const repo::Repository& repository) const {
        return {"main", repository, directory_ / "lock", "1-00000000", directory_ / "pg", false};
    }
    void stop() const { ASSERT_OK(repo::write_stop_file(directory_ / "lock", "main")); }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_};
    test::TemporaryDirectory directory_;
};

TEST_F(LifecycleTest, UpgradeAddsTheClusterAndKeepsTheBackups) {
    fill(stanza_);
    const auto outcomes =
        upgrade_stanza(upgrade(stanza_.repository()), cluster("16", 7710000000000000099));
    ASSERT_OK(outcomes);
    EXPECT_EQ(outcomes->front().state, repo::StanzaOutcome::upgraded);
    const auto backup = repo::load_backup_info(stanza_.repository(), "main").value();
    const auto archive = repo::load_archive_info(stanza_.repository(), "main").value();
    ASSERT_EQ(backup.history.size(), 2u);
    EXPECT_EQ(backup.current().archive_id(), "16-2");
    EXPECT_EQ(backup.current().catalog_version, 202307071u);
    EXPECT_EQ(archive.current().archive_id(), "16-2");
    EXPECT_EQ(backup.backups.front().history_id, 1u);
    const auto again =
        upgrade_stanza(upgrade(stanza_.repository()), cluster("16", 7710000000000000099));
    ASSERT_OK(again);
    EXPECT_EQ(again->front().state, repo::StanzaOutcome::already_valid);
}

TEST_F(LifecycleTest, UpgradeGoesBackToAFormerClusterUnderANewId) {
    fill(stanza_);
    ASSERT_OK(upgrade_stanza(upgrade(stanza_.repository()), cluster("16", 7710000000000000099)));
    ASSERT_OK(upgrade_stanza(upgrade(stanza_.repository()), cluster("15", 7710000000000000001)));
    EXPECT_EQ(repo::load_archive_info(stanza_.repository(), "main").value().current().archive_id(),
              "15-3");
}

TEST_F(LifecycleTest, UpgradeKilledAtAnyStepIsCompletedByTheNext) {
    for (unsigned step = 0;; ++step) {
        SCOPED_TRACE(step);
        const auto memory = std::make_shared<test::MemoryStorage>();
        test::SyntheticStanza stanza(memory, "pass");
        fill(stanza);
        const auto dying = std::make_shared<test::DyingStorage>(memory, step);
        const auto target = cluster("16", 7710000000000000099);
        (void)upgrade_stanza(upgrade(stanza.through(dying)), target);
        memory->crash();
        EXPECT_OK(repo::load_backup_info(stanza.repository(), "main"));
        ASSERT_OK(upgrade_stanza(upgrade(stanza.repository()), target));
        EXPECT_OK(
            repo::validate_stanza(stanza.repository(), "main", repo::ClusterIdentity::of(target)));
        if (!dying->dead()) {
            EXPECT_EQ(step, 6u);  // with the sign of life
            break;
        }
    }
}

TEST_F(LifecycleTest, UpgradeRefusesInfoFilesThatWentApart) {
    fill(stanza_);
    stanza_.backup_info().history[0].id = 7;
    stanza_.backup_info().current_id = 7;
    stanza_.backup_info().backups.clear();
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", stanza_.backup_info()));
    const auto before = test::content_of(*memory_);
    EXPECT_ERROR(ErrorKind::file_invalid,
                 upgrade_stanza(upgrade(stanza_.repository()), cluster("16", 99)));
    EXPECT_EQ(test::content_of(*memory_), before);
}

TEST_F(LifecycleTest, DeleteWantsTheStanzaStoppedAndTellsHow) {
    fill(stanza_);
    const auto refused = delete_stanza(remove(stanza_.repository()));
    EXPECT_ERROR(ErrorKind::not_found, refused);
    EXPECT_THAT(refused.error().hint(), HasSubstr("chronos --stanza=main stop"));
    EXPECT_THAT(refused.error().hint(), HasSubstr("chronos --stanza=main --repo=1 stanza-delete"));
    stop();
    ASSERT_OK(delete_stanza(remove(stanza_.repository())));
    EXPECT_THAT(test::content_of(*memory_), IsEmpty());
    EXPECT_OK(repo::check_stop_file(directory_ / "lock", "main"));
    EXPECT_OK(delete_stanza(remove(stanza_.repository())));  // there is nothing to stop
}

TEST_F(LifecycleTest, DeleteRefusesWhileTheServerSeemsToRunUnlessForced) {
    fill(stanza_);
    stop();
    std::filesystem::create_directories(directory_ / "pg");
    std::ofstream(directory_ / "pg/postmaster.pid") << "1\n";
    DeleteRequest request = remove(stanza_.repository());
    EXPECT_ERROR(ErrorKind::pg_running, delete_stanza(request));
    request.force = true;
    EXPECT_OK(delete_stanza(request));
}

TEST_F(LifecycleTest, DeleteRefusesWhatIsHeldEvenIfForced) {
    fill(stanza_);
    stop();
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kFirst, "audit", 1}, ""));
    DeleteRequest request = remove(stanza_.repository());
    request.force = true;
    EXPECT_ERROR(ErrorKind::backup_set_invalid, delete_stanza(request));
    ASSERT_OK(repo::remove_hold(stanza_.repository(), "main", kFirst));
    EXPECT_OK(delete_stanza(request));
}

TEST_F(LifecycleTest, DeleteKilledAtAnyStepIsCompletedByTheNext) {
    for (unsigned step = 0;; ++step) {
        SCOPED_TRACE(step);
        const auto memory = std::make_shared<test::MemoryStorage>();
        test::SyntheticStanza stanza(memory);
        fill(stanza);
        stop();
        const auto dying = std::make_shared<test::DyingStorage>(memory, step);
        (void)delete_stanza(remove(stanza.through(dying)));
        if (dying->dead()) ASSERT_OK(delete_stanza(remove(stanza.repository())));
        EXPECT_THAT(test::content_of(*memory), IsEmpty());
        if (!dying->dead()) {
            EXPECT_EQ(step, 9u);  // with the sign of life
            break;
        }
    }
}

TEST_F(LifecycleTest, DeleteWaitsForNobodyWhoUsesTheStanza) {
    fill(stanza_);
    stop();
    const auto lock = repo::Lock::acquire(
        {directory_ / "lock", "main", repo::LockType::restore, 1, "2-00000000"});
    EXPECT_ERROR(ErrorKind::lock_acquire, delete_stanza(remove(stanza_.repository())));
    EXPECT_OK(repo::load_backup_info(stanza_.repository(), "main"));
}

// What is to make room must not need any.
TEST_F(LifecycleTest, DeleteRunsOnAFullRepository) {
    fill(stanza_);
    stop();
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    fault->add({test::Operation::create, "*", 1, test::Fault::kEver,
                system_error(ErrorKind::file_write, "unable to write", ENOSPC)});
    EXPECT_OK(delete_stanza(remove(stanza_.through(fault))));
    EXPECT_THAT(test::content_of(*memory_), IsEmpty());
}

}  // namespace
}  // namespace chronos::ops::stanza

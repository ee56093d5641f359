#include "ops/backup/label.h"

#include <gtest/gtest.h>

#include "result_matchers.h"
#include "temporary_directory.h"

#include "chronos/storage/posix/posix_storage.h"

namespace chronos::ops::backup {
namespace {

class Label : public testing::Test {
protected:
    Label() {
        repository_.storage = storage::make_posix_storage(directory_.path());
        setenv("TZ", "UTC", 1);
        tzset();
    }

    void add_backup(const std::string& label, bool complete = true) {
        const std::string name = "backup/main/" + label + "/backup.manifest";
        ASSERT_OK(
            storage::write_object(*repository_.storage, complete ? name : name + ".copy", "x"));
    }
    void add_history(const std::string& label) {
        ASSERT_OK(storage::write_object(
            *repository_.storage,
            "backup/main/backup.history/" + label.substr(0, 4) + "/" + label + ".manifest.gz",
            "x"));
    }
    Result<std::string> make(repo::BackupType type, const std::string& prior = "",
                             const std::string& known = "") {
        return make_label(repository_, "main", type, prior, kStart, known, cancel_);
    }

    static constexpr UnixTime kStart = 1795161465;  // 2026-11-20 07:57:45 UTC
    test::TemporaryDirectory directory_;
    repo::Repository repository_;
    Cancellation cancel_;
    std::string latest_;
};

TEST_F(Label, FollowsThatOfADirectoryThatWasRemoved) {
    EXPECT_EQ(*make(repo::BackupType::full, "", "20261120-075744F"), "20261120-075745F");
    EXPECT_EQ(*make(repo::BackupType::full, "", "20261120-075745F"), "20261120-075746F");
}

TEST_F(Label, IsTheStartInLocalTime) {
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-075745F");
    setenv("TZ", "Asia/Kolkata", 1);
    tzset();
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-132745F");
}

TEST_F(Label, OfADependentBackupBeginsWithItsFull) {
    EXPECT_EQ(*make(repo::BackupType::diff, "20261119-000000F"),
              "20261119-000000F_20261120-075745D");
    EXPECT_EQ(*make(repo::BackupType::incr, "20261119-000000F_20261119-010000D"),
              "20261119-000000F_20261120-075745I");
}

TEST_F(Label, OfTheSameSecondWaitsForTheNext) {
    add_backup("20261120-075745F");
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-075746F");
}

// Nine hours, in which nobody in the other time zone could make a backup, are not waited for.
TEST_F(Label, FollowsTheLatestWhereThatIsAheadOfTheClock) {
    add_backup("20261120-090000F");
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-090001F");
    add_backup("20261120-090001F");
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-090002F");
    EXPECT_EQ(*make(repo::BackupType::diff, "20261120-090001F"),
              "20261120-090001F_20261120-090002D");
}

TEST_F(Label, IsLaterThanTheLatestOfAnyZone) {
    for (const char* zone : {"Asia/Tokyo", "UTC", "Pacific/Kiritimati", "Pacific/Niue", "UTC"}) {
        SCOPED_TRACE(zone);
        setenv("TZ", zone, 1);
        tzset();
        const auto label = make(repo::BackupType::full);
        ASSERT_OK(label);
        EXPECT_GT(*label, latest_);
        EXPECT_TRUE(repo::is_backup_label(*label));
        add_backup(latest_ = *label);
        const auto dependent = make(repo::BackupType::incr, latest_);
        ASSERT_OK(dependent);
        EXPECT_GT(*dependent, latest_);
        add_backup(latest_ = *dependent);
    }
}

TEST_F(Label, GoesOnPastTheEndOfADayAndAYear) {
    add_backup("20261231-235959F");
    EXPECT_EQ(*make(repo::BackupType::full), "20270101-000000F");
    add_backup("20280228-235959F");
    EXPECT_EQ(*make(repo::BackupType::full), "20280229-000000F");
}

TEST_F(Label, IsRefusedWhereThereCanBeNone) {
    add_backup("99991231-235959F");
    EXPECT_ERROR(ErrorKind::clock, make(repo::BackupType::full));
}

TEST_F(Label, OfAnExpiredBackupStaysTaken) {
    add_history("20251120-090000F");
    add_history("20261120-090000F");
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-090001F");
}

TEST_F(Label, OfAnotherSetDoesNotMatterToADependentBackup) {
    add_backup("20261120-070000F");
    add_backup("20261120-070000F_20261120-090000I");
    EXPECT_EQ(*make(repo::BackupType::incr, "20261120-070000F"),
              "20261120-070000F_20261120-090001I");
    add_backup("20261119-070000F");
    EXPECT_EQ(*make(repo::BackupType::incr, "20261119-070000F"),
              "20261119-070000F_20261120-075745I");
}

TEST_F(Label, ADirectoryThatIsNoBackupDoesNotMatter) {
    add_backup("99999999-unrelated");
    EXPECT_EQ(*make(repo::BackupType::full), "20261120-075745F");
}

}  // namespace
}  // namespace chronos::ops::backup

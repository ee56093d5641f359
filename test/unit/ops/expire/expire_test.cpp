#include "chronos/ops/expire/expire.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "chronos/base/log.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/hold.h"
#include "dying_storage.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::expire {
namespace {

using test::SyntheticStanza;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kOld = "20260101-000001F";
const std::string kOldDiff = "20260101-000001F_20260102-000001D";
const std::string kOldIncr = "20260101-000001F_20260103-000001I";
const std::string kMiddle = "20260201-000001F";
const std::string kNew = "20260301-000001F";
const std::string kNewIncr = "20260301-000001F_20260302-000001I";

class ExpireTest : public testing::Test {
protected:
    ExpireTest() {
        former_ = set_log_receiver([this](LogLevel level, std::string_view text) {
            if (level <= LogLevel::warn) warnings_.emplace_back(text);
            lines_.emplace_back(text);
        });
    }
    ~ExpireTest() override { set_log_receiver(former_); }

    /// Three full sets and their WAL: 1 to 0x40.
    static void fill(SyntheticStanza& stanza) {
        stanza.add(kOld, 2, 3);
        stanza.add(kOldDiff, 5, 5, kOld);
        stanza.add(kOldIncr, 7, 7, kOldDiff);
        stanza.add(kMiddle, 0x10, 0x11);
        stanza.add(kNew, 0x20, 0x20);
        stanza.add(kNewIncr, 0x30, 0x31, kNew);
        stanza.add_segments(1, 0x40);
        stanza.save();
    }
    ExpireRequest request(repo::Repository repository, std::uint64_t fulls = 2) const {
        ExpireRequest request;
        request.stanza = "main";
        Retention retention;
        retention.full = fulls;
        request.repositories.push_back({std::move(repository), retention, true});
        request.lock_path = directory_ / "lock";
        request.exec_id = "1-00000000";
        return request;
    }
    Result<ExpireOutcome> expire(const ExpireRequest& request) const {
        return run_expire(request, Cancellation());
    }
    /// The one repository's failure, or the outcome.
    static Result<ExpireOutcome> only(Result<ExpireOutcome> outcome) {
        if (outcome && !outcome->failures.empty()) return outcome->failures.front().second;
        return outcome;
    }
    std::vector<std::string> listed() {
        std::vector<std::string> labels;
        const auto info = repo::load_backup_info(stanza_.repository(), "main");
        if (info)
            for (const repo::BackupEntry& entry : info->backups) labels.push_back(entry.label);
        return labels;
    }
    std::vector<std::string> removed(const ExpireOutcome& outcome, Decision::What what) {
        std::vector<std::string> names;
        for (const Decision& decision : outcome.decisions)
            if (decision.what == what && decision.removed) names.push_back(decision.name);
        return names;
    }
    bool has(const std::string& name) { return storage::exists(*memory_, name).value(); }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    SyntheticStanza stanza_{memory_};
    test::TemporaryDirectory directory_;
    std::vector<std::string> warnings_;
    std::vector<std::string> lines_;
    LogReceiver former_;
};

TEST_F(ExpireTest, RemovesBackupsDataAndWalThatRetentionNoLongerWants) {
    fill(stanza_);
    const auto outcome = expire(request(stanza_.repository()));
    ASSERT_OK(only(outcome));
    EXPECT_THAT(listed(), ElementsAre(kMiddle, kNew, kNewIncr));
    EXPECT_FALSE(has(stanza_.data_of(kOld)));
    EXPECT_FALSE(has(stanza_.data_of(kOldIncr)));
    EXPECT_TRUE(has(stanza_.data_of(kMiddle)));
    EXPECT_THAT(removed(*outcome, Decision::What::wal),
                ElementsAre("15-1/000000010000000000000001..00000001000000000000000F"));
    EXPECT_THAT(lines_, Contains("repo1: expire full backup set " + kOld + ", " + kOldDiff + ", " +
                                 kOldIncr));
    EXPECT_THAT(lines_, Contains("repo1: 15-1 remove archive, start = 000000010000000000000001, "
                                 "stop = 00000001000000000000000F"));
    EXPECT_THAT(warnings_, IsEmpty());
}

/// Without signs of life, which nothing rests on.
std::vector<std::string> changes_of(const test::FaultStorage& storage) {
    std::vector<std::string> changes = storage.changes();
    std::erase_if(changes, [](const std::string& change) {
        return change.find(" chronos/main/run/") != std::string::npos;
    });
    return changes;
}

TEST_F(ExpireTest, WritesInTheOrderThatSurvivesAKill) {
    stanza_.add(kOld, 2, 3);
    stanza_.add(kOldDiff, 5, 5, kOld);
    stanza_.add(kNew, 0x20, 0x20);
    stanza_.add_segment(SyntheticStanza::segment(5));
    stanza_.save();
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    ASSERT_OK(only(expire(request(stanza_.through(fault), 1))));
    const std::string backup = "backup/main/";
    EXPECT_THAT(changes_of(*fault),
                ElementsAre("remove " + backup + kOldDiff + "/backup.manifest.copy",
                            "remove " + backup + kOldDiff + "/backup.manifest",
                            "remove " + backup + kOld + "/backup.manifest.copy",
                            "remove " + backup + kOld + "/backup.manifest",
                            "create backup/main/backup.info", "finish backup/main/backup.info",
                            "create backup/main/backup.info.copy",
                            "finish backup/main/backup.info.copy", "sync_tree backup/main",
                            "remove_tree " + backup + kOldDiff, "remove_tree " + backup + kOld,
                            "remove archive/main/15-1/0000000100000000/000000010000000000000005-"
                            "0000000000000000000000000000000000000000.gz"));
}

test::Fault no_space(test::Operation operation, const std::string& pattern, unsigned calls) {
    return {operation, pattern, 1, calls,
            system_error(ErrorKind::file_write, "unable to write", ENOSPC)};
}

// What is to make room must not need any.
TEST_F(ExpireTest, OnAFullRepositoryItRemovesFirstAndWritesThen) {
    fill(stanza_);
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    fault->add(no_space(test::Operation::create, "chronos/*", test::Fault::kEver));
    fault->add(no_space(test::Operation::finish, "backup/main/backup.info", 1));
    ASSERT_OK(only(expire(request(stanza_.through(fault), 1))));
    EXPECT_THAT(listed(), ElementsAre(kNew, kNewIncr));
    EXPECT_THAT(warnings_, Contains(HasSubstr("goes on without a sign of life")));
    const std::vector<std::string> changes = fault->changes();
    const auto info = std::ranges::find(changes, "finish backup/main/backup.info.copy");
    const auto data = std::ranges::find(changes, "remove_tree backup/main/" + kOld);
    EXPECT_LT(data, info);
    EXPECT_NE(info, changes.end());
}

TEST_F(ExpireTest, AFullRepositoryThatNothingIsRemovedFromIsAnError) {
    fill(stanza_);
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    fault->add(no_space(test::Operation::create, "*", test::Fault::kEver));
    EXPECT_ERROR(ErrorKind::file_write, only(expire(request(stanza_.through(fault), 1))));
    // The next run finds what this one has removed.
    ASSERT_OK(only(expire(request(stanza_.repository(), 1))));
    EXPECT_THAT(listed(), ElementsAre(kNew, kNewIncr));
}

TEST_F(ExpireTest, DryRunDecidesTheSameAndChangesNothing) {
    fill(stanza_);
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    ExpireRequest dry = request(stanza_.through(fault));
    dry.dry_run = true;
    const auto decided = expire(dry);
    ASSERT_OK(only(decided));
    EXPECT_THAT(fault->changes(), IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(directory_ / "lock")) << "it waits for nobody either";
    const auto done = expire(request(stanza_.repository()));
    ASSERT_OK(only(done));
    ASSERT_EQ(decided->decisions.size(), done->decisions.size());
    for (std::size_t i = 0; i < done->decisions.size(); ++i) {
        EXPECT_EQ(decided->decisions[i].name, done->decisions[i].name);
        EXPECT_EQ(decided->decisions[i].removed, done->decisions[i].removed);
        EXPECT_EQ(decided->decisions[i].reason, done->decisions[i].reason);
        EXPECT_FALSE(done->decisions[i].reason.empty());
    }
    EXPECT_THAT(lines_, Contains(HasSubstr("repo1: expire full backup set")));
    EXPECT_THAT(lines_, testing::Each(testing::Not(HasSubstr("DRY-RUN")))) << "the log says so";
}

TEST_F(ExpireTest, EveryBackupIsNamedWithAReason) {
    fill(stanza_);
    const auto outcome = expire(request(stanza_.repository()));
    ASSERT_OK(only(outcome));
    std::vector<std::string> names;
    for (const Decision& decision : outcome->decisions)
        if (decision.what == Decision::What::backup) names.push_back(decision.name);
    EXPECT_THAT(names,
                testing::UnorderedElementsAre(kOld, kOldDiff, kOldIncr, kMiddle, kNew, kNewIncr));
}

/// What a reader needs of the backups that are to stay, at any moment.
void expect_restorable(SyntheticStanza& stanza, storage::Storage& storage) {
    const auto info = repo::load_backup_info_reconstructed(stanza.repository(), "main");
    ASSERT_OK(info);
    for (const repo::BackupEntry& entry : info->info.backups) {
        EXPECT_OK(repo::load_manifest(stanza.repository(), "main", entry.label, ""));
        EXPECT_TRUE(storage::exists(storage, stanza.data_of(entry.label)).value()) << entry.label;
        if (!entry.prior.empty()) {
            EXPECT_NE(info->info.find(entry.prior), nullptr) << entry.label;
        }
        for (const std::string& segment : {entry.archive_start, entry.archive_stop})
            EXPECT_EQ(
                storage.list("archive/main/15-1/" + segment.substr(0, 16), segment).value().size(),
                1u)
                << segment;
    }
    for (const std::string& label : {kMiddle, kNew, kNewIncr})
        EXPECT_NE(info->info.find(label), nullptr) << label;
}

TEST_F(ExpireTest, KilledAtAnyStepTheNextRunFinishesAndNothingReferencedWasLost) {
    fill(stanza_);
    ASSERT_OK(only(expire(request(stanza_.repository()))));
    const auto finished = test::content_of(*memory_);
    for (const bool power_loss : {false, true})
        for (unsigned step = 0;; ++step) {
            SCOPED_TRACE("step " + std::to_string(step) + (power_loss ? ", power lost" : ""));
            const auto memory = std::make_shared<test::MemoryStorage>();
            SyntheticStanza stanza(memory);
            fill(stanza);
            const auto dying = std::make_shared<test::DyingStorage>(memory, step);
            (void)expire(request(stanza.through(dying)));
            if (power_loss) memory->crash();
            expect_restorable(stanza, *memory);
            ASSERT_OK(only(expire(request(stanza.repository()))));
            auto now = test::content_of(*memory);
            EXPECT_TRUE(now == finished);
            if (HasFailure()) return;
            if (!dying->dead()) {
                EXPECT_GT(step, 20u);
                break;
            }
        }
}

TEST_F(ExpireTest, HeldBackupStaysWithWhatItDependsOnAndItsWal) {
    fill(stanza_);
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kOldDiff, "audit", 5}, ""));
    const auto outcome = expire(request(stanza_.repository(), 1));
    ASSERT_OK(only(outcome));
    EXPECT_THAT(listed(), ElementsAre(kOld, kOldDiff, kNew, kNewIncr));
    for (const unsigned number : {2u, 3u, 5u, 0x20u, 0x40u})
        EXPECT_EQ(
            memory_->list("archive/main/15-1/0000000100000000", SyntheticStanza::segment(number))
                .value()
                .size(),
            1u)
            << number;
    EXPECT_THAT(removed(*outcome, Decision::What::wal),
                ElementsAre("15-1/000000010000000000000001", "15-1/000000010000000000000004",
                            "15-1/000000010000000000000006..00000001000000000000001F"));
}

TEST_F(ExpireTest, HoldThatCannotBeReadStopsIt) {
    fill(stanza_);
    auto fault = std::make_shared<test::FaultStorage>(*memory_);
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kOldDiff, "audit", 5}, ""));
    fault->add({.operation = test::Operation::open, .pattern = "chronos/*"});
    EXPECT_ERROR(ErrorKind::service, only(expire(request(stanza_.through(fault), 1))));
    EXPECT_THAT(changes_of(*fault), IsEmpty());
}

TEST_F(ExpireTest, ByNameTakesTheDependentsToo) {
    fill(stanza_);
    ExpireRequest by_name = request(stanza_.repository(), 9);
    by_name.set = kOldDiff;
    ASSERT_OK(only(expire(by_name)));
    EXPECT_THAT(listed(), ElementsAre(kOld, kMiddle, kNew, kNewIncr));
    EXPECT_THAT(lines_, Contains("repo1: expire adhoc backup set " + kOldDiff + ", " + kOldIncr));
    by_name.set = "oldest";
    ASSERT_OK(only(expire(by_name)));
    EXPECT_THAT(listed(), ElementsAre(kMiddle, kNew, kNewIncr));
}

TEST_F(ExpireTest, ByNameMovesTheLinkWhenTheLatestGoes) {
    fill(stanza_);
    ASSERT_OK(memory_->make_link("backup/main/latest", kNewIncr));
    ExpireRequest by_name = request(stanza_.repository(), 9);
    by_name.set = "latest";
    ASSERT_OK(only(expire(by_name)));
    EXPECT_THAT(listed(), Not(Contains(kNewIncr)));
    EXPECT_EQ(memory_->info("backup/main/latest").value()->link_destination, kNew);
    EXPECT_THAT(warnings_, Contains(HasSubstr("expiring latest backup " + kNewIncr)));
}

TEST_F(ExpireTest, ByNameRefusesTheLastFullTheFloorAndWhatIsHeld) {
    fill(stanza_);
    ExpireRequest by_name = request(stanza_.repository(), 9);
    by_name.repositories[0].retention.full_floor = 3;
    by_name.set = kOld;
    EXPECT_ERROR(ErrorKind::backup_set_invalid, only(expire(by_name)));
    by_name.repositories[0].retention.full_floor = 1;
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kOldIncr, "audit", 5}, ""));
    EXPECT_ERROR(ErrorKind::backup_set_invalid, only(expire(by_name)));
    by_name.set = kMiddle;
    ASSERT_OK(only(expire(by_name)));
    ASSERT_OK(repo::remove_hold(stanza_.repository(), "main", kOldIncr));
    by_name.set = kNew;
    ASSERT_OK(only(expire(by_name)));
    by_name.set = kOld;
    EXPECT_ERROR(ErrorKind::backup_set_invalid, only(expire(by_name)));
    EXPECT_THAT(listed(), ElementsAre(kOld, kOldDiff, kOldIncr));
}

TEST_F(ExpireTest, ByNameKeepsTheOnlyFullOfTheCurrentCluster) {
    stanza_.add(kOld, 2, 3);
    stanza_.add_cluster("16");
    stanza_.add(kNew, 2, 3);
    stanza_.save();
    ExpireRequest by_name = request(stanza_.repository(), 9);
    by_name.set = kNew;
    EXPECT_ERROR(ErrorKind::backup_set_invalid, only(expire(by_name)));
    by_name.set = kOld;
    ASSERT_OK(only(expire(by_name)));
}

TEST_F(ExpireTest, ByNameTellsANameThatIsNoLabelFromABackupThatIsNotThere) {
    fill(stanza_);
    ExpireRequest by_name = request(stanza_.repository());
    by_name.set = "yesterday";
    EXPECT_ERROR(ErrorKind::option_invalid_value, expire(by_name));
    by_name.set = "20250101-000001F";
    ASSERT_OK(only(expire(by_name)));
    EXPECT_THAT(warnings_, Contains(HasSubstr("backup 20250101-000001F does not exist")));
    EXPECT_EQ(listed().size(), 6u);
    by_name.set = kOld;
    by_name.oldest = true;
    EXPECT_ERROR(ErrorKind::option_invalid, expire(by_name));
    by_name.set.clear();
    by_name.archive_expire_before = "0000";
    EXPECT_ERROR(ErrorKind::option_invalid_value, expire(by_name));
}

TEST_F(ExpireTest, OldestTakesOneFullSetAndNeverTheLastNorAHeldOne) {
    fill(stanza_);
    ExpireRequest oldest = request(stanza_.repository(), 9);
    oldest.oldest = true;
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kOldIncr, "audit", 5}, ""));
    ASSERT_OK(only(expire(oldest)));
    EXPECT_EQ(listed().size(), 6u);
    EXPECT_THAT(warnings_, Contains(HasSubstr("no eligible full backup")));
    ASSERT_OK(repo::remove_hold(stanza_.repository(), "main", kOldIncr));
    ASSERT_OK(only(expire(oldest)));
    EXPECT_THAT(listed(), ElementsAre(kMiddle, kNew, kNewIncr));
    ASSERT_OK(only(expire(oldest)));
    ASSERT_OK(only(expire(oldest)));
    EXPECT_THAT(listed(), ElementsAre(kNew, kNewIncr));
}

TEST_F(ExpireTest, RemovesWhatFailedBackupsLeftButNotTheOneThatCanBeResumed) {
    fill(stanza_);
    const std::string failed = "20260115-000001F";
    const std::string running = "20260401-000001F";
    stanza_.write(stanza_.data_of(failed), "half");
    stanza_.write(stanza_.data_of(running), "half");
    repo::BackupEntry entry;
    entry.label = running;
    entry.history_id = 1;
    ASSERT_OK(repo::save_manifest_copy(stanza_.repository(), "main", running,
                                       repo::format_manifest(stanza_.manifest_of(entry)), ""));
    ASSERT_OK(only(expire(request(stanza_.repository()))));
    EXPECT_FALSE(has(stanza_.data_of(failed)));
    EXPECT_TRUE(has(stanza_.data_of(running)));
}

TEST_F(ExpireTest, RemovesAnUnfinishedBackupWhoseBaseIsGone) {
    fill(stanza_);
    repo::BackupEntry entry = stanza_.backups().back();
    entry.label = kNew + "_20260401-000001I";
    entry.prior = kNewIncr;
    stanza_.write(stanza_.data_of(entry.label), "half");
    ASSERT_OK(repo::save_manifest_copy(stanza_.repository(), "main", entry.label,
                                       repo::format_manifest(stanza_.manifest_of(entry)), ""));
    ASSERT_OK(only(expire(request(stanza_.repository(), 9))));
    EXPECT_TRUE(has(stanza_.data_of(entry.label)));
    // Somebody may be making it, elsewhere.
    ExpireRequest by_name = request(stanza_.repository(), 9);
    by_name.set = kNewIncr;
    EXPECT_ERROR(ErrorKind::backup_set_invalid, only(expire(by_name)));
    EXPECT_TRUE(has(stanza_.data_of(kNewIncr)));
    ASSERT_OK(memory_->remove_tree(repo::backup_path("main", kNewIncr)));
    ASSERT_OK(only(expire(request(stanza_.repository(), 9))));
    EXPECT_FALSE(has(stanza_.data_of(entry.label)));
}

TEST_F(ExpireTest, LeavesABackupAloneThatAppearsMeanwhile) {
    fill(stanza_);
    const std::string other = "20260401-000001F";
    repo::BackupEntry entry = stanza_.backups().back();
    entry.label = other;
    entry.type = repo::BackupType::full;
    entry.prior = "";
    entry.references = {};
    stanza_.write(stanza_.data_of(other), "data");
    const std::string later = "20260402-000001F";
    bool acted = false;
    unsigned changes = 0;
    const auto act = [&] {
        // The first one is the sign of life, which comes before anything is decided.
        if (++changes < 2 || std::exchange(acted, true)) return;
        for (const std::string& label : {other, later}) {
            entry.label = label;
            stanza_.write(stanza_.data_of(label), "data");
            EXPECT_OK(repo::save_manifest(stanza_.repository(), "main", label,
                                          repo::format_manifest(stanza_.manifest_of(entry)), ""));
        }
    };
    // Somebody on another host, who has locks of their own.
    const auto shared = std::make_shared<test::DyingStorage>(memory_, 1000u);
    shared->meanwhile = act;
    ASSERT_OK(only(expire(request(stanza_.through(shared)))));
    ASSERT_TRUE(acted);
    EXPECT_TRUE(has(stanza_.data_of(other)));
    EXPECT_TRUE(has(stanza_.data_of(later)));
    ASSERT_OK(only(expire(request(stanza_.repository(), 4))));
    EXPECT_THAT(listed(), ElementsAre(kMiddle, kNew, kNewIncr, other, later));
}

TEST_F(ExpireTest, RemovesOldHistoryButNotOfBackupsThatAreThere) {
    fill(stanza_);
    const std::string history = "backup/main/backup.history/";
    stanza_.write(history + "2019/20190101-000001F.manifest.gz", "x");
    stanza_.write(history + "2019/20190101-000001F_20190102-000001D.manifest.gz", "x");
    stanza_.write(history + "2026/20260101-000000F.manifest.gz", "x");
    stanza_.write(history + "2020/20200101-000001F.manifest.gz", "x");
    stanza_.write(history + "2020/notes.txt", "x");
    ExpireRequest with_history = request(stanza_.repository(), 9);
    with_history.repositories[0].retention.history_days = 0;
    const auto outcome = expire(with_history);
    ASSERT_OK(only(outcome));
    EXPECT_THAT(
        removed(*outcome, Decision::What::history_manifest),
        ElementsAre("2019", "20200101-000001F.manifest.gz", "20260101-000000F.manifest.gz"));
    EXPECT_TRUE(has(history + "2026/" + kOld + ".manifest.gz"));
    EXPECT_TRUE(has(history + "2020/notes.txt"));
}

TEST_F(ExpireTest, RemovesTheArchiveOfAClusterWithoutBackups) {
    stanza_.add(kOld, 2, 3);
    stanza_.add_segments(1, 9);
    stanza_.add_cluster("16");
    stanza_.add(kMiddle, 2, 3);
    stanza_.add(kNew, 5, 6);
    stanza_.add_segments(1, 9, 2);
    stanza_.write("archive/main/16-2/00000002.history", "1\t0/5\tx\n");
    stanza_.save();
    const auto outcome = expire(request(stanza_.repository()));
    ASSERT_OK(only(outcome));
    EXPECT_FALSE(memory_->info("archive/main/15-1").value().has_value());
    EXPECT_THAT(removed(*outcome, Decision::What::wal),
                ElementsAre("15-1", "16-2/000000010000000000000001"));
    EXPECT_TRUE(has("archive/main/16-2/00000002.history"));
}

TEST_F(ExpireTest, RefusesInfoFilesThatDisagree) {
    fill(stanza_);
    stanza_.backup_info().history[0].system_id += 1;
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", stanza_.backup_info()));
    const auto before = test::content_of(*memory_);
    EXPECT_ERROR(ErrorKind::format, only(expire(request(stanza_.repository()))));
    EXPECT_EQ(test::content_of(*memory_), before);
}

TEST_F(ExpireTest, OneFailingRepositoryDoesNotKeepTheOthersFromBeingDone) {
    fill(stanza_);
    ExpireRequest both = request(stanza_.repository());
    both.repositories.insert(both.repositories.begin(), both.repositories.front());
    both.repositories.front().repository.storage = std::make_shared<test::MemoryStorage>();
    both.repositories.back().repository.key = 2;
    const auto outcome = expire(both);
    ASSERT_OK(outcome);
    ASSERT_EQ(outcome->failures.size(), 1u);
    EXPECT_EQ(outcome->failures[0].first, 1u);
    EXPECT_EQ(outcome->failures[0].second.kind(), ErrorKind::not_found);
    EXPECT_THAT(listed(), ElementsAre(kMiddle, kNew, kNewIncr));
}

TEST_F(ExpireTest, WaitsForNoLockAndObeysTheStopFile) {
    fill(stanza_);
    const auto lock =
        repo::Lock::acquire({directory_ / "lock", "main", repo::LockType::backup, 1, "2-00000000"});
    ASSERT_OK(lock);
    EXPECT_ERROR(ErrorKind::lock_acquire, expire(request(stanza_.repository())));
    ExpireRequest dry = request(stanza_.repository());
    dry.dry_run = true;
    EXPECT_OK(expire(dry));
    std::ofstream(directory_ / "lock/main.stop");
    EXPECT_ERROR(ErrorKind::stop, expire(request(stanza_.repository())));
}

TEST_F(ExpireTest, WarnsOfRetentionThatIsNotSet) {
    fill(stanza_);
    ExpireRequest unset = request(stanza_.repository());
    unset.repositories[0].retention.full.reset();
    unset.repositories[0].retention.archive_type = repo::BackupType::diff;
    ASSERT_OK(only(expire(unset)));
    EXPECT_EQ(listed().size(), 6u);
    EXPECT_THAT(warnings_,
                ElementsAre(HasSubstr("option 'repo1-retention-full' is not set for"),
                            "WAL segments will not be expired: option "
                            "'repo1-retention-archive-type=diff' but neither option "
                            "'repo1-retention-archive' nor option 'repo1-retention-diff' is set"));
}

TEST_F(ExpireTest, SaysThatAHeldBackupIsGone) {
    fill(stanza_);
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {"20200101-000001F", "x", 5}, ""));
    ASSERT_OK(only(expire(request(stanza_.repository()))));
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("held backup 20200101-000001F is not in")));
}

}  // namespace
}  // namespace chronos::ops::expire

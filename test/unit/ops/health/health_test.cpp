#include "chronos/ops/health/health.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "chronos/repo/side/drill.h"
#include "chronos/repo/side/verify_result.h"
#include "fake_connection.h"
#include "memory_storage.h"
#include "ops/health/wal_runs.h"
#include "plain_limits.h"
#include "synthetic_stanza.h"

namespace chronos::ops::health {
namespace {

using testing::HasSubstr;

constexpr UnixTime kNow = 1800000000;
constexpr UnixTime kHour = 3600;

std::string full_label(int number) {
    return "2026010" + std::to_string(number) + "-000000F";
}

class Health : public testing::Test {
protected:
    Health() : stanza_(std::make_shared<test::MemoryStorage>()) {}

    Snapshot look(UnixTime now = kNow, const std::string& last_archived = "") {
        stanza_.save();
        return look_at_repositories({stanza_.repository()}, "main", memory_, now, last_archived);
    }
    static Rule rule(const Snapshot& snapshot, std::string_view name,
                     const std::optional<ServerFacts>& server = std::nullopt,
                     const Limits& limits = test::plain_limits(), UnixTime now = kNow) {
        for (Rule& one : evaluate(snapshot, server, limits, now))
            if (one.name == name) return one;
        ADD_FAILURE() << "no rule " << name;
        return {};
    }
    static ServerFacts sound_server() {
        ServerFacts server;
        server.at = kNow;
        server.archive_mode = "on";
        server.last_archived_at = kNow - 10;
        server.disk_total_bytes = 1000;
        server.disk_free_bytes = 500;
        return server;
    }
    /// A backup on timeline 2 that needs the segment `start` and the next one, and WAL up to 14.
    void add_on_timeline_2(unsigned start) {
        repo::BackupEntry& backup = stanza_.add(full_label(2), start, start + 1, "", kNow);
        backup.archive_start = test::SyntheticStanza::segment(start, 2);
        backup.archive_stop = test::SyntheticStanza::segment(start + 1, 2);
        for (unsigned number = start; number <= 14; ++number)
            stanza_.add_segment(test::SyntheticStanza::segment(number, 2));
    }
    std::vector<WalGap> gaps() {
        const Snapshot snapshot = look();
        return snapshot.repositories.at(0).archives.at(0).gaps;
    }

    test::SyntheticStanza stanza_;
    WalMemory memory_;
};

TEST_F(Health, EveryRuleHasARowWhateverIsKnown) {
    const auto nothing = evaluate({}, std::nullopt, test::plain_limits(), kNow);
    const auto something = evaluate(look(), sound_server(), test::plain_limits(), kNow);
    ASSERT_EQ(nothing.size(), something.size());
    for (std::size_t i = 0; i < nothing.size(); ++i) {
        EXPECT_EQ(nothing[i].name, something[i].name);
        EXPECT_FALSE(nothing[i].message.empty()) << nothing[i].name;
    }
}

TEST_F(Health, AgeOfTheLastBackupIsCriticalBeyondTwentyFiveHours) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 25 * kHour);
    stanza_.add_segments(1, 2);
    const Snapshot snapshot = look();
    EXPECT_EQ(rule(snapshot, "backup_age").state, RuleState::ok);
    const Rule late = rule(snapshot, "backup_age", std::nullopt, test::plain_limits(), kNow + 1);
    EXPECT_EQ(late.state, RuleState::critical);
    EXPECT_THAT(late.message, HasSubstr("more than 1d 1h"));
    EXPECT_FALSE(late.hint.empty());
}

TEST_F(Health, NoBackupAtAllIsCritical) {
    const Snapshot snapshot = look();
    EXPECT_EQ(snapshot.status(), StatusCode::no_valid_backups);
    EXPECT_EQ(rule(snapshot, "backup_age").state, RuleState::critical);
}

TEST_F(Health, ARepositoryThatCannotBeReadSaysWhyAndNothingElse) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.save();
    stanza_.write("backup/main/backup.info", "garbage");
    stanza_.write("backup/main/backup.info.copy", "garbage");
    const Snapshot snapshot = look_at_repositories({stanza_.repository()}, "main", memory_, kNow);
    EXPECT_EQ(snapshot.status(), StatusCode::other);
    EXPECT_EQ(rule(snapshot, "repo_unreachable").state, RuleState::critical);
    EXPECT_THAT(rule(snapshot, "repo_unreachable").message, HasSubstr("repo1"));
    EXPECT_EQ(rule(snapshot, "backup_age").state, RuleState::unknown);
}

// A directory that was moved away, or is not mounted, has no gaps, no conflicts and no other
// server.
TEST_F(Health, WhereNoStanzaCanBeReadNothingIsWell) {
    const Snapshot snapshot = look_at_repositories(
        {stanza_.through(std::make_shared<test::MemoryStorage>())}, "main", memory_, kNow);
    for (const Rule& one : evaluate(snapshot, std::nullopt, test::plain_limits(), kNow))
        EXPECT_NE(one.state, RuleState::ok) << one.name << ": " << one.message;
    EXPECT_THAT(rule(snapshot, "backup_age").message, HasSubstr("no such stanza"));
    EXPECT_THAT(rule(snapshot, "drill").message, HasSubstr("can be read"));
}

/// Of the cluster that the stanza has.
ServerFacts server_of(const test::SyntheticStanza& stanza, ServerFacts server) {
    server.system_id = stanza.cluster().system_id;
    server.version = stanza.cluster().version;
    return server;
}

// archive.info of another stanza, of another time, or none: what lies in the archive is of nobody
// knows whom, and nothing is taken into it.
TEST_F(Health, WhatAnArchiveInfoDoesNotKnowIsNotWell) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.save();
    test::SyntheticStanza other(std::make_shared<test::MemoryStorage>());
    other.archive_info().history[0].system_id = 42;
    other.save();
    test::SyntheticStanza upgraded(std::make_shared<test::MemoryStorage>());
    upgraded.add_cluster("16");
    upgraded.save();
    const std::string name = repo::archive_info_name("main");
    const auto text_of = [&](const test::SyntheticStanza& stanza) {
        return storage::read_object(*stanza.repository().storage, name, 100000).value();
    };
    for (const std::string& text :
         {text_of(other), text_of(upgraded), std::string("garbage"), std::string()}) {
        for (const std::string& file : {name, name + ".copy"}) {
            if (!text.empty()) stanza_.write(file, text);
            if (text.empty()) ASSERT_OK(stanza_.repository().storage->remove(file));
        }
        const Snapshot snapshot =
            look_at_repositories({stanza_.repository()}, "main", memory_, kNow);
        const ServerFacts server = server_of(stanza_, sound_server());
        for (const char* one : {"wal_gap", "rpo", "timelines_diverge", "wal_conflict", "backup_age",
                                "stanza_owner", "verify", "drill"})
            EXPECT_NE(rule(snapshot, one, server).state, RuleState::ok) << one << text;
        const Rule unreachable = rule(snapshot, "repo_unreachable", server);
        EXPECT_EQ(unreachable.state, RuleState::critical) << text;
        EXPECT_THAT(unreachable.hint, HasSubstr("repair")) << text;
        EXPECT_THAT(rule(snapshot, "wal_gap", server).hint, HasSubstr("repair")) << text;
    }
}

// After pg_upgrade or a new initdb, or with the wrong stanza: nothing of this server is taken.
TEST_F(Health, AStanzaOfAnotherClusterIsNeverWellForThisServer) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.save();
    ASSERT_OK(repo::save_verify_summary(stanza_.repository(), "main",
                                        {.finished = kNow - 60, .first_failure = ""}, ""));
    ASSERT_OK(repo::save_drill(stanza_.repository(), "main",
                               repo::drill_name(kNow - 60, true, "1a2b3c4d"), "{}", ""));
    const Snapshot snapshot = look();
    const ServerFacts own = server_of(stanza_, sound_server());
    ServerFacts other = own;
    other.system_id = 42;
    ServerFacts newer = own;
    newer.version = "16";
    for (const char* one : {"wal_gap", "rpo", "timelines_diverge", "wal_conflict", "backup_age",
                            "stanza_owner", "verify", "drill"}) {
        EXPECT_EQ(rule(snapshot, one, own).state, RuleState::ok) << one;
        for (const ServerFacts& server : {other, newer}) {
            const Rule foreign = rule(snapshot, one, server);
            EXPECT_NE(foreign.state, RuleState::ok) << one;
            EXPECT_THAT(foreign.message, HasSubstr("of another cluster")) << one;
            EXPECT_THAT(foreign.hint, HasSubstr("stanza-upgrade")) << one;
        }
    }
    EXPECT_EQ(rule(snapshot, "stanza_owner", other).state, RuleState::critical);
    EXPECT_EQ(rule(snapshot, "backup_age", other).state, RuleState::critical);
    EXPECT_EQ(
        state_of(snapshot.repositories[0], evaluate(snapshot, other, test::plain_limits(), kNow)),
        RuleState::critical);
    EXPECT_EQ(rule(snapshot, "wal_gap", sound_server()).state, RuleState::ok)
        << "a server that does not tell is not another one";
}

TEST_F(Health, OneRepositoryOfAnotherClusterIsToldOf) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    Snapshot snapshot = look();
    snapshot.repositories.push_back(snapshot.repositories[0]);
    snapshot.repositories[1].key = 2;
    snapshot.repositories[1].history[0].system_id = 42;
    const ServerFacts server = server_of(stanza_, sound_server());
    EXPECT_EQ(rule(snapshot, "stanza_owner", server).state, RuleState::critical);
    EXPECT_EQ(rule(snapshot, "wal_gap", server).state, RuleState::unknown);
    EXPECT_THAT(rule(snapshot, "wal_gap", server).message, HasSubstr("repo2"));
    EXPECT_EQ(rule(snapshot, "backup_age", server).state, RuleState::warning);
    EXPECT_EQ(rule(snapshot, "rpo", server).state, RuleState::ok) << "repo1 has the WAL";
}

// What was backed up before pg_upgrade does not bring back what came after it.
TEST_F(Health, BackupsOfAFormerClusterAreNoneOfThePresentOne) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.add_cluster("16");
    const Rule without = rule(look(), "backup_age");
    EXPECT_EQ(without.state, RuleState::critical);
    EXPECT_THAT(without.message, HasSubstr("only of former ones"));
    stanza_.add(full_label(2), 1, 2, "", kNow);
    EXPECT_EQ(rule(look(), "backup_age").state, RuleState::ok);
}

// No restore takes such a backup by default, so that it is as good as none.
TEST_F(Health, ABackupOfDamagedPagesIsToldOfAndIsNoNewOne) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 30 * kHour);
    stanza_.add(full_label(2), 3, 4, "", kNow - kHour).error = true;
    stanza_.add_segments(1, 5);
    const Snapshot snapshot = look();
    const Rule told = rule(snapshot, "page_errors");
    EXPECT_EQ(told.state, RuleState::warning);
    EXPECT_THAT(told.message, HasSubstr("repo1, " + full_label(2)));
    EXPECT_THAT(told.message, HasSubstr("the last one without is " + full_label(1)));
    EXPECT_THAT(told.hint, HasSubstr("--no-checksum-page-error"));
    EXPECT_THAT(told.hint, HasSubstr("in the cluster itself"));
    EXPECT_EQ(state_of(snapshot.repositories[0], {told}), RuleState::warning);
    const Rule age = rule(snapshot, "backup_age");
    EXPECT_EQ(age.state, RuleState::critical);
    EXPECT_THAT(age.message, HasSubstr("without page errors, " + full_label(1)));
    EXPECT_EQ(age.value, "1d 6h");
    stanza_.add(full_label(3), 5, 5, "", kNow);
    EXPECT_EQ(rule(look(), "page_errors").state, RuleState::ok) << "the next one is whole";
    EXPECT_EQ(rule(look(), "backup_age").state, RuleState::ok);
}

TEST_F(Health, WhereEveryBackupIsOfDamagedPagesThereIsNone) {
    stanza_.add(full_label(1), 1, 2, "", kNow).error = true;
    stanza_.add_segments(1, 5);
    Snapshot snapshot = look();
    for (const char* one : {"page_errors", "backup_age"}) {
        const Rule none = rule(snapshot, one);
        EXPECT_EQ(none.state, RuleState::critical) << one;
        EXPECT_THAT(none.hint, HasSubstr("--no-checksum-page-error")) << one;
    }
    snapshot.repositories.push_back(snapshot.repositories[0]);
    snapshot.repositories[1].key = 2;
    snapshot.repositories[1].backups[0].error = false;
    EXPECT_EQ(rule(snapshot, "page_errors").state, RuleState::warning) << "the other one restores";
    EXPECT_EQ(rule(snapshot, "page_errors").found_in, std::set<unsigned>{1});
    EXPECT_EQ(rule(look(), "backup_duration").state, RuleState::ok) << "it was made all the same";
}

TEST_F(Health, OneOfTwoRepositoriesAwayIsAWarning) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    stanza_.save();
    repo::Repository empty = stanza_.through(std::make_shared<test::MemoryStorage>());
    empty.key = 2;
    const Snapshot snapshot =
        look_at_repositories({stanza_.repository(), empty}, "main", memory_, kNow);
    EXPECT_EQ(snapshot.status(), StatusCode::different_across_repos);
    EXPECT_EQ(snapshot.repositories[1].status, StatusCode::missing_stanza_path);
    EXPECT_EQ(rule(snapshot, "repo_unreachable").state, RuleState::warning);
    EXPECT_EQ(rule(snapshot, "backup_age").state, RuleState::warning);
    EXPECT_EQ(rule(snapshot, "wal_gap").state, RuleState::unknown) << "nobody has seen the other";
}

TEST_F(Health, EachRepositoryHasToHaveABackupOfItsOwn) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    Snapshot snapshot = look();
    RepositoryFacts second = snapshot.repositories[0];
    second.key = 2;
    second.backups.clear();
    snapshot.repositories.push_back(second);
    Rule rule_of_both = rule(snapshot, "backup_age");
    EXPECT_EQ(rule_of_both.state, RuleState::warning) << "one failure further nothing is left";
    EXPECT_THAT(rule_of_both.message, HasSubstr("repo2: there is no backup"));
    ASSERT_EQ(rule_of_both.repositories.size(), 2u);
    EXPECT_EQ(rule_of_both.repositories[0].state, RuleState::ok);
    EXPECT_EQ(rule_of_both.repositories[1].state, RuleState::critical);
    snapshot.repositories[1].backups = snapshot.repositories[0].backups;
    snapshot.repositories[1].backups[0].timestamp_stop -= 26 * kHour;
    rule_of_both = rule(snapshot, "backup_age");
    EXPECT_EQ(rule_of_both.state, RuleState::warning);
    EXPECT_THAT(rule_of_both.message, HasSubstr("repo2: age of the last backup"));
    snapshot.repositories[0].backups.clear();
    EXPECT_EQ(rule(snapshot, "backup_age").state, RuleState::critical) << "all of them";
}

TEST_F(Health, ABackupFromTheFutureIsNotTakenForANewOne) {
    stanza_.add(full_label(1), 1, 1, "", kNow + 5 * kHour);
    stanza_.add_segments(1, 1);
    const Rule ahead = rule(look(), "backup_age");
    EXPECT_EQ(ahead.state, RuleState::warning);
    EXPECT_THAT(ahead.message, HasSubstr("in the future"));
}

TEST_F(Health, WhatStandsStillIsTold) {
    ServerFacts server = sound_server();
    EXPECT_EQ(rule(look(), "heartbeat", server).state, RuleState::unknown) << "nobody tells";
    server.heartbeats = {{"launcher", false, 1, 0, ""}, {"stream", true, 90, 80, "WAL waits"}};
    Rule still = rule(look(), "heartbeat", server);
    EXPECT_EQ(still.state, RuleState::warning);
    EXPECT_THAT(still.message, HasSubstr("stream stands still"));
    server.heartbeats[0].late = true;
    still = rule(look(), "heartbeat", server);
    EXPECT_EQ(still.state, RuleState::critical) << "without it nothing is started";
    EXPECT_THAT(still.message, HasSubstr("launcher stands still"));
}

TEST_F(Health, ABackupBehindWhichExpireFailedIsAWarning) {
    ServerFacts server = sound_server();
    server.last_backup_job = JobFacts{3, "full", "succeeded", "expire failed: no", kNow};
    const Rule rule_of_job = rule(look(), "backup_failed", server);
    EXPECT_EQ(rule_of_job.state, RuleState::warning);
    EXPECT_THAT(rule_of_job.message, HasSubstr("expire failed"));
}

TEST_F(Health, AGapInTheRecoveryWindowIsCritical) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.add_segments(8, 300);
    const Snapshot snapshot = look();
    const auto& archive = snapshot.repositories.at(0).archives.at(0);
    ASSERT_EQ(archive.gaps.size(), 1u);
    EXPECT_EQ(archive.gaps[0].first, test::SyntheticStanza::segment(6));
    EXPECT_EQ(archive.gaps[0].last, test::SyntheticStanza::segment(7));
    EXPECT_EQ(archive.gaps[0].segments, 2u);
    EXPECT_EQ(archive.gaps[0].backup, "");
    EXPECT_EQ(archive.segments, 298u);
    EXPECT_EQ(archive.max, test::SyntheticStanza::segment(300));
    EXPECT_EQ(rule(snapshot, "wal_gap").state, RuleState::critical);
}

// What to do about a gap depends on whether a backup has been taken since.
TEST_F(Health, AGapIsNoReasonForABackupWhereOneWasTakenBehindIt) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 9);
    stanza_.add_segments(1, 5);
    stanza_.add_segments(8, 30);
    stanza_.save();
    EXPECT_THAT(rule(look(), "wal_gap").hint, testing::HasSubstr("take a backup now"));
    stanza_.add(full_label(2), 12, 13, "", kNow);
    stanza_.save();
    const Snapshot snapshot = look();
    EXPECT_EQ(snapshot.repositories.at(0).archives.at(0).gaps.at(0).next_backup, full_label(2));
    EXPECT_THAT(rule(snapshot, "wal_gap").hint, testing::Not(testing::HasSubstr("backup now")));
    EXPECT_THAT(rule(snapshot, "wal_gap").hint, testing::HasSubstr(full_label(2)));
}

// What no history file leads to is lost as what is missing is, although it is all there.
TEST_F(Health, OfSeveralGapsThatOneIsToldThatBoundsTheNewestBackup) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 10);
    stanza_.add(full_label(2), 8, 9, "", kNow);
    stanza_.add_segments(1, 3);
    stanza_.add_segments(5, 10);
    stanza_.add_segments(12, 13);
    stanza_.add_segments(15, 16);
    Rule gap = rule(look(), "wal_gap");
    EXPECT_THAT(gap.message, HasSubstr("misses 1 segment from " + stanza_.segment(4)));
    EXPECT_THAT(gap.message, HasSubstr("2 more gaps: what the newest backup leads to ends before " +
                                       stanza_.segment(11)));
    stanza_.add(full_label(3), 15, 16, "", kNow);
    gap = rule(look(), "wal_gap");
    EXPECT_THAT(gap.message, HasSubstr("2 more gaps, the last from " + stanza_.segment(14)));
    EXPECT_THAT(gap.hint, HasSubstr(full_label(3)));
}

// It gives up what it believes to be archived: thrown away by an archive_command, or gone with the
// end of a repository that was set back.
TEST_F(Health, WhatTheServerBelievesArchivedAndIsNowhereIsAGap) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    ServerFacts server = sound_server();
    Snapshot snapshot = look(kNow, stanza_.segment(5));
    EXPECT_EQ(rule(snapshot, "wal_gap", server).state, RuleState::ok);
    EXPECT_EQ(rule(snapshot, "rpo", server).state, RuleState::ok);
    snapshot = look(kNow, stanza_.segment(7));
    Rule gap = rule(snapshot, "wal_gap", server);
    EXPECT_EQ(gap.state, RuleState::critical);
    EXPECT_THAT(gap.message, HasSubstr(stanza_.segment(7) + ", which is in no repository"));
    EXPECT_THAT(gap.message, HasSubstr("repo1 ends with " + stanza_.segment(5)));
    EXPECT_THAT(gap.hint, HasSubstr("set back"));
    EXPECT_TRUE(gap.found_in.contains(1));
    server.foreign_archiver = "archive_command = '/bin/true'";
    EXPECT_THAT(rule(snapshot, "wal_gap", server).hint, HasSubstr("/bin/true"));
    EXPECT_EQ(rule(snapshot, "rpo", server).state, RuleState::unknown);
    EXPECT_THAT(rule(snapshot, "rpo", server).message, HasSubstr(stanza_.segment(7)));
    EXPECT_FALSE(data_loss_seconds(server, snapshot));
    // A backup history is stored behind its segment.
    snapshot = look(kNow, stanza_.segment(7) + ".00000028.backup");
    EXPECT_EQ(rule(snapshot, "wal_gap", server).state, RuleState::critical);
    snapshot = look(kNow, test::SyntheticStanza::segment(7, 2));
    EXPECT_THAT(rule(snapshot, "wal_gap", server).message, HasSubstr("no WAL of that timeline"));
}

TEST_F(Health, WhatNoRepositoryPromisesToHaveIsNotMissed) {
    const ServerFacts server = sound_server();
    const auto state = [&](const std::string& last_archived) {
        return rule(look(kNow, last_archived), "wal_gap", server).state;
    };
    stanza_.add_segments(3, 5);
    EXPECT_EQ(state(stanza_.segment(7)), RuleState::ok) << "no backup";
    stanza_.add(full_label(1), 3, 4, "", kNow);
    EXPECT_EQ(state(stanza_.segment(7)), RuleState::critical);
    EXPECT_EQ(state(stanza_.segment(2)), RuleState::ok) << "may have been expired";
    EXPECT_EQ(state("00000002.history"), RuleState::ok);
    EXPECT_EQ(state(stanza_.segment(7) + ".partial"), RuleState::ok);
    EXPECT_EQ(state(""), RuleState::ok) << "statistics were reset";
    stanza_.add_cluster("16");
    EXPECT_EQ(state(stanza_.segment(7)), RuleState::ok) << "no backup of the present cluster";
}

TEST_F(Health, WhatOneOfTwoRepositoriesLacksOfTheEndIsAWarning) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.save();
    test::SyntheticStanza other(std::make_shared<test::MemoryStorage>());
    other.add(full_label(1), 1, 2, "", kNow);
    other.add_segments(1, 4);
    other.save();
    repo::Repository second = other.repository();
    second.key = 2;
    const Snapshot snapshot = look_at_repositories({stanza_.repository(), second}, "main", memory_,
                                                   kNow, stanza_.segment(5));
    const Rule gap = rule(snapshot, "wal_gap", sound_server());
    EXPECT_EQ(gap.state, RuleState::warning);
    EXPECT_THAT(gap.message, HasSubstr("repo2 ends with " + stanza_.segment(4)));
    EXPECT_EQ(gap.found_in, std::set<unsigned>{2});
    EXPECT_EQ(rule(snapshot, "rpo", sound_server()).state, RuleState::ok);
}

TEST_F(Health, WhatWasArchivedLastIsLookedForWhereNothingWasToBeExpected) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 0xfe);
    stanza_.add_segments(0x100, 0x101);
    look();
    stanza_.add_segments(0xff, 0xff);
    EXPECT_TRUE(look(kNow + 2 * kHour, stanza_.segment(0xff))
                    .repositories.at(0)
                    .archives.at(0)
                    .has_last_archived);
}

TEST_F(Health, WalOfATimelineWithoutAHistoryIsCriticalUpToItsFirstBackup) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 9);
    stanza_.add_segments(1, 9);
    for (unsigned number = 9; number <= 30; ++number)
        stanza_.add_segment(test::SyntheticStanza::segment(number, 2));
    stanza_.save();
    Rule rule_of_gap = rule(look(), "wal_gap");
    EXPECT_EQ(rule_of_gap.state, RuleState::critical);
    EXPECT_THAT(rule_of_gap.message, HasSubstr("history of timeline 2"));
    EXPECT_THAT(rule_of_gap.hint, HasSubstr("take a backup now"));

    stanza_.write("archive/main/15-1/00000003.history",
                  "1\t0/9000100\tpromoted\n2\t0/1E000100\tpromoted\n");
    rule_of_gap = rule(look(), "wal_gap");
    EXPECT_EQ(rule_of_gap.state, RuleState::warning) << "a later history knows the way";
    EXPECT_THAT(rule_of_gap.hint, HasSubstr("repair --force"));

    stanza_.write("archive/main/15-1/00000002.history", "1\t0/9000100\tpromoted\n");
    EXPECT_EQ(rule(look(), "wal_gap").state, RuleState::ok);
}

TEST_F(Health, NobodyAsksWhereTheOldestTimelineComesFrom) {
    repo::BackupEntry& backup = stanza_.add(full_label(1), 4, 5, "", kNow - 9);
    backup.archive_start = test::SyntheticStanza::segment(4, 2);
    backup.archive_stop = test::SyntheticStanza::segment(5, 2);
    for (unsigned number = 1; number <= 30; ++number)
        stanza_.add_segment(test::SyntheticStanza::segment(number, 2));
    stanza_.save();
    EXPECT_EQ(rule(look(), "wal_gap").state, RuleState::ok);
    // What was archived before there was any backup is not missed either.
    memory_.clear();
    stanza_.add_segments(1, 3);
    EXPECT_EQ(rule(look(), "wal_gap").state, RuleState::ok);
}

// A primary that died took the rest of its timeline along, and a standby went on from farther.
TEST_F(Health, WhatIsMissingAroundAForkIsAGap) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 5);
    stanza_.write("archive/main/15-1/00000002.history", "1\t0/9000100\tpromoted\n");
    for (unsigned number = 10; number <= 12; ++number)
        stanza_.add_segment(test::SyntheticStanza::segment(number, 2));
    const Snapshot snapshot = look();
    const auto& found = snapshot.repositories.at(0).archives.at(0).gaps;
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].first, test::SyntheticStanza::segment(6));
    EXPECT_EQ(found[0].last, test::SyntheticStanza::segment(8));
    EXPECT_EQ(found[1].first, test::SyntheticStanza::segment(9, 2));
    EXPECT_EQ(found[1].segments, 1u);
    EXPECT_EQ(rule(snapshot, "wal_gap").state, RuleState::critical);
    stanza_.add_segments(6, 8);
    stanza_.add_segment(test::SyntheticStanza::segment(9, 2));
    memory_.clear();
    EXPECT_TRUE(gaps().empty()) << "the segment of the fork is that of the new timeline";
}

TEST_F(Health, WalThatRetentionRemovedAroundAForkIsNoGap) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 9);
    add_on_timeline_2(12);
    stanza_.add_segments(1, 2);
    stanza_.write("archive/main/15-1/00000002.history", "1\t0/9000100\tpromoted\n");
    EXPECT_TRUE(gaps().empty());
}

TEST_F(Health, WalMissingAroundAForkIsAGapWhereAnOlderTimelineHasMore) {
    stanza_.add(full_label(1), 2, 2, "", kNow - 9);
    add_on_timeline_2(10);
    stanza_.write("archive/main/15-1/00000002.history", "1\t0/3000000\tpromoted\n");
    stanza_.add_segments(2, 2);
    EXPECT_TRUE(gaps().empty());
    stanza_.add_segments(1, 1);
    const auto found = gaps();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].first, test::SyntheticStanza::segment(3, 2));
}

// In one directory nothing but a backup tells how large segments are: as ones of 16 MiB they would
// all lie behind the fork.
TEST_F(Health, SizeOfSegmentsIsKnownFromABackup) {
    repo::BackupEntry& backup = stanza_.add(full_label(1), 4, 5, "", kNow);
    backup.lsn_start = Lsn{0x400028};
    stanza_.add_segments(4, 7);
    stanza_.write("archive/main/15-1/00000002.history", "1\t0/A00100\tpromoted\n");
    stanza_.add_segment(test::SyntheticStanza::segment(10, 2));
    const auto found = gaps();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].first, test::SyntheticStanza::segment(8));
    EXPECT_EQ(found[0].last, test::SyntheticStanza::segment(9));
}

TEST_F(Health, AGapAcrossTwoDirectoriesIsOne) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 250);
    stanza_.add_segments(260, 520);
    stanza_.add_segments(0, 0);
    const auto found = gaps();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].segments, 9u);
}

TEST_F(Health, WalThatRetentionRemovedBetweenBackupsIsNoGap) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 9);
    stanza_.add(full_label(2), 10, 11, "", kNow);
    stanza_.add_segments(1, 2);
    stanza_.add_segments(10, 20);
    EXPECT_TRUE(gaps().empty());
}

// Retention removes from the oldest on.
TEST_F(Health, WalMissingBetweenBackupsIsAGapWhereOlderWalIsKept) {
    stanza_.add(full_label(1), 1, 2, "", kNow - 9);
    stanza_.add(full_label(2), 10, 11, "", kNow);
    stanza_.add(full_label(3), 15, 16, "", kNow);
    stanza_.add_segments(1, 11);
    stanza_.add_segments(15, 20);
    const auto found = gaps();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].first, test::SyntheticStanza::segment(12));
}

TEST_F(Health, WalOlderThanTheOldestBackupMayHaveHoles) {
    stanza_.add(full_label(1), 10, 11, "", kNow);
    stanza_.add_segments(1, 2);
    stanza_.add_segments(5, 5);
    stanza_.add_segments(10, 12);
    EXPECT_TRUE(gaps().empty());
}

TEST_F(Health, WalThatABackupNeedsIsMissedByName) {
    stanza_.add(full_label(1), 1, 3, "", kNow - 9);
    stanza_.add(full_label(2), 8, 10, "", kNow);
    stanza_.add_segments(1, 1);
    stanza_.add_segments(3, 9);
    const auto found = gaps();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].first, test::SyntheticStanza::segment(2));
    EXPECT_EQ(found[0].backup, full_label(1));
    EXPECT_EQ(found[1].first, test::SyntheticStanza::segment(10));
    EXPECT_EQ(found[1].backup, full_label(2));
}

TEST_F(Health, AnArchiveWithoutAnySegmentMissesWhatItsBackupsNeed) {
    stanza_.add(full_label(1), 1, 3, "", kNow);
    const auto found = gaps();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].segments, 3u);
}

// Full directories are remembered; what expire removes and what comes new is seen all the same.
TEST_F(Health, WhatIsRememberedOfAnArchiveStaysTrue) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 300);
    const UnixTime later = unix_now() + 2 * kHour;  // objects are dated by the real clock
    look(later);
    stanza_.add_segments(301, 302);
    const Snapshot again = look(later + 1);
    const auto& archive = again.repositories[0].archives[0];
    EXPECT_EQ(archive.segments, 302u);
    EXPECT_TRUE(archive.gaps.empty());
    ASSERT_OK(stanza_.repository().storage->remove_tree("archive/main/15-1/0000000100000000"));
    EXPECT_EQ(look(later + 2).repositories[0].archives[0].segments, 47u);
}

TEST_F(Health, WhatIsRememberedFromTheFutureIsLookedAtAgain) {
    stanza_.add(full_label(1), 1, 2, "", kNow);
    stanza_.add_segments(1, 300);
    const UnixTime later = unix_now() + 2 * kHour;  // objects are dated by the real clock
    look(later + 24 * kHour);
    ASSERT_OK(stanza_.repository().storage->remove_tree("archive/main/15-1/0000000100000000"));
    stanza_.add_segments(1, 100);
    EXPECT_EQ(look(later).repositories[0].archives[0].segments, 145u) << "the clock was set back";
}

TEST_F(Health, WaitingWalIsCriticalOnceItWaitsTooLong) {
    ServerFacts server = sound_server();
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::ok);
    server.ready_segments = 3;
    server.oldest_ready = kNow - 60;
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::ok);
    server.last_failed_at = kNow - 1;
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::warning);
    server.oldest_ready = kNow - 601;
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::critical);
    server = sound_server();
    server.archive_mode = "off";
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::critical);
}

TEST_F(Health, AnIdleServerHasNothingToLose) {
    ServerFacts server = sound_server();
    server.last_archived_at = kNow - 90000;
    server.unarchived_bytes = 200;
    Limits limits = test::plain_limits();
    limits.data_loss = std::chrono::minutes(15);
    EXPECT_EQ(rule(look(), "rpo", server, limits).state, RuleState::ok);
    server.unarchived_bytes = 100000;
    EXPECT_EQ(rule(look(), "rpo", server, limits).state, RuleState::critical);
    EXPECT_EQ(rule(look(), "rpo", server).state, RuleState::ok) << "without an objective";
}

TEST_F(Health, DiskOfWalIsJudgedByWhatIsFree) {
    ServerFacts server = sound_server();
    EXPECT_EQ(rule(look(), "disk_pg_wal", server).state, RuleState::ok);
    server.disk_free_bytes = 199;
    EXPECT_EQ(rule(look(), "disk_pg_wal", server).state, RuleState::warning);
    server.disk_free_bytes = 99;
    EXPECT_EQ(rule(look(), "disk_pg_wal", server).state, RuleState::critical);
}

TEST_F(Health, AFailedJobStaysUntilOneSucceeds) {
    ServerFacts server = sound_server();
    server.last_backup_job = JobFacts{7, "full", "failed", "no space left", kNow};
    const Rule failed = rule(look(), "backup_failed", server);
    EXPECT_EQ(failed.state, RuleState::critical);
    EXPECT_THAT(failed.message, HasSubstr("no space left"));
    server.last_backup_job->state = "succeeded";
    server.last_backup_job->error.clear();
    EXPECT_EQ(rule(look(), "backup_failed", server).state, RuleState::ok);
}

TEST_F(Health, SizeAndGrowthAreCompared) {
    stanza_.add(full_label(1), 1, 1, "", kNow - 9).repo_size = 1000;
    stanza_.backup_info().backups.back().repo_size_delta = 1000;
    stanza_.add(full_label(2), 2, 2, "", kNow).repo_size = 1600;
    stanza_.backup_info().backups.back().repo_size_delta = 1600;
    stanza_.add_segments(1, 2);
    const Snapshot snapshot = look();
    const Rule growth = rule(snapshot, "repo_growth");
    EXPECT_EQ(growth.state, RuleState::warning);
    EXPECT_EQ(growth.value, "60%");
    Limits limits = test::plain_limits();
    limits.repo_growth_percent = 60;
    limits.repo_size_bytes = 2606;  // two segments of three bytes
    EXPECT_EQ(rule(snapshot, "repo_growth", std::nullopt, limits).state, RuleState::ok);
    EXPECT_EQ(rule(snapshot, "repo_size", std::nullopt, limits).state, RuleState::ok);
    limits.repo_size_bytes = 2605;
    EXPECT_EQ(rule(snapshot, "repo_size", std::nullopt, limits).state, RuleState::warning);
}

TEST_F(Health, VerifyAndDrillAreTakenAtTheirWord) {
    Snapshot snapshot = look();
    EXPECT_EQ(rule(snapshot, "verify").state, RuleState::unknown);
    snapshot.verify = VerifyFacts{kNow - 5, 0, ""};
    EXPECT_EQ(rule(snapshot, "verify").state, RuleState::ok);
    snapshot.verify->problems = 2;
    EXPECT_EQ(rule(snapshot, "verify").state, RuleState::critical);
    EXPECT_THAT(rule(snapshot, "verify").message, HasSubstr("2 problems"));
    EXPECT_EQ(rule(snapshot, "drill").state, RuleState::unknown);
    Limits limits = test::plain_limits();
    limits.drill_age = std::chrono::hours(24);
    EXPECT_EQ(rule(snapshot, "drill", std::nullopt, limits).state, RuleState::warning);
    snapshot.drill = DrillFacts{kNow - 25 * kHour, true, {}};
    EXPECT_EQ(rule(snapshot, "drill", std::nullopt, limits).state, RuleState::warning);
    snapshot.drill = DrillFacts{kNow, false, {}};
    EXPECT_EQ(rule(snapshot, "drill", std::nullopt, limits).state, RuleState::critical);
}

TEST_F(Health, TheLastDrillThatPassedMeasuresTheRecoveryTime) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    const repo::Repository& repository = stanza_.repository();
    Limits limits = test::plain_limits();
    EXPECT_EQ(rule(look(), "rto").state, RuleState::unknown);
    limits.recovery_time = std::chrono::seconds(100);
    EXPECT_EQ(rule(look(), "rto", std::nullopt, limits).state, RuleState::warning);
    const auto drilled = [&](UnixTime finished, bool passed, const std::string& times) {
        ASSERT_OK(repo::save_drill(
            repository, "main", repo::drill_name(finished, passed, "1a2b3c4d"),
            R"({"note":"a \"restore-seconds\": 9e9","recovery-seconds":)" + times + "}", ""));
    };
    drilled(kNow - 60, true, R"( 30.4,"restore-seconds": 49.2)");
    drilled(kNow - 30, false, R"(9000,"restore-seconds":9000)");
    Rule measured = rule(look(), "rto", std::nullopt, limits);
    EXPECT_EQ(measured.state, RuleState::ok) << "79.6 of 100 seconds";
    EXPECT_EQ(measured.value, "1m 20s");
    EXPECT_EQ(rule(look(), "rto").state, RuleState::ok) << "without an objective all is well";
    limits.recovery_time = std::chrono::seconds(99);
    EXPECT_EQ(rule(look(), "rto", std::nullopt, limits).state, RuleState::warning);
    limits.recovery_time = std::chrono::seconds(79);
    measured = rule(look(), "rto", std::nullopt, limits);
    EXPECT_EQ(measured.state, RuleState::critical);
    EXPECT_NE(measured.hint, "");
}

TEST_F(Health, WhatVerifyAndDrillRecordIsFound) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    const repo::Repository& repository = stanza_.repository();
    ASSERT_OK(repo::save_verify_summary(
        repository, "main", {.finished = kNow - 60, .failures = 1, .first_failure = "it is cut"},
        ""));
    ASSERT_OK(repo::save_drill(repository, "main", repo::drill_name(kNow - 30, true, "1a2b3c4d"),
                               "{}", ""));
    const Snapshot snapshot = look();
    EXPECT_THAT(rule(snapshot, "verify").message, HasSubstr("1 problem, the first: it is cut"));
    EXPECT_EQ(rule(snapshot, "drill").state, RuleState::ok);
    EXPECT_EQ(rule(snapshot, "drill").value, "30s");
}

// A verify that could not read something says nothing of it; the one before is of before.
TEST_F(Health, AVerifyThatCouldNotComeToItsEndIsNeverWell) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    const repo::Repository& repository = stanza_.repository();
    Limits limits = test::plain_limits();
    limits.verify_age = std::chrono::hours(24);
    const auto fail = [&](UnixTime finished, std::uint64_t failures) {
        ASSERT_OK(repo::save_unfinished_verify(repository, "main",
                                               {.finished = finished,
                                                .reason = "unable to list it",
                                                .failures = failures,
                                                .first_failure = failures == 0 ? "" : "it is cut"},
                                               ""));
    };
    const auto pass = [&](UnixTime finished) {
        ASSERT_OK(repo::save_verify_summary(
            repository, "main",
            {.started = finished - 1, .finished = finished, .first_failure = ""}, ""));
    };
    const auto judged = [&] { return rule(look(), "verify", std::nullopt, limits); };
    fail(kNow - 120, 0);
    EXPECT_EQ(judged().state, RuleState::warning) << "before any came to its end";
    pass(kNow - 60);
    EXPECT_EQ(judged().state, RuleState::ok);
    fail(kNow - 30, 0);
    fail(kNow - 10, 0);
    EXPECT_EQ(judged().state, RuleState::warning);
    EXPECT_THAT(judged().message, HasSubstr("could not come to its end: unable to list it"));
    EXPECT_EQ(judged().begun, kNow - 30);
    EXPECT_NE(judged().hint, "");
    fail(kNow - 10, 1);
    EXPECT_EQ(judged().state, RuleState::critical) << "what it found is there";
    EXPECT_THAT(judged().message, HasSubstr("1 problem, the first: it is cut"));
    pass(kNow - 5);
    EXPECT_EQ(judged().state, RuleState::ok) << "the next one clears it";
    pass(kNow - 25 * 3600);
    EXPECT_EQ(judged().state, RuleState::warning) << "of its age alone";
    fail(kNow - 5, 0);
    EXPECT_EQ(judged().state, RuleState::critical) << "it stays so for too long";
    limits.verify_age = std::chrono::seconds(0);
    EXPECT_EQ(judged().state, RuleState::warning);
}

// A drill by a clock that was ahead would be the last one for years.
TEST_F(Health, ADrillThatPassedInTheFutureHidesNoneThatFailedSince) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    const auto drilled = [&](UnixTime finished, bool passed) {
        ASSERT_OK(repo::save_drill(stanza_.repository(), "main",
                                   repo::drill_name(finished, passed, "1a2b3c4d"), "{}", ""));
    };
    drilled(kNow + 400 * kDay_s, true);
    const Rule alone = rule(look(), "drill");
    EXPECT_EQ(alone.state, RuleState::warning);
    EXPECT_THAT(alone.message, HasSubstr("400d in the future: a clock was set"));
    drilled(kNow - 60, false);
    EXPECT_EQ(rule(look(), "drill").state, RuleState::critical);
    drilled(kNow - 30, true);
    EXPECT_EQ(rule(look(), "drill").state, RuleState::ok) << "the next one clears it";
    drilled(kNow + 400 * kDay_s + 1, false);
    const Rule failed = rule(look(), "drill");
    EXPECT_EQ(failed.state, RuleState::critical) << "it may be the last one";
    EXPECT_THAT(failed.hint, HasSubstr("chronos/main/drills"));
}

TEST_F(Health, WhatOneRepositoryDatesInTheFutureHidesNothingOfAnother) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    stanza_.save();
    test::SyntheticStanza other(std::make_shared<test::MemoryStorage>());
    other.add(full_label(1), 1, 1, "", kNow);
    other.add_segments(1, 1);
    other.save();
    repo::Repository second = other.repository();
    second.key = 2;
    ASSERT_OK(repo::save_drill(stanza_.repository(), "main",
                               repo::drill_name(kNow + kDay_s, true, "1a2b3c4d"), "{}", ""));
    ASSERT_OK(
        repo::save_drill(second, "main", repo::drill_name(kNow - 60, false, "1a2b3c4d"), "{}", ""));
    ASSERT_OK(repo::save_verify_summary(stanza_.repository(), "main",
                                        {.finished = kNow - 60, .first_failure = ""}, ""));
    ASSERT_OK(repo::save_verify_summary(second, "main",
                                        {.finished = kNow + kDay_s, .first_failure = ""}, ""));
    const Snapshot snapshot =
        look_at_repositories({stanza_.repository(), second}, "main", memory_, kNow);
    EXPECT_EQ(rule(snapshot, "drill").state, RuleState::critical);
    EXPECT_EQ(rule(snapshot, "verify").state, RuleState::warning);
    EXPECT_THAT(rule(snapshot, "verify").message, HasSubstr("repo2 ended 1d in the future"));
}

// Archived before the clock was set back, and failing since.
TEST_F(Health, AClockThatWasSetBackHidesNoArchiverThatFails) {
    ServerFacts server = sound_server();
    server.last_archived_at = kNow + 5 * kHour;
    server.last_archived_wal = "000000010000000000000004";
    server.last_failed_at = kNow - 10;
    server.last_failed_wal = "000000010000000000000005";
    server.ready_segments = 1;
    server.oldest_ready = kNow - 60;
    EXPECT_THAT(rule(look(), "wal_lag", server).message, HasSubstr("the archiver fails"));
    server.oldest_ready = kNow + 5 * kHour;
    EXPECT_THAT(rule(look(), "wal_lag", server).message, HasSubstr("5h in the future"));
    EXPECT_EQ(rule(look(), "rpo", server).state, RuleState::warning) << "nobody can tell";
    server.last_failed_wal = "000000010000000000000004";
    server.oldest_ready = kNow - 60;
    EXPECT_EQ(rule(look(), "wal_lag", server).state, RuleState::ok) << "that one is archived";
    server.ready_segments = 0;
    EXPECT_EQ(rule(look(), "rpo", server).state, RuleState::ok) << "there is nothing to lose";
}

TEST_F(Health, TheLastVerifiesAreKept) {
    stanza_.add(full_label(1), 1, 1, "", kNow);
    stanza_.add_segments(1, 1);
    stanza_.save();
    const repo::Repository& repository = stanza_.repository();
    for (std::size_t i = 0; i < repo::kVerifyHistory + 2; ++i)
        ASSERT_OK(repo::save_verify_summary(
            repository, "main",
            {.finished = kNow + static_cast<UnixTime>(i), .failures = i % 2, .first_failure = "x"},
            ""));
    const Snapshot snapshot = look();
    const RepositoryFacts& facts = snapshot.repositories.at(0);
    ASSERT_EQ(facts.verifies.size(), repo::kVerifyHistory);
    EXPECT_EQ(facts.verifies.front().finished_at, kNow + 2);
    EXPECT_EQ(facts.verifies.back().finished_at, facts.verify->finished_at);
    EXPECT_EQ(facts.verifies.back().problems, 1u);
}

TEST_F(Health, ARepositoryIsAsBadAsTheRulesThatFindSomethingInIt) {
    Snapshot snapshot;
    snapshot.repositories.resize(2);
    snapshot.repositories[0].key = 1;
    snapshot.repositories[1].key = 2;
    snapshot.repositories[1].archives.resize(1);
    Limits limits = test::plain_limits();
    limits.backup_age = std::chrono::seconds(0);
    const auto states = [&] {
        const auto rules = evaluate(snapshot, std::nullopt, limits, kNow);
        return std::pair(state_of(snapshot.repositories[0], rules),
                         state_of(snapshot.repositories[1], rules));
    };
    for (RepositoryFacts& repository : snapshot.repositories) {
        repository.backups.resize(1);
        repository.backups[0].timestamp_stop = kNow;
    }
    EXPECT_EQ(states(), std::pair(RuleState::ok, RuleState::ok));
    ArchiveFacts& archive = snapshot.repositories[1].archives[0];
    archive.kept_aside = {"000000010000000000000001.partial"};
    EXPECT_EQ(states(), std::pair(RuleState::ok, RuleState::warning));
    archive.divergences.resize(1);
    EXPECT_EQ(states(), std::pair(RuleState::ok, RuleState::critical));
    archive = {};
    snapshot.repositories[0].refused = "a copy";
    EXPECT_EQ(states(), std::pair(RuleState::warning, RuleState::ok));
}

TEST(WalSegments, SizeIsKnownFromTheStartOfABackup) {
    const auto backup = [](const char* segment, std::uint64_t lsn) {
        repo::BackupEntry entry;
        entry.history_id = 1;
        entry.archive_start = segment;
        entry.lsn_start = Lsn{lsn};
        return entry;
    };
    const auto size = [&](const char* segment, std::uint64_t lsn) {
        return segment_size_of({backup(segment, lsn)}, 1);
    };
    EXPECT_EQ(size("000000010000000000000002", 0x2000028), 16u << 20);
    EXPECT_EQ(size("000000010000000000000001", 0x4000028), 64u << 20);
    EXPECT_EQ(size("000000010000000300000FFF", 0x3FFF00028), 1u << 20);
    EXPECT_EQ(size("000000010000000000000000", 0x28), std::nullopt) << "any size has it";
    EXPECT_EQ(segment_size_of({backup("000000010000000000000002", 0x2000028)}, 2), std::nullopt);
    EXPECT_EQ(segment_size_of({backup("000000010000000000000002", 0x2000028),
                               backup("000000010000000000000001", 0x4000028)},
                              1),
              std::nullopt)
        << "they disagree";
    WalRuns runs;
    runs.add("0000000100000000", {{0, 3, 0, 0}});
    EXPECT_FALSE(runs.knows_segment_size());
    runs.set_segment_size(64u << 20);
    EXPECT_EQ(runs.position_of(0xC000000), 3u);
    EXPECT_EQ(runs.name(1, 64), "000000010000000100000000");
}

TEST(HealthChanges, AreThoseFromAndToAnAlarm) {
    RuleMemories memories;
    std::vector<Rule> rules(1);
    rules[0].name = "x";
    const auto step = [&](RuleState state, UnixTime now) {
        rules[0].state = state;
        return note_states(rules, memories, now).size();
    };
    EXPECT_EQ(step(RuleState::ok, 1), 0u) << "that all is well at first is no news";
    EXPECT_EQ(step(RuleState::critical, 2), 1u);
    EXPECT_EQ(step(RuleState::critical, 3), 0u);
    EXPECT_EQ(rules[0].since, 2);
    EXPECT_EQ(step(RuleState::warning, 4), 1u);
    EXPECT_EQ(step(RuleState::unknown, 5), 0u);
    EXPECT_EQ(step(RuleState::warning, 6), 1u);
    EXPECT_EQ(step(RuleState::ok, 7), 1u);
    EXPECT_EQ(step(RuleState::unknown, 8), 0u);
    EXPECT_EQ(step(RuleState::ok, 9), 0u);
}

// Whoever has begun to look a moment ago knows since when, where the facts say it.
TEST(HealthChanges, AreAsOldAsTheFactsSay) {
    std::vector<Rule> rules(1);
    rules[0].name = "verify";
    rules[0].state = RuleState::critical;
    rules[0].begun = kNow - 500;
    RuleMemories memories;
    note_states(rules, memories, kNow);
    EXPECT_EQ(rules[0].since, kNow - 500);
    rules[0].begun = kNow - 20;  // it failed again
    note_states(rules, memories, kNow + 10);
    EXPECT_EQ(rules[0].since, kNow - 500);
    rules[0].begun = 0;
    note_states(rules, memories, kNow + 20);
    EXPECT_EQ(rules[0].since, kNow - 500);
}

TEST(HealthChanges, ReceiversAreToldUntilTheyKnow) {
    RuleMemories memories;
    std::vector<Rule> rules(1);
    rules[0].name = "x";
    rules[0].state = RuleState::ok;
    note_states(rules, memories, 1);
    EXPECT_TRUE(unannounced(rules, memories).empty());
    rules[0].state = RuleState::critical;
    note_states(rules, memories, 2);
    EXPECT_EQ(unannounced(rules, memories).size(), 1u);
    note_states(rules, memories, 3);
    EXPECT_EQ(unannounced(rules, memories).size(), 1u);
    memories["x"].announced = RuleState::critical;
    EXPECT_TRUE(unannounced(rules, memories).empty());
    rules[0].state = RuleState::ok;
    note_states(rules, memories, 4);
    ASSERT_EQ(unannounced(rules, memories).size(), 1u);
    EXPECT_EQ(unannounced(rules, memories)[0].before, RuleState::critical);
}

TEST(HealthOfServer, IsReadFromItsAnswer) {
    test::FakeConnection server;
    server.on("pg_stat_archiver", {{"false", "on", "000000010000000000000004", "1000", "", "0", "4",
                                    "1", "2", "990", "48", "33554440", "", "/bin/true"}});
    server.on("pg_control_system", {{"7710159678555610611", "15"}});
    server.on("to_regclass", {{"true"}});
    server.on("chronos.wal_status", {{"33554440", "4"}});
    server.on("ORDER BY start DESC, id DESC", {{"3", "diff", "failed", "it broke", "995"}});
    const auto facts = look_at_server(server, "/nonexistent", 1010);
    ASSERT_OK(facts);
    EXPECT_EQ(facts->system_id, 7710159678555610611u);
    EXPECT_EQ(facts->version, "15");
    EXPECT_EQ(facts->last_archived_at, 1000);
    EXPECT_EQ(facts->foreign_archiver, "archive_command = '/bin/true'");
    EXPECT_EQ(facts->ready_segments, 2u);
    EXPECT_EQ(facts->data_loss_seconds(), 4) << "some of it was streamed";
    EXPECT_EQ(facts->disk_total_bytes, 0u);
    ASSERT_TRUE(facts->last_backup_job);
    EXPECT_EQ(facts->last_backup_job->error, "it broke");
}

TEST(HealthOfServer, NeedsNoExtensionInTheDatabase) {
    test::FakeConnection server;
    server.on("pg_stat_archiver", {{"true", "on", "", "0", "", "0", "0", "0", "0", "0", "48", "0",
                                    "/usr/lib/chronos_backup.so", ""}});
    server.on("to_regclass", {{"false"}});
    const auto facts = look_at_server(server, "", 1010);
    ASSERT_OK(facts);
    EXPECT_FALSE(facts->last_backup_job);
    EXPECT_EQ(facts->foreign_archiver, "");
}

// Who upgrades the package has not upgraded what is in the database.
TEST_F(Health, SqlObjectsOfAnOldReleaseAreNamedWithTheCommand) {
    test::FakeConnection connection;
    connection.on("pg_stat_archiver", {{"false", "on", "", "0", "", "0", "0", "0", "0", "0", "48",
                                        "0", "chronos_backup", ""}});
    connection.on("chronos.job_history')", {{"false"}});
    connection.on("chronos.heartbeats')", {{"false"}});
    connection.on("extversion", {{"0.1.0"}});
    const auto facts = look_at_server(connection, "", 1010);
    ASSERT_OK(facts);
    const Rule told = rule(look(), "heartbeat", *facts);
    EXPECT_EQ(told.state, RuleState::unknown);
    EXPECT_THAT(told.message, HasSubstr("of version 0.1.0"));
    EXPECT_THAT(told.hint, HasSubstr("ALTER EXTENSION chronos_backup UPDATE"));
}

TEST(FormatDuration, NamesTheTwoLargestUnits) {
    EXPECT_EQ(format_duration(0), "0s");
    EXPECT_EQ(format_duration(61), "1m 1s");
    EXPECT_EQ(format_duration(3600), "1h");
    EXPECT_EQ(format_duration(22320), "6h 12m");
    EXPECT_EQ(format_duration(90000), "1d 1h");
}

}  // namespace
}  // namespace chronos::ops::health

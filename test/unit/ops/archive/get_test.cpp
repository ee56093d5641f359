#include <gmock/gmock.h>

#include "archive_fixture.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {
namespace {

using testing::HasSubstr;

/// What recovery must never be told: that a file does not exist, when that is not known.
class ArchiveGet : public ArchiveTest {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        add_repository();
        ASSERT_OK(push(kSegment, make_segment(3)));
    }

    /// Not "missing", not found, and worth another attempt.
    void expect_unknown(const Result<GetOutcome>& outcome) {
        ASSERT_FALSE(outcome) << "an answer, but nothing can be known";
        EXPECT_TRUE(outcome.error().transient()) << outcome.error().text();
        EXPECT_FALSE(std::filesystem::exists(destination()));
    }
    /// The one stored segment of a repository.
    std::string stored_segment(unsigned key = 1) { return stored_path(key, stored(key).front()); }
    void expect_no_file() {
        EXPECT_FALSE(std::filesystem::exists(destination()));
        EXPECT_FALSE(std::filesystem::exists(destination() + ".chronos.tmp"));
    }
};

TEST_F(ArchiveGet, MissingIsWhatTheRepositoryItselfDoesNotHave) {
    const auto outcome = get("000000010000000000000004");
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, GetOutcome::missing);
    EXPECT_EQ(*get("00000002.history"), GetOutcome::missing);
    expect_no_file();
}

TEST_F(ArchiveGet, RepositoryThatIsAwayIsNotAnEmptyArchive) {
    mount(1).away = true;
    expect_unknown(get("000000010000000000000004"));
    expect_unknown(get("00000002.history"));
    mount(1).away = false;
    std::filesystem::rename(repo_path(1), repo_path(9));
    expect_unknown(get("000000010000000000000004"));
}

// It may go away between any two looks at it.
TEST_F(ArchiveGet, RepositoryThatGoesAwayMidwayIsNotAnEmptyArchive) {
    for (int calls = 1; calls < 10; ++calls) {
        SCOPED_TRACE("away after " + std::to_string(calls) + " calls");
        mount(1).calls_left = calls;
        const auto outcome = get("000000010000000000000004");
        const bool went_away = mount(1).calls_left == 0;
        mount(1).calls_left = -1;
        if (!went_away) {
            EXPECT_GT(calls, 2) << "the loop has tested nothing";
            return;
        }
        expect_unknown(outcome);
    }
    FAIL() << "it never got an answer";
}

TEST_F(ArchiveGet, OneOfTwoRepositoriesAwayIsEnoughToKnowNothingOfAMissingFile) {
    add_repository();
    ASSERT_OK(push(kSegment, make_segment(3)));
    mount(1).away = true;
    expect_unknown(get("000000010000000000000004"));
    const auto found = get(kSegment);
    ASSERT_OK(found);
    EXPECT_EQ(*found, GetOutcome::found);
}

TEST_F(ArchiveGet, DamagedSegmentIsNamedAndNotDelivered) {
    std::string content = read_file(stored_segment());
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] + 1);
    write_file(stored_segment(), content);
    const auto outcome = get(kSegment);
    EXPECT_ERROR(ErrorKind::file_read, outcome);
    EXPECT_THAT(outcome.error().message(), HasSubstr("unable to get " + kSegment));
    EXPECT_THAT(outcome.error().message(), HasSubstr(stored_segment()));
    expect_no_file();
}

TEST_F(ArchiveGet, TruncatedSegmentIsNotDelivered) {
    std::filesystem::resize_file(stored_segment(),
                                 std::filesystem::file_size(stored_segment()) / 2);
    EXPECT_ERROR(ErrorKind::file_read, get(kSegment));
    expect_no_file();
}

// The codec cannot know of these: whole files with the wrong content.
TEST_F(ArchiveGet, ContentThatIsNotWhatTheNameSaysIsNotDelivered) {
    PushSettings settings = push_settings();
    settings.compress_type = compress::CompressType::none;
    struct Case {
        const char* claim;
        std::string pushed;
        std::string stored;
    };
    const std::string good = make_segment(4);
    std::string other_byte = good;
    other_byte.back() = 'x';
    for (const Case& one :
         {Case{"checksum", good, other_byte}, Case{"bytes", good, good + "x"},
          Case{"content is that of segment 000000010000000000000005", make_segment(5), ""},
          Case{"bytes", good.substr(0, kSegmentSize / 2), ""}}) {
        SCOPED_TRACE(one.claim);
        const std::string name = "000000010000000000000004";
        write_file(wal_path(name), one.pushed);
        settings.header_check = false;
        ASSERT_OK(ArchivePusher(settings).push(name, wal_path(name)));
        const std::string path = stored_path(1, stored(1).back());
        ASSERT_THAT(path, HasSubstr(name));
        if (!one.stored.empty()) write_file(path, one.stored);
        const auto outcome = get(name);
        EXPECT_ERROR(ErrorKind::file_read, outcome);
        EXPECT_THAT(outcome.error().message(), HasSubstr(one.claim));
        expect_no_file();
        std::filesystem::remove(path);
    }
}

TEST_F(ArchiveGet, NextRepositoryHelpsWhenOneIsDamaged) {
    add_repository(/*encrypted=*/true);
    ASSERT_OK(push(kSegment, make_segment(3)));
    write_file(stored_segment(1), "damaged");
    const auto outcome = get(kSegment);
    ASSERT_OK(outcome);
    EXPECT_TRUE(read_file(destination()) == make_segment(3));
}

TEST_F(ArchiveGet, TwoContentsUnderOneNameAreAConflict) {
    add_repository();
    const repo::Repository first = repositories_.front();
    repositories_.erase(repositories_.begin());
    ASSERT_OK(push(kSegment, make_segment(3, 2)));
    repositories_.insert(repositories_.begin(), first);
    const auto outcome = get(kSegment);
    EXPECT_ERROR(ErrorKind::archive_duplicate, outcome);
    EXPECT_THAT(outcome.error().message(), HasSubstr("\nrepo1: 15-1/0000000100000000/" + kSegment));
    EXPECT_THAT(outcome.error().message(), HasSubstr("\nrepo2: 15-1/"));
    expect_no_file();
}

TEST_F(ArchiveGet, ArchiveOfAnotherClusterIsNotAnEmptyOne) {
    const repo::Repository repository = repositories_.front();
    repo::ArchiveInfo info = *repo::load_archive_info(repository, kStanza);
    info.history.front().system_id += 1;
    ASSERT_OK(repo::save_archive_info(repository, kStanza, info));
    const auto outcome = get("000000010000000000000004");
    EXPECT_ERROR(ErrorKind::repo_invalid, outcome);
    EXPECT_FALSE(outcome.error().transient()) << "waiting does not help";
}

// Before the upgrade of a stanza the same cluster may have archived under another id.
TEST_F(ArchiveGet, OlderArchiveIdsOfTheClusterAreSearchedToo) {
    const repo::Repository repository = repositories_.front();
    repo::ArchiveInfo info = *repo::load_archive_info(repository, kStanza);
    info.history.push_back({.id = 2, .system_id = kSystemId, .version = "15"});
    info.current_id = 2;
    ASSERT_OK(repo::save_archive_info(repository, kStanza, info));
    EXPECT_EQ(*get(kSegment), GetOutcome::found);
}

TEST_F(ArchiveGet, PatienceEndsWithTheErrorAndNotWithMissing) {
    mount(1).away = true;
    const Cancellation cancel;
    const auto outcome = get_wal_patiently(get_settings(), kSegment, destination(),
                                           std::chrono::milliseconds(250), cancel);
    EXPECT_ERROR(ErrorKind::repo_invalid, outcome);
}

TEST_F(ArchiveGet, PatienceWaitsForTheRepository) {
    mount(1).calls_left = 1;
    std::thread back([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(150));
        mount(1).calls_left = -1;
    });
    const Cancellation cancel;
    const auto outcome = get_wal_patiently(get_settings(), kSegment, destination(),
                                           std::chrono::seconds(20), cancel);
    back.join();
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, GetOutcome::found);
}

/// A recovery, and what it is told of a file.
class ArchiveGetInRecovery : public ArchiveGet {
protected:
    static constexpr const char* kFour = "000000010000000000000004";
    void recover(const std::string& target_timeline = "1") {
        write_file(pg_path() + "/recovery.signal", "");
        write_file(pg_path() + "/postgresql.auto.conf",
                   "recovery_target_timeline = '" + target_timeline + "'\n");
    }
    void push_and_forget(const std::string& name, const std::string& content) {
        ASSERT_OK(push(name, content));
        std::filesystem::remove(wal_path(name));
    }
    /// All that is stored is long there, or has come just now.
    void make_old() {
        for (const std::string& name : stored(1))
            std::filesystem::last_write_time(
                stored_path(1, name),
                std::filesystem::file_time_type::clock::now() - std::chrono::minutes(5));
    }
    Result<GetOutcome> ask(const std::string& name) {
        const Cancellation cancel;
        GetSettings settings = get_settings();
        settings.use_streamed = true;
        return get_wal_patiently(settings, name, destination(), std::chrono::milliseconds(300),
                                 cancel);
    }
    static std::string of_timeline(std::string content, char timeline) {
        content[4] = timeline;
        return content;
    }
};

TEST_F(ArchiveGetInRecovery, HoleIsNotTheEnd) {
    push_and_forget("000000010000000100000005", make_segment(0x105));
    recover();
    for (const bool old : {false, true}) {
        if (old) make_old();
        const auto outcome = ask(kFour);
        ASSERT_FALSE(outcome);
        EXPECT_THAT(outcome.error().message(), HasSubstr(kFour));
        EXPECT_THAT(outcome.error().message(), HasSubstr("000000010000000100000005 is in repo1"));
        EXPECT_EQ(outcome.error().transient(), !old);
    }
    EXPECT_EQ(*ask("000000010000000100000006"), GetOutcome::missing);
    // The server has it: it takes it from there.
    write_file(wal_path(kFour), make_segment(4));
    EXPECT_EQ(*ask(kFour), GetOutcome::missing);
    write_file(wal_path(kFour), make_segment(2));  // recycled
    EXPECT_FALSE(ask(kFour));
}

TEST_F(ArchiveGetInRecovery, StandbyMayHaveAHoleFilledByItsPrimary) {
    push_and_forget("000000010000000000000005", make_segment(5));
    write_file(pg_path() + "/standby.signal", "");
    EXPECT_EQ(*ask(kFour), GetOutcome::missing);
}

TEST_F(ArchiveGetInRecovery, TimelineEndsWhereItWasLeft) {
    push_and_forget(kFour, make_segment(4));
    push_and_forget("000000010000000000000006", make_segment(6));
    push_and_forget("00000002.history", "1\t0/4000100\tpromoted\n");
    recover("2");
    write_file(wal_path("00000002.history"), "1\t0/4000100\tpromoted\n");
    EXPECT_EQ(*ask("000000020000000000000003"), GetOutcome::missing) << "it begins later";
    EXPECT_EQ(*ask("000000020000000000000004"), GetOutcome::missing) << "nothing of it arrived";
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    const std::string cut = read_file(destination());
    EXPECT_TRUE(cut.substr(0, 0x100) == make_segment(4).substr(0, 0x100));
    EXPECT_TRUE(cut.substr(0x100) == std::string(kSegmentSize - 0x100, '\0'));
    EXPECT_EQ(*ask("000000010000000000000006"), GetOutcome::missing) << "given up";
    // Whoever asks for the first timeline by its number gets all of it.
    recover("1");
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == make_segment(4));
    EXPECT_FALSE(ask("000000010000000000000005"));
    EXPECT_EQ(*ask("000000010000000000000006"), GetOutcome::found);
}

// It would replay what is behind the fork, and then neither follow its primary nor be promoted.
TEST_F(ArchiveGetInRecovery, StandbyGetsATimelineUpToWhereItWasLeft) {
    const std::string history = "1\t0/4000100\tpromoted\n";
    push_and_forget(kFour, make_segment(4));
    push_and_forget("000000010000000000000005", make_segment(5));
    push_and_forget("00000002.history", history);
    write_file(pg_path() + "/standby.signal", "");
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == make_segment(4)) << "it knows of no timeline 2 yet";
    write_file(wal_path("00000002.history"), history);
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    const std::string cut = read_file(destination());
    EXPECT_TRUE(cut.substr(0, 0x100) == make_segment(4).substr(0, 0x100));
    EXPECT_TRUE(cut.substr(0x100) == std::string(kSegmentSize - 0x100, '\0'));
    write_file(wal_path(kFour), cut);
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == cut) << "again, as often as it asks";
    // Left at the border of segments there is nothing to give.
    write_file(wal_path("00000002.history"), "1\t0/5000000\tpromoted\n");
    EXPECT_EQ(*ask("000000010000000000000005"), GetOutcome::missing);
}

// It has refused the new timeline, though it keeps its history: that was no timeline of its
// primary.
TEST_F(ArchiveGetInRecovery, StandbyThatWasPastTheForkGoesOn) {
    push_and_forget(kFour, make_segment(4));
    push_and_forget("000000010000000000000005", make_segment(5));
    write_file(pg_path() + "/standby.signal", "");
    write_file(wal_path("00000002.history"), "1\t0/4000100\tpromoted\n");
    std::string received = make_segment(4);
    const auto put = [&](std::size_t at, auto value) {
        received.replace(at, sizeof(value), reinterpret_cast<const char*>(&value), sizeof(value));
    };
    put(0x100, std::uint32_t{30});
    put(0x108, std::uint64_t{0x4000080});
    write_file(wal_path(kFour), received);
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == make_segment(4));
    EXPECT_EQ(*ask("000000010000000000000005"), GetOutcome::found);
    put(0x108, std::uint64_t{0x1000080});  // what a recycled segment has there
    write_file(wal_path(kFour), received);
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_FALSE(read_file(destination()) == make_segment(4));
    // A timeline that is asked for by its number is not refused: the server does not start.
    put(0x108, std::uint64_t{0x4000080});
    write_file(wal_path(kFour), received);
    write_file(pg_path() + "/postgresql.auto.conf", "recovery_target_timeline = '2'\n");
    ASSERT_EQ(*ask(kFour), GetOutcome::found);
    EXPECT_FALSE(read_file(destination()) == make_segment(4));
}

TEST_F(ArchiveGetInRecovery, LostStartOfTheNextTimelineIsAHole) {
    push_and_forget(kFour, make_segment(4));
    push_and_forget("000000020000000000000005", of_timeline(make_segment(5), 2));
    push_and_forget("00000002.history", "1\t0/4000100\tpromoted\n");
    make_old();
    recover("2");
    write_file(wal_path("00000002.history"), "1\t0/4000100\tpromoted\n");
    EXPECT_FALSE(ask("000000020000000000000004"));
}

TEST_F(ArchiveGetInRecovery, TimelineThatWasLeftFartherOnDoesNotEndHere) {
    push_and_forget("00000002.history", "1\t0/9000100\tpromoted\n");
    recover("1");
    EXPECT_FALSE(ask(kFour)) << "timeline 2 says that there was more";
    EXPECT_EQ(*ask("000000010000000000000009"), GetOutcome::missing);
}

TEST_F(ArchiveGetInRecovery, LostHistoryIsPutTogetherFromALaterOne) {
    push_and_forget("00000003.history", "1\t0/4000100\tone\n2\t0/5000200\ttwo\n");
    recover("3");
    ASSERT_EQ(*ask("00000002.history"), GetOutcome::found);
    const auto switches = pgdata::parse_timeline_history(read_file(destination()));
    ASSERT_OK(switches);
    EXPECT_EQ(*switches, (std::vector{pgdata::TimelineSwitch{1, Lsn{0x4000100}}}));
    EXPECT_EQ(*ask("00000004.history"), GetOutcome::missing);
}

TEST_F(ArchiveGetInRecovery, NumberOfATimelineWhoseHistoryIsLostIsNotGivenAgain) {
    push_and_forget("000000020000000000000005", of_timeline(make_segment(5), 2));
    recover("1");
    EXPECT_EQ(*ask("00000002.history"), GetOutcome::found);
    EXPECT_EQ(*ask("00000003.history"), GetOutcome::missing);
    EXPECT_EQ(*ask("00000001.history"), GetOutcome::missing) << "the first one has none";
    // Beside the way of the recovery it is of no use to anybody.
    push_and_forget("00000004.history", "1\t0/4000100\tpromoted\n");
    write_file(wal_path("00000004.history"), "1\t0/4000100\tpromoted\n");
    recover("4");
    EXPECT_EQ(*ask("00000002.history"), GetOutcome::missing);
    std::filesystem::remove(wal_path("00000004.history"));
    recover("latest");
    EXPECT_FALSE(ask("00000002.history")) << "latest would end on timeline 1";
}

TEST_F(ArchiveGet, RestoredClusterWithoutItsBackupLabelIsRefused) {
    EXPECT_OK(check_backup_label(pg_path()));
    write_file(pg_path() + "/global/pg_control", *pgdata::invalidate_checkpoint(control_15_file()));
    EXPECT_ERROR(ErrorKind::format, check_backup_label(pg_path()));
    write_file(pg_path() + "/backup_label", "START WAL LOCATION");
    EXPECT_OK(check_backup_label(pg_path()));
}

}  // namespace
}  // namespace chronos::ops::archive

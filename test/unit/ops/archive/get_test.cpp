#include <gmock/gmock.h>

#include "archive_fixture.h"

namespace chronos::ops::archive {
namespace {

using testing::HasSubstr;

const std::string kDirectory = "0000000100000000/";

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

TEST_F(ArchiveGet, RestoredClusterWithoutItsBackupLabelIsRefused) {
    EXPECT_OK(check_backup_label(pg_path()));
    write_file(pg_path() + "/global/pg_control", *pgdata::invalidate_checkpoint(control_15_file()));
    EXPECT_ERROR(ErrorKind::format, check_backup_label(pg_path()));
    write_file(pg_path() + "/backup_label", "START WAL LOCATION");
    EXPECT_OK(check_backup_label(pg_path()));
}

}  // namespace
}  // namespace chronos::ops::archive

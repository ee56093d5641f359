#include <gmock/gmock.h>

#include <thread>

#include "archive_fixture.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/side/kept_aside.h"
#include "fault_storage.h"
#include "memory_storage.h"

namespace chronos::ops::archive {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ArchivePush : public ArchiveTest {};

TEST_F(ArchivePush, SegmentIsStoredUnderItsChecksumAndComesBack) {
    using compress::CompressType;
    for (const CompressType type : {CompressType::none, CompressType::gz, CompressType::bz2,
                                    CompressType::lz4, CompressType::zst})
        for (const bool encrypted : {false, true}) {
            SCOPED_TRACE(std::string(compress::compress_type_name(type)) +
                         (encrypted ? ", encrypted" : ""));
            repositories_.clear();
            mounts_.clear();
            std::filesystem::remove_all(repo_path(1));
            add_repository(encrypted);
            const std::string content = make_segment(3);
            write_file(wal_path(kSegment), content);
            PushSettings settings = push_settings();
            settings.compress_type = type;
            settings.compress_level = 1;
            ASSERT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
            EXPECT_THAT(stored(1),
                        ElementsAre(kDirectory + kSegment + "-" + crypto::sha1_hex(content) +
                                    std::string(compress::compress_extension(type))));
            const auto outcome = get(kSegment);
            ASSERT_OK(outcome);
            EXPECT_EQ(*outcome, GetOutcome::found);
            EXPECT_TRUE(read_file(destination()) == content);
        }
}

// More under way than fit into the memory for what waits to be stored, nothing compressible.
TEST_F(ArchivePush, ManyAtATimeAreStoredWithinTheirMemory) {
    add_repository();
    constexpr unsigned kSegments = 8;
    std::vector<std::string> names;
    for (unsigned i = 0; i < kSegments; ++i) {
        names.push_back(kSegment.substr(0, 23) + std::to_string(i));
        std::string content = make_segment(i, i);
        const std::string noise = random_bytes(kSegmentSize - 4096, i);
        content.replace(4096, noise.size(), noise);
        write_file(wal_path(names.back()), content);
    }
    PushSettings settings = push_settings();
    settings.process_max = 2;
    ArchivePusher pusher(settings);
    {
        std::vector<std::jthread> threads;
        for (const std::string& name : names)
            threads.emplace_back([&, name] { EXPECT_OK(pusher.push(name, wal_path(name))); });
    }
    EXPECT_EQ(stored(1).size(), kSegments);
    for (const std::string& name : names) {
        ASSERT_OK(get(name));
        EXPECT_TRUE(read_file(destination()) == read_file(wal_path(name))) << name;
    }
}

TEST_F(ArchivePush, SameSegmentAgainIsASuccessWhateverItsCompression) {
    add_repository();
    ASSERT_OK(push(kSegment, make_segment(3)));
    const std::vector<std::string> before = stored(1);
    PushSettings settings = push_settings();
    settings.compress_type = compress::CompressType::none;
    EXPECT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
    EXPECT_EQ(stored(1), before);
}

// What an engine started while the file system is not mounted sees: the mount point.
TEST_F(ArchivePush, EmptyDirectoryInThePlaceOfARepositoryIsNotTakenForANewOne) {
    add_repository();
    PushSettings settings = push_settings();
    settings.spool_path = directory_ / "spool";
    write_file(wal_path(kSegment), make_segment(3));
    ASSERT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
    std::filesystem::rename(repo_path(1), repo_path(1) + ".away");
    std::filesystem::create_directory(repo_path(1));
    EXPECT_FALSE(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
    EXPECT_TRUE(std::filesystem::is_empty(repo_path(1)));
    // Somebody who means it creates the stanza; and another place is another repository.
    add_repository();
    settings.repositories = {repositories_[1]};
    EXPECT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
}

TEST_F(ArchivePush, OtherContentUnderTheNameIsRefusedAndNothingIsWritten) {
    add_repository();
    ASSERT_OK(push(kSegment, make_segment(3, 1)));
    const std::vector<std::string> before = stored(1);
    add_repository();
    const auto pushed = push(kSegment, make_segment(3, 2));
    EXPECT_ERROR(ErrorKind::archive_duplicate, pushed);
    EXPECT_THAT(pushed.error().message(),
                HasSubstr("already exists in the repo1 archive with a different checksum"));
    EXPECT_EQ(stored(1), before);
    EXPECT_THAT(stored(2), IsEmpty());
}

TEST_F(ArchivePush, SegmentThatIsThereTwiceIsAnErrorOfThatRepositoryOnly) {
    add_repository();
    add_repository();
    ASSERT_OK(push(kSegment, make_segment(3, 1)));
    write_file(stored_path(2, kDirectory + kSegment + "-" + std::string(40, 'a')), "x");
    const auto pushed = push(kSegment, make_segment(3, 1));
    EXPECT_ERROR(ErrorKind::command, pushed);
    EXPECT_THAT(pushed.error().message(), HasSubstr("\nrepo2: [FileInvalidError] duplicates"));
    EXPECT_EQ(stored(1).size(), 1u);
}

TEST_F(ArchivePush, PartialSegmentDoesNotStandForTheSegment) {
    add_repository();
    const std::string content = make_segment(3);
    ASSERT_OK(push(kSegment + ".partial", content));
    EXPECT_THAT(stored(1), ElementsAre(kDirectory + kSegment + ".partial-" +
                                       crypto::sha1_hex(content) + ".lz4"));
    EXPECT_EQ(*get(kSegment), GetOutcome::missing);
    EXPECT_EQ(*get(kSegment + ".partial"), GetOutcome::found);
    EXPECT_OK(push(kSegment, make_segment(3, 2)));
}

TEST_F(ArchivePush, HistoryFilesKeepTheirNameAndMayBeWrittenAgain) {
    add_repository(/*encrypted=*/true);
    const std::string backup = kSegment + ".00000028.backup";
    const std::string label = "START WAL LOCATION: 0/3000028 (file " + kSegment + ")\n";
    ASSERT_OK(push("00000002.history", "1\t0/3000100\tno recovery target specified\n"));
    ASSERT_OK(push("00000002.history", "1\t0/3000100\tput back\n"));  // it says the same
    ASSERT_OK(push(backup, label));
    ASSERT_OK(push(backup, label));
    EXPECT_THAT(stored(1), ElementsAre(kDirectory + backup, "00000002.history"));
    EXPECT_EQ(read_file(stored_path(1, "00000002.history")).substr(0, 8), "Salted__");
    ASSERT_EQ(*get("00000002.history"), GetOutcome::found);
    EXPECT_EQ(read_file(destination()), "1\t0/3000100\tno recovery target specified\n");
    ASSERT_EQ(*get(backup), GetOutcome::found);
    EXPECT_EQ(read_file(destination()), label);
}

// Two standbys promoted: the archive belongs to the first, and the second learns it at once.
TEST_F(ArchivePush, OtherOriginOfATimelineIsRefusedAndKeptBeside) {
    add_repository();
    ASSERT_OK(push("00000002.history", "1\t0/3000100\tfirst\n"));
    const auto pushed = push("00000002.history", "1\t0/3000200\tsecond\n");
    EXPECT_ERROR(ErrorKind::archive_duplicate, pushed);
    ASSERT_EQ(*get("00000002.history"), GetOutcome::found);
    EXPECT_EQ(read_file(destination()), "1\t0/3000100\tfirst\n");
    const auto aside = repo::list_kept_aside(repositories_.front(), kStanza, "15-1");
    ASSERT_OK(aside);
    ASSERT_EQ(aside->size(), 1u);
    EXPECT_EQ(aside->front().name, "00000002.history");
    EXPECT_EQ(*repo::read_text(repositories_.front(), aside->front().object, ""),
              "1\t0/3000200\tsecond\n");
}

TEST_F(ArchivePush, WhatIsNoHistoryIsRefused) {
    add_repository();
    for (const char* content : {"", "# nothing\n", "rubbish", "2\t0/3000000\tits own\n"})
        EXPECT_ERROR(ErrorKind::format, push("00000002.history", content));
    EXPECT_ERROR(ErrorKind::format,
                 push(kSegment + ".00000028.backup",
                      "START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\n"));
    EXPECT_THAT(stored(1), IsEmpty());
}

TEST_F(ArchivePush, SecondPartialSegmentIsKeptBesideAndTheArchiverGoesOn) {
    add_repository(/*encrypted=*/true);
    const std::string name = kSegment + ".partial";
    ASSERT_OK(push(name, make_segment(3, 1)));
    const std::vector<std::string> before = stored(1);
    for (int round = 0; round < 2; ++round) ASSERT_OK(push(name, make_segment(3, 2)));
    EXPECT_EQ(stored(1), before);
    const auto aside = repo::list_kept_aside(repositories_.front(), kStanza, "15-1");
    ASSERT_OK(aside);
    ASSERT_EQ(aside->size(), 1u);
    EXPECT_EQ(aside->front().name, name);
    ASSERT_OK(push(name, make_segment(3, 1)));
}

// Acknowledged, it could never be replaced by the right one.
TEST_F(ArchivePush, SegmentThatIsNotTheOneOfItsNameIsRefused) {
    add_repository();
    std::string later_timeline = make_segment(4);
    later_timeline[4] = 3;
    const std::string good = make_segment(4);
    for (const std::string& content :
         {make_segment(5), good + "x", good.substr(0, kSegmentSize / 2), later_timeline})
        EXPECT_ERROR(ErrorKind::archive_mismatch, push("000000010000000000000004", content));
    EXPECT_THAT(stored(1), IsEmpty());
    // The first segment of a timeline begins as its parent's; a later one does not.
    write_file(wal_path("00000002.history"), "1\t0/4000100\tpromoted\n");
    EXPECT_OK(push("000000020000000000000004", good));
    EXPECT_ERROR(ErrorKind::archive_mismatch, push("000000020000000000000005", make_segment(5)));
}

TEST_F(ArchivePush, WalOfAnotherClusterIsRefused) {
    add_repository();
    const auto pushed = push(kSegment, make_segment(3, 1, kSystemId + 1));
    EXPECT_ERROR(ErrorKind::archive_mismatch, pushed);
    EXPECT_THAT(stored(1), IsEmpty());
    PushSettings settings = push_settings();
    settings.header_check = false;
    EXPECT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
}

TEST_F(ArchivePush, WhatIsNoSegmentIsRefused) {
    add_repository();
    EXPECT_ERROR(ErrorKind::file_read, push(kSegment, "short"));
    EXPECT_ERROR(ErrorKind::version_not_supported, push(kSegment, std::string(8192, '\x02')));
    EXPECT_ERROR(ErrorKind::not_found,
                 ArchivePusher(push_settings())
                     .push("000000010000000000000004", wal_path("000000010000000000000004")));
    EXPECT_THAT(stored(1), IsEmpty());
}

// More than fits in the buffer: read in pieces, several times.
TEST_F(ArchivePush, LargeSegmentIsStoredWhole) {
    add_repository();
    const std::uint32_t size = std::uint32_t{64} << 20;
    std::string content = make_segment(0);
    content.replace(8, 8, std::string("\0\0\0\x0c\0\0\0\0", 8));  // the third of such a size
    content.replace(32, 4, reinterpret_cast<const char*>(&size), 4);
    content.resize(size, 'x');
    PushSettings settings = push_settings();
    settings.compress_type = compress::CompressType::none;
    write_file(wal_path(kSegment), content);
    ASSERT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
    ASSERT_EQ(stored(1).size(), 1u);
    EXPECT_EQ(stored(1).front(), kDirectory + kSegment + "-" + crypto::sha1_hex(content));
    EXPECT_TRUE(read_file(stored_path(1, stored(1).front())) == content);
}

TEST_F(ArchivePush, RepositoryThatIsAwayFailsButDoesNotKeepTheOthersFromStoring) {
    add_repository();
    add_repository();
    ASSERT_OK(push("000000010000000000000002", make_segment(2)));
    mount(2).away = true;
    const auto pushed = push(kSegment, make_segment(3));
    EXPECT_ERROR(ErrorKind::command, pushed);
    EXPECT_THAT(pushed.error().message(),
                HasSubstr("archive-push command encountered error(s):\nrepo2: ["));
    EXPECT_EQ(stored(1).size(), 2u);
    mount(2).away = false;
    EXPECT_OK(push(kSegment, make_segment(3)));
    EXPECT_EQ(stored(2).size(), 2u);
}

TEST_F(ArchivePush, FullRepositoryIsAnErrorAndKeepsNothingOfTheFile) {
    add_repository();
    add_repository();
    ASSERT_OK(push("000000010000000000000002", make_segment(2)));
    mount(1).full = true;
    EXPECT_ERROR(ErrorKind::command, push(kSegment, make_segment(3)));
    EXPECT_EQ(stored(1).size(), 1u);
    EXPECT_EQ(stored(2).size(), 2u) << "the other repository was held up";
}

TEST_F(ArchivePush, NoRepositoryAtAllIsNamed) {
    add_repository();
    mount(1).away = true;
    const auto pushed = push(kSegment, make_segment(3));
    EXPECT_ERROR(ErrorKind::repo_invalid, pushed);
    EXPECT_THAT(pushed.error().message(),
                HasSubstr("unable to find a valid repository:\nrepo1: [FileMissingError]"));
}

// A missing directory is more often a file system that is not mounted than a new repository.
TEST_F(ArchivePush, StanzaIsCreatedOnlyWhereTheRepositoryIs) {
    add_repository();
    std::filesystem::remove_all(repo_path(1));
    EXPECT_ERROR(ErrorKind::repo_invalid, push(kSegment, make_segment(3)));
    EXPECT_FALSE(std::filesystem::exists(repo_path(1)));
    std::filesystem::create_directories(repo_path(1));
    EXPECT_OK(push(kSegment, make_segment(3)));
    EXPECT_TRUE(std::filesystem::exists(repo_path(1) + "/backup/main/backup.info.copy"));
}

TEST_F(ArchivePush, StanzaThatWasSeenIsNotCreatedAgainWhenItIsGone) {
    add_repository();
    write_file(wal_path(kSegment), make_segment(3));
    ArchivePusher pusher(push_settings());
    ASSERT_OK(pusher.push(kSegment, wal_path(kSegment)));
    std::filesystem::remove_all(repo_path(1) + "/archive");
    std::filesystem::remove_all(repo_path(1) + "/backup");
    EXPECT_ERROR(ErrorKind::repo_invalid, pusher.push(kSegment, wal_path(kSegment)));
    EXPECT_FALSE(std::filesystem::exists(repo_path(1) + "/archive"));
}

TEST_F(ArchivePush, StanzaOfAnotherClusterIsLeftAlone) {
    const repo::Repository repository = add_repository();
    ASSERT_OK(repo::create_stanza(repository, kStanza,
                                  {.system_id = kSystemId + 1,
                                   .version = "15",
                                   .control_version = 1300,
                                   .catalog_version = 202209061}));
    const auto pushed = push(kSegment, make_segment(3));
    EXPECT_ERROR(ErrorKind::repo_invalid, pushed);
    EXPECT_THAT(pushed.error().message(),
                HasSubstr("PostgreSQL version 15, system-id 7710195861716093438 do not match repo1 "
                          "stanza version 15, system-id 7710195861716093439"));
}

TEST_F(ArchivePush, StopFileForbidsIt) {
    add_repository();
    write_file(directory_ / "lock/all.stop", "");
    EXPECT_ERROR(ErrorKind::stop, push(kSegment, make_segment(3)));
}

/// A repository in memory that can lose power.
class ArchivePushDurability : public ArchiveTest {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        write_file(wal_path(kSegment), make_segment(3));
        repo::Repository repository;
        repository.storage = memory_;
        repositories_.push_back(repository);
    }
    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
};

// The server removes the file as soon as push() has returned.
TEST_F(ArchivePushDurability, AcknowledgedSegmentSurvivesAPowerFailure) {
    ASSERT_OK(ArchivePusher(push_settings()).push(kSegment, wal_path(kSegment)));
    ASSERT_OK(push("00000002.history", "1\t0/3000100\tpromoted\n"));
    memory_->crash();
    EXPECT_EQ(*get(kSegment), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == make_segment(3));
    EXPECT_EQ(*get("00000002.history"), GetOutcome::found);
}

TEST_F(ArchivePushDurability, FailureAtAnyStepLeavesNothingAndCanBeRepeated) {
    ASSERT_OK(repo::create_stanza(repositories_.front(), kStanza,
                                  {.system_id = kSystemId,
                                   .version = "15",
                                   .control_version = 1300,
                                   .catalog_version = 202209061}));
    for (const test::Operation operation :
         {test::Operation::open, test::Operation::read, test::Operation::info,
          test::Operation::list, test::Operation::create, test::Operation::write,
          test::Operation::finish}) {
        SCOPED_TRACE("operation " + std::to_string(static_cast<int>(operation)));
        auto faulty = std::make_shared<test::FaultStorage>(*memory_);
        faulty->add({.operation = operation, .calls = test::Fault::kEver});
        repositories_.front().storage = faulty;
        EXPECT_FALSE(ArchivePusher(push_settings()).push(kSegment, wal_path(kSegment)));
        repositories_.front().storage = memory_;
        memory_->crash();
        EXPECT_THAT(stored(1), IsEmpty());
    }
    EXPECT_OK(ArchivePusher(push_settings()).push(kSegment, wal_path(kSegment)));
    EXPECT_EQ(stored(1).size(), 1u);
}

// It is acknowledged only if it is there: an engine may have been killed, power may have failed.
TEST_F(ArchivePush, DamagedSegmentOfThatNameIsStoredAgain) {
    for (const bool encrypted : {false, true}) {
        add_repository(encrypted);
        ASSERT_OK(push(kSegment, make_segment(3)));
        const unsigned key = repositories_.back().key;
        const std::string path = stored_path(key, stored(key).front());
        for (const auto& damage : std::vector<std::function<void()>>{
                 [&] { std::filesystem::resize_file(path, 1000); },
                 [&] { std::filesystem::resize_file(path, 0); },
                 [&] { write_file(path, std::string(std::filesystem::file_size(path), '\0')); }}) {
            damage();
            PushSettings settings = push_settings();
            EXPECT_OK(ArchivePusher(settings).push(kSegment, wal_path(kSegment)));
            EXPECT_EQ(stored(key).size(), 1u);
            EXPECT_EQ(*get(kSegment), GetOutcome::found);
            EXPECT_TRUE(read_file(destination()) == make_segment(3));
        }
    }
}

/// As a bucket: asking costs a round trip, so what is known is some seconds old.
class Distant final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;
    storage::Features features() const override { return {.remote = true}; }
};

// Stored under the passphrase of a stanza that is gone nothing could be read again.
TEST_F(ArchivePush, StanzaCreatedAnewUnderARunningServerGetsItsOwnPassphrase) {
    repo::Repository repository = add_repository(/*encrypted=*/true);
    repository.storage = std::make_shared<Distant>(repository.storage);
    repositories_.front() = repository;
    write_file(wal_path("000000010000000000000002"), make_segment(2));
    write_file(wal_path(kSegment), make_segment(3));
    ArchivePusher pusher(push_settings());
    ASSERT_OK(pusher.push("000000010000000000000002", wal_path("000000010000000000000002")));
    ASSERT_OK(repo::delete_stanza(repository, kStanza));
    const auto control = pgdata::read_control_file(pg_path());
    ASSERT_OK(control);
    ASSERT_OK(repo::create_stanza(repository, kStanza, repo::ClusterIdentity::of(*control)));
    const auto pushed = pusher.push(kSegment, wal_path(kSegment));
    EXPECT_FALSE(pushed) << "acknowledged under the passphrase of the former stanza";
    EXPECT_OK(pusher.push(kSegment, wal_path(kSegment)));
    EXPECT_EQ(*get(kSegment), GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == make_segment(3));
}

// Whoever upgrades the stanza must not have to restart anything: the next file goes to the new
// archive id.
TEST_F(ArchivePush, ChangedArchiveInfoIsNoticed) {
    const repo::Repository repository = add_repository();
    write_file(wal_path(kSegment), make_segment(3));
    ArchivePusher pusher(push_settings());
    ASSERT_OK(pusher.push(kSegment, wal_path(kSegment)));
    repo::ArchiveInfo info = *repo::load_archive_info(repository, kStanza);
    info.history.push_back({.id = 2, .system_id = kSystemId, .version = "15"});
    info.current_id = 2;
    ASSERT_OK(repo::save_archive_info(repository, kStanza, info));
    ASSERT_OK(pusher.push(kSegment, wal_path(kSegment)));
    EXPECT_EQ(stored(1, "15-2").size(), 1u);
}

}  // namespace
}  // namespace chronos::ops::archive

#include "chronos/repo/side/owner.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "chronos/base/process_id.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/posix/posix_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;

/// Its clock is ahead of ours.
class OtherClock final : public storage::ForwardingStorage {
public:
    OtherClock(std::shared_ptr<storage::Storage> next, UnixTime ahead_s)
        : ForwardingStorage(std::move(next)), ahead_s_(ahead_s) {}
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        auto entry = CHRONOS_TRY(next_.info(name));
        if (entry) entry->modified += ahead_s_;
        return entry;
    }

private:
    UnixTime ahead_s_;
};

/// A stanza and servers that want to use it.
class UseStanza : public testing::Test {
protected:
    UseStanza() {
        repository_.storage = storage::make_posix_storage(directory_.path());
        std::filesystem::create_directories(directory_ / "archive/main");
    }

    static ServerIdentity original() {
        return {"db1", "boot-1", "/srv/pg", 10, 100, 1000, 4711, 1, false, "", 0};
    }
    static ServerIdentity copy_on_the_same_host() {
        ServerIdentity copy = original();
        copy.path = "/srv/copy";
        copy.inode = 101;
        return copy;
    }
    static ServerIdentity copy_elsewhere() {
        ServerIdentity copy = original();
        copy.host = "test";
        copy.boot_id = "boot-2";
        return copy;
    }
    Result<> use(const ServerIdentity& server, StanzaUse what = StanzaUse::archive) {
        return StanzaOwner(repository_, "main").use(server, what);
    }
    void age(const std::string& object, std::chrono::seconds by) {
        std::filesystem::last_write_time(directory_ / object,
                                         std::filesystem::file_time_type::clock::now() - by);
    }
    /// The history file of timeline 2, stored `ago`.
    void promoted(std::chrono::seconds ago) {
        std::filesystem::create_directories(directory_ / "archive/main/15-1");
        std::ofstream(directory_ / "archive/main/15-1/00000002.history") << "1\t0/3000000\n";
        age("archive/main/15-1/00000002.history", ago);
    }
    /// Changes a number of the record, in its place: a writer of it may be under way.
    void set(const std::string& key, UnixTime value) {
        auto text = storage::read_object(*repository_.storage, kRecord);
        ASSERT_OK(text);
        const std::string name = "\"" + key + "\":\"";
        text->replace(text->find(name) + name.size(), 10, std::to_string(value));
        std::ofstream(directory_ / kRecord) << *text;
    }
    static constexpr const char* kRecord = "chronos/main/owners/00000001";

    test::TemporaryDirectory directory_;
    Repository repository_;
};

TEST_F(UseStanza, IsForTheFirstOneToCome) {
    for (const auto& copy : {copy_on_the_same_host(), copy_elsewhere()}) {
        EXPECT_OK(use(original()));
        for (const StanzaUse what : {StanzaUse::archive, StanzaUse::change}) {
            const auto refused = use(copy, what);
            EXPECT_ERROR(ErrorKind::archive_mismatch, refused);
            EXPECT_THAT(refused.error().message(), HasSubstr("'/srv/pg' on host 'db1'"));
            EXPECT_THAT(refused.error().hint(), HasSubstr("stanza-claim"));
        }
        EXPECT_OK(use(original(), StanzaUse::change));
    }
}

// A container has another host name each time.
TEST_F(UseStanza, GoesOnForTheSameDirectoryAtOnce) {
    ASSERT_OK(use(original()));
    ServerIdentity container = original();
    container.host = "9f86d081884c";
    EXPECT_OK(use(container, StanzaUse::change));
    EXPECT_OK(use(original()));
}

// Rebooted it has another boot id, restored in place another directory. So has a copy of the same
// name that runs elsewhere: the owner would renew its record.
TEST_F(UseStanza, GoesOnForTheSameNameWhenTheOwnerIsSilent) {
    const StanzaOwner owner(repository_, "main");
    ServerIdentity rebooted = original();
    rebooted.boot_id = "boot-7";
    ServerIdentity restored = original();
    restored.inode = 555;
    for (const auto& server : {rebooted, restored}) {
        ASSERT_OK(owner.claim(original()));
        age(kRecord, std::chrono::seconds(100));
        const auto refused = use(server);
        EXPECT_ERROR(ErrorKind::archive_mismatch, refused);
        EXPECT_THAT(refused.error().message(), HasSubstr("may be this server before"));
        EXPECT_THAT(refused.error().hint(), HasSubstr("goes on by itself in 1"));
        EXPECT_THAT(refused.error().hint(), HasSubstr("stanza-claim"));
        // It need not be another one.
        EXPECT_EQ(*owner.owned_by_another(server), "");
        age(kRecord, std::chrono::seconds(250));
        EXPECT_OK(use(server, StanzaUse::change));
        EXPECT_OK(use(server));
        EXPECT_EQ(*owner.recently_refused(server), "");
    }
}

TEST_F(UseStanza, IsOfTwoWhereTheOwnerGoesOn) {
    const StanzaOwner owner(repository_, "main");
    ServerIdentity copy = original();
    copy.boot_id = "boot-7";
    ASSERT_OK(use(original()));
    age(kRecord, std::chrono::seconds(130));
    set("renewed-at", unix_now() - 130);
    age(kRecord, std::chrono::seconds(130));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy));
    ASSERT_OK(use(original()));
    const auto refused = use(copy);
    EXPECT_ERROR(ErrorKind::archive_mismatch, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("another one of the same name"));
    EXPECT_NE(*owner.owned_by_another(copy), "");
    EXPECT_NE(*owner.recently_refused(original()), "");
    // Whoever says that it is the one keeps it.
    ASSERT_OK(owner.claim(copy));
    EXPECT_OK(use(copy));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(original()));
}

// A process of this test stands for the owner's server.
TEST_F(UseStanza, GoesOnAtOnceWhereTheOwnerIsSeenToBeGone) {
    struct stat at = {};
    ASSERT_EQ(::stat(directory_.path().c_str(), &at), 0);
    ServerIdentity here = original();
    here.boot_id = machine_boot_id();
    here.pid_namespace = own_pid_namespace();
    here.user = ::geteuid();
    here.device = at.st_dev;
    here.inode = at.st_ino;
    ASSERT_OK(use(here));
    ServerIdentity restored = here;
    restored.inode = 1;
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(directory_.path());
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(restored));
    std::filesystem::current_path(before);
    ServerIdentity in_a_container = restored;
    in_a_container.inode = 2;
    EXPECT_OK(use(restored));
    ServerIdentity elsewhere = restored;
    elsewhere.pid_namespace = "pid:[1]";
    ASSERT_OK(StanzaOwner(repository_, "main").claim(elsewhere));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(in_a_container));
}

TEST_F(UseStanza, IsTakenFromOneThatIsQuiet) {
    ASSERT_OK(use(original()));
    age(kRecord, std::chrono::seconds(300));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy_elsewhere()));
    age(kRecord, std::chrono::seconds(400));
    EXPECT_OK(use(copy_elsewhere()));
}

// A quiet server is not dead: it was there first, and what it has is its own.
TEST_F(UseStanza, IsGivenBackToOneThatWasOnlyQuiet) {
    ASSERT_OK(use(original()));
    age(kRecord, std::chrono::seconds(400));
    ASSERT_OK(use(copy_elsewhere()));
    EXPECT_OK(use(original()));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy_elsewhere()));
    EXPECT_OK(use(original()));
}

// Hours after it was taken over somebody may have begun to rely on it.
TEST_F(UseStanza, IsNotGivenBackAfterADay) {
    ASSERT_OK(use(original()));
    age(kRecord, std::chrono::seconds(400));
    ASSERT_OK(use(copy_elsewhere()));
    set("taken-at", unix_now() - 90000);
    set("renewed-at", unix_now() - 130);
    ASSERT_OK(use(copy_elsewhere()));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(original()));
}

// Nobody can tell which of two clocks is wrong: the repository's counts, for both.
TEST_F(UseStanza, GoesByTheClockOfTheRepository) {
    for (const UnixTime ahead_s : {-3600, 3600}) {
        ASSERT_OK(StanzaOwner(repository_, "main").claim(original()));
        Repository as_seen = repository_;
        as_seen.storage = std::make_shared<OtherClock>(repository_.storage, ahead_s);
        const StanzaOwner seen(as_seen, "main");
        EXPECT_ERROR(ErrorKind::archive_mismatch, seen.use(copy_elsewhere(), StanzaUse::archive));
        EXPECT_NE(*seen.owned_by_another(copy_elsewhere()), "");
        age(kRecord, std::chrono::seconds(400));
        EXPECT_EQ(*seen.owned_by_another(copy_elsewhere()), "");
        EXPECT_OK(seen.use(copy_elsewhere(), StanzaUse::archive));
    }
}

// A virtual machine that was cloned, a container whose volume was copied: host and path are the
// same.
TEST_F(UseStanza, IsNotForACopyOfTheSameName) {
    const StanzaOwner owner(repository_, "main");
    ServerIdentity on_a_clone = original();
    on_a_clone.boot_id = "boot-9";
    ServerIdentity in_a_container = original();
    in_a_container.device = 11;
    for (const auto& copy : {on_a_clone, in_a_container}) {
        ASSERT_OK(owner.claim(original()));
        // The owner was quiet for a while, and its machine may have been started anew.
        age(kRecord, std::chrono::seconds(250));
        ASSERT_OK(use(copy));
        for (int i = 0; i < 3; ++i) {
            EXPECT_OK(use(original()));
            const auto refused = use(copy, StanzaUse::change);
            EXPECT_ERROR(ErrorKind::archive_mismatch, refused);
            EXPECT_THAT(refused.error().message(), HasSubstr("another one of the same name"));
        }
        EXPECT_NE(*owner.recently_refused(original()), "");
        EXPECT_NE(*owner.owned_by_another(copy), "");
        EXPECT_EQ(*owner.owned_by_another(original()), "");
        // And that one is, later.
        ServerIdentity rebooted = original();
        rebooted.boot_id = "boot-10";
        age(kRecord, std::chrono::seconds(250));
        EXPECT_OK(use(rebooted));
        EXPECT_OK(use(rebooted, StanzaUse::change));
    }
}

// The archiver, a backup and health renew it at the same moment.
TEST_F(UseStanza, WaitsForWhoeverWritesTheRecord) {
    ASSERT_OK(use(original()));
    auto writing = repository_.storage->create(kRecord, storage::WriteMode::atomic);
    ASSERT_OK(writing);
    set("renewed-at", unix_now() - 130);
    std::jthread ends([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        writing->reset();
    });
    EXPECT_OK(use(original(), StanzaUse::change));
}

TEST_F(UseStanza, IsKeptByOneThatHasClaimedIt) {
    ASSERT_OK(use(original()));
    ASSERT_OK(StanzaOwner(repository_, "main").claim(copy_elsewhere()));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(original()));
    EXPECT_OK(use(copy_elsewhere(), StanzaUse::change));
}

// However alive the former primary still looks: it may archive what it has while it is stopped.
TEST_F(UseStanza, GoesOnForAPromotedStandbyAtOnce) {
    ServerIdentity latest = original();
    for (Timeline timeline = 2; timeline < 5; ++timeline) {
        ASSERT_OK(use(latest));
        ServerIdentity standby = original();
        standby.path = "/srv/standby" + std::to_string(timeline);
        standby.inode = 200 + timeline;
        standby.timeline = timeline;
        EXPECT_OK(use(standby));
        EXPECT_OK(use(standby, StanzaUse::change));
        EXPECT_OK(use(latest));
        latest = standby;
    }
}

// A standby was promoted by accident, or a test system was recovered from a backup.
TEST_F(UseStanza, GoesOnForTheOneThatWasLeftByAPromotion) {
    ASSERT_OK(use(original()));
    ServerIdentity promoted = copy_elsewhere();
    promoted.timeline = 2;
    ASSERT_OK(use(promoted, StanzaUse::change));
    EXPECT_OK(use(original()));
    EXPECT_OK(use(original(), StanzaUse::change));
    // On each of the two timelines a copy is one.
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy_on_the_same_host()));
    ServerIdentity copy_of_the_promoted = copy_on_the_same_host();
    copy_of_the_promoted.timeline = 2;
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy_of_the_promoted));
}

TEST_F(UseStanza, OnTwoTimelinesIsToldToBoth) {
    const StanzaOwner owner(repository_, "main");
    const auto timeline_beside = [&](const ServerIdentity& self) {
        const auto beside = owner.beside(self, "15-1");
        EXPECT_OK(beside);
        return beside && *beside ? (*beside)->timeline : 0;
    };
    ServerIdentity standby = copy_elsewhere();
    standby.timeline = 2;
    ASSERT_OK(use(original()));
    EXPECT_EQ(timeline_beside(original()), 0u);
    ASSERT_OK(use(standby));
    promoted(std::chrono::seconds(30));
    // Seen after the promotion, but it may have been on its way down.
    EXPECT_EQ(timeline_beside(standby), 0u);
    EXPECT_EQ(timeline_beside(original()), 2u);
    EXPECT_EQ((*owner.beside(original(), "15-1"))->server,
              "data directory '/srv/pg' on host 'test'");
    promoted(std::chrono::seconds(90));
    EXPECT_EQ(timeline_beside(standby), 1u);
    age(kRecord, std::chrono::seconds(400));
    EXPECT_EQ(timeline_beside(standby), 0u);
}

// It may archive too (archive_mode = always), before its primary does.
TEST_F(UseStanza, IsNotForAStandby) {
    ServerIdentity standby = copy_elsewhere();
    standby.standby = true;
    EXPECT_OK(use(standby));
    EXPECT_OK(use(original()));
    EXPECT_OK(use(standby));
    EXPECT_EQ(*StanzaOwner(repository_, "main").recently_refused(original()), "");
}

TEST_F(UseStanza, IsReportedToBothWhenOneIsRefused) {
    const StanzaOwner owner(repository_, "main");
    ASSERT_OK(use(original()));
    EXPECT_EQ(*owner.recently_refused(original()), "");
    EXPECT_EQ(*owner.owned_by_another(original()), "");
    ASSERT_FALSE(use(copy_elsewhere()));
    EXPECT_EQ(*owner.recently_refused(original()), "data directory '/srv/pg' on host 'test'");
    EXPECT_EQ(*owner.owned_by_another(copy_elsewhere()), "data directory '/srv/pg' on host 'db1'");
    ASSERT_OK(owner.claim(copy_elsewhere()));
    EXPECT_EQ(*owner.recently_refused(original()), "");
}

TEST_F(UseStanza, LosesNothingWithItsRecord) {
    ASSERT_OK(use(original()));
    std::ofstream(directory_ / kRecord) << "damaged";
    EXPECT_OK(use(original()));
    std::filesystem::remove_all(directory_ / "chronos");
    EXPECT_OK(use(original(), StanzaUse::change));
    EXPECT_ERROR(ErrorKind::archive_mismatch, use(copy_elsewhere()));
}

TEST_F(UseStanza, IsWrittenRarely) {
    ASSERT_OK(use(original()));
    age(kRecord, std::chrono::seconds(100));
    const auto written = std::filesystem::last_write_time(directory_ / kRecord);
    ASSERT_OK(use(original()));
    EXPECT_EQ(std::filesystem::last_write_time(directory_ / kRecord), written);
    set("renewed-at", unix_now() - 130);
    const auto text = storage::read_object(*repository_.storage, kRecord);
    ASSERT_OK(use(original()));
    EXPECT_NE(*storage::read_object(*repository_.storage, kRecord), *text);
}

}  // namespace
}  // namespace chronos::repo

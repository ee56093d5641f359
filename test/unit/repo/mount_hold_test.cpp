// A mounted backup is held as long as its process may be alive, and no longer.
#include "chronos/repo/side/mount_hold.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "chronos/repo/side/hold.h"
#include "chronos/storage/posix/posix_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;

const std::string kMountedLabel = "20261120-075745F";

class HoldOfMount : public testing::Test {
protected:
    HoldOfMount() {
        repository_.storage = storage::make_posix_storage(directory_.path());
        std::filesystem::create_directories(directory_ / "backup/main");
    }
    std::vector<MountedBackup> mounted() {
        const auto names = list_held_names(repository_, "main");
        EXPECT_OK(names);
        auto found = find_mounted(repository_, "main", names->mounted);
        EXPECT_OK(found);
        return *std::move(found);
    }
    std::string path(const std::string& id) const {
        return directory_ / ("chronos/main/hold/" + kMountedLabel + ".mount-" + id);
    }
    void leave(const std::string& id, const ProcessIdentity& process, std::chrono::seconds age) {
        std::filesystem::create_directories(directory_ / "chronos/main/hold");
        std::ofstream(path(id)) << R"({"path":"/mnt/other","host":")" << process.host
                                << R"(","boot":")" << process.boot_id << R"(","namespace":")"
                                << process.pid_namespace << R"(","pid":")" << process.pid
                                << R"(","start":")" << process.start_ticks << "\"}\n";
        std::filesystem::last_write_time(path(id),
                                         std::filesystem::file_time_type::clock::now() - age);
    }

    test::TemporaryDirectory directory_;
    Repository repository_;
};

TEST_F(HoldOfMount, IsThereWhileTheObjectLives) {
    {
        const auto hold =
            MountHold::take(repository_, {"main", kMountedLabel, "/mnt/a b", "12-abc"});
        ASSERT_OK(hold);
        const auto found = mounted();
        ASSERT_EQ(found.size(), 1u);
        EXPECT_EQ(found[0].label, kMountedLabel);
        EXPECT_EQ(found[0].path, "/mnt/a b");
        EXPECT_EQ(found[0].process.pid, ProcessIdentity::of_this_process().pid);
        std::ifstream file(path("12-abc"));
        std::string line;
        std::getline(file, line);
        EXPECT_THAT(line, HasSubstr(R"({"path":"/mnt/a b","host":")"));
        // Those who know holds only do not take it for one.
        const auto holds = list_holds(repository_, "main", "");
        ASSERT_OK(holds);
        EXPECT_TRUE(holds->empty());
    }
    EXPECT_TRUE(mounted().empty());
    EXPECT_FALSE(std::filesystem::exists(path("12-abc")));
}

// Who wants it to go has to know what ends it: nobody else sees the mount of a look.
TEST_F(HoldOfMount, SaysHowItEnds) {
    {
        const auto hold = MountHold::take(repository_, {"main", kMountedLabel, "/mnt/a", "12-abc"});
        ASSERT_OK(hold);
        EXPECT_EQ(how_to_end(mounted().at(0)), "End the mount with: chronos mount --finish=/mnt/a");
    }
    const auto hold = MountHold::take(
        repository_, {"main", kMountedLabel, "/var/tmp/x/mount", "12-abc", /*for_look=*/true});
    ASSERT_OK(hold);
    EXPECT_THAT(how_to_end(mounted().at(0)),
                HasSubstr("that of a look, which ends with process " + std::to_string(getpid())));
}

// A directory that is not whole needs its backup also while the machine is down.
TEST_F(HoldOfMount, OfWhatIsNeededStaysWithoutItsProcess) {
    const std::string needed = directory_ / "backup/main/needed";
    std::ofstream(needed) << "yes";
    const MountHoldRequest request{.stanza = "main",
                                   .label = kMountedLabel,
                                   .path = "/srv/pg",
                                   .exec_id = "instant-5",
                                   .needed_while = needed};
    ASSERT_OK(MountHold::take(repository_, request));
    EXPECT_TRUE(std::filesystem::exists(path("instant-5")));
    const auto leave_needed = [&](const ProcessIdentity& process, std::chrono::seconds age) {
        leave("instant-5", process, age);
        std::ifstream file(path("instant-5"));
        std::string line;
        std::getline(file, line);
        line.insert(line.size() - 1, R"(,"needed-while":")" + needed + "\"");
        std::ofstream(path("instant-5")) << line << "\n";
        std::filesystem::last_write_time(path("instant-5"),
                                         std::filesystem::file_time_type::clock::now() - age);
    };
    ProcessIdentity killed = ProcessIdentity::of_this_process();
    killed.start_ticks += 1;
    leave_needed(killed, std::chrono::hours(24 * 30));
    EXPECT_EQ(mounted().size(), 1u);
    // Of another machine nobody knows, for a week.
    ProcessIdentity elsewhere = killed;
    elsewhere.host = "far";
    elsewhere.boot_id = "boot";
    elsewhere.pid_namespace = "pid:[1]";
    leave_needed(elsewhere, std::chrono::hours(30));
    EXPECT_EQ(mounted().size(), 1u);
    leave_needed(elsewhere, std::chrono::hours(24 * 8));
    EXPECT_TRUE(mounted().empty());
    leave_needed(killed, std::chrono::hours(2));
    std::filesystem::remove(needed);
    EXPECT_TRUE(mounted().empty());
    // The next one takes it over, and lets it go when that is done.
    {
        const auto hold = MountHold::take(repository_, request);
        ASSERT_OK(hold);
        (*hold)->release();
    }
    EXPECT_FALSE(std::filesystem::exists(path("instant-5")));
}

TEST_F(HoldOfMount, OfAKilledProcessCountsForNothingOnItsMachineAndForAnHourElsewhere) {
    ProcessIdentity killed = ProcessIdentity::of_this_process();
    killed.start_ticks -= 1;
    leave("1-killed", killed, std::chrono::seconds(0));
    EXPECT_TRUE(mounted().empty());
    const ProcessIdentity far{"far", "boot", "pid:[1]", 7, 7};
    leave("2-far", far, std::chrono::minutes(59));
    leave("3-old", far, std::chrono::minutes(61));
    ASSERT_EQ(mounted().size(), 1u);
    EXPECT_EQ(mounted()[0].process.host, "far");
    // The next mount tidies up after those that have ended, and does not wait for that.
    const auto hold = MountHold::take(repository_, {"main", kMountedLabel, "/mnt/b", "4-new"});
    ASSERT_OK(hold);
    for (const char* const name : {"1-killed", "3-old"})
        for (int i = 0; i < 1000 && std::filesystem::exists(path(name)); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(std::filesystem::exists(path("1-killed")));
    EXPECT_FALSE(std::filesystem::exists(path("3-old")));
    EXPECT_TRUE(std::filesystem::exists(path("2-far")));
    EXPECT_EQ(mounted().size(), 2u);
}

TEST_F(HoldOfMount, WhatCannotBeReadHoldsWhileItIsRenewed) {
    std::filesystem::create_directories(directory_ / "chronos/main/hold");
    std::ofstream(path("5-odd")) << "no json";
    ASSERT_EQ(mounted().size(), 1u);
    EXPECT_EQ(mounted()[0].label, kMountedLabel);
}

TEST_F(HoldOfMount, WritesNothingWhereTheStanzaIsNot) {
    std::filesystem::remove_all(directory_ / "backup");
    EXPECT_ERROR(ErrorKind::path_missing,
                 MountHold::take(repository_, {"main", kMountedLabel, "/mnt/a", "12-abc"}));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "chronos"));
}

}  // namespace
}  // namespace chronos::repo

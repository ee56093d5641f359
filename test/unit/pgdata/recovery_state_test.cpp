#include "chronos/pgdata/recovery_state.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "temporary_directory.h"

namespace chronos::pgdata {
namespace {

class RecoveryStateOf : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(path() + "/pg_wal"); }
    std::string path() const { return directory_.path(); }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path() + "/" + name, std::ios::binary) << text;
    }
    std::optional<Timeline> target() const { return read_recovery_state(path()).target; }

    test::TemporaryDirectory directory_;
};

// Who sets a recovery up by hand writes as the server's manual allows it.
TEST_F(RecoveryStateOf, TargetTimelineIsWhatTheServerReads) {
    write("recovery.signal", "");
    write("pg_wal/00000003.history", "1\t0/5000000\tx\n2\t0/6000000\tx\n");
    write("pg_wal/00000004.history", "1\t0/5000000\tx\n");
    EXPECT_EQ(target(), 4u) << "nobody says: the newest";
    write("postgresql.conf", "include 'more.conf'\n");
    write("more.conf", "Recovery_Target_TimeLine = '3'\r\n");
    EXPECT_EQ(target(), 3u) << "in a file that is included";
    write("postgresql.auto.conf", "recovery_target_timeline '0x4' # why\n");
    EXPECT_EQ(target(), 4u) << "the last one counts, in hexadecimal";
    write("postgresql.auto.conf", "recovery_target_timeline = 3\n#recovery_target_timeline = 4\n");
    const RecoveryState state = read_recovery_state(path());
    EXPECT_EQ(state.target, 3u);
    ASSERT_EQ(state.switches.size(), 2u);
    EXPECT_EQ(state.leg_of(1)->left, Lsn{0x5000000});
}

TEST_F(RecoveryStateOf, KindIsThatOfTheSignalOrOfTheOldFile) {
    EXPECT_EQ(read_recovery_state(path()).kind, RecoveryState::Kind::none);
    write("recovery.conf", "Standby_Mode = TRUE\n");
    EXPECT_EQ(read_recovery_state(path()).kind, RecoveryState::Kind::standby);
    write("recovery.conf", "restore_command = 'standby_mode = on'\n");
    EXPECT_EQ(read_recovery_state(path()).kind, RecoveryState::Kind::to_an_end);
    write("recovery.signal", "");
    EXPECT_EQ(read_recovery_state(path()).kind, RecoveryState::Kind::to_an_end);
    write("standby.signal", "");
    EXPECT_EQ(read_recovery_state(path()).kind, RecoveryState::Kind::standby);
}

}  // namespace
}  // namespace chronos::pgdata

#include "ops/backup/clock_gate.h"

#include <gmock/gmock.h>

#include "fake_connection.h"
#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using std::chrono::milliseconds;

constexpr UnixTime kSecond = 1'800'000'000;

/// A server whose clock shows one of `shown` after the other, in ms after kSecond, the last for
/// good.
class ClockGateTest : public testing::Test {
protected:
    void clock_shows(std::vector<int> shown) {
        server_.on("clock_timestamp", [shown, at = std::size_t{0}](const auto&) mutable {
            const int now = shown[std::min(at++, shown.size() - 1)];
            return Result<db::Rows>(db::Rows{{std::to_string(kSecond * 1000 + now)}});
        });
    }
    milliseconds time_to_pass(ClockGate& gate) {
        const auto begin = std::chrono::steady_clock::now();
        EXPECT_OK(gate.pass(cancel_));
        return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    }
    test::FakeConnection server_;
    Cancellation cancel_;
};

TEST_F(ClockGateTest, OpensATickAfterTheSecondOfTheList) {
    clock_shows({1010});
    ClockGate gate(&server_, {kSecond, 950});
    EXPECT_FALSE(gate.open());
    EXPECT_GE(time_to_pass(gate), milliseconds(55));
    EXPECT_TRUE(gate.open());
    EXPECT_EQ(server_.asked.size(), 1u);
    EXPECT_OK(gate.pass(cancel_));
    EXPECT_EQ(server_.asked.size(), 1u);
}

TEST_F(ClockGateTest, BelievesTheClockOfTheServerAndNotOurs) {
    clock_shows({980, 1005, 1010});
    ClockGate gate(&server_, {kSecond, 999});
    EXPECT_GE(time_to_pass(gate), milliseconds(11 + 30 + 5));
    EXPECT_EQ(server_.asked.size(), 3u);
}

TEST_F(ClockGateTest, NoticesAClockThatStandsStill) {
    clock_shows({990});
    ClockGate gate(&server_, {kSecond, 990});
    EXPECT_ERROR(ErrorKind::kernel, gate.pass(cancel_));
}

TEST_F(ClockGateTest, ObeysARequestToStop) {
    clock_shows({0});
    ClockGate gate(&server_, {kSecond, 0});
    cancel_.request();
    EXPECT_ERROR(ErrorKind::cancelled, gate.pass(cancel_));
}

repo::Manifest with_control_file(UnixTime time) {
    repo::Manifest manifest;
    repo::ManifestFile& file = manifest.files.emplace_back();
    file.name = "pg_data/global/pg_control";
    file.timestamp = time;
    return manifest;
}

TEST(SettledBefore, KeepsClearOfTheListAndOfWhatTheServerWroteLast) {
    EXPECT_EQ(settled_before(with_control_file(1000), {1003, 5}), 998);
    EXPECT_EQ(settled_before(with_control_file(1000), {1000, 5}), 998);
    // A clock of the files that is ahead of the server's, and one that is far behind.
    EXPECT_EQ(settled_before(with_control_file(1500), {1000, 5}), 998);
    EXPECT_EQ(settled_before(with_control_file(400), {1000, 5}), 398);
}

}  // namespace
}  // namespace chronos::ops::backup

#include "chronos/ops/hold/hold.h"

#include <gmock/gmock.h>

#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/hold.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::hold {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kFirst = "20260101-000001F";
const std::string kSecond = "20260201-000001F";

class HoldTest : public testing::Test {
protected:
    HoldTest() {
        stanza_.add(kFirst, 2, 3);
        stanza_.add(kSecond, 5, 6);
        stanza_.save();
    }
    HoldRequest request(const std::string& set, const std::string& reason = "") const {
        HoldRequest request;
        request.stanza = "main";
        request.repositories = {stanza_.repository()};
        request.lock_path = directory_ / "lock";
        request.exec_id = "1-00000000";
        request.set = set;
        request.reason = reason;
        return request;
    }
    std::unique_ptr<repo::Lock> lock(repo::LockType type) const {
        return repo::Lock::acquire({directory_ / "lock", "main", type, 1, "2-00000000"}).value();
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_, "repo pass"};
    test::TemporaryDirectory directory_;
};

TEST_F(HoldTest, IsKeptWithItsReasonUntilReleased) {
    ASSERT_OK(hold(request(kFirst, "  audit of \"May\"\n")));
    const auto held = list(request(""));
    ASSERT_OK(held);
    ASSERT_EQ(held->size(), 1u);
    EXPECT_EQ(held->front().label, kFirst);
    EXPECT_EQ(held->front().reason, "audit of \"May\"");
    EXPECT_TRUE(held->front().present);
    ASSERT_OK(unhold(request(kFirst)));
    EXPECT_THAT(list(request("")).value(), IsEmpty());
}

TEST_F(HoldTest, ReasonIsOneLineThatATerminalCanShow) {
    for (const std::string& reason :
         {std::string("\x1b]0;gone\x07"), std::string("two\nlines"), std::string("\xff"),
          std::string("\xc2\x9b") + "2J", std::string(1001, 'x')}) {
        const auto held = hold(request(kFirst, reason));
        ASSERT_FALSE(static_cast<bool>(held));
        EXPECT_EQ(held.error().kind(), ErrorKind::option_invalid_value);
        EXPECT_THAT(held.error().message(), HasSubstr("the reason of the hold cannot be stored"));
        EXPECT_THAT(held.error().text(), Not(HasSubstr("\x1b")));
    }
    EXPECT_THAT(list(request("")).value(), IsEmpty());
    EXPECT_OK(hold(request(kFirst, std::string(1000, 'x'))));
}

TEST_F(HoldTest, TellsNobodyWithoutThePassphraseWhy) {
    ASSERT_OK(hold(request(kFirst, "takeover of Example Ltd")));
    for (const auto& [name, content] : test::content_of(*memory_))
        EXPECT_THAT(content, Not(HasSubstr("Example"))) << name;
}

TEST_F(HoldTest, UnderstandsLatestOldestAndAll) {
    EXPECT_EQ(hold(request("latest")).value().front().label, kSecond);
    EXPECT_EQ(hold(request("oldest")).value().front().label, kFirst);
    EXPECT_EQ(hold(request("all")).value().size(), 2u);
    EXPECT_EQ(unhold(request("latest")).value().front().label, kSecond);
    EXPECT_EQ(unhold(request("all")).value().size(), 1u);
}

TEST_F(HoldTest, RefusesABackupThatIsNotThere) {
    EXPECT_ERROR(ErrorKind::option_invalid_value, hold(request("../../x")));
    EXPECT_ERROR(ErrorKind::backup_set_invalid, hold(request("20250101-000001F")));
    EXPECT_ERROR(ErrorKind::backup_set_invalid, unhold(request(kFirst)));
}

TEST_F(HoldTest, IsPossibleWhileABackupRunsButNotWhileExpireDecides) {
    {
        const auto backup = lock(repo::LockType::backup);
        EXPECT_OK(hold(request(kFirst)));
    }
    const auto expire = lock(repo::LockType::hold);
    EXPECT_ERROR(ErrorKind::lock_acquire, hold(request(kSecond)));
}

TEST_F(HoldTest, SaysWhatIsGone) {
    ASSERT_OK(hold(request(kFirst)));
    stanza_.backup_info().backups.erase(stanza_.backup_info().backups.begin());
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", stanza_.backup_info()));
    EXPECT_FALSE(list(request("")).value().front().present);
    EXPECT_OK(unhold(request(kFirst)));
}

}  // namespace
}  // namespace chronos::ops::hold

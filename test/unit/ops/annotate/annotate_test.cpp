#include "chronos/ops/annotate/annotate.h"

#include <gmock/gmock.h>

#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "dying_storage.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::annotate {
namespace {

const std::string kFirst = "20260101-000001F";

class AnnotateTest : public testing::Test {
protected:
    AnnotateTest() {
        stanza_.add(kFirst, 2, 3).annotations = {{"old", "1"}, {"both", "2"}};
        stanza_.save();
    }
    AnnotateRequest request(std::map<std::string, std::string> annotations) const {
        AnnotateRequest request;
        request.stanza = "main";
        request.repositories = {stanza_.repository()};
        request.lock_path = directory_ / "lock";
        request.exec_id = "1-00000000";
        request.set = kFirst;
        request.annotations = std::move(annotations);
        return request;
    }
    std::map<std::string, std::string> stored() const {
        return repo::load_backup_info(stanza_.repository(), "main")
            .value()
            .backups.front()
            .annotations;
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_};
    test::TemporaryDirectory directory_;
    Cancellation cancel_;
};

TEST_F(AnnotateTest, MergesReplacesAndRemoves) {
    const auto outcome =
        annotate(request({{"both", "3"}, {"old", ""}, {"new", "x"}, {"absent", ""}}), cancel_);
    ASSERT_OK(outcome);
    const std::map<std::string, std::string> expected = {{"both", "3"}, {"new", "x"}};
    EXPECT_EQ(stored(), expected);
    EXPECT_EQ(outcome->annotated.front().annotations, expected);
}

TEST_F(AnnotateTest, RefusesAKeyThatWouldDamageBackupInfo) {
    for (const char* key : {"a\"", "a\\", "a\nb", ""}) {
        EXPECT_ERROR(ErrorKind::option_invalid_value, annotate(request({{key, "x"}}), cancel_));
    }
    // A value is escaped where it has to be.
    ASSERT_OK(annotate(request({{"both", "a\"b\\c\nd"}}), cancel_));
    EXPECT_EQ(stored().at("both"), "a\"b\\c\nd");
}

TEST_F(AnnotateTest, WorksOnWhatItCanAndSaysWhatItCouldNot) {
    AnnotateRequest both = request({{"new", "x"}});
    repo::Repository broken = stanza_.repository();
    broken.key = 2;
    broken.storage = std::make_shared<test::MemoryStorage>();
    both.repositories.insert(both.repositories.begin(), broken);
    const auto outcome = annotate(both, cancel_);
    ASSERT_OK(outcome);
    ASSERT_EQ(outcome->failures.size(), 1u);
    EXPECT_EQ(outcome->failures.front().first, 2u);
    EXPECT_EQ(stored().at("new"), "x");
}

TEST_F(AnnotateTest, NeedsABackupThatIsThereAndTheLock) {
    AnnotateRequest other = request({{"new", "x"}});
    other.set = "20250101-000001F";
    EXPECT_ERROR(ErrorKind::backup_set_invalid, annotate(other, cancel_));
    other.set = "yesterday";
    EXPECT_ERROR(ErrorKind::option_invalid_value, annotate(other, cancel_));
    other.set = "latest";
    EXPECT_OK(annotate(other, cancel_));
    const auto lock =
        repo::Lock::acquire({directory_ / "lock", "main", repo::LockType::backup, 1, "2-00000000"});
    EXPECT_ERROR(ErrorKind::lock_acquire, annotate(request({{"new", "x"}}), cancel_));
}

TEST_F(AnnotateTest, KilledAtAnyStepLeavesTheOldOrTheNew) {
    for (unsigned step = 0;; ++step) {
        const auto dying = std::make_shared<test::DyingStorage>(memory_, step);
        AnnotateRequest one = request({{"step", std::to_string(step)}});
        one.repositories = {stanza_.through(dying)};
        (void)annotate(one, cancel_);
        ASSERT_EQ(stored().at("old"), "1");
        if (!dying->dead()) break;
    }
    EXPECT_EQ(stored().at("step"), "4");  // a sign of life comes before, and goes after the files
}

}  // namespace
}  // namespace chronos::ops::annotate

#include "chronos/flows/backup.h"

#include <gmock/gmock.h>

#include "fake_connection.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::flows {
namespace {

/// Of a cluster whose server answers nothing: no backup gets far.
class BackupFlow : public testing::Test {
protected:
    BackupTarget target(unsigned key) {
        ops::backup::BackupRequest request;
        request.stanza = "main";
        request.lock_path = locks_.path();
        request.process_max = 1;
        request.repository.key = key;
        request.repository.storage = std::make_shared<test::MemoryStorage>();
        return {key, request};
    }
    Result<std::vector<BackupOutcome>> run() {
        request_.stanza.stanza = "main";
        request_.stanza.lock_path = locks_.path();
        request_.expire = [&](unsigned key) -> Result<ops::expire::ExpireRequest> {
            expired_.push_back(key);
            return Error(ErrorKind::internal, "not to be asked");
        };
        return run_backup(request_, &connection_, {}, cancel_);
    }

    test::TemporaryDirectory locks_;
    BackupRequest request_;
    std::vector<unsigned> expired_;
    test::FakeConnection connection_;
    Cancellation cancel_;
};

TEST_F(BackupFlow, ARequestThatCannotBeMadeFailsItsRepositoryAlone) {
    request_.targets.push_back({1, Error(ErrorKind::option_invalid_value, "repo1 is bad")});
    request_.targets.push_back({3, Error(ErrorKind::file_open, "repo3 is away")});
    const auto outcomes = run();
    ASSERT_OK(outcomes);
    ASSERT_EQ(outcomes->size(), 2u);
    EXPECT_EQ((*outcomes)[0].key, 1u);
    EXPECT_ERROR(ErrorKind::option_invalid_value, (*outcomes)[0].result);
    EXPECT_EQ((*outcomes)[1].key, 3u);
    EXPECT_ERROR(ErrorKind::file_open, (*outcomes)[1].result);
}

TEST_F(BackupFlow, NothingExpiresWhereNoBackupWasMade) {
    request_.only_repository = true;
    request_.targets.push_back(target(1));
    const auto outcomes = run();
    ASSERT_OK(outcomes);
    EXPECT_FALSE(outcomes->front().result);
    EXPECT_TRUE(expired_.empty());
    EXPECT_OK(outcomes->front().expire_failures);
}

}  // namespace
}  // namespace chronos::flows

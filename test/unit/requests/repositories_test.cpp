#include <gmock/gmock.h>

#include "chronos/requests/context.h"
#include "chronos/requests/repositories.h"
#include "config_of.h"
#include "result_matchers.h"

namespace chronos::requests {
namespace {

using testing::ElementsAre;
using testing::MatchesRegex;

std::vector<unsigned> keys(const std::vector<repo::Repository>& repositories) {
    std::vector<unsigned> result;
    for (const auto& repository : repositories) result.push_back(repository.key);
    return result;
}

TEST(Repositories, AllAreOpenedUnlessOneIsNamed) {
    const std::vector<std::string> both{"info", "--repo3-path=/c", "--repo1-path=/a"};
    const auto all = open_repositories(test::config_of(both));
    ASSERT_OK(all);
    EXPECT_THAT(keys(*all), ElementsAre(1u, 3u));
    EXPECT_EQ((*all)[1].storage->describe("x"), "/c/x");
    const auto one = open_repositories(
        test::config_of({"info", "--repo3-path=/c", "--repo1-path=/a", "--repo=3"}));
    ASSERT_OK(one);
    EXPECT_THAT(keys(*one), ElementsAre(3u));
}

TEST(Repositories, HaveTheCipherOfTheirOptions) {
    const auto plain = open_repository(test::config_of({"info"}), 1);
    ASSERT_OK(plain);
    EXPECT_FALSE(plain->encrypted());
    const auto secret = open_repository(test::config_of({"info", "--repo1-cipher-type=aes-256-cbc"},
                                                        {"PGBACKREST_REPO1_CIPHER_PASS=p"}),
                                        1);
    ASSERT_OK(secret);
    EXPECT_TRUE(secret->encrypted());
    EXPECT_EQ(secret->passphrase, "p");
}

TEST(Repositories, MayBeBuckets) {
    const auto bucket = open_repository(
        test::config_of({"info", "--repo1-type=s3", "--repo1-path=/p", "--repo1-s3-bucket=b",
                         "--repo1-s3-region=r", "--repo1-s3-endpoint=localhost"},
                        {"PGBACKREST_REPO1_S3_KEY=k", "PGBACKREST_REPO1_S3_KEY_SECRET=s"}),
        1);
    ASSERT_OK(bucket);
    EXPECT_EQ(bucket->storage->describe("x"), "s3://b/p/x");
    const auto bad_time = open_repository(
        test::config_of({"info", "--repo=1", "--repo1-target-time=never", "--repo1-type=s3",
                         "--repo1-s3-bucket=b", "--repo1-s3-region=r"}),
        1);
    EXPECT_ERROR(ErrorKind::option_invalid_value, bad_time);
}

TEST(ExecId, IsTheProcessAndEightDigits) {
    EXPECT_THAT(make_exec_id(), MatchesRegex("[0-9]+-[0-9a-f]{8}"));
    EXPECT_NE(make_exec_id(), make_exec_id());
}

}  // namespace
}  // namespace chronos::requests
